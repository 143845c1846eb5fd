"""What a scraper gets over HTTPS."""

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry

from spo.api.access_reviews import UserInfo
from spo.controller.small_http import SmallHttpServer
from spo.daemon.metrics import SeccompProfileMetrics
from spo.daemon.metrics_access import MetricsAccess
from spo.daemon.metrics_endpoint import CertificateError, MetricsEndpoint, ServingContext, metrics_server


class Reviews:
    async def user_of(self, token: str) -> UserInfo | None:
        return UserInfo(username=token) if token in {"reader", "stranger"} else None

    async def may_get(self, user: UserInfo, path: str) -> bool:
        return user.username == "reader"


def put_certificate(directory: Path, name: str) -> None:
    """As the kubelet puts a Secret: new files under the old names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files = {
        "tls.crt": certificate.public_bytes(pem),
        "tls.key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    for file, content in files.items():
        new = directory / f".{file}.new"
        new.write_bytes(content)
        new.replace(directory / file)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    put_certificate(tmp_path, "first")
    return tmp_path


@pytest.fixture
async def served(directory: Path) -> AsyncIterator[SmallHttpServer]:
    registry = CollectorRegistry()
    SeccompProfileMetrics(registry).updated()
    certificate = ServingContext(directory)
    endpoint = MetricsEndpoint(MetricsAccess(Reviews()), [CollectorRegistry()], [registry], certificate)
    server = metrics_server("127.0.0.1", 0, endpoint, certificate.context)
    running = asyncio.create_task(server.run())
    await server.listening.wait()
    yield server
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def get(server: SmallHttpServer, path: str, authorization: str = "") -> tuple[str, str, str]:
    """Status line and headers, body, common name of the certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    header = f"Authorization: {authorization}\r\n" if authorization else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n".encode())
    peer = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    answer = (await reader.read()).decode()
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    name = x509.load_der_x509_certificate(peer).subject.rfc4514_string()
    head, _, body = answer.partition("\r\n\r\n")
    return head, body, name


async def test_a_reader_gets_the_counters_of_the_profiles(served: SmallHttpServer) -> None:
    head, body, _ = await get(served, "/metrics-spod", "Bearer reader")

    assert head.startswith("HTTP/1.1 200 ")
    assert "text/plain; version=0.0.4" in head
    assert 'security_profiles_operator_seccomp_profile_total{operation="update"} 1.0' in body
    assert 'promhttp_metric_handler_requests_total{code="200"} 1.0' in body


async def test_the_runtime_page_has_no_counters_of_profiles(served: SmallHttpServer) -> None:
    head, body, _ = await get(served, "/metrics", "Bearer reader")

    assert head.startswith("HTTP/1.1 200 ")
    assert "seccomp_profile" not in body


@pytest.mark.parametrize(
    ("authorization", "status"), [("", 401), ("Bearer nobody", 401), ("Bearer stranger", 403)]
)
async def test_others_get_nothing(served: SmallHttpServer, authorization: str, status: int) -> None:
    head, body, _ = await get(served, "/metrics-spod", authorization)

    assert head.startswith(f"HTTP/1.1 {status} ")
    assert "seccomp" not in body
    assert ("WWW-Authenticate: Bearer" in head) == (status == 401)


async def test_a_new_certificate_is_taken_without_a_restart(served: SmallHttpServer, directory: Path) -> None:
    assert (await get(served, "/metrics", "Bearer reader"))[2] == "CN=first"
    put_certificate(directory, "second")

    # The request that notices it still has the old one.
    await get(served, "/metrics", "Bearer reader")
    assert (await get(served, "/metrics", "Bearer reader"))[2] == "CN=second"


async def test_a_broken_certificate_leaves_the_old_one(served: SmallHttpServer, directory: Path) -> None:
    (directory / "tls.crt").write_text("nonsense")

    await get(served, "/metrics", "Bearer reader")
    assert (await get(served, "/metrics", "Bearer reader"))[2] == "CN=first"


def test_without_a_certificate_the_error_names_the_secret(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="Secret metrics-server-cert has it"):
        ServingContext(tmp_path)
