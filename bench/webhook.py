"""How fast the admission webhooks answer: reviews a second and core, latency, memory.

Starts the real process against an API server that only holds objects, and asks it over TLS on connections
that stay open, as an API server does. The load runs in this process, on another core.
"""

import asyncio
import base64
import contextlib
import json
import os
import re
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.results import table, write_section  # noqa: E402

from spo.manager.certificates import new_authority, new_server_certificate  # noqa: E402
from spo.names import BINDING_PATH, RECORDING_PATH, WEBHOOK_CERTIFICATE  # noqa: E402
from tests.fakes.api_server import FakeApiServer  # noqa: E402
from tools.devcluster import free_port  # noqa: E402

NAMESPACE = "bench"
BINDINGS = 20
REQUESTS = 20_000
WARM_UP = 2_000
POD_BYTES = 10_000
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PATIENCE_S = 30.0

Obj = dict[str, Any]


def pod() -> Obj:
    """A pod of about :data:`POD_BYTES`, as Deployments make them."""
    variables = [{"name": f"VARIABLE_{number}", "value": "v" * 40} for number in range(55)]
    container = {
        "name": "web",
        "image": "nginx:1.19.1",
        "ports": [{"containerPort": 80}],
        "env": variables,
        "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "128Mi"}},
        "securityContext": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}},
    }
    sidecar = {**container, "name": "proxy", "image": "envoyproxy/envoy:v1"}
    metadata = {"generateName": "web-", "labels": {"app": "web"}, "annotations": {"note": "n" * 1200}}
    return {"metadata": metadata, "spec": {"containers": [container, sidecar], "nodeName": ""}}


def review(namespace: str) -> bytes:
    request = {
        "uid": "6cf344e0-005c-4731-9104-df43c045fcd7",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": namespace,
        "operation": "CREATE",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        "object": pod(),
        "oldObject": None,
        "dryRun": False,
    }
    whole = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(whole).encode()


def fill(server: FakeApiServer) -> None:
    """Bindings, of which the last one matches, a recording, the profile, the certificate."""
    objects = server.objects
    group = "/apis/security-profiles-operator.x-k8s.io"

    def create(path: str, name: str, **content: Any) -> None:
        objects.create(objects.locate(path), {"metadata": {"name": name}, **content})

    for number in range(BINDINGS):
        image = "nginx:1.19.1" if number == BINDINGS - 1 else f"quay.io/org/app-{number}:v1"
        spec = {"image": image, "profileRef": {"kind": "SeccompProfile", "name": "strict"}}
        create(f"{group}/v1alpha1/namespaces/{NAMESPACE}/profilebindings", f"b{number}", spec=spec)
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    spec = {"defaultAction": "SCMP_ACT_ALLOW"}
    create(f"{group}/v1beta1/namespaces/{NAMESPACE}/seccompprofiles", "strict", spec=spec, status=ready)
    spec = {"kind": "SeccompProfile", "recorder": "bpf", "podSelector": {"matchLabels": {"app": "web"}}}
    create(f"{group}/v1alpha1/namespaces/{NAMESPACE}/profilerecordings", "r", spec=spec)
    now = datetime.now(UTC)
    authority = new_authority(now)
    served = new_server_certificate(authority.certificate, authority.key, ("localhost",), now)
    data = {"tls.crt": served.certificate, "tls.key": served.key}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    create("/api/v1/namespaces/spo/secrets", WEBHOOK_CERTIFICATE, data=encoded)


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[tuple[int, int]]:
    """The webhook process: its pid and port."""
    async with FakeApiServer() as server:
        fill(server)
        with tempfile.TemporaryDirectory() as folder:
            kubeconfig = Path(folder) / "kubeconfig"
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": server.url}}],
                "users": [{"name": "u", "user": {}}],
            }
            kubeconfig.write_text(json.dumps(config))
            port = free_port()
            env = {
                **os.environ,
                "KUBECONFIG": str(kubeconfig),
                "OPERATOR_NAMESPACE": "spo",
                "SPO_HEALTH_ADDRESS": f"127.0.0.1:{free_port()}",
                "SPO_WEBHOOK_ADDRESS": f"127.0.0.1:{port}",
            }
            command = (sys.executable, "-m", "spo", "webhook")
            process = await asyncio.create_subprocess_exec(*command, env=env)
            try:
                await listening(port)
                yield process.pid, port
            finally:
                process.terminate()
                await process.wait()


async def listening(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


async def connection(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return await asyncio.open_connection("127.0.0.1", port, ssl=context)


async def load(port: int, path: str, body: bytes, clients: int, count: int) -> list[float]:
    """Seconds that each request took, over ``clients`` connections."""
    head = f"POST {path}?timeout=10s HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    taken: list[float] = []

    async def client() -> None:
        reader, writer = await connection(port)
        for _ in range(count // clients):
            begun = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200"), answer
            length = re.search(rb"Content-Length: (\d+)", answer)
            assert length is not None
            content = await reader.readexactly(int(length[1]))
            taken.append(time.perf_counter() - begun)
            assert b'"allowed":true' in content
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return taken


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def rss_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


async def measure() -> tuple[list[tuple[str, ...]], tuple[float, float]]:
    rows = []
    cases = (
        ("binding, patched", BINDING_PATH, NAMESPACE),
        ("binding, nothing to bind", BINDING_PATH, "elsewhere"),
        ("recording, patched", RECORDING_PATH, NAMESPACE),
    )
    async with running() as (pid, port):
        idle = rss_mb(pid)
        await load(port, BINDING_PATH, review(NAMESPACE), 4, WARM_UP)
        for what, path, namespace in cases:
            body = review(namespace)
            for clients in (1, 4, 16):
                before = cpu_s(pid)
                taken = sorted(await load(port, path, body, clients, REQUESTS))
                per_core = len(taken) / (cpu_s(pid) - before)
                median, p99 = taken[len(taken) // 2], taken[round(0.99 * (len(taken) - 1))]
                times = tuple(f"{value * 1000:.2f}" for value in (median, p99, taken[-1]))
                rows.append((what, str(clients), f"{per_core:.0f}", *times))
        return rows, (idle, rss_mb(pid))


def main() -> None:
    busy = os.getloadavg()[0]
    rows, (idle, loaded) = asyncio.run(measure())
    header = ("what", "connections", "reviews/s/core", "median ms", "p99 ms", "worst ms")
    size = f"{len(json.dumps(pod())) / 1000:.1f} kB"
    text = (
        f"A review holds a pod of {size}; its namespace has {BINDINGS} bindings.\n"
        "Promised: >= 5,000 reviews/s/core, p99 <= 5 ms, resident memory <= 50 MB. With 16 connections the\n"
        "load generator, one Python process, is what the latency is made of; with other load here,\n"
        f"the queue for a processor. Load average before: {busy:.1f}.\n\n"
        f"{table(header, rows)}\n"
        f"Resident memory: {idle:.0f} MB idle, {loaded:.0f} MB after {REQUESTS * len(rows)} reviews.\n"
    )
    write_section("Admission (bench/webhook.py)", text)
    print(text)


if __name__ == "__main__":
    main()
