"""The pod runner with real Podman, real files and the kernel's real seccomp filter."""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onenode.instance import Instance
from onenode.kubelet import Kubelet, KubeletSettings, Podman
from onenode.kubelet.errors import StreamError
from onenode.kubelet.logs import LogOptions
from onenode.kubelet.pod import Pod
from onenode.kubelet.streams import StreamRequest
from onenode.store import Store
from tests.fakes.images import import_busybox, remove_image

pytestmark = pytest.mark.root

DEADLINE_S = 20.0
REFUSE_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
}
WAIT_FOR_TERM = 'trap "exit 0" TERM; echo started; while :; do sleep 0.1; done'


class FixedTokens:
    def issue(self, *, pod: Pod, audience: str, expiration_s: int) -> str:
        return f"token of {pod.spec.service_account_name}"


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    tag = f"localhost/onenode-test-{secrets.token_hex(4)}:1"
    import_busybox(tag)
    yield tag
    remove_image(tag)


class Node:
    """A kubelet on this machine with an instance of its own."""

    def __init__(self, folder: Path, image: str) -> None:
        self.image = image
        self.instance = Instance(folder / "state")
        self.instance.prepare()
        self.store = Store(":memory:")
        self.store.create("namespaces", {"metadata": {"name": "ns"}})
        self.settings = KubeletSettings(
            node_name="n1",
            state=self.instance.state,
            seccomp_root=folder / "seccomp",
            instance=self.instance.identifier,
            start_backoff_s=0.2,
            start_backoff_max_s=0.4,
        )
        self.settings.seccomp_root.mkdir()
        self.podman: Podman
        self.kubelet: Kubelet
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.podman = self.instance.podman(os.environ)
        self.kubelet = Kubelet(self.store, self.podman, self.settings, FixedTokens())
        self._task = asyncio.create_task(self.kubelet.run())
        await asyncio.wait_for(self.kubelet.ready.wait(), DEADLINE_S)

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.podman.drain()

    def add(
        self, script: str = "", *, name: str = "p", container: dict[str, Any] | None = None, **spec: Any
    ) -> None:
        main = {"name": "c", "image": self.image, **(container or {})}
        if script:
            main["command"] = ["sh", "-c", script]
        wanted = {"nodeName": "n1", "restartPolicy": "Never", "containers": [main], **spec}
        self.store.create("pods", {"metadata": {"name": name, "namespace": "ns"}, "spec": wanted})

    def pod(self, name: str = "p") -> dict[str, Any]:
        return self.store.get("pods", "ns", name) or {}

    def status(self, name: str = "p") -> dict[str, Any]:
        status: dict[str, Any] = self.pod(name).get("status") or {}
        return status

    def container(self, name: str = "p") -> dict[str, Any]:
        statuses = self.status(name).get("containerStatuses") or [{}]
        container: dict[str, Any] = statuses[0]
        return container

    async def until(self, condition: Callable[[], object]) -> None:
        async def wait() -> None:
            watch = self.store.watch("pods", None)
            try:
                while not condition():
                    await anext(watch)
            finally:
                watch.close()

        try:
            await asyncio.wait_for(wait(), DEADLINE_S)
        except TimeoutError:
            pytest.fail(f"not within {DEADLINE_S} s; status: {json.dumps(self.status())}")

    async def phase(self, phase: str, name: str = "p") -> None:
        await self.until(lambda: self.status(name).get("phase") == phase)

    async def log(self, name: str = "p", container: str = "c", **options: Any) -> str:
        stream = await self.kubelet.read_logs(self.pod(name), container, LogOptions(**options))
        return b"".join([piece async for piece in stream]).decode()

    async def run(self, script: str, **spec: Any) -> str:
        """Run a script to its end; its output."""
        self.add(script, **spec)
        await self.until(lambda: self.status().get("phase") in ("Succeeded", "Failed"))
        assert self.status()["phase"] == "Succeeded", await self.log()
        return await self.log()

    def delete(self, grace_s: int) -> None:
        pod = self.pod()
        times = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace_s}
        pod["metadata"] |= times
        self.store.update("pods", pod)

    def pid(self) -> int:
        """First process of the container, as the node sees it."""
        identifier = self.container()["containerID"].removeprefix("podman://")
        command = ["podman", "inspect", "--format={{.State.Pid}}", identifier]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def containers_of(instance: str) -> list[str]:
    label = f"--filter=label=onenode.instance={instance}"
    command = ["podman", "ps", "--all", "--quiet", label]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def wait_until(condition: Callable[[], bool]) -> None:
    """For what the kernel or Podman does a little later than the API says."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def process_status(pid: int) -> str:
    """What the kernel says about a process, empty if there is none."""
    file = Path(f"/proc/{pid}/status")
    return file.read_text() if file.exists() else ""


def own_namespace(kind: str) -> str:
    return str(Path(f"/proc/self/ns/{kind}").readlink())


def pod_groups(uid: str) -> list[Path]:
    """Control groups of a pod, in all hierarchies."""
    root, name = Path("/sys/fs/cgroup"), f"kubepods/besteffort/pod{uid}"
    return [*root.glob(name), *root.glob(f"*/{name}")]


@pytest.fixture
async def node(tmp_path: Path, image: str) -> AsyncIterator[Node]:
    made = Node(tmp_path, image)
    await made.start()
    yield made
    await made.stop()
    await asyncio.to_thread(made.instance.remove_pods, os.environ)
    assert containers_of(made.settings.instance) == []


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


async def test_logs_of_this_run_and_the_one_before(node: Node) -> None:
    node.add("cat /proc/sys/kernel/random/uuid; exit 1", restartPolicy="Always")
    await node.until(
        lambda: node.container().get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff"
    )
    assert node.container()["restartCount"] == 1
    last = await node.log()
    stream = await node.kubelet.read_logs(node.pod(), "c", LogOptions(), previous=True)
    assert b"".join([piece async for piece in stream]).decode() == last
    assert len(last) == 37


async def test_security_context_reaches_the_process(node: Node) -> None:
    output = await node.run(
        "id -u; id -g; id -G; grep -E 'CapEff|NoNewPrivs' /proc/self/status; touch /x 2>&1; exit 0",
        container={
            "securityContext": {
                "runAsUser": 65535,
                "runAsGroup": 65535,
                "readOnlyRootFilesystem": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
        },
        securityContext={"fsGroup": 2000, "supplementalGroups": [3000]},
    )
    user, group, groups, capabilities, no_new, touch = output.splitlines()
    assert (user, group) == ("65535", "65535")
    assert {"2000", "3000"} <= set(groups.split())
    assert (capabilities, no_new) == ("CapEff:\t0000000000000000", "NoNewPrivs:\t1")
    assert "Read-only file system" in touch


async def test_dropped_capabilities_but_some(node: Node) -> None:
    context = {"capabilities": {"drop": ["ALL"], "add": ["CHOWN", "FOWNER"]}}
    output = await node.run("grep CapEff /proc/self/status", container={"securityContext": context})
    assert output == f"CapEff:\t{1 << 0 | 1 << 3:016x}\n"


async def test_privileged(node: Node) -> None:
    output = await node.run(
        "grep -E 'CapEff|Seccomp:' /proc/self/status", container={"securityContext": {"privileged": True}}
    )
    effective, seccomp = output.splitlines()
    assert int(effective.split()[1], 16) & (1 << 21)  # SYS_ADMIN
    assert seccomp == "Seccomp:\t0"


async def test_host_namespaces(node: Node) -> None:
    output = await node.run(
        "readlink /proc/self/ns/net; readlink /proc/self/ns/pid", hostNetwork=True, hostPID=True
    )
    assert output.splitlines() == [own_namespace("net"), own_namespace("pid")]


async def test_volumes_and_environment(node: Node, tmp_path: Path) -> None:
    host = tmp_path / 'host, with:odd "name"'
    host.mkdir()
    (host / "f").write_text("from the node\n")
    node.store.create(
        "configmaps", {"metadata": {"name": "settings", "namespace": "ns"}, "data": {"k": "v", "m": "a\nb"}}
    )
    node.store.create(
        "secrets", {"metadata": {"name": "keys", "namespace": "ns"}, "data": {"password": "aHVudGVyMg=="}}
    )
    projected = [
        {"serviceAccountToken": {"path": "token"}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    output = await node.run(
        "cat /host/f /projected/token; echo; cat /projected/namespace; echo; cat /config/k /one; echo;"
        'echo "$PASSWORD $NAME $k"; printf "%s|" "$m"; touch /config/x 2>/dev/null || echo read-only',
        container={
            "env": [
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "envFrom": [{"configMapRef": {"name": "settings"}}],
            "volumeMounts": [
                {"name": "host", "mountPath": "/host"},
                {"name": "access", "mountPath": "/projected"},
                {"name": "config", "mountPath": "/config", "readOnly": True},
                {"name": "config", "mountPath": "/one", "subPath": "k"},
            ],
        },
        volumes=[
            {"name": "host", "hostPath": {"path": str(host), "type": "Directory"}},
            {"name": "access", "projected": {"sources": projected, "defaultMode": 0o444}},
            {"name": "config", "configMap": {"name": "settings"}},
        ],
    )
    assert output.splitlines() == [
        "from the node",
        "token of default",
        "ns",
        "vv",
        "hunter2 p v",
        "a",
        "b|read-only",
    ]


async def test_followed_log_ends_with_the_container(node: Node) -> None:
    node.add("for n in 1 2 3; do echo $n; sleep 0.2; done")
    await node.phase("Running")
    assert await asyncio.wait_for(node.log(follow=True), DEADLINE_S) == "1\n2\n3\n"


async def test_two_instances_do_not_disturb_each_other(node: Node, tmp_path: Path, image: str) -> None:
    (tmp_path / "second").mkdir()
    other = Node(tmp_path / "second", image)
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


async def session(node: Node, request: StreamRequest, *, send: bytes = b"") -> tuple[int, bytes, bytes]:
    """Run a command in the pod's container: exit code, output, error output."""
    process = await node.kubelet.open_stream(node.pod(), "c", request)
    written = {1: b"", 2: b""}
    if send:
        await process.write(send)
        await process.close_input()
    async with asyncio.timeout(DEADLINE_S):
        async for channel, data in process.output():
            written[channel] += data
        return await process.wait(), written[1], written[2]


