"""Objects as the API server sends them become structs, and structs become objects again."""

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from spo.api.core import LEASES, NODES, PODS, Lease, Pod
from spo.api.crds import CUSTOM_RESOURCES
from spo.api.meta import ObjectMeta
from spo.api.node_status import PROFILE_NODE_STATUSES, NodeProfileState, SecurityProfileNodeStatus
from spo.api.profile_recording import ProfileRecording
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile, SeccompProfileStatus
from spo.api.selinux_profile import SelinuxProfile
from spo.api.spod import SecurityProfilesOperatorDaemon

META = {"name": "one", "namespace": "default"}
OBJECTS: dict[str, dict[str, Any]] = {
    "SeccompProfile": {
        "spec": {
            "baseProfileName": "base",
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64"],
            "listenerPath": "/var/run/security-profiles-operator/a.sock",
            "listenerMetadata": "text",
            "syscalls": [
                {
                    "names": ["personality"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": "1",
                    "args": [{"index": 1, "value": 2**63 - 1, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}],
                }
            ],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        },
        "status": {
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ],
            "status": "Installed",
            "activeWorkloads": ["default/pod"],
            "activeWorkloadCount": 1,
            "localhostProfile": "operator/default/one.json",
            "seccompProfile.localhostProfile": "operator/default/one.json",
            "nodes": {"desired": 2, "installed": 1, "failed": 1},
            "failingNodes": [{"nodeName": "n", "message": "disk full"}],
            "observedGeneration": 3,
        },
    },
    "ProfileBinding": {
        "spec": {
            "profileRef": {"kind": "SeccompProfile", "name": "one"},
            "image": "nginx:1",
            "podSelector": {"matchLabels": {"app": "a"}},
        }
    },
    "ProfileRecording": {
        "spec": {
            "kind": "SeccompProfile",
            "recorder": "bpf",
            "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a"]}]},
            "containers": ["nginx"],
            "mergeStrategy": "containers",
            "disableProfileAfterRecording": True,
        }
    },
    "SecurityProfilesOperatorDaemon": {
        "spec": {
            "verbosity": 1,
            "enableAppArmor": True,
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {"anything": [1]}},
            "daemonResourceRequirements": {"limits": {"cpu": 1, "memory": "64Mi"}},
            "hostProcVolumePath": "/hostproc",
            "logEnricherSource": "auditd",
            "nodeGate": {"timeout": "90s"},
        },
        "status": {"state": "RUNNING"},
    },
    "SecurityProfileNodeStatus": {
        "nodeName": "n",
        "profiles": {"SeccompProfile/default/one": {"state": "Installed", "generation": 2}},
        "installed": 1,
        "failed": 0,
    },
    "SelinuxProfile": {
        "spec": {"inherit": [{"name": "net"}], "allow": {"@self": {"tcp_socket": ["listen"]}}},
        "status": {"usage": "one_default.process"},
    },
    "RawSelinuxProfile": {"spec": {"policy": "(blockinherit container)"}},
    "AppArmorProfile": {"spec": {"policy": "profile spo-one {}"}, "status": {"status": "Installed"}},
}


@pytest.mark.parametrize("kind", CUSTOM_RESOURCES, ids=lambda kind: kind.resource.kind)
def test_round_trip(kind: Any) -> None:
    sent = {"metadata": META, **OBJECTS[kind.resource.kind]}
    read = msgspec.json.decode(msgspec.json.encode(sent), type=kind.resource.type)
    assert msgspec.to_builtins(read) == sent


@pytest.mark.parametrize("kind", CUSTOM_RESOURCES, ids=lambda kind: kind.resource.kind)
def test_unknown_fields_are_ignored(kind: Any) -> None:
    sent = {"metadata": {**META, "managedFields": [{}]}, "later": 1, **OBJECTS[kind.resource.kind]}
    read = msgspec.convert(sent, kind.resource.type)
    assert "later" not in msgspec.to_builtins(read)
    assert read.metadata == ObjectMeta(name="one", namespace="default")


def test_limits_of_the_schema_do_not_stop_reading() -> None:
    sent = {"metadata": META, "spec": {"defaultAction": "SCMP_ACT_OF_TOMORROW", "listenerPath": "/x" * 500}}
    assert msgspec.convert(sent, SeccompProfile).spec.default_action == "SCMP_ACT_OF_TOMORROW"


