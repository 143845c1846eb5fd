"""The DaemonSet for many settings, compared with files.

With ``WRITE_GOLDEN=1`` in the environment the files are written again; look at the difference.
"""

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest
import yaml

from onenode.builtin_schema import schema_of
from onenode.pruning import prune
from onenode.validation import validate
from spo.api.spod import SecurityProfilesOperatorDaemon
from spo.host.node_paths import pin_root
from spo.manager.spod.default import default_spod
from spo.manager.spod.installation import Installation
from spo.manager.spod.rendering import render
from spo.rpc.bpf_recorder import SOCKET, recorder_socket
from spo.rpc.log_enricher import DAEMON_SOCKET

GOLDEN = Path(__file__).parents[2] / "data/spod"
IMAGE = "registry.example/spo:1"
UID = "5b5f6a4e-0000-4000-8000-000000000001"
ALL_PROBES = {"enableBpfRecorder": True, "enableLogEnricher": True}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "empty": ({}, {}),
    "default": (default_spod("spo", "spod", enable_selinux=False)["spec"], {}),
    "bpf-recorder": ({"enableBpfRecorder": True}, {}),
    "log-enricher": ({"enableLogEnricher": True}, {}),
    "log-enricher-netlink": ({"enableLogEnricher": True, "logEnricherSource": "netlink"}, {}),
    "log-enricher-auditd": ({"enableLogEnricher": True, "logEnricherSource": "auditd"}, {}),
    "selinux": ({"enableSelinux": True, "enableProfiling": True}, {"selinuxd_image": "selinuxd:1"}),
    "probes-other-proc": ({**ALL_PROBES, "hostProcVolumePath": "/hostproc"}, {}),
    "verbose-profiled": ({**ALL_PROBES, "verbosity": 1, "enableProfiling": True}, {}),
    "scheduling": (
        {
            "tolerations": [
                {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
            ],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchFields": [{"key": "a", "operator": "Exists"}]}]
                    }
                }
            },
            "priorityClassName": "system-node-critical",
            "imagePullSecrets": [{"name": "regcred"}],
            "daemonResourceRequirements": {"limits": {"memory": "256Mi", "cpu": 1}},
        },
        {"pull_policy": "Always"},
    ),
    "shared-machine": (
        {**ALL_PROBES, "hostProcVolumePath": "/my-proc"},
        {
            "host_root": PurePosixPath("/var/tmp/node"),
            "host_network": True,
            "health_host": "127.0.0.1",
            "health_port": 18085,
        },
    ),
    "restricted-namespaces": ({}, {"namespaces": ("team-a", "spo"), "spod_name": "other"}),
}


def spod(spec: dict[str, Any]) -> SecurityProfilesOperatorDaemon:
    metadata = {"name": "spod", "namespace": "spo", "uid": UID}
    return msgspec.convert({"metadata": metadata, "spec": spec}, SecurityProfilesOperatorDaemon)


def rendered(spec: dict[str, Any], **installation: Any) -> dict[str, Any]:
    settings = {"image": IMAGE, "operator_namespace": "spo", **installation}
    return render(spod(spec), Installation(**settings))


