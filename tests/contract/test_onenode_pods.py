"""The life of pods with real Podman and the kernel's real seccomp filter."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.fakes.pod_node import (
    WAIT_FOR_TERM,
    Node,
    pod_groups,
    process_status,
    wait_until,
)

pytestmark = pytest.mark.root

REFUSE_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}


async def test_pod_runs_to_success(node: Node) -> None:
    output = await node.run("hostname; echo done", container={"env": [{"name": "A", "value": "b"}]})
    assert output == "p\ndone\n"
    ended = node.container()["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    assert await node.log(tail_lines=1) == "done\n"


@pytest.mark.parametrize("by", ["security-context", "annotation"])
async def test_profile_is_enforced(node: Node, by: str) -> None:
    folder = node.settings.seccomp_root / "operator/ns"
    folder.mkdir(parents=True)
    (folder / "p.json").write_text(json.dumps(REFUSE_MKDIR))
    script = "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status; sleep 60"
    if by == "security-context":
        profile = {"type": "Localhost", "localhostProfile": "operator/ns/p.json"}
        node.add(script, securityContext={"seccompProfile": profile})
    else:
        annotations = {"seccomp.security.alpha.kubernetes.io/pod": "localhost/operator/ns/p.json"}
        command = ["sh", "-c", script]
        container = {"name": "c", "image": node.image, "command": command}
        node.store.create(
            "pods",
            {
                "metadata": {"name": "p", "namespace": "ns", "annotations": annotations},
                "spec": {"nodeName": "n1", "containers": [container]},
            },
        )
    await node.phase("Running")
    assert "\nSeccomp:\t2\n" in process_status(node.pid())
    output = ""
    while "Seccomp:" not in output:
        output = await node.log()
    assert "can't create directory '/tmp/x': Operation not permitted" in output
    assert "Seccomp:\t2" in output


@pytest.mark.parametrize(
    ("kind", "mode"), [pytest.param("Unconfined", "0"), pytest.param("RuntimeDefault", "2"), (None, "0")]
)
async def test_profile_types(node: Node, kind: str | None, mode: str) -> None:
    context = {"seccompProfile": {"type": kind}} if kind else {}
    output = await node.run("grep Seccomp: /proc/self/status", securityContext=context)
    assert output == f"Seccomp:\t{mode}\n"


async def test_missing_profile_then_start_when_it_appears(node: Node) -> None:
    profile = {"type": "Localhost", "localhostProfile": "operator/ns/late.json"}
    node.add("sleep 60", securityContext={"seccompProfile": profile})
    await node.until(lambda: "message" in node.container().get("state", {}).get("waiting", {}))
    waiting = node.container()["state"]["waiting"]
    assert waiting["reason"] == "CreateContainerError"
    assert "operator/ns/late.json: no such file or directory" in waiting["message"]
    folder = node.settings.seccomp_root / "operator/ns"
    folder.mkdir(parents=True)
    (folder / "late.json").write_text(json.dumps(REFUSE_MKDIR))
    await node.phase("Running")


async def test_broken_profile_is_reported_in_the_runtimes_words(node: Node) -> None:
    (node.settings.seccomp_root / "broken.json").write_text("{")
    profile = {"type": "Localhost", "localhostProfile": "broken.json"}
    node.add("sleep 60", securityContext={"seccompProfile": profile})
    await node.until(lambda: "message" in node.container().get("state", {}).get("waiting", {}))
    assert "broken.json" in node.container()["state"]["waiting"]["message"]


async def test_init_containers_share_the_volume_and_the_network(node: Node) -> None:
    mount = [{"name": "shared", "mountPath": "/shared"}]
    address = "ip -4 addr show eth0 | grep -o 'inet [0-9.]*'"
    inits = [
        {
            "name": name,
            "image": node.image,
            "command": ["sh", "-c", f"echo {name} >> /shared/f; {address} >> /shared/f"],
            "volumeMounts": mount,
        }
        for name in ("one", "two")
    ]
    output = await node.run(
        "cat /shared/f",
        container={"volumeMounts": mount},
        initContainers=inits,
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    first, address_one, second, address_two = output.splitlines()
    assert (first, second) == ("one", "two")
    assert address_one == address_two == f"inet {node.status()['podIP']}"


async def test_deleted_pod_ends_on_sigterm(node: Node) -> None:
    node.add(WAIT_FOR_TERM)
    await node.phase("Running")
    while "started" not in await node.log():
        pass
    pid, uid = node.pid(), node.pod()["metadata"]["uid"]
    assert pod_groups(uid)
    node.delete(grace_s=30)
    await node.until(lambda: not node.pod())
    assert not process_status(pid)
    await asyncio.to_thread(wait_until, lambda: not pod_groups(uid))
    await asyncio.to_thread(wait_until, lambda: not list(node.settings.pods.iterdir()))


async def test_deleted_pod_that_ignores_sigterm_is_killed(node: Node) -> None:
    node.add("trap '' TERM; while :; do sleep 0.1; done")
    await node.phase("Running")
    node.delete(grace_s=1)
    await node.until(lambda: not node.pod())


async def test_restarted_kubelet_looks_at_the_volumes_of_running_pods(node: Node) -> None:
    volume = {"name": "s", "secret": {"secretName": "later", "optional": True}}
    mount = {"name": "s", "mountPath": "/s"}
    node.add("until [ -e /s/key ]; do sleep 0.1; done", container={"volumeMounts": [mount]}, volumes=[volume])
    await node.phase("Running")
    await node.stop()
    secret = {"metadata": {"name": "later", "namespace": "ns"}, "data": {"key": "eA=="}}
    node.store.create("secrets", secret)

    await node.start()
    await node.phase("Succeeded")


async def test_restarted_kubelet_takes_over_the_same_process(node: Node) -> None:
    node.add(WAIT_FOR_TERM, restartPolicy="Always")
    await node.phase("Running")
    pid, before = node.pid(), node.status()
    await node.stop()
    await node.start()
    assert (node.pid(), node.status()) == (pid, before)
    os.kill(pid, signal.SIGKILL)
    await node.until(lambda: node.container().get("restartCount") == 1)
    await node.until(lambda: "running" in node.container()["state"])
    assert node.container()["lastState"]["terminated"]["exitCode"] == 137


async def test_command_that_does_not_exist(node: Node) -> None:
    node.add(container={"command": ["/no/such/program"]})
    await node.phase("Failed")
    ended = node.container()["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert "/no/such/program" in ended["message"]


async def test_missing_image(node: Node) -> None:
    node.add(container={"image": "localhost/no-such-image:1"})
    await node.until(
        lambda: node.container().get("state", {}).get("waiting", {}).get("reason") == "ErrImagePull"
    )


async def test_image_without_its_registry_is_found(node: Node) -> None:
    await node.run("true", container={"image": node.image.removeprefix("localhost/")})
    assert node.container()["image"] == node.image


async def test_two_instances_do_not_disturb_each_other(
    node: Node, tmp_path: Path, busybox_image: str
) -> None:
    (tmp_path / "second").mkdir()
    other = Node(tmp_path / "second", busybox_image)
    await other.start()
    try:
        node.add(WAIT_FOR_TERM)
        other.add(WAIT_FOR_TERM)
        await node.phase("Running")
        await other.phase("Running")
        await other.stop()
        await asyncio.to_thread(other.instance.remove_pods, os.environ)
        assert process_status(node.pid())
    finally:
        await asyncio.to_thread(other.instance.remove_pods, os.environ)
