"""Protobuf request bodies: recorded ones of kubectl 1.36 (scenario 60) and hostile ones."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onenode.protobuf import ProtobufError, decode_protobuf

CAN_I_CREATE = (
    "azhzAAoyChdhdXRob3JpemF0aW9uLms4cy5pby92MRIXU2VsZlN1YmplY3RBY2Nlc3NSZXZpZXcScQoQCgASABoAIgAqADIA"
    "OABCABJTClEKC3RyYW5zY3JpcHRzEgZjcmVhdGUaI3NlY3VyaXR5LXByb2ZpbGVzLW9wZXJhdG9yLngtazhzLmlvIgAqD3Nl"
    "Y2NvbXBwcm9maWxlczIAOgAaCAgAEgAaACAAGgAiAA=="
)
CAN_I_GET_VERSION = (
    "azhzAAoyChdhdXRob3JpemF0aW9uLms4cy5pby92MRIXU2VsZlN1YmplY3RBY2Nlc3NSZXZpZXcSLwoQCgASABoAIgAqADIA"
    "OABCABIREg8KCC92ZXJzaW9uEgNnZXQaCAgAEgAaACAAGgAiAA=="
)
CAN_I_LIST = (
    "azhzAAoxChdhdXRob3JpemF0aW9uLms4cy5pby92MRIWU2VsZlN1YmplY3RSdWxlc1JldmlldxInChAKABIAGgAiACoAMgA4"
    "AEIAEg0KC3RyYW5zY3JpcHRzGgQYACIAGgAiAA=="
)
WHO_AM_I = (
    "azhzAAotChhhdXRoZW50aWNhdGlvbi5rOHMuaW8vdjESEVNlbGZTdWJqZWN0UmV2aWV3EhoKEAoAEgAaACIAKgAyADgAQgAS"
    "BgoECgASABoAIgA="
)


@pytest.mark.parametrize(
    ("encoded", "kind", "spec"),
    [
        pytest.param(
            CAN_I_CREATE,
            "SelfSubjectAccessReview",
            {
                "resourceAttributes": {
                    "namespace": "transcripts",
                    "verb": "create",
                    "group": "security-profiles-operator.x-k8s.io",
                    "resource": "seccompprofiles",
                }
            },
            id="can-i",
        ),
        pytest.param(
            CAN_I_GET_VERSION,
            "SelfSubjectAccessReview",
            {"nonResourceAttributes": {"path": "/version", "verb": "get"}},
            id="can-i-path",
        ),
        pytest.param(CAN_I_LIST, "SelfSubjectRulesReview", {"namespace": "transcripts"}, id="can-i-list"),
        pytest.param(WHO_AM_I, "SelfSubjectReview", None, id="whoami"),
    ],
)
def test_recorded_requests(encoded: str, kind: str, spec: Any) -> None:
    obj = decode_protobuf(base64.b64decode(encoded))
    assert obj["kind"] == kind
    assert obj["apiVersion"] in ("authorization.k8s.io/v1", "authentication.k8s.io/v1")
    assert obj.get("spec") == spec
    assert "metadata" not in obj


def text(number: int, value: bytes) -> bytes:
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


def number(field: int, value: int) -> bytes:
    return bytes([field << 3, value])


def body(api_version: bytes, kind: bytes, raw: bytes) -> bytes:
    return (
        b"k8s\x00"
        + text(1, text(1, api_version) + text(2, kind))
        + text(2, raw)
        + text(3, b"")
        + text(4, b"")
    )


def test_a_namespace_with_labels() -> None:
    label = text(11, text(1, b"team") + text(2, b"a"))
    raw = text(1, text(1, b"demo") + label + text(8, b"")) + text(2, b"") + text(3, text(1, b""))
    assert decode_protobuf(body(b"v1", b"Namespace", raw)) == {
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": {"name": "demo", "labels": {"team": "a"}},
    }


def test_a_deployment_keeps_what_is_set_to_zero_on_purpose() -> None:
    container = text(1, b"c") + text(2, b"busybox") + text(8, b"") + text(3, b"sleep") + text(3, b"9")
    template = text(1, text(11, text(1, b"app") + text(2, b"d"))) + text(
        2, text(2, container) + number(11, 0)
    )
    raw = text(1, text(1, b"d")) + text(2, number(1, 0) + text(3, template) + text(4, text(1, b"")))
    deployment = decode_protobuf(body(b"apps/v1", b"Deployment", raw))
    assert deployment["spec"] == {
        "replicas": 0,
        "template": {
            "metadata": {"labels": {"app": "d"}},
            "spec": {"containers": [{"name": "c", "image": "busybox", "command": ["sleep", "9"]}]},
        },
    }


def test_binary_data_is_base64() -> None:
    raw = text(1, text(1, b"s")) + text(2, text(1, b"key") + text(2, b"\x00\xff"))
    assert decode_protobuf(body(b"v1", b"Secret", raw))["data"] == {"key": "AP8="}


def test_numbers_quantities_and_sources_of_a_pod_are_as_in_json() -> None:
    probe = text(1, text(2, text(1, b"/") + text(2, number(1, 1) + text(3, b"web")))) + number(2, 0)
    limit = text(1, text(1, b"memory") + text(2, text(1, b"64Mi")))
    container = text(1, b"c") + text(8, limit) + text(10, probe)
    volumes = text(1, text(1, b"v") + text(2, text(2, text(1, b"")))) + text(
        1, text(1, b"w") + text(2, text(6, text(1, b"key") + text(2, text(1, b"k"))))
    )
    raw = text(2, volumes + text(2, container))
    assert decode_protobuf(body(b"v1", b"Pod", raw))["spec"] == {
        "volumes": [
            {"name": "v", "emptyDir": {}},
            {"name": "w", "secret": {"secretName": "key", "items": [{"key": "k"}]}},
        ],
        "containers": [
            {
                "name": "c",
                "resources": {"limits": {"memory": "64Mi"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": "web"}},
            }
        ],
    }


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        pytest.param(b"", "mark", id="empty"),
        pytest.param(b"{}", "mark", id="json"),
        pytest.param(body(b"v1", b"Node", b""), "'Node'", id="kind"),
        pytest.param(body(b"v1", b"Namespace", text(9, b"x")), "field 9 of Namespace", id="field"),
        pytest.param(body(b"v1", b"Namespace", b"\x0a\x50"), "cut off", id="cut-off"),
        pytest.param(body(b"v1", b"Namespace", b"\x0d\x00\x00\x00\x00"), "wire type", id="wire-type"),
        pytest.param(body(b"v1", b"Namespace", number(1, 3)), "is a number", id="number-for-message"),
        pytest.param(body(b"v1", b"Namespace", text(1, text(1, b"\xff"))), "not text", id="not-text"),
    ],
)
def test_what_is_not_known_is_refused(broken: bytes, problem: str) -> None:
    with pytest.raises(ProtobufError, match=problem):
        decode_protobuf(broken)


@given(kind=st.sampled_from([b"Namespace", b"Deployment", b"Pod", b"Service"]), raw=st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(kind: bytes, raw: bytes) -> None:
    for data in (raw, b"k8s\x00" + raw, body(b"v1", kind, raw)):
        try:
            decode_protobuf(data)
        except ProtobufError:
            continue
