"""JSON, merge and strategic merge patches, held to recorded answers of a real server."""

from __future__ import annotations

import contextlib
import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onenode.builtin_schema import schema_of
from onenode.patch import PatchError, json_patch, merge_patch
from onenode.schema import apply_defaults, prune
from onenode.strategic_merge import strategic_merge_patch

DATA = Path(__file__).parents[2] / "data/onenode"
RECORDED: list[dict[str, Any]] = json.loads((DATA / "recorded_patches.json").read_text())["patches"]
SCHEMAS: dict[str, dict[str, Any]] = json.loads((DATA / "recorded_schemas.json").read_text())["schemas"]
POD = schema_of("", "v1", "Pod")
DEPLOYMENT = schema_of("apps", "v1", "Deployment")


def schema_for(kind: str) -> dict[str, Any]:
    return SCHEMAS[kind] if kind in SCHEMAS else schema_of("", "v1", kind)


def patched(kind: str, doc: dict[str, Any], patch: Any) -> dict[str, Any]:
    if kind == "json-patch":
        return json_patch(doc, patch)
    if kind == "merge-patch":
        return merge_patch(doc, patch)
    return strategic_merge_patch(doc, patch, schema_for(doc["kind"]))


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: f"{entry['scenario']}-{entry['step']}")
def test_a_patch_ends_as_on_the_real_server(entry: dict[str, Any]) -> None:
    before = copy.deepcopy(entry["old"])
    if "error" in entry:
        with pytest.raises(PatchError) as refused:
            patched(entry["type"], entry["old"], entry["patch"])
        assert (refused.value.code, refused.value.message, refused.value.reason) == (
            entry["error"]["code"], entry["error"]["message"], entry["error"].get("reason", "")
        )  # fmt: skip
    else:
        result = patched(entry["type"], entry["old"], entry["patch"])
        schema = schema_for(result["kind"])
        prune(result, schema)
        apply_defaults(result, schema)
        assert json.dumps(without_empty(result), sort_keys=True) == json.dumps(
            without_empty(entry["result"]), sort_keys=True
        )
    assert entry["old"] == before


def without_empty(obj: dict[str, Any]) -> dict[str, Any]:
    """Without what the decoding of a core object adds or drops: nulls and empty maps."""
    plain: dict[str, Any] = {}
    for name, value in obj.items():
        kept = without_empty(value) if isinstance(value, dict) else value
        if isinstance(value, list):
            kept = [without_empty(item) if isinstance(item, dict) else item for item in value]
        if kept not in (None, {}):
            plain[name] = kept
    return plain


# RFC 7386, appendix A; the documents that are not objects are wrapped.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_of_rfc_7386(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch({"doc": target}, {"doc": patch}) == {"doc": result}


@pytest.mark.parametrize(
    ("ops", "code"),
    [
        pytest.param([{"op": "add", "path": "/a/b/c", "value": 1}], 422, id="missing-parent"),
        pytest.param([{"op": "add", "path": "/a"}], 422, id="no-value"),
        pytest.param([{"op": "replace", "path": "", "value": {}}], 422, id="whole-document"),
        pytest.param([{"op": "move", "path": "/a"}], 422, id="move-without-from"),
        pytest.param([{"op": "test", "path": "/nosuch", "value": 1}], 422, id="test-of-a-missing-member"),
        pytest.param([3], 400, id="not-an-operation"),
        pytest.param("x", 400, id="not-a-list"),
    ],
)
def test_json_patches_that_are_refused(ops: Any, code: int) -> None:
    with pytest.raises(PatchError) as refused:
        json_patch({"a": 1}, ops)
    assert refused.value.code == code


def test_the_refusal_of_a_webhook_patch_says_what_is_missing() -> None:
    with pytest.raises(PatchError) as refused:
        json_patch({"spec": {}}, [{"op": "replace", "path": "/spec/nosuch/x", "value": 1}])
    assert str(refused.value) == (
        "replace operation does not apply: doc is missing path: /spec/nosuch/x: missing value"
    )


def test_a_patch_cannot_blow_up_the_document() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"} for _ in range(60)]
    with pytest.raises(PatchError) as refused:
        json_patch({"a": ["x" * 100]}, doubling)
    assert (refused.value.code, refused.value.detail) == (422, "the patch copies more than 3145728 bytes")
    with pytest.raises(PatchError) as refused:
        json_patch({}, [{"op": "add", "path": "/a", "value": 1}] * 10_001)
    assert refused.value.code == 413


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": list(containers), **spec}}


def names(doc: dict[str, Any], member: str = "containers") -> list[str]:
    return [item["name"] for item in doc["spec"][member]]


