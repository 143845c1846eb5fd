"""What pods ask for reaches their processes: privileges, volumes, logs, commands, probes; real Podman."""

import asyncio
from pathlib import Path

import pytest

from onenode.kubelet.errors import StreamError
from onenode.kubelet.logs import LogOptions
from onenode.kubelet.streams import StreamRequest
from tests.fakes.pod_node import (
    DEADLINE_S,
    WAIT_FOR_TERM,
    Node,
    free_port,
    own_namespace,
    session,
)

pytestmark = pytest.mark.root


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