async def test_exec_in_a_running_container(node: Node) -> None:
    node.add(WAIT_FOR_TERM)
    await node.phase("Running")
    request = StreamRequest(command=["sh", "-c", "cat; echo err >&2; exit 7"], stdin=True)
    assert await session(node, request, send=b"typed\n") == (7, b"typed\n", b"err\n")


async def test_exec_on_a_terminal(node: Node) -> None:
    node.add(WAIT_FOR_TERM)
    await node.phase("Running")
    request = StreamRequest(command=["sh", "-c", "test -t 0 && echo terminal"], stdin=True, tty=True)
    code, output, _ = await session(node, request)
    assert (code, output) == (0, b"terminal\r\n")


async def test_exec_needs_a_running_container(node: Node) -> None:
    node.add("true")
    await node.phase("Succeeded")
    with pytest.raises(StreamError):
        await session(node, StreamRequest(command=["true"]))


def ready(node: Node) -> bool:
    found = {item["type"]: item["status"] for item in node.status().get("conditions") or ()}
    return found.get("Ready") == "True"


async def test_readiness_follows_the_probe(node: Node) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    node.add("sleep 0.5; touch /tmp/ready; sleep 60", container={"readinessProbe": probe})
    await node.phase("Running")
    assert not ready(node)
    await node.until(lambda: ready(node))
    await session(node, StreamRequest(command=["rm", "/tmp/ready"]))
    await node.until(lambda: not ready(node))


