"""What an uninstallation would do, and does to objects, without a cluster."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest

from spo.api.core import NODES
from spo.api.profile_binding import PROFILE_BINDINGS
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.cli.__main__ import run_cli
from spo.cli.cluster_status.objects import DaemonPod
from spo.cli.cluster_uninstall.inventory import Found, Inventory, take_inventory
from spo.cli.cluster_uninstall.nodes import NAMESPACE, clean_nodes, cleanup_pod, judge
from spo.cli.cluster_uninstall.objects import (
    CLUSTER_KINDS,
    CRDS,
    CUSTOM,
    DEPLOYMENTS,
    PODS,
    THING_NAMESPACES,
    Thing,
    is_our_finalizer,
)
from spo.cli.cluster_uninstall.plan import (
    InUseError,
    OtherOperatorError,
    check,
    not_cleaned,
    paths_on_node,
    plan,
)
from spo.cli.cluster_uninstall.removal import uninstall
from spo.kube.client import KubeClient
from spo.kube.config import server_config
from spo.kube.errors import NotFoundError
from spo.names import (
    BINDING_FINALIZER,
    IN_USE_FINALIZER,
    INSTALLED_FINALIZER,
    RECORDING_FINALIZER,
    UNMERGED_FINALIZER,
)
from tests.fakes.api_server import Call, FakeApiServer

NS = "security-profiles-operator"
Capture = pytest.CaptureFixture[str]


def thing(name: str, namespace: str | None = None) -> Thing:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return msgspec.convert({"metadata": metadata}, Thing)


INSTALLED = Inventory(
    namespace=NS,
    namespace_present=True,
    namespace_ours=True,
    custom=[Found(resource=CUSTOM[0], objects=[thing("web", "team"), thing("db", "team")])],
    cluster=[Found(resource=CLUSTER_KINDS[0], objects=[thing("spo")])],
    crds=[thing("seccompprofiles.security-profiles-operator.x-k8s.io")],
    image="image:1",
    nodes=["n1", "n2"],
)


def test_plan_lists_what_would_go() -> None:
    assert list(plan(INSTALLED)) == [
        "SeccompProfile: team/db, team/web",
        "MutatingWebhookConfiguration: spo",
        "Namespace: security-profiles-operator, with everything in it",
        "CustomResourceDefinition: seccompprofiles.security-profiles-operator.x-k8s.io",
        (
            "on 2 nodes: /var/lib/kubelet/seccomp/operator, /var/lib/security-profiles-operator, "
            "/run/security-profiles-operator, /sys/fs/bpf/security-profiles-operator"
        ),
    ]


def test_plan_is_bounded() -> None:
    many = [thing(f"p{index:03}", "team") for index in range(50)]
    first = next(iter(plan(replace(INSTALLED, custom=[Found(resource=CUSTOM[0], objects=many)]))))
    assert first.endswith("team/p009 and 40 more")


def test_namespace_of_others_stays() -> None:
    own = [Found(resource=CUSTOM[1], objects=[thing("x", "shared")])]
    lines = list(plan(replace(INSTALLED, namespace_ours=False, own=own)))
    assert not any(line.startswith("Namespace: ") for line in lines)
    assert f"{CUSTOM[1].kind}: shared/x" in lines


def test_pods_that_use_profiles_stand_against_it() -> None:
    used = replace(INSTALLED, users={"team/a": ("operator/team/web.json",)})
    with pytest.raises(InUseError, match=r"1 pod still use .*\(team/a\).*--force"):
        check(used, force=False)
    check(used, force=True)
    assert "in use by a pod: operator/team/web.json (team/a)" in list(plan(used))


def test_other_operator_stands_against_it_in_any_case() -> None:
    with pytest.raises(OtherOperatorError, match="another operator runs in second"):
        check(replace(INSTALLED, other_operators=["second"]), force=True)


def test_nodes_that_cannot_be_cleaned_are_named_with_the_command() -> None:
    (line,) = not_cleaned(replace(INSTALLED, unreachable=["n3"]))
    assert line.startswith("node n3 is not ready; there, as root: rm -rf /var/lib/kubelet/seccomp/operator ")
    (line,) = not_cleaned(replace(INSTALLED, image=""))
    assert line.startswith("2 nodes, because nobody knows the operator's image any more")


def test_paths_follow_the_root_of_the_node() -> None:
    paths = paths_on_node(PurePosixPath("/elsewhere"), NS)
    assert "/elsewhere/var/lib/security-profiles-operator" in paths
    assert "/elsewhere/var/run/security-profiles-operator" in paths
    assert paths[-1].startswith("/sys/fs/bpf/spo-")


def test_cleanup_pod_has_no_token_and_few_rights() -> None:
    spec = cleanup_pod(INSTALLED, "node-cleanup-0", "n1")["spec"]
    (container,) = spec["containers"]
    assert (spec["nodeName"], spec["automountServiceAccountToken"]) == ("n1", False)
    assert container["image"] == "image:1"
    assert container["securityContext"]["capabilities"] == {
        "drop": ["ALL"],
        "add": ["DAC_OVERRIDE", "FOWNER"],
    }
    assert {one["hostPath"]["path"] for one in spec["volumes"]} == {
        "/var/lib", "/run", "/var/run", "/sys/fs/bpf",
    }  # fmt: skip
    assert "--pins=/node/sys/fs/bpf/security-profiles-operator" in container["args"]


def cleaning(phase: str, **state: Any) -> DaemonPod:
    status = {"phase": phase, "containerStatuses": [{"name": "node-cleanup", "state": state}]}
    return msgspec.convert({"metadata": {"name": "p"}, "status": status}, DaemonPod)


@pytest.mark.parametrize(
    ("pod", "ended", "left"),
    [
        pytest.param(cleaning("Succeeded", terminated={"exitCode": 0}), True, "", id="clean"),
        pytest.param(
            cleaning("Failed", terminated={"exitCode": 3, "message": "/a: foreign\n/b: busy"}),
            True,
            "node n1: left /a: foreign; /b: busy",
            id="left",
        ),
        pytest.param(
            cleaning("Pending", waiting={"reason": "ErrImagePull"}),
            False,
            "node n1 was not cleaned in time (ErrImagePull); on n1, as root: rm -rf",
            id="no-image",
        ),
        pytest.param(None, False, "node n1 was not cleaned: its pod is gone", id="pod-gone"),
    ],
)
def test_judgement_of_a_node(pod: DaemonPod | None, ended: bool, left: str) -> None:
    found = judge(pod, "n1", "rm -rf x")
    assert found[0] == ended
    assert found[1].startswith(left)
    assert bool(found[1]) == bool(left)


def test_every_finalizer_of_ours_is_known() -> None:
    ours = (INSTALLED_FINALIZER, IN_USE_FINALIZER, BINDING_FINALIZER, RECORDING_FINALIZER, UNMERGED_FINALIZER)
    assert all(map(is_our_finalizer, ours))
    assert not is_our_finalizer("foregroundDeletion")


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as made:
        yield made


@pytest.fixture
async def client(
    server: FakeApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KubeClient]:
    async with KubeClient(server_config(server.url)) as made:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield made


async def spoc(*arguments: str) -> int:
    return await asyncio.to_thread(run_cli, ["cluster", "uninstall", *arguments])


async def install(client: KubeClient) -> None:
    """What is left when the manager has gone first."""
    app = {"app": NS}
    await client.create(THING_NAMESPACES, {"metadata": {"name": NS, "labels": app}})
    finalizers = [INSTALLED_FINALIZER, IN_USE_FINALIZER]
    profile = {"name": "web", "namespace": "team", "finalizers": finalizers}
    spec = {"defaultAction": "SCMP_ACT_ALLOW"}
    await client.create(SECCOMP_PROFILES, {"metadata": profile, "spec": spec}, "team")
    await client.delete(SECCOMP_PROFILES, "web", "team")
    binding = {"name": "b", "namespace": "team", "finalizers": [BINDING_FINALIZER]}
    reference = {"profileRef": {"kind": "SeccompProfile", "name": "web"}, "image": "x"}
    await client.create(PROFILE_BINDINGS, {"metadata": binding, "spec": reference}, "team")
    await client.create(CRDS, {"metadata": {"name": f"seccompprofiles.{SECCOMP_PROFILES.group}"}})
    await client.create(CLUSTER_KINDS[0], {"metadata": {"name": "spo", "labels": app}})


async def test_objects_with_finalizers_go_and_kinds_last(client: KubeClient) -> None:
    await install(client)
    inventory = await take_inventory(client, NS)
    assert not inventory.is_empty
    said: list[str] = []
    left = await uninstall(client, inventory, force=False, timeout_s=1, say=said.append)
    assert left == []
    assert said[-1] == "Removed the kinds"
    after = await take_inventory(client, NS)
    assert after.is_empty
    for resource, name, namespace in (
        (SECCOMP_PROFILES, "web", "team"),
        (PROFILE_BINDINGS, "b", "team"),
        (CLUSTER_KINDS[0], "spo", None),
    ):
        with pytest.raises(NotFoundError):
            await client.get(resource, name, namespace)


async def test_image_and_root_are_those_of_the_manager(client: KubeClient) -> None:
    variable = {"name": "SPO_SPOD_HOST_ROOT", "value": "/elsewhere"}
    pod = {"containers": [{"image": "image:2", "env": [variable]}]}
    body = {"metadata": {"name": NS}, "spec": {"template": {"spec": pod}}}
    await client.create(DEPLOYMENTS, body, NS)
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    await client.create(NODES, {"metadata": {"name": "n1"}, "status": ready})
    await client.create(NODES, {"metadata": {"name": "n2"}})
    foreign = {"name": "w", "labels": {"kubernetes.io/os": "windows"}}
    await client.create(NODES, {"metadata": foreign, "status": ready})
    found = await take_inventory(client, NS)
    assert (found.image, found.host_root) == ("image:2", PurePosixPath("/elsewhere"))
    assert (list(found.nodes), list(found.unreachable)) == (["n1"], ["n2"])


async def test_nobody_to_ask_is_wrong_usage(
    client: KubeClient, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO())
    await install(client)
    assert await spoc() == 2
    assert "use --yes" in capsys.readouterr().err
    assert await spoc("--dry-run") == 0
    assert "SeccompProfile: team/web" in capsys.readouterr().out
    assert not (await take_inventory(client, NS)).is_empty


async def test_command_removes_and_the_second_time_finds_nothing(client: KubeClient, capsys: Capture) -> None:
    await install(client)
    assert await spoc("--yes") == 0
    assert "Removed the kinds" in capsys.readouterr().out
    assert await spoc("--yes") == 0
    assert capsys.readouterr().out.startswith("Nothing of the operator is in the cluster")


async def test_cluster_that_refuses_the_cleanup_is_uninstalled_nevertheless(
    client: KubeClient, server: FakeApiServer
) -> None:
    await install(client)
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    await client.create(NODES, {"metadata": {"name": "n1"}, "status": ready})
    body = json.dumps(
        {"kind": "Status", "reason": "Invalid", "message": "no host paths", "code": 422}
    ).encode()

    async def refuse(_: Call, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 422 X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        await writer.drain()

    server.plan(lambda call: call.method == "POST" and call.path.endswith("/pods"), refuse)
    inventory = replace(await take_inventory(client, NS), image="image:1")
    (left,) = await uninstall(client, inventory, force=False, timeout_s=1, say=lambda _: None)
    assert left.startswith("node n1 was not cleaned: no host paths")
    assert "on n1, as root: rm -rf" in left
    assert (await take_inventory(client, NS)).is_empty


async def test_namespace_of_somebody_else_is_not_used_for_the_cleanup(client: KubeClient) -> None:
    await client.create(THING_NAMESPACES, {"metadata": {"name": NAMESPACE}})
    found = await clean_nodes(client, replace(INSTALLED, nodes=["n1"]), 1)
    assert found.clean == []
    assert found.left[0].startswith(f"node n1 was not cleaned: namespace {NAMESPACE} is somebody else's")
    assert (await client.get(THING_NAMESPACES, NAMESPACE)).metadata.name == NAMESPACE


async def test_pod_of_an_earlier_cleanup_says_nothing_about_this_one(client: KubeClient) -> None:
    await client.create(THING_NAMESPACES, {"metadata": {"name": NAMESPACE, "labels": {"app": NS}}})
    earlier = {"metadata": {"name": "node-cleanup-0"}, "status": {"phase": "Succeeded"}}
    await client.create(PODS, earlier, NAMESPACE)
    found = await clean_nodes(client, replace(INSTALLED, nodes=["n1"]), 0.2)
    assert found.clean == []
    assert found.left[0].startswith("node n1 was not cleaned")


async def test_object_that_somebody_else_keeps_is_named(client: KubeClient) -> None:
    finalizers = [INSTALLED_FINALIZER, "example.org/backup"]
    metadata = {"name": "kept", "namespace": "team", "finalizers": finalizers}
    body = {"metadata": metadata, "spec": {"defaultAction": "SCMP_ACT_ALLOW"}}
    await client.create(SECCOMP_PROFILES, body, "team")
    inventory = await take_inventory(client, NS)
    left = await uninstall(client, inventory, force=False, timeout_s=1, say=lambda _: None)
    assert left == ["SeccompProfile team/kept waits for example.org/backup"]
    kept = await client.get(SECCOMP_PROFILES, "kept", "team")
    assert kept.metadata.finalizers == ["example.org/backup"]
    assert kept.metadata.deletion_timestamp
