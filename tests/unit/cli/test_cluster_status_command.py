"""``spoc cluster status`` against a small API server: what it reads, what it exits with."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from spo.api.meta import ObjectMeta
from spo.api.secret import AUTHORITY, CERTIFICATE, SECRETS, Secret
from spo.api.webhook_configuration import WEBHOOK_CONFIGURATIONS, MutatingWebhookConfiguration
from spo.cli.__main__ import run_cli
from spo.cli.cluster_status.certificates import certificate_fact, trusted_entries
from spo.kube.client import KubeClient
from spo.kube.config import server_config
from spo.manager.certificates import Issued, new_authority, new_server_certificate
from tests.fakes.api_server import Call, FakeApiServer

NS = "security-profiles-operator"
Capture = pytest.CaptureFixture[str]


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as made:
        kubeconfig(tmp_path, monkeypatch, made.url)
        yield made


def kubeconfig(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "kubeconfig").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(folder / "kubeconfig"))


async def status(*arguments: str) -> int:
    return await asyncio.to_thread(run_cli, ["cluster", "status", *arguments])


def certificates(now: datetime) -> tuple[Issued, Issued]:
    authority = new_authority(now)
    return authority, new_server_certificate(authority.certificate, authority.key, ("webhook",), now)


async def test_empty_cluster_is_not_healthy(server: FakeApiServer, capsys: Capture) -> None:
    assert await status() == 1
    out = capsys.readouterr().out
    assert out.startswith(f"Operator in namespace {NS}: ")
    assert "spod: there is no spod object" in out


async def test_namespace_is_asked_and_json_is_printed(server: FakeApiServer, capsys: Capture) -> None:
    assert await status("-n", "other", "--output", "json") == 1
    assert json.loads(capsys.readouterr().out)["namespace"] == "other"
    namespaced = [call.path for call in server.calls if "/namespaces/" in call.path]
    assert namespaced
    assert all("/namespaces/other/" in path for path in namespaced)


async def test_certificates_and_the_trust_in_them_are_read(server: FakeApiServer, capsys: Capture) -> None:
    authority, serving = certificates(datetime.now(UTC) - timedelta(days=80))
    other, _ = certificates(datetime.now(UTC))
    async with KubeClient(server_config(server.url)) as client:
        data = {
            CERTIFICATE: base64.b64encode(serving.certificate).decode(),
            AUTHORITY: base64.b64encode(authority.certificate).decode(),
        }
        body = {"metadata": {"name": "webhook-server-cert"}, "data": data}
        await client.create(SECRETS, body, NS)
        service = {"namespace": NS, "name": "webhook-service"}
        bundle = base64.b64encode(other.certificate).decode()
        entry = {"name": "binding.spo.io", "clientConfig": {"service": service, "caBundle": bundle}}
        metadata = {"name": "spo-mutating-webhook-configuration", "labels": {"app": NS}}
        await client.create(WEBHOOK_CONFIGURATIONS, {"metadata": metadata, "webhooks": [entry]})
    assert await status() == 1
    out = capsys.readouterr().out
    assert "the caBundle of binding.spo.io does not hold the CA" in out
    assert "secret/webhook-server-cert: the certificate expires in 9 days" in out


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        pytest.param(403, "Forbidden", "it is forbidden", id="forbidden"),
        pytest.param(404, "NotFound", "the operator is not installed", id="no-crd"),
        pytest.param(401, "Unauthorized", "it is forbidden", id="unauthorized"),
    ],
)
async def test_refusal_is_one_line(
    server: FakeApiServer, capsys: Capture, code: int, reason: str, told: str
) -> None:
    server.plan(is_spods, refusal(code, reason, "it is forbidden"), times=5)
    assert await status() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert told in line


async def test_secrets_that_must_not_be_read_are_noted(server: FakeApiServer, capsys: Capture) -> None:
    server.plan(lambda call: "/secrets/webhook-ca" in call.path, refusal(403, "Forbidden", "no"), times=5)
    await status()
    note = f"not looked at: certificates: no right to get Secrets webhook-ca in {NS}"
    assert note in capsys.readouterr().out.splitlines()


async def test_no_cluster_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    kubeconfig(tmp_path, monkeypatch, "http://127.0.0.1:1")
    assert await status() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Unable to run: no answer from the API server")


def test_wrong_usage(capsys: Capture) -> None:
    assert run_cli(["cluster", "status", "--output", "xml"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_trust_is_that_of_the_issuer() -> None:
    now = datetime.now(UTC)
    authority, serving = certificates(now)
    other, _ = certificates(now)
    secret = Secret(metadata=ObjectMeta(name="s"), data={CERTIFICATE: serving.certificate})

    def entry(name: str, bundle: bytes | str) -> dict[str, Any]:
        text = bundle if isinstance(bundle, str) else base64.b64encode(bundle).decode()
        return {"name": name, "clientConfig": {"caBundle": text}}

    configuration = MutatingWebhookConfiguration(
        metadata=ObjectMeta(name="c"),
        webhooks=[
            entry("both", other.certificate + authority.certificate),
            entry("other", other.certificate),
            entry("hostile", "%%%"),
            {"name": "none"},
        ],
    )
    assert trusted_entries(configuration, secret) == {
        "both": True,
        "other": False,
        "hostile": False,
        "none": False,
    }
    assert trusted_entries(configuration, None) == {}


def test_secret_without_certificate() -> None:
    fact = certificate_fact("s", Secret(metadata=ObjectMeta(name="s"), data={CERTIFICATE: b"junk"}))
    assert fact.problem == "tls.crt holds no certificate"
    assert not certificate_fact("s", None).present


def is_spods(call: Call) -> bool:
    return call.path.endswith("/securityprofilesoperatordaemons")


def refusal(code: int, reason: str, message: str) -> Any:
    body = json.dumps({"kind": "Status", "reason": reason, "message": message, "code": code}).encode()

    async def answer(call: Call, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (code, len(body))
            + body
        )
        await writer.drain()

    return answer
