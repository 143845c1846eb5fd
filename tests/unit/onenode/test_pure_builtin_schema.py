"""Schemas of built-in kinds: complete enough to prune, patch, apply and explain."""

from __future__ import annotations

from typing import Any

import pytest

from onenode import builtin_facts
from onenode.builtin_schema import UnknownKindError, schema_of
from onenode.schema import apply_defaults, prune, validate

KINDS = [
    ("", "v1", "Pod"), ("", "v1", "PodTemplate"), ("", "v1", "Namespace"), ("", "v1", "Node"),
    ("", "v1", "Event"),
    ("events.k8s.io", "v1", "Event"), ("coordination.k8s.io", "v1", "Lease"), ("", "v1", "ConfigMap"),
    ("", "v1", "Secret"), ("", "v1", "ServiceAccount"), ("", "v1", "Service"), ("", "v1", "Endpoints"),
    ("apps", "v1", "Deployment"), ("apps", "v1", "ReplicaSet"), ("apps", "v1", "DaemonSet"),
    ("batch", "v1", "Job"), ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    ("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy"),
    ("rbac.authorization.k8s.io", "v1", "Role"), ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
    ("authentication.k8s.io", "v1", "TokenReview"), ("authentication.k8s.io", "v1", "TokenRequest"),
    ("authorization.k8s.io", "v1", "SubjectAccessReview"), ("autoscaling", "v1", "Scale"),
    ("policy", "v1", "Eviction"), ("discovery.k8s.io", "v1", "EndpointSlice"),
]  # fmt: skip


@pytest.mark.parametrize(("group", "version", "kind"), KINDS, ids=lambda part: part or "core")
def test_every_kind_has_a_schema(group: str, version: str, kind: str) -> None:
    schema = schema_of(group, version, kind)
    assert {"apiVersion", "kind"} <= set(schema["properties"])
    assert schema is schema_of(group, version, kind)


def node(schema: dict[str, Any], path: str) -> dict[str, Any]:
    for part in path.split("."):
        schema = schema["items"] if part == "[]" else schema["properties"][part]
    return schema


POD = schema_of("", "v1", "Pod")


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        ("spec.containers", {"x-kubernetes-list-type": "map", "x-kubernetes-patch-merge-key": "name"}),
        ("spec.containers.[].ports", {"x-kubernetes-list-map-keys": ["containerPort", "protocol"]}),
        ("spec.volumes", {"x-kubernetes-patch-strategy": "merge,retainKeys"}),
        ("spec.tolerations", {"x-kubernetes-list-type": "atomic"}),
        (
            "spec.nodeSelector",
            {"x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
        ),
        ("spec.containers.[].livenessProbe.httpGet.port", {"x-kubernetes-int-or-string": True}),
        ("status.startTime", {"type": "string", "format": "date-time"}),
        ("metadata.finalizers", {"x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge"}),
        ("spec.terminationGracePeriodSeconds", {"type": "integer", "format": "int64"}),
        ("spec.priority", {"type": "integer", "format": "int32"}),
    ],
)
def test_facts_about_pod_fields(path: str, facts: dict[str, Any]) -> None:
    found = node(POD, path)
    assert {name: found.get(name) for name in facts} == facts


def test_descriptions_come_along_for_explain() -> None:
    assert POD["description"].startswith("Pod is a collection of containers")
    assert node(POD, "spec.containers.[].image")["description"].startswith("Container image name.")
    assert "\n      " not in node(POD, "spec.containers.[].image")["description"]


def test_quantities_and_bytes_are_members_of_maps() -> None:
    limits = node(POD, "spec.containers.[].resources.limits")
    assert limits["additionalProperties"]["x-kubernetes-int-or-string"] is True
    assert node(schema_of("", "v1", "Secret"), "data")["additionalProperties"]["format"] == "byte"


def test_unknown_fields_are_told_in_the_order_of_the_document() -> None:
    pod = {
        "zzz": 1,
        "metadata": {"name": "p", "bogus": 1},
        "spec": {"containers": [{"name": "c", "image": "i", "imagePullPolice": "x"}]},
        "aaa": 2,
    }
    assert prune(pod, POD) == ["zzz", "metadata.bogus", "spec.containers[0].imagePullPolice", "aaa"]


def test_a_real_pod_is_valid() -> None:
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "creationTimestamp": None},
        "spec": {
            "containers": [
                {
                    "name": "c",
                    "image": "i",
                    "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
                    "ports": [{"containerPort": 80}],
                    "livenessProbe": {"httpGet": {"port": "http"}},
                }
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    }
    assert prune(pod, POD) == []
    apply_defaults(pod, POD)
    assert validate(pod, POD) == []
    assert pod["metadata"] == {"name": "p"}
    assert pod["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("group", "version", "kind"),
    [
        ("", "v1", "Nosuch"),
        ("example.com", "v1", "Pod"),
        ("", "v2", "Pod"),
        ("", "v1", "List"),
        ("../x", "v1", "Pod"),
        ("apps.example.com", "v1", "Deployment"),
    ],
)
def test_a_kind_that_does_not_exist(group: str, version: str, kind: str) -> None:
    with pytest.raises(UnknownKindError):
        schema_of(group, version, kind)


def test_every_fact_is_about_a_declared_field() -> None:
    named = [
        *builtin_facts.LIST_MAPS,
        *builtin_facts.LIST_SETS,
        *builtin_facts.ATOMIC_MAPS,
        *builtin_facts.DEFAULTS,
    ]
    groups = {"core": "", "rbac": "rbac.authorization.k8s.io", "meta": "meta"}
    for path in named:
        module, owner, field = path.split(".")
        group = module.rpartition("_")[0]
        schema = schema_of(groups.get(group, group), "v1", owner)
        assert field in schema["properties"], path