def pod_of(daemon_set: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = daemon_set["spec"]["template"]["spec"]
    return found


def containers_of(daemon_set: dict[str, Any]) -> dict[str, dict[str, Any]]:
    pod = pod_of(daemon_set)
    return {one["name"]: one for one in (*pod["initContainers"], *pod["containers"])}


@pytest.mark.parametrize("name", CASES)
def test_daemon_set_is_as_in_the_file(name: str) -> None:
    spec, installation = CASES[name]
    found = rendered(spec, **installation)
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("WRITE_GOLDEN"):
        file.write_text(yaml.safe_dump(json.loads(json.dumps(found)), sort_keys=False, width=110))
    assert yaml.safe_load(file.read_text()) == json.loads(json.dumps(found))


def test_no_file_is_left_over() -> None:
    assert sorted(file.stem for file in GOLDEN.iterdir()) == sorted(CASES)


@pytest.mark.parametrize("name", CASES)
def test_only_the_daemon_has_a_token(name: str) -> None:
    found = rendered(CASES[name][0], **CASES[name][1])
    assert pod_of(found)["automountServiceAccountToken"] is False
    mounting = [
        one["name"]
        for one in containers_of(found).values()
        if any(mount["name"] == "api-access" for mount in one["volumeMounts"])
    ]
    assert mounting == ["security-profiles-operator"]


@pytest.mark.parametrize("name", CASES)
def test_nobody_is_privileged_and_all_roots_are_read_only(name: str) -> None:
    for one in containers_of(rendered(CASES[name][0], **CASES[name][1])).values():
        context = one["securityContext"]
        assert "privileged" not in context
        assert context["readOnlyRootFilesystem"] is True
        if one["name"] != "selinuxd":
            assert context["capabilities"]["drop"] == ["ALL"]
            assert context["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize("name", CASES)
def test_every_volume_is_mounted_and_every_mount_has_its_volume(name: str) -> None:
    found = rendered(CASES[name][0], **CASES[name][1])
    volumes = [volume["name"] for volume in pod_of(found)["volumes"]]
    mounted = {mount["name"] for one in containers_of(found).values() for mount in one["volumeMounts"]}
    assert len(volumes) == len(set(volumes))
    assert set(volumes) == mounted


@pytest.mark.parametrize("name", CASES)
def test_every_container_has_resources(name: str) -> None:
    for one in containers_of(rendered(CASES[name][0], **CASES[name][1])).values():
        assert one["resources"]


@pytest.mark.parametrize("path", [None, "", "/proc"])
def test_usual_proc_needs_no_volume(path: str | None) -> None:
    pod = pod_of(rendered({**ALL_PROBES, "hostProcVolumePath": path}))
    assert "host-proc-volume" not in [volume["name"] for volume in pod["volumes"]]


def test_profiles_are_served_where_metrics_are() -> None:
    found = rendered({**ALL_PROBES, "enableProfiling": True}, metrics_host="127.0.0.1")
    for one in pod_of(found)["containers"]:
        environment = {variable["name"]: variable.get("value") for variable in one["env"]}
        assert environment["SPO_PROFILING_HOST"] == "127.0.0.1"


def test_order_of_the_containers_is_documented() -> None:
    found = rendered({**ALL_PROBES, "enableSelinux": True}, selinuxd_image="s")
    pod = pod_of(found)
    assert [one["name"] for one in pod["initContainers"]] == [
        "non-root-enabler",
        "selinux-shared-policies-copier",
    ]
    assert [one["name"] for one in pod["containers"]] == [
        "security-profiles-operator",
        "selinuxd",
        "log-enricher",
        "bpf-recorder",
    ]


def test_rendering_twice_gives_the_same() -> None:
    assert rendered(ALL_PROBES) == rendered(ALL_PROBES)


@pytest.mark.parametrize(
    ("root", "pins"),
    [
        ("/", "/sys/fs/bpf/security-profiles-operator"),
        ("/var/tmp/node", "/sys/fs/bpf/spo-"),
    ],
)
def test_recorders_below_other_roots_pin_apart(root: str, pins: str) -> None:
    assert str(pin_root(PurePosixPath(root))).startswith(pins)


def places(namespace: str) -> dict[str, set[str]]:
    """Container -> where it meets the others of its pod, and pins."""
    found: dict[str, set[str]] = {}
    for one in pod_of(rendered(ALL_PROBES, operator_namespace=namespace))["containers"]:
        values = [*one["args"], *(f"{item['name']}={item.get('value')}" for item in one["env"])]
        named = ("--socket=", "--pin-root=", "SPO_ENRICHER_SOCKET=")
        found[one["name"]] = {value.partition("=")[2] for value in values if value.startswith(named)}
    return found


def test_operators_of_two_namespaces_meet_nowhere_on_a_node() -> None:
    one, other = places("team-a"), places("n" * 63)
    for name in ("log-enricher", "bpf-recorder"):
        assert one[name]
        assert other[name]
        assert not one[name] & other[name]
    socket = recorder_socket("n" * 63)
    assert socket in other["bpf-recorder"]
    assert len(socket) < 100
    assert one["log-enricher"] == one["security-profiles-operator"]
    usual = places("security-profiles-operator")
    assert usual["bpf-recorder"] == usual["log-enricher"] == set()
    assert usual["security-profiles-operator"] == {DAEMON_SOCKET}
    assert recorder_socket("security-profiles-operator") == SOCKET


@pytest.mark.parametrize("name", CASES)
def test_kubernetes_knows_every_field(name: str) -> None:
    schema = schema_of("apps", "v1", "DaemonSet")
    found = json.loads(json.dumps(rendered(CASES[name][0], **CASES[name][1])))
    whole = {"apiVersion": "apps/v1", "kind": "DaemonSet", **found}
    assert validate(whole, schema) == []
    assert prune(whole, schema) == []
