"""The client against the fake API server on a loopback socket: proper answers and every kind of fault."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from spo.api.core import LEASES, PODS
from spo.api.resource import Resource
from spo.kube.client import KubeClient
from spo.kube.config import load_config, server_config
from spo.kube.errors import (
    ApiError,
    ConflictError,
    ConnectionFailedError,
    GoneError,
    InvalidError,
    KubeConfigError,
    MalformedResponseError,
    NotFoundError,
    ResponseTooLargeError,
    ServerError,
    TooManyRequestsError,
    UnauthorizedError,
    UnreadableObjectError,
)
from spo.kube.transport import ClientLimits
from spo.kube.wire import Added, Unreadable, WatchEvent
from tests.fakes.api_server import (
    Call,
    FakeApiServer,
    answer_text,
    cut,
    dribble,
    hang,
    refuse,
    stream,
)
from tests.fakes.clock import EagerClock


class GadgetMeta(msgspec.Struct, rename="camel", omit_defaults=True):
    name: str
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""


class Gadget(msgspec.Struct, omit_defaults=True):
    """A kind that spo.api knows nothing of: the runtime works for any."""

    metadata: GadgetMeta
    size: int = 0


GADGETS = Resource("example.com", "v1", "Gadget", "gadgets", True, Gadget)


def anything(_: Call) -> bool:
    return True


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as server:
        yield server


@pytest.fixture
def clock() -> EagerClock:
    return EagerClock()


@pytest.fixture
async def client(server: FakeApiServer, clock: EagerClock) -> AsyncIterator[KubeClient]:
    limits = ClientLimits(max_body_bytes=20_000, max_event_bytes=500)
    async with KubeClient(server_config(server.url), clock=clock, limits=limits) as client:
        yield client


async def _add(client: KubeClient, count: int) -> None:
    for number in range(count):
        await client.create(GADGETS, Gadget(GadgetMeta(f"g{number}", "ns"), size=number))


async def test_list_comes_in_pages(client: KubeClient, server: FakeApiServer) -> None:
    await _add(client, 7)
    first = await client.list_page(GADGETS, limit=3)
    second = await client.list_page(GADGETS, limit=3, continue_=first.continue_)
    third = await client.list_page(GADGETS, limit=3, continue_=second.continue_)

    assert [gadget.size for page in (first, second, third) for gadget in page.items] == list(range(7))
    assert first.resource_version == str(server.objects.version)
    assert third.continue_ == ""


async def test_continue_token_can_expire(client: KubeClient, server: FakeApiServer) -> None:
    await _add(client, 4)
    server.plan(lambda call: "continue" in call.params, refuse(410, "Expired"))
    page = await client.list_page(GADGETS, limit=3)
    with pytest.raises(GoneError):
        await client.list_page(GADGETS, limit=3, continue_=page.continue_)


async def test_update_replaces_the_version_that_was_read(client: KubeClient) -> None:
    await client.create(GADGETS, {"metadata": {"name": "g", "labels": {"a": "b"}}, "size": 1}, "ns")
    read = await client.get(GADGETS, "g", "ns")
    metadata = {"name": "g", "resourceVersion": read.metadata.resource_version}
    stored = await client.update(GADGETS, {"metadata": metadata, "size": 2}, "g", "ns")
    assert stored.size == 2
    with pytest.raises(ConflictError):
        await client.update(GADGETS, {"metadata": metadata, "size": 3}, "g", "ns")


async def test_huge_page_is_refused_with_a_clear_error(client: KubeClient, server: FakeApiServer) -> None:
    await _add(client, 200)
    with pytest.raises(ResponseTooLargeError, match="more than 20000 bytes"):
        await client.list_page(GADGETS)
    assert len((await client.list_page(GADGETS, limit=50)).items) == 50


async def test_one_object_that_does_not_fit_does_not_hide_the_others(
    client: KubeClient, server: FakeApiServer
) -> None:
    await _add(client, 2)
    with pytest.raises(UnreadableObjectError, match="Gadget ns/bad"):
        await client.create(GADGETS, {"metadata": {"name": "bad"}, "size": "large"}, "ns")

    page = await client.list_page(GADGETS)

    assert [gadget.metadata.name for gadget in page.items] == ["g0", "g1"]
    [bad] = page.unreadable
    assert (bad.metadata.namespace, bad.metadata.name) == ("ns", "bad")
    assert "`int`" in bad.problem


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        pytest.param(b'{"metadata": {"resourceVersion": "1"}, "ite', "truncated", id="cut"),
        pytest.param(b'{"metadata": {}, "items": []}', "resourceVersion", id="no-version"),
        pytest.param(b'{"metadata": {"resourceVersion": "1"}, "items": [{}]}', "metadata", id="no-name"),
        pytest.param(b"<html>hello</html>", "malformed", id="html"),
    ],
)
async def test_nonsense_as_a_list_is_a_clear_error(
    client: KubeClient, server: FakeApiServer, body: bytes, problem: str
) -> None:
    server.plan(anything, answer_text(200, body))
    with pytest.raises(MalformedResponseError, match=problem):
        await client.list_page(GADGETS)


async def test_list_without_items_is_empty(client: KubeClient, server: FakeApiServer) -> None:
    server.plan(anything, answer_text(200, b'{"metadata": {"resourceVersion": "5"}, "items": null}'))
    assert (await client.list_page(GADGETS)).items == []


async def test_429_is_waited_for_and_repeated_for_every_method(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    server.plan(anything, refuse(429, "TooManyRequests", retry_after="7"), times=2)

    await client.create(GADGETS, Gadget(GadgetMeta("g", "ns")))

    assert clock.slept == [7, 7]
    assert len(server.calls) == 3


async def test_429_is_not_repeated_for_ever(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    server.plan(anything, refuse(429, "TooManyRequests", retry_after="7"), times=99)
    with pytest.raises(TooManyRequestsError) as caught:
        await client.get(GADGETS, "g", "ns")
    assert caught.value.retry_after_s == 7
    assert len(server.calls) == ClientLimits().attempts


async def test_long_retry_after_goes_to_the_caller(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    server.plan(anything, refuse(503, "ServiceUnavailable", retry_after="9999999999"))
    with pytest.raises(ServerError):
        await client.get(GADGETS, "g", "ns")
    assert clock.slept == []


async def test_503_with_retry_after_is_repeated_for_reads_only(
    client: KubeClient, server: FakeApiServer
) -> None:
    await _add(client, 1)
    server.plan(anything, refuse(503, "ServiceUnavailable", retry_after="1"), times=2)
    assert (await client.get(GADGETS, "g0", "ns")).size == 0

    server.plan(anything, refuse(503, "ServiceUnavailable", retry_after="1"))
    with pytest.raises(ServerError):
        await client.create(GADGETS, Gadget(GadgetMeta("other", "ns")))


async def test_500_goes_to_the_caller(client: KubeClient, server: FakeApiServer) -> None:
    server.plan(anything, refuse(500, "InternalError"))
    with pytest.raises(ServerError, match="refused with 500"):
        await client.get(GADGETS, "g", "ns")
    assert len(server.calls) == 1


async def test_broken_connection_is_tried_once_more_for_reads(
    client: KubeClient, server: FakeApiServer
) -> None:
    await _add(client, 1)
    server.plan(anything, cut)
    assert (await client.get(GADGETS, "g0", "ns")).size == 0


async def test_broken_connection_is_not_tried_again_for_create(
    client: KubeClient, server: FakeApiServer
) -> None:
    server.plan(anything, cut)
    with pytest.raises(ConnectionFailedError):
        await client.create(GADGETS, Gadget(GadgetMeta("g", "ns")))
    assert len(server.calls) == 1


async def test_server_that_is_not_there(clock: EagerClock) -> None:
    async with FakeApiServer() as server:
        url = server.url
    async with KubeClient(server_config(url), clock=clock) as client:
        with pytest.raises(ConnectionFailedError, match=r"GET /apis/example\.com/v1/namespaces/ns/gadgets/g"):
            await client.get(GADGETS, "g", "ns")


async def test_server_that_never_answers_is_given_up(server: FakeApiServer, clock: EagerClock) -> None:
    limits = ClientLimits(request_timeout_s=0.05)
    server.plan(anything, hang, times=9)
    async with KubeClient(server_config(server.url), clock=clock, limits=limits) as client:
        with pytest.raises(ConnectionFailedError):
            await client.get(GADGETS, "g", "ns")


async def test_slow_answer_is_read_to_its_end(client: KubeClient, server: FakeApiServer) -> None:
    server.plan(anything, dribble(0))
    assert (await client.list_page(GADGETS)).resource_version == "7"


async def test_answer_that_takes_for_ever_is_given_up(server: FakeApiServer, clock: EagerClock) -> None:
    limits = ClientLimits(request_timeout_s=0.1)
    server.plan(anything, dribble(0.02))
    async with KubeClient(server_config(server.url), clock=clock, limits=limits) as client:
        with pytest.raises(ConnectionFailedError, match="no answer"):
            await client.list_page(GADGETS)


async def test_error_of_a_proxy_is_shown_in_short(client: KubeClient, server: FakeApiServer) -> None:
    server.plan(anything, answer_text(502, b"<html>bad gateway" + b"x" * 5000))
    with pytest.raises(ServerError, match="bad gateway") as caught:
        await client.get(GADGETS, "g", "ns")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["..", "a/b", "a?x=1", "a%2f", "a\nb"])
async def test_a_hostile_name_cannot_bend_the_url(
    client: KubeClient, server: FakeApiServer, name: str
) -> None:
    if name:
        with pytest.raises(InvalidError):
            await client.get(GADGETS, name, "ns")
    with pytest.raises(InvalidError):
        await client.get(GADGETS, "g", name or "../x")
    assert server.calls == []


async def test_token_file_is_read_again_after_401(server: FakeApiServer, tmp_path: Path) -> None:
    server.token = "first"
    (tmp_path / "token").write_text("first\n")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {"tokenFile": str(tmp_path / "token")}}],
    }
    (tmp_path / "config").write_bytes(msgspec.yaml.encode(config))
    async with KubeClient.from_env({"KUBECONFIG": str(tmp_path / "config")}) as client:
        await client.list_page(PODS)
        server.token = "second"
        with pytest.raises(UnauthorizedError):
            await client.list_page(PODS)
        (tmp_path / "token").write_text("second\n")
        await client.list_page(PODS)
        (tmp_path / "token").unlink()
        server.token = "third"
        with pytest.raises(KubeConfigError, match="token"):
            await client.list_page(PODS)


async def _watch(client: KubeClient, version: str, inactivity_s: float = 60) -> list[WatchEvent[Gadget]]:
    events = client.watch(GADGETS, resource_version=version, timeout_s=60, inactivity_s=inactivity_s)
    async with contextlib.aclosing(events):
        return [event async for event in events]


ADDED = (
    b'{"type":"ADDED","object":{"metadata":{"name":"a","namespace":"ns","resourceVersion":"7"},"size":1}}\n'
)


async def test_watch_asks_for_bookmarks_and_an_end(client: KubeClient, server: FakeApiServer) -> None:
    server.plan(anything, stream(ADDED))
    [event] = await _watch(client, "5")
    assert isinstance(event, Added)
    assert event.object.size == 1
    [call] = server.calls
    assert call.params == {
        "watch": "true",
        "resourceVersion": "5",
        "timeoutSeconds": "60",
        "allowWatchBookmarks": "true",
    }


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        pytest.param((b'{"type":"ADDED","obj',), "UnfinishedLine", id="ended-in-an-event"),
        pytest.param((b'{"type":"ADDED","obj\n',), "truncated", id="partial-json"),
        pytest.param((b'{"type":"WHAT","object":{}}\n',), "WHAT", id="unknown-type"),
        pytest.param((b'{"type":"ADDED","object":{"size":1}}\n',), "metadata", id="no-identity"),
        pytest.param((b"x" * 400, b"x" * 400), "LineTooLong", id="line-without-end"),
    ],
)
async def test_nonsense_in_a_watch_is_a_clear_error(
    client: KubeClient, server: FakeApiServer, pieces: tuple[bytes, ...], problem: str
) -> None:
    server.plan(anything, stream(*pieces))
    with pytest.raises(MalformedResponseError, match=problem):
        await _watch(client, "5")


async def test_watch_event_of_an_object_that_does_not_fit(client: KubeClient, server: FakeApiServer) -> None:
    server.plan(anything, stream(ADDED.replace(b'"size":1', b'"size":[]')))
    [event] = await _watch(client, "5")
    assert isinstance(event, Unreadable)
    assert event.metadata.name == "a"


async def test_deletion_is_seen_whatever_the_object_holds(client: KubeClient, server: FakeApiServer) -> None:
    server.plan(anything, stream(ADDED.replace(b'"size":1', b'"size":[]').replace(b"ADDED", b"DELETED")))
    [event] = await _watch(client, "5")
    assert not isinstance(event, Unreadable)


@pytest.mark.parametrize(
    ("code", "error"),
    [pytest.param(410, GoneError, id="expired"), pytest.param(500, ServerError, id="internal")],
)
async def test_error_event_is_raised(
    client: KubeClient, server: FakeApiServer, code: int, error: type[ApiError]
) -> None:
    status = {"kind": "Status", "code": code, "reason": "Expired", "message": "too old"}
    server.plan(anything, stream(msgspec.json.encode({"type": "ERROR", "object": status}) + b"\n"))
    with pytest.raises(error, match="too old"):
        await _watch(client, "5")


async def test_410_as_http_status_is_the_same_error(client: KubeClient, server: FakeApiServer) -> None:
    server.plan(anything, refuse(410, "Expired"))
    with pytest.raises(GoneError):
        await _watch(client, "5")


@pytest.mark.parametrize(
    "fault", [stream(ADDED, then=cut), stream(ADDED, then=hang)], ids=["cut", "half-open"]
)
async def test_watch_that_breaks_is_a_connection_error(
    client: KubeClient, server: FakeApiServer, fault: object
) -> None:
    server.plan(anything, fault)  # type: ignore[arg-type] # parametrize hides the type
    with pytest.raises(ConnectionFailedError):
        await _watch(client, "5", inactivity_s=0.05)


async def test_leaving_a_watch_closes_its_connection(client: KubeClient, server: FakeApiServer) -> None:
    await _add(client, 1)
    events = client.watch(GADGETS, resource_version="100", timeout_s=60)
    async with contextlib.aclosing(events):
        await anext(events)
        assert server.watches_open == 1
    await client.get(GADGETS, "g0", "ns")
    assert server.watches_open == 0


async def test_apply_sends_the_whole_identity(client: KubeClient, server: FakeApiServer) -> None:
    await client.apply(LEASES, {"spec": {"leaseTransitions": 1}}, "l", "ns", field_manager="me")
    [call] = server.calls
    assert call.json() == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "l", "namespace": "ns"},
        "spec": {"leaseTransitions": 1},
    }
    assert call.params == {"fieldManager": "me", "force": "true"}
    assert call.headers["content-type"] == "application/apply-patch+yaml"


def test_configuration_order(tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.mkdir()
    in_cluster = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}
    with pytest.raises(KubeConfigError, match="token volume"):
        load_config(in_cluster, str(account))
    (account / "token").write_text("t")
    assert load_config(in_cluster, str(account)).cluster.server == "https://[fd00::1]:6443"
    with pytest.raises(KubeConfigError, match="nowhere"):
        load_config({**in_cluster, "KUBECONFIG": str(tmp_path / "nowhere")}, str(account))
    (tmp_path / "broken").write_text("a: [")
    with pytest.raises(KubeConfigError):
        load_config({"KUBECONFIG": str(tmp_path / "broken")})


async def test_object_that_does_not_fit_is_not_absent(client: KubeClient, server: FakeApiServer) -> None:
    server.plan(anything, answer_text(200, b'{"metadata": {"name": "g"}, "size": {}}'))
    with pytest.raises(UnreadableObjectError, match="correct the object"):
        await client.get(GADGETS, "g", "ns")


async def test_missing_object_is_not_found(client: KubeClient) -> None:
    with pytest.raises(NotFoundError, match='gadgets "g" not found'):
        await client.get(GADGETS, "g", "ns")
