"""The webhook server over real TLS: limits, faults, new certificates, stopping."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from onenode.certificates import ensure_certificates
from spo.api.meta import ObjectMeta
from spo.api.secret import Secret
from spo.webhooks.http_connection import HttpLimits
from spo.webhooks.https_server import CannotServeError, DrainTimes, HttpsServer
from spo.webhooks.review import BadReviewError
from spo.webhooks.serving_certificate import ServingCertificate

LIMITS = HttpLimits(body_bytes=100_000, discarded_bytes=400_000, header_bytes=2000, connections=8)


def pair(folder: Path, name: str = "webhook.example") -> Secret:
    made = ensure_certificates(folder, [name])
    data = {"tls.crt": made.server.read_bytes(), "tls.key": made.server_key.read_bytes()}
    return Secret(metadata=ObjectMeta(name="cert", namespace="spo"), data=data)


class Service:
    """A running server, and what it answers."""

    def __init__(
        self, server: HttpsServer, certificate: ServingCertificate, task: "asyncio.Task[None]"
    ) -> None:
        self.server = server
        self.certificate = certificate
        self.task = task
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()

    async def answer(self, path: str, body: bytes) -> bytes:
        self.entered.set()
        await self.gate.wait()
        if body == b"bad":
            raise BadReviewError("it is bad")
        if body == b"bug":
            raise KeyError("bug")
        return path.encode() + b" " + str(len(body)).encode()


@contextlib.asynccontextmanager
async def serving(
    folder: Path, limits: HttpLimits = LIMITS, drain: DrainTimes | None = None
) -> AsyncIterator[Service]:
    certificate = ServingCertificate()
    certificate.secret_changed(None, pair(folder))
    services: list[Service] = []

    async def answer(path: str, body: bytes) -> bytes:
        return await services[0].answer(path, body)

    server = HttpsServer(
        "127.0.0.1",
        0,
        certificate.context,
        ("/a", "/b"),
        answer,
        limits=limits,
        drain=drain or DrainTimes(leave_s=0, finish_s=5),
    )
    task = asyncio.create_task(server.run())
    services.append(Service(server, certificate, task))
    await server.listening.wait()
    try:
        yield services[0]
    finally:
        services[0].gate.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, body: bytes, path: str = "/a", method: str = "POST", extra: str = "") -> None:
        content_type = "" if "content-type" in extra.lower() else "Content-Type: application/json\r\n"
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{content_type}{extra}"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def receive(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body

    async def ask(self, body: bytes = b"x", **more: str) -> tuple[int, bytes]:
        self.send(body, **more)
        status, _, content = await self.receive()
        return status, content

    async def is_closed(self) -> bool:
        async with asyncio.timeout(10):
            with contextlib.suppress(OSError, ssl.SSLError):
                return await self.reader.read(1) == b""
        return True

    def served(self) -> bytes:
        found = self.writer.get_extra_info("ssl_object").getpeercert(True)
        assert isinstance(found, bytes)
        return found


@contextlib.asynccontextmanager
async def client(service: Service) -> AsyncIterator[Client]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", service.server.port, ssl=context)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


async def test_many_requests_pass_over_one_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, client(service) as one:
        for number in range(20):
            assert await one.ask(b"x" * number, path="/b?timeout=10s") == (200, f"/b {number}".encode())


async def test_requests_sent_ahead_are_answered_in_order(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, client(service) as one:
        for number in range(50):
            one.send(b"x" * number)
        answers = [await one.receive() for _ in range(50)]
        assert [body for _, _, body in answers] == [f"/a {number}".encode() for number in range(50)]


async def test_body_may_come_in_chunks(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, client(service) as one:
        head = "POST /a HTTP/1.1\r\nContent-Type: application/json; charset=utf-8\r\n"
        one.writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".encode())
        assert (await one.receive())[2] == b"/a 5"


async def test_client_that_waits_for_continue_gets_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, client(service) as one:
        head = "POST /a HTTP/1.1\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
        one.writer.write(f"{head}Content-Length: 2\r\n\r\n".encode())
        async with asyncio.timeout(10):
            assert await one.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        one.writer.write(b"ab")
        assert (await one.receive())[2] == b"/a 2"


REFUSALS = {
    "path": ({"path": "/c"}, 404, b"nothing here; the webhooks are /a, /b"),
    "method": ({"method": "PUT"}, 405, b"an AdmissionReview is sent by POST"),
    "content type": (
        {"extra": "Content-Type: text/yaml\r\n"},
        415,
        b"Content-Type must be application/json",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_refusal_says_what_is_wrong_and_closes(case: str, tmp_path: Path) -> None:
    more, status, text = REFUSALS[case]
    async with serving(tmp_path) as service, client(service) as one:
        assert await one.ask(**more) == (status, text)
        assert await one.is_closed()


async def test_malformed_review_is_400_with_its_text(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, client(service) as one:
        status, text = await one.ask(b"bad")
        assert status == 400
        assert text.endswith(b"it is bad")
        assert (await one.ask())[0] == 200


async def test_mistake_of_ours_is_500_and_the_next_request_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, client(service) as one:
        assert await one.ask(b"bug") == (500, b"internal error: KeyError")
        assert (await one.ask())[0] == 200


async def test_body_over_the_limit_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        async with client(service) as one:
            assert (await one.ask(b"x" * 100_000))[0] == 200
        async with client(service) as one:
            assert await one.ask(b"x" * 100_001) == (413, b"the body has over 100000 bytes")
            assert await one.is_closed()


async def test_body_without_end_is_cut_off(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, client(service) as one:
        one.writer.write(
            b"POST /a HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9999999\r\n\r\n"
        )
        with contextlib.suppress(OSError, ssl.SSLError):
            for _ in range(100):
                one.writer.write(b"x" * 10_000)
                await one.writer.drain()
        assert len(service.server._connections) == 0


async def test_header_over_the_limit_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, client(service) as one:
        status, text = await one.ask(extra=f"X: {'y' * 3000}\r\n")
        assert (status, text) == (431, b"the header has over 2000 bytes")


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x00", b"GET\r\n\r\n", b"POST /a HTTP/9.9\r\n\r\n"])
async def test_what_is_not_http_is_told(junk: bytes, tmp_path: Path) -> None:
    async with serving(tmp_path) as service, client(service) as one:
        one.writer.write(junk)
        status, _, text = await one.receive()
        assert status == 400
        assert text.startswith(b"not HTTP/1.1")


async def test_client_that_does_not_end_its_request_is_closed(tmp_path: Path) -> None:
    limits = HttpLimits(request_s=0.1, idle_s=60)
    async with serving(tmp_path, limits) as service, client(service) as one:
        one.writer.write(b"POST /a HTTP/1.1\r\n")
        assert await one.is_closed()


async def test_idle_client_is_closed(tmp_path: Path) -> None:
    async with serving(tmp_path, HttpLimits(idle_s=0.1)) as service, client(service) as one:
        assert (await one.ask())[0] == 200
        assert await one.is_closed()


async def test_one_connection_too_many_is_closed_and_the_others_go_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, contextlib.AsyncExitStack() as stack:
        eight = [await stack.enter_async_context(client(service)) for _ in range(8)]
        for one in eight:
            assert (await one.ask())[0] == 200
        try:
            async with client(service) as ninth:
                assert await ninth.is_closed()
        except (ConnectionError, ssl.SSLError):
            pass  # it may go before the handshake has ended
        assert (await eight[0].ask())[0] == 200


async def test_new_certificate_is_served_to_new_connections_and_drops_no_old_one(tmp_path: Path) -> None:
    async with serving(tmp_path / "1") as service, client(service) as old:
        assert (await old.ask())[0] == 200
        service.gate.clear()
        service.entered.clear()
        old.send(b"under way")
        await service.entered.wait()
        service.certificate.secret_changed(None, pair(tmp_path / "2"))
        async with client(service) as new:
            assert new.served() != old.served()
            service.gate.set()
            assert (await old.receive())[0] == 200
            assert (await new.ask())[0] == 200
        assert (await old.ask())[0] == 200


BROKEN: dict[str, Callable[[Secret, Secret], dict[str, bytes]]] = {
    "empty": lambda one, other: {},
    "no key": lambda one, other: {"tls.crt": one.data["tls.crt"]},
    "garbage": lambda one, other: {"tls.crt": b"x", "tls.key": b"y"},
    "key of another": lambda one, other: {"tls.crt": one.data["tls.crt"], "tls.key": other.data["tls.key"]},
}


@pytest.mark.parametrize("case", BROKEN)
async def test_pair_that_cannot_be_used_leaves_the_old_one(case: str, tmp_path: Path) -> None:
    async with serving(tmp_path / "1") as service:
        async with client(service) as one:
            before = one.served()
        broken = BROKEN[case](pair(tmp_path / "2"), pair(tmp_path / "3"))
        service.certificate.secret_changed(None, Secret(metadata=ObjectMeta(name="cert"), data=broken))
        assert "Secret cert: no usable pair" in service.certificate.problem
        service.certificate.secret_changed(None, None)
        async with client(service) as one:
            assert one.served() == before
            assert (await one.ask())[0] == 200


async def test_stopping_answers_what_is_under_way_and_closes_the_rest(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, client(service) as busy, client(service) as idle:
        assert (await idle.ask())[0] == 200
        service.gate.clear()
        service.entered.clear()
        busy.send(b"under way")
        await service.entered.wait()
        service.task.cancel()
        assert await idle.is_closed()
        assert service.server.leaving
        service.gate.set()
        status, headers, _ = await busy.receive()
        assert (status, headers["connection"]) == (200, "close")
        assert await busy.is_closed()
        await asyncio.wait([service.task], timeout=10)
        assert service.task.cancelled()


async def test_while_leaving_requests_are_answered_and_connections_sent_away(tmp_path: Path) -> None:
    drain = DrainTimes(leave_s=30, finish_s=1)
    async with serving(tmp_path, drain=drain) as service:
        async with client(service) as old:
            service.task.cancel()
            async with client(service) as late:
                late.send(b"x")
                status, headers, _ = await late.receive()
                assert (status, headers["connection"]) == (200, "close")
            assert (await old.ask())[0] == 200
        service.task.cancel()


async def test_taken_port_is_one_clear_error(tmp_path: Path) -> None:
    async with serving(tmp_path) as service:
        other = HttpsServer("127.0.0.1", service.server.port, service.certificate.context, (), service.answer)
        with pytest.raises(CannotServeError, match=r"webhook server 127\.0\.0\.1:.*--port sets another port"):
            await other.run()


def test_review_bodies_are_small_enough_for_the_default_limit() -> None:
    pod = {"metadata": {"annotations": {"a": "x" * (1536 * 1024)}}}
    assert 2 * len(json.dumps(pod)) < HttpLimits().body_bytes
