"""Encryption and credentials: a server with a CA of its own, as every cluster has."""

import base64
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from spo.api.core import PODS
from spo.kube.client import KubeClient
from spo.kube.errors import ConnectionFailedError, KubeConfigError, UnauthorizedError
from tests.fakes.api_server import FakeApiServer, answer_text


def _certificate(directory: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (directory / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return directory / f"{name}.crt", directory / f"{name}.key"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[FakeApiServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*_certificate(tmp_path, "server"))
    async with FakeApiServer(ssl=context) as server:
        yield server


def _environment(tmp_path: Path, server: FakeApiServer, cluster: dict[str, object]) -> dict[str, str]:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server.url, **cluster}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
    }
    (tmp_path / "config").write_bytes(msgspec.yaml.encode(config))
    return {"KUBECONFIG": str(tmp_path / "config")}


def _as_data(path: Path) -> dict[str, object]:
    return {"certificate-authority-data": base64.b64encode(path.read_bytes()).decode()}


@pytest.mark.parametrize("form", ["file", "relative-file", "data"])
async def test_server_with_the_right_authority_is_trusted(
    tmp_path: Path, server: FakeApiServer, form: str
) -> None:
    path = tmp_path / "server.crt"
    authority: dict[str, dict[str, object]] = {
        "file": {"certificate-authority": str(path)},
        "relative-file": {"certificate-authority": "server.crt"},
        "data": _as_data(path),
    }
    async with KubeClient.from_env(_environment(tmp_path, server, authority[form])) as client:
        await client.list_page(PODS)
    assert server.calls[0].headers["authorization"] == "Bearer secret"


async def test_server_with_another_authority_gets_no_token(tmp_path: Path, server: FakeApiServer) -> None:
    other, _ = _certificate(tmp_path, "other")
    async with KubeClient.from_env(_environment(tmp_path, server, _as_data(other))) as client:
        with pytest.raises(ConnectionFailedError, match="certificate verify failed"):
            await client.list_page(PODS)
    assert server.calls == []


async def test_redirect_does_not_carry_the_token_away(tmp_path: Path, server: FakeApiServer) -> None:
    server.plan(lambda _: True, answer_text(302, b"elsewhere"))
    environment = _environment(tmp_path, server, _as_data(tmp_path / "server.crt"))
    async with KubeClient.from_env(environment) as client:
        with pytest.raises(Exception, match="elsewhere"):
            await client.list_page(PODS)
    assert len(server.calls) == 1


async def test_wrong_token_is_a_clear_error(tmp_path: Path, server: FakeApiServer) -> None:
    server.token = "another"
    environment = _environment(tmp_path, server, _as_data(tmp_path / "server.crt"))
    async with KubeClient.from_env(environment) as client:
        with pytest.raises(UnauthorizedError, match="401"):
            await client.list_page(PODS)


def test_missing_authority_file_is_a_clear_error(tmp_path: Path, server: FakeApiServer) -> None:
    environment = _environment(tmp_path, server, {"certificate-authority": str(tmp_path / "nothing")})
    with pytest.raises(KubeConfigError, match="No such file"):
        KubeClient.from_env(environment)