@pytest.mark.parametrize("host_network", [False, True])
async def test_liveness_by_http_restarts_a_sick_container(node: Node, host_network: bool) -> None:
    port = free_port() if host_network else 8080
    script = (
        f"mkdir /tmp/www; echo fine > /tmp/www/health; httpd -p {port} -h /tmp/www; sleep 1.5;"
        "rm /tmp/www/health; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    )
    probe = {
        "httpGet": {"path": "/health", "port": "web"},
        "periodSeconds": 1,
        "failureThreshold": 1,
        "initialDelaySeconds": 1,
    }
    container = {"livenessProbe": probe, "ports": [{"name": "web", "containerPort": port}]}
    node.add(script, container=container, restartPolicy="Always", hostNetwork=host_network)
    await node.until(lambda: node.container().get("restartCount") == 1)
    reasons = {event["reason"]: event["message"] for event in node.store.list("events")[0]}
    assert reasons["Unhealthy"] == "Liveness probe failed: HTTP probe failed with statuscode: 404"
    assert reasons["Killing"] == "Container c failed liveness probe, will be restarted"


async def test_startup_probe_by_connection(node: Node) -> None:
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 10}
    node.add("sleep 0.5; httpd -p 8080 -h /tmp; sleep 60", container={"startupProbe": probe})
    await node.phase("Running")
    assert not node.container()["started"]
    await node.until(lambda: ready(node) and node.container()["started"])