def test_status_holds_the_literal_key() -> None:
    status = SeccompProfileStatus(
        localhost_profile="operator/a/b.json", localhost_profile_key="operator/a/b.json"
    )
    assert msgspec.to_builtins(status) == {
        "localhostProfile": "operator/a/b.json",
        "seccompProfile.localhostProfile": "operator/a/b.json",
    }


@pytest.mark.parametrize("errno_ret", [pytest.param(1, id="number"), pytest.param("1", id="text")])
def test_errno_ret_is_kept_as_written(errno_ret: int | str) -> None:
    rule = {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno_ret}
    sent = {"metadata": META, "spec": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}}
    assert msgspec.convert(sent, SeccompProfile).spec.syscalls[0].errno_ret == errno_ret


def test_empty_node_status_says_so() -> None:
    status = SecurityProfileNodeStatus(metadata=ObjectMeta(name="n"), node_name="n")
    assert msgspec.to_builtins(status) == {
        "metadata": {"name": "n"},
        "nodeName": "n",
        "profiles": {},
        "installed": 0,
        "failed": 0,
    }
    assert status.profiles is not SecurityProfileNodeStatus(metadata=status.metadata, node_name="m").profiles


def test_absent_means_what_the_document_says() -> None:
    recording = {"kind": "SeccompProfile", "recorder": "logs", "podSelector": {}}
    spod = msgspec.convert({"metadata": META}, SecurityProfilesOperatorDaemon)
    assert (spod.spec.verbosity, spod.spec.enable_selinux, spod.spec.selinux_options) == (0, False, None)
    read = msgspec.convert({"metadata": META, "spec": recording}, ProfileRecording)
    assert (read.spec.merge_strategy, read.spec.containers) == ("none", [])
    inherited = msgspec.convert({"metadata": META}, SelinuxProfile).spec.inherit
    assert [(policy.kind, policy.name) for policy in inherited] == [("System", "container")]


def test_pod_holds_only_what_is_used() -> None:
    sent = {
        "metadata": {"name": "p", "labels": {"app": "a"}},
        "spec": {
            "nodeName": "n",
            "volumes": [{"name": "v"}],
            "containers": [
                {
                    "name": "c",
                    "image": "nginx",
                    "env": [{"name": "A"}],
                    "securityContext": {
                        "runAsUser": 1,
                        "seccompProfile": {"type": "Localhost", "localhostProfile": "operator/a/b.json"},
                    },
                }
            ],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    }
    pod = msgspec.convert(sent, Pod)
    context = pod.spec.containers[0].security_context
    assert context is not None
    assert context.seccomp_profile is not None
    assert context.seccomp_profile.localhost_profile == "operator/a/b.json"
    assert "volumes" not in msgspec.to_builtins(pod)["spec"]


def test_lease_is_written_with_microsecond_text() -> None:
    sent = {
        "metadata": {"name": "l"},
        "spec": {"holderIdentity": "me", "renewTime": "2026-01-01T00:00:00.000001Z"},
    }
    assert msgspec.to_builtins(msgspec.convert(sent, Lease)) == sent


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(PODS.path(), "/api/v1/pods", id="core"),
        pytest.param(
            PODS.path("a", "p", "status"), "/api/v1/namespaces/a/pods/p/status", id="core-subresource"
        ),
        pytest.param(NODES.path("ignored", "n"), "/api/v1/nodes/n", id="cluster-scoped"),
        pytest.param(LEASES.path("a"), "/apis/coordination.k8s.io/v1/namespaces/a/leases", id="group"),
        pytest.param(
            SECCOMP_PROFILES.path("a", "p", "status"),
            "/apis/security-profiles-operator.x-k8s.io/v1beta1/namespaces/a/seccompprofiles/p/status",
            id="ours",
        ),
    ],
)
def test_path(path: str, expected: str) -> None:
    assert path == expected


def test_api_version() -> None:
    assert PODS.api_version == "v1"
    assert PROFILE_NODE_STATUSES.api_version == "security-profiles-operator.x-k8s.io/v1alpha1"


def test_reading_kinds_loads_no_generator() -> None:
    program = "import sys, spo.api.seccomp_profile, spo.api.node_status, spo.api.core; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "spo.api.core" in loaded
    assert not loaded & {"asyncio", "yaml", "spo.api.crds", "spo.api.structural_schema"}


def test_state_of_a_profile_on_a_node_is_short() -> None:
    state = NodeProfileState(state="Installed", generation=1)
    assert msgspec.json.encode(state) == b'{"state":"Installed","generation":1}'
