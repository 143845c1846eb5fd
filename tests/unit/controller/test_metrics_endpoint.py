"""What a scraper gets over HTTPS."""

import asyncio
import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from spo.api.access_reviews import UserInfo
from spo.controller.metrics_access import MetricsAccess
from spo.controller.metrics_certificate import CertificateError, ServingContext
from spo.controller.metrics_endpoint import (
    LOOK_AGAIN_S,
    RUNTIME_PATH,
    SPOD_PATH,
    MetricsEndpoint,
    MetricsPart,
    Page,
    metrics_server,
)
from spo.controller.small_http import MAX_CLIENTS, REQUEST_S, SmallHttpServer
from spo.daemon.metrics import SeccompProfileMetrics
from tests.fakes.clock import FakeClock


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
    pages = {RUNTIME_PATH: [CollectorRegistry()], SPOD_PATH: [registry]}
    endpoint = MetricsEndpoint(MetricsAccess(Reviews()), pages)
    server = metrics_server("127.0.0.1", 0, endpoint, certificate.current)
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

    assert (await get(served, "/metrics", "Bearer reader"))[2] == "CN=second"


async def test_a_broken_certificate_leaves_the_old_one(served: SmallHttpServer, directory: Path) -> None:
    (directory / "tls.crt").write_text("nonsense")

    assert (await get(served, "/metrics", "Bearer reader"))[2] == "CN=first"


def test_without_a_certificate_the_error_names_the_secret(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="Secret metrics-server-cert has it"):
        ServingContext(tmp_path)


async def test_a_certificate_with_the_key_of_another_leaves_the_old_one(
    served: SmallHttpServer, directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    put_certificate(other, "second")
    (directory / "tls.crt").write_bytes((other / "tls.crt").read_bytes())

    assert (await get(served, "/metrics", "Bearer reader"))[2] == "CN=first"


class SlowCollector(Collector):
    """Counts how often it is asked; answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.asked_once = threading.Event()
        self.may_answer = threading.Event()

    def collect(self) -> Iterator[Metric]:
        self.asked += 1
        self.asked_once.set()
        assert self.may_answer.wait(5)
        yield GaugeMetricFamily("asked", "How often.", self.asked)


async def test_a_crowd_shares_what_is_made_for_it() -> None:
    slow = SlowCollector()
    slow.may_answer.set()
    registry = CollectorRegistry()
    registry.register(slow)
    slow.asked = 0
    slow.asked_once.clear()
    slow.may_answer.clear()
    page = Page([registry])

    first = asyncio.create_task(page.body())
    await asyncio.to_thread(slow.asked_once.wait, 5)
    crowd = [asyncio.create_task(page.body()) for _ in range(50)]
    await asyncio.sleep(0)
    slow.may_answer.set()

    assert b"asked 1.0" in await first
    # Nobody gets what was begun before the question; one more is enough for all of them.
    assert {body.splitlines()[-1] for body in await asyncio.gather(*crowd)} == {b"asked 2.0"}


async def test_a_reader_that_leaves_spoils_nothing_for_the_others() -> None:
    registry = CollectorRegistry()
    counter = Counter("seen", "What was seen.", registry=registry)
    page = Page([registry])

    leaving = asyncio.create_task(page.body())
    await asyncio.sleep(0)
    leaving.cancel()
    counter.inc()

    assert b"seen_total 1.0" in await page.body()


async def test_the_endpoint_waits_for_its_certificate(tmp_path: Path) -> None:
    clock = FakeClock()
    pages = {RUNTIME_PATH: [CollectorRegistry()]}
    part = MetricsPart("127.0.0.1", 0, tmp_path, MetricsAccess(Reviews()), pages, clock)
    running = asyncio.create_task(part.run())
    await clock.settle()
    assert part.server is None

    put_certificate(tmp_path, "late")
    await clock.advance(LOOK_AGAIN_S)

    assert part.server is not None
    await asyncio.wait_for(part.server.listening.wait(), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_address_that_is_taken_stops_nothing(directory: Path) -> None:
    clock = FakeClock()
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    pages = {RUNTIME_PATH: [CollectorRegistry()]}
    part = MetricsPart("127.0.0.1", port, directory, MetricsAccess(Reviews()), pages, clock)
    running = asyncio.create_task(part.run())
    await clock.settle()
    assert clock.waiting
    assert part.server is not None
    assert not part.server.listening.is_set()

    taken.close()
    await clock.advance(LOOK_AGAIN_S)

    await asyncio.wait_for(part.server.listening.wait(), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_who_never_ends_a_handshake_takes_no_more_than_a_place(served: SmallHttpServer) -> None:
    idle = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(MAX_CLIENTS)]
    await closed_at_once(served)
    before = open_files()

    for _ in range(20):
        await closed_at_once(served)

    assert open_files() <= before + 1
    for _, writer in idle:
        writer.close()
    for _ in range(100):  # until the server has seen all of them go
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            if (await get(served, "/metrics", "Bearer reader"))[0].startswith("HTTP/1.1 200 "):
                return
    raise AssertionError("nobody is served any more")


async def closed_at_once(server: SmallHttpServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(REQUEST_S / 2):
        assert await reader.read() == b""
    writer.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
