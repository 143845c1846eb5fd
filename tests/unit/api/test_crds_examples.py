"""What the schema of SeccompProfile lets through, and what it refuses by naming the field."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from onenode.custom_resource import validate_custom_resource
from spo.api.crds import CUSTOM_RESOURCES, root_schema
from spo.api.seccomp_profile import SeccompProfile

ROOT = Path(__file__).parents[3]
SCHEMA = root_schema(SeccompProfile)
SCHEMAS = {
    kind.resource.kind: (kind.resource.api_version, root_schema(kind.resource.type))
    for kind in CUSTOM_RESOURCES
}
LISTENER = "/var/run/security-profiles-operator/agent.sock"


def profile(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1beta1",
        "kind": "SeccompProfile",
        "metadata": {"name": "profile1", "namespace": "default"},
        "spec": {"defaultAction": "SCMP_ACT_ERRNO", **spec},
    }


def rule(**members: Any) -> dict[str, Any]:
    return {"names": ["read"], "action": "SCMP_ACT_ALLOW", **members}


def refused(obj: dict[str, Any]) -> dict[str, str]:
    return {cause.field: cause.message for cause in validate_custom_resource(copy.deepcopy(obj), SCHEMA)}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="default-action-only"),
        pytest.param({"syscalls": [rule(action="SCMP_ACT_ERRNO", errnoRet=1)]}, id="errno-number"),
        pytest.param({"syscalls": [rule(action="SCMP_ACT_ERRNO", errnoRet="1")]}, id="errno-text"),
        pytest.param({"syscalls": [rule(names=[f"call{n}" for n in range(2000)])]}, id="2000-names"),
        pytest.param({"syscalls": [rule() for _ in range(2000)]}, id="2000-rules"),
        pytest.param({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": LISTENER}, id="notify"),
        pytest.param({"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}, id="flag"),
        pytest.param(
            {"syscalls": [rule(args=[{"index": n, "op": "SCMP_CMP_EQ"} for n in range(6)])]}, id="6-args"
        ),
    ],
)
def test_accepted(spec: dict[str, Any]) -> None:
    assert refused(profile(**spec)) == {}


@pytest.mark.parametrize(
    ("spec", "field", "text"),
    [
        pytest.param(
            {"defaultAction": "SCMP_ACT_FOO"}, "spec.defaultAction", "SCMP_ACT_FOO", id="default-action"
        ),
        pytest.param(
            {"syscalls": [rule(action="SCMP_ACT_FOO")]},
            "spec.syscalls[0].action",
            "supported values",
            id="action",
        ),
        pytest.param(
            {"syscalls": [rule(args=[{"index": 0, "op": "SCMP_CMP_EQ"}] * 7)]},
            "spec.syscalls[0].args",
            "must have at most 6 items",
            id="7-args",
        ),
        pytest.param(
            {"syscalls": [rule(args=[{"index": 6, "op": "SCMP_CMP_EQ"}])]},
            "spec.syscalls[0].args[0].index",
            "5",
            id="7th-argument",
        ),
        pytest.param(
            {"syscalls": [{"names": ["read"]}]}, "spec.syscalls[0].action", "Required", id="no-action"
        ),
        pytest.param({"syscalls": [rule(errnoRet=4096)]}, "spec.syscalls[0].errnoRet", "4095", id="errno"),
        pytest.param({"syscalls": [rule(errnoRet=[])]}, "spec.syscalls[0].errnoRet", "", id="errno-list"),
        pytest.param({"listenerPath": "/run/agent.sock"}, "spec.listenerPath", "should match", id="listener"),
        pytest.param(
            {"listenerPath": f"{LISTENER}/../x"}, "spec.listenerPath", "should match", id="listener-up"
        ),
        pytest.param(
            {"architectures": ["X86"]}, "spec.architectures[0]", "supported values", id="architecture"
        ),
        pytest.param({"flags": ["TSYNC"]}, "spec.flags[0]", "supported values", id="flag"),
        pytest.param(
            {"defaultAction": "SCMP_ACT_NOTIFY"},
            "spec.listenerPath",
            "spec.listenerPath is required",
            id="notify",
        ),
        pytest.param(
            {"syscalls": [rule(), rule(action="SCMP_ACT_NOTIFY")]},
            "spec.listenerPath",
            "spec.listenerPath is required",
            id="notify-in-a-rule",
        ),
    ],
)
def test_refused(spec: dict[str, Any], field: str, text: str) -> None:
    assert text in refused(profile(**spec))[field]


def test_missing_default_action_is_refused() -> None:
    nothing = profile()
    del nothing["spec"]["defaultAction"]
    assert "Required" in refused(nothing)["spec.defaultAction"]
    del nothing["spec"]
    assert "Required" in refused(nothing)["spec"]


def example_objects() -> list[Any]:
    return [
        pytest.param(obj, id=f"{path.stem}-{obj['metadata']['name']}")
        for path in sorted((ROOT / "examples").glob("*.yaml"))
        for obj in yaml.safe_load_all(path.read_text())
        if obj["kind"] in SCHEMAS
    ]


@pytest.mark.parametrize("obj", example_objects())
def test_example_fits(obj: dict[str, Any]) -> None:
    api_version, schema = SCHEMAS[obj["kind"]]
    assert obj["apiVersion"] == api_version
    assert validate_custom_resource(obj, schema) == []


def test_every_kind_but_the_node_status_has_an_example() -> None:
    shown = {param.values[0]["kind"] for param in example_objects()}
    assert SCHEMAS.keys() - shown == {"SecurityProfileNodeStatus"}
