"""Label and field selectors, held to recorded answers of a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onenode.selectors import SelectorError, match_label_selector, parse_field_selector, parse_label_selector

DATA = Path(__file__).parents[2] / "data/onenode"
RECORDED: list[dict[str, Any]] = json.loads((DATA / "recorded_selectors.json").read_text())["selectors"]

PROFILES: list[dict[str, Any]] = [
    {"metadata": {"name": "s1", "namespace": "transcripts", "labels": {"app": "a", "tier": "x"}}},
    {"metadata": {"name": "s2", "namespace": "transcripts", "labels": {"app": "b"}}},
    {"metadata": {"name": "s3", "namespace": "transcripts"}},
]
POD_SPEC = {"restartPolicy": "Always", "schedulerName": "default-scheduler"}
PODS: list[dict[str, Any]] = [
    {"metadata": {"name": "f1"}, "spec": {"nodeName": "node-x", **POD_SPEC}, "status": {"phase": "Pending"}},
    {"metadata": {"name": "f2"}, "spec": POD_SPEC, "status": {"phase": "Pending"}},
]
OBJECTS = {
    "seccompprofiles": PROFILES,
    "pods": PODS,
    "serviceaccounts": [{"metadata": {"name": "default"}}],
    "namespaces": [
        {"metadata": {"name": name}, "status": {"phase": "Active"}}
        for name in ("default", "kube-node-lease", "kube-public", "kube-system", "transcripts")
    ],
}
PLAIN = ("metadata.name", "metadata.namespace")
SUPPORTED = {
    "pods": (
        *PLAIN, "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.hostNetwork",
        "status.phase", "status.podIP",
    ),
    "secrets": (*PLAIN, "type"),
    "namespaces": (*PLAIN, "status.phase"),
    "nodes": (*PLAIN, "spec.unschedulable"),
    "events": (*PLAIN, "involvedObject.name", "regarding.name", "reason"),
    "jobs": (*PLAIN, "status.successful"),
}  # fmt: skip


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: "&".join(entry["query"].values()))
def test_a_selector_answers_as_on_the_real_server(entry: dict[str, Any]) -> None:
    resource = entry["resource"]

    def run() -> list[str]:
        by_label = parse_label_selector(entry["query"].get("labelSelector", ""))
        by_field = parse_field_selector(
            entry["query"].get("fieldSelector", ""),
            SUPPORTED.get(resource, PLAIN),
            plain=resource in ("configmaps", "leases"),
        )
        return [
            obj["metadata"]["name"]
            for obj in OBJECTS.get(resource, [])
            if by_label(obj["metadata"].get("labels", {})) and by_field(obj)
        ]

    if "error" in entry:
        with pytest.raises(SelectorError) as refused:
            run()
        assert str(refused.value) == entry["error"]
    else:
        assert run() == entry["names"]


@pytest.mark.parametrize(
    ("text", "labels", "selected"),
    [
        pytest.param("n>4", {"n": "5"}, True, id="greater"),
        pytest.param("n<4", {"n": "5"}, False, id="less"),
        pytest.param("n>4", {"n": "five"}, False, id="not-a-number"),
        pytest.param("in in (in,notin)", {"in": "notin"}, True, id="words-as-names"),
        pytest.param("a=", {"a": ""}, True, id="empty-value"),
        pytest.param("a in (,b)", {"a": ""}, True, id="empty-in-list"),
        pytest.param(" a  =  b , ! c ", {"a": "b"}, True, id="spaces"),
        pytest.param("example.com/a!=b", {"example.com/a": "b"}, False, id="prefixed-key"),
        pytest.param("a notin (b,c)", {}, True, id="notin-absent"),
    ],
)
def test_label_selector(text: str, labels: dict[str, str], selected: bool) -> None:
    assert parse_label_selector(text)(labels) is selected


def term(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


NOT_A_NUMBER = "for 'Gt', 'Lt' operators, the value must be an integer"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("(a)", "found '(', expected: !, identifier, or 'end of string'"),
        ("!(", "unable to parse requirement: found '(', expected: identifier"),
        ("a>b", f'unable to parse requirement: values[0]: Invalid value: "b": {NOT_A_NUMBER}'),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
    ],
)  # fmt: skip
def test_label_selector_errors(text: str, message: str) -> None:
    with pytest.raises(SelectorError) as refused:
        parse_label_selector(text)
    assert str(refused.value) == message


def test_field_selector_escapes() -> None:
    matches = parse_field_selector(r"metadata.name=a\,b\=c\\", PLAIN)
    assert matches({"metadata": {"name": "a,b=c\\"}})
    with pytest.raises(SelectorError, match="invalid escape sequence"):
        parse_field_selector(r"metadata.name=\n", PLAIN)


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        pytest.param(None, False, id="none-selects-nothing"),
        pytest.param({}, True, id="empty-selects-all"),
        pytest.param({"matchLabels": {"a": "b"}}, True, id="labels"),
        pytest.param({"matchExpressions": [term("a", "NotIn", "b")]}, False, id="notin"),
        pytest.param({"matchExpressions": [term("z", "DoesNotExist")]}, True, id="absent"),
        pytest.param({"matchLabels": {"a": "b"}, "matchExpressions": [term("z", "Exists")]}, False, id="all"),
    ],
)
def test_label_selector_objects(selector: dict[str, Any] | None, selected: bool) -> None:
    assert match_label_selector(selector, {"a": "b"}) is selected


def test_a_label_selector_object_with_an_unknown_operator_is_refused() -> None:
    with pytest.raises(SelectorError, match='"Like" is not a valid label selector operator'):
        match_label_selector({"matchExpressions": [{"key": "a", "operator": "Like"}]}, {})


@given(text=st.text("ab=!,()<> \\in.0", max_size=14))
def test_parsers_raise_nothing_but_their_own_error(text: str) -> None:
    for parse in (parse_label_selector, lambda one: parse_field_selector(one, PLAIN)):
        try:
            parse(text)
        except SelectorError:
            continue