A, B, C = ({"name": name, "image": "i"} for name in "abc")


def test_items_are_deleted_by_key() -> None:
    doc = strategic_merge_patch(pod(A, B), {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}, POD)
    assert names(doc) == ["b"]


def test_a_list_is_replaced_on_demand() -> None:
    patch = {"spec": {"containers": [C, {"$patch": "replace"}]}}
    assert names(strategic_merge_patch(pod(A, B), patch, POD)) == ["c"]


def test_the_order_of_a_list_is_taken_from_the_patch() -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
            "containers": [C, {"name": "a", "image": "new"}],
        }
    }
    doc = strategic_merge_patch(pod(A, B), patch, POD)
    assert names(doc) == ["c", "b", "a"]
    assert doc["spec"]["containers"][2]["image"] == "new"


def test_items_only_the_server_has_keep_their_place() -> None:
    patch = {"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]}}
    assert names(strategic_merge_patch(pod(A, B, C), patch, POD)) == ["b", "c", "a"]


def test_a_list_that_contradicts_its_order_is_refused() -> None:
    patch = {
        "spec": {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [B, A]},
    }
    with pytest.raises(PatchError, match="doesn't match"):
        strategic_merge_patch(pod(A, B), patch, POD)


def test_keys_are_retained_on_demand() -> None:
    doc = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_merge_patch(doc, patch, DEPLOYMENT)["spec"] == {"strategy": {"type": "Recreate"}}


def test_an_atomic_list_is_replaced() -> None:
    doc = pod(A, tolerations=[{"key": "x"}])
    patched_doc = strategic_merge_patch(doc, {"spec": {"tolerations": [{"key": "y"}]}}, POD)
    assert patched_doc["spec"]["tolerations"] == [{"key": "y"}]


def test_directives_and_nulls_do_not_reach_a_new_part() -> None:
    patch = {
        "spec": {
            "volumes": [{"name": "v", "emptyDir": None, "hostPath": {"path": "/x", "$patch": "replace"}}]
        }
    }
    doc = strategic_merge_patch(pod(A), patch, POD)
    assert doc["spec"]["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"$patch": "bogus"}},
        {"spec": {"containers": [{"name": "a", "$patch": "bogus"}]}},
        {"spec": {"containers": [{"$patch": "delete"}]}},
        {"spec": {"containers": ["a"]}},
        {"spec": {"$setElementOrder/containers": 3}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": 3}},
        {"metadata": {"$retainKeys": 3}},
        "text",
        None,
    ],
)
def test_malformed_strategic_patches_are_refused(patch: Any) -> None:
    with pytest.raises(PatchError):
        strategic_merge_patch(pod(A), patch, POD)


DIRECTIVES = ["$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers"]
KEYS = st.sampled_from(
    ["spec", "containers", "name", "image", "metadata", "finalizers", "labels", "a", *DIRECTIVES]
)
VALUES = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["a", "delete", "replace"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@given(doc=st.dictionaries(KEYS, VALUES, max_size=3), patch=VALUES)
def test_any_patch_is_applied_or_refused(doc: dict[str, Any], patch: Any) -> None:
    for apply in (
        lambda: strategic_merge_patch(doc, patch, POD),
        lambda: merge_patch(doc, patch),
        lambda: json_patch(doc, patch),
    ):
        try:
            apply()
        except PatchError:
            continue


POINTERS = st.lists(st.sampled_from(["spec", "a", "0", "-", "~1", "x~"]), max_size=3).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": POINTERS},
    optional={"from": POINTERS | st.integers(), "value": VALUES},
)


@given(doc=st.dictionaries(st.sampled_from(["spec", "a"]), VALUES), ops=st.lists(OPERATIONS, max_size=3))
def test_any_json_patch_is_applied_or_refused_and_leaves_the_document(
    doc: dict[str, Any], ops: list[Any]
) -> None:
    before = copy.deepcopy(doc)
    with contextlib.suppress(PatchError):
        json_patch(doc, ops)
    assert doc == before


def test_long_lists_merge_in_linear_time() -> None:
    many = 20_000
    doc = {"spec": {"containers": [{"name": str(number)} for number in range(many)]}}
    changes = [{"name": str(number), "image": "x"} for number in range(0, many, 2)]
    deletions = [{"name": str(number), "$patch": "delete"} for number in range(1, many, 2)]
    start = time.perf_counter()
    merged = strategic_merge_patch(doc, {"spec": {"containers": [*changes, *deletions]}}, POD)
    assert time.perf_counter() - start < 5  # quadratic would take minutes
    assert merged["spec"]["containers"] == changes
