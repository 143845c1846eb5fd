"""The process ``webhook`` as it is started: what it waits for, what it follows, how it ends."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from spo.manager.certificates import new_authority, new_server_certificate
from spo.names import BINDING_PATH, WEBHOOK_CERTIFICATE
from tests.fakes.api_server import FakeApiServer
from tools.devcluster import free_port

Obj = dict[str, Any]
T = TypeVar("T")
GROUP = "/apis/security-profiles-operator.x-k8s.io"
BINDINGS = f"{GROUP}/v1alpha1/namespaces/shop/profilebindings"
PROFILES = f"{GROUP}/v1beta1/namespaces/shop/seccompprofiles"
SECRETS = "/api/v1/namespaces/spo/secrets"
POD: Obj = {"metadata": {}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}


def review() -> bytes:
    request = {
        "uid": "u",
        "namespace": "shop",
        "operation": "CREATE",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": POD,
    }
    whole = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(whole).encode()


def certificate() -> Obj:
    now = datetime.now(UTC)
    authority = new_authority(now)
    served = new_server_certificate(authority.certificate, authority.key, ("localhost",), now)
    pair = {"tls.crt": served.certificate, "tls.key": served.key}
    return {key: base64.b64encode(value).decode() for key, value in pair.items()}


async def until(look: Callable[[], Awaitable[T]]) -> T:
    """What ``look`` finds, as soon as it finds something."""
    async with asyncio.timeout(30):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.05)


class Webhook:
    """The process and the API server that it reads."""

    def __init__(self, api: FakeApiServer, folder: Path) -> None:
        self.api = api
        self.port, self.health_port = free_port(), free_port()
        self._kubeconfig = folder / "kubeconfig"
        self.process: asyncio.subprocess.Process | None = None

    def create(self, path: str, name: str, **content: Any) -> None:
        objects = self.api.objects
        objects.create(objects.locate(path), {"metadata": {"name": name}, **content})

    async def start(self) -> None:
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": self.api.url}}],
            "users": [{"name": "u", "user": {}}],
        }
        self._kubeconfig.write_text(json.dumps(config))
        env = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "OPERATOR_NAMESPACE": "spo",
            "SPO_HEALTH_ADDRESS": f"127.0.0.1:{self.health_port}",
            "SPO_WEBHOOK_ADDRESS": f"127.0.0.1:{self.port}",
        }
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "spo", "webhook", env=env, stderr=asyncio.subprocess.DEVNULL
        )

    async def health(self, path: str) -> str:
        """What a probe gets, empty if nobody answers."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.health_port)
        except OSError:
            return ""
        writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        return answer.split(" ", 1)[1].split(" ", 1)[0] + " " + answer.rpartition("\r\n\r\n")[2]

    async def wait_for(self, path: str, wanted: str) -> None:
        async def holds() -> bool:
            return wanted in await self.health(path)

        await until(holds)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    async def ask(self) -> Obj:
        reader, writer = await self.connect()
        answer = await exchange(reader, writer)
        writer.close()
        response: Obj = json.loads(answer[1])["response"]
        return response

    async def refusal(self) -> Obj:
        """The answer if it is one, else nothing."""
        response = await self.ask()
        return {} if response["allowed"] else response


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[bool, bytes]:
    """One review; whether the connection stays open, and the body of the answer."""
    body = review()
    head = f"POST {BINDING_PATH} HTTP/1.1\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    headers = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert headers.startswith("HTTP/1.1 200"), headers
    length = int(headers.partition("Content-Length: ")[2].partition("\r\n")[0])
    return "Connection: close" not in headers, await reader.readexactly(length)


@pytest.fixture
async def webhook(tmp_path: Path) -> AsyncIterator[Webhook]:
    async with FakeApiServer() as api:
        made = Webhook(api, tmp_path)
        await made.start()
        assert made.process is not None
        try:
            yield made
        finally:
            if made.process.returncode is None:
                made.process.kill()
            await made.process.wait()


async def test_process_is_ready_with_rules_and_certificate_and_follows_them(webhook: Webhook) -> None:
    await webhook.wait_for("/healthz", "200 ok")
    await webhook.wait_for("/readyz", "503 no certificate yet: waiting for its Secret")
    webhook.create(SECRETS, WEBHOOK_CERTIFICATE, data=certificate())
    await webhook.wait_for("/readyz", "200 ok")
    assert (await webhook.ask())["status"]["reason"] == "pod unchanged"

    reference = {"kind": "SeccompProfile", "name": "strict"}
    webhook.create(BINDINGS, "b", spec={"image": "nginx", "profileRef": reference})
    refused = await until(webhook.refusal)
    assert "ProfileBinding shop/b" in refused["status"]["message"]

    webhook.create(PROFILES, "strict", spec={"defaultAction": "SCMP_ACT_ALLOW"})
    assert (await webhook.ask())["allowed"]  # at once: it looks again before it refuses
    broken = {"image": "nginx", "profileRef": reference, "podSelector": {"matchExpressions": 5}}
    webhook.create(BINDINGS, "odd", spec=broken)
    refused = await until(webhook.refusal)
    assert refused["status"]["message"].startswith("ProfileBinding shop/odd: ")


async def test_requests_are_answered_although_the_api_server_is_gone(webhook: Webhook) -> None:
    webhook.create(SECRETS, WEBHOOK_CERTIFICATE, data=certificate())
    reference = {"kind": "SeccompProfile", "name": "strict"}
    webhook.create(BINDINGS, "b", spec={"image": "nginx", "profileRef": reference})
    webhook.create(PROFILES, "strict", spec={"defaultAction": "SCMP_ACT_ALLOW"})
    await webhook.wait_for("/readyz", "200 ok")
    await webhook.api.stop()
    assert "patch" in await webhook.ask()
    await webhook.api.start()


async def test_sigterm_loses_no_request(webhook: Webhook) -> None:
    webhook.create(SECRETS, WEBHOOK_CERTIFICATE, data=certificate())
    await webhook.wait_for("/readyz", "200 ok")
    assert webhook.process is not None
    answered = 0
    going = asyncio.Event()

    async def client() -> None:
        """Ask until nobody listens any more; a request that was sent must be answered."""
        nonlocal answered
        while True:
            try:
                reader, writer = await webhook.connect()
            except OSError:
                return
            stays = True
            with contextlib.closing(writer):
                while stays:
                    stays, _ = await exchange(reader, writer)
                    answered += 1
                    going.set()

    clients = [asyncio.create_task(client()) for _ in range(4)]
    await going.wait()
    webhook.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        before = answered
        await asyncio.gather(*clients)
        assert answered > before  # it went on for a while
        assert await webhook.process.wait() == 0
