"""The informer against the fake API server: it must end up with the truth whatever happens on the way."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable

import pytest

from spo.api.core import PODS, Container, Pod, PodSpec
from spo.api.meta import ObjectMeta
from spo.kube.client import KubeClient
from spo.kube.config import server_config
from spo.kube.errors import UnreadableObjectError
from spo.kube.informer import Informer
from spo.kube.reflector import ReflectorSettings
from spo.kube.transport import ClientLimits
from tests.fakes.api_server import Call, FakeApiServer, Fault, answer_text, cut, hang, refuse, stream
from tests.fakes.clock import EagerClock

SETTINGS = ReflectorSettings(page_size=3)
IMPATIENT = ReflectorSettings(page_size=3, inactivity_s=0.1)


def watching(call: Call) -> bool:
    return call.watching


def listing(call: Call) -> bool:
    return call.listing


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as server:
        yield server


@pytest.fixture
def clock() -> EagerClock:
    return EagerClock()


@pytest.fixture
async def client(server: FakeApiServer, clock: EagerClock) -> AsyncIterator[KubeClient]:
    limits = ClientLimits(max_event_bytes=5000)
    async with KubeClient(server_config(server.url), clock=clock, limits=limits) as client:
        yield client


@contextlib.asynccontextmanager
async def running(informer: "Informer[Pod]") -> AsyncIterator[None]:
    task = asyncio.create_task(informer.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    """Give sockets the time they need; fail if that does not help."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not happen")


def names(informer: "Informer[Pod]") -> list[str]:
    return sorted(pod.metadata.name for pod in informer.cache.list())


async def add(client: KubeClient, name: str, namespace: str = "ns", image: str = "") -> None:
    spec = PodSpec(containers=[Container(name="c", image=image)])
    await client.create(PODS, Pod(metadata=ObjectMeta(name=name, namespace=namespace), spec=spec))


async def test_it_lists_all_pages_and_follows_changes(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    for number in range(8):
        await add(client, f"p{number}")
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    async with running(informer):
        await informer.synced()
        assert len(informer.cache) == 8
        assert informer.last_list_complete

        await add(client, "new")
        await client.patch(PODS, "p1", "ns", {"metadata": {"labels": {"a": "b"}}})
        await client.delete(PODS, "p2", "ns")
        await until(lambda: "p2" not in names(informer) and "new" in names(informer))

        changed = informer.cache.get("ns", "p1")
        assert changed is not None
        assert changed.metadata.labels == {"a": "b"}
        assert informer.cache.get("ns", "p2") is None
    assert informer.stats.lists == 1


async def test_it_is_not_synced_before_the_last_page(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    for number in range(4):
        await add(client, f"p{number}")
    server.plan(lambda call: "continue" in call.params, hang, times=99)
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    async with running(informer):
        await until(lambda: len(server.requests(lambda call: "continue" in call.params)) > 0)
        assert not informer.last_list_complete
        assert len(informer.cache) == 0


async def test_410_leads_to_a_list_that_finds_what_was_missed(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    await add(client, "stays")
    await add(client, "goes")
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    seen: list[tuple[str, str]] = []
    informer.add_listener(lambda old, new: seen.append((_name(old), _name(new))))
    async with running(informer):
        await informer.synced()
        await until(lambda: server.watches_open == 1)
        seen.clear()
        # Happens while the informer is cut off, and the server forgets it.
        server.plan(watching, cut, times=2)
        server.cut_connections()
        await client.delete(PODS, "goes", "ns")
        await add(client, "comes")
        server.objects.compact()

        await until(lambda: names(informer) == ["comes", "stays"])

        assert sorted(seen) == [("", "comes"), ("goes", "")]
        assert informer.stats.expired == 1
        assert informer.stats.missed_deletions == 1
        assert informer.last_list_complete


def _name(pod: Pod | None) -> str:
    return pod.metadata.name if pod else ""


FAULTS = [
    pytest.param(cut, id="cut-before-the-answer"),
    pytest.param(hang, id="half-open"),
    pytest.param(stream(), id="ends-at-once"),
    pytest.param(stream(b'{"type":"ADDED","object":{"metada', then=cut), id="cut-mid-event"),
    pytest.param(stream(b'{"type":"ADDED","object":{"metada'), id="ends-mid-event"),
    pytest.param(stream(b'{"type":"ADDED","object":{"metada\n'), id="partial-json"),
    pytest.param(stream(b"x" * 10_000), id="line-without-end"),
    pytest.param(refuse(410, "Expired"), id="410"),
    pytest.param(refuse(429, "TooManyRequests", retry_after="3"), id="429"),
    pytest.param(refuse(500, "InternalError"), id="500"),
    pytest.param(refuse(504, "Timeout", retry_after="1"), id="504"),
    pytest.param(refuse(403, "Forbidden"), id="403"),
    pytest.param(refuse(404, "NotFound"), id="kind-gone"),
    pytest.param(answer_text(502, b"<html>bad gateway</html>"), id="proxy-error"),
    pytest.param(answer_text(200, b"<html>login please</html>"), id="login-page"),
    pytest.param(stream(b'{"type":"ERROR","object":{"code":410,"message":"too old"}}\n'), id="410-event"),
    pytest.param(stream(b'{"type":"ERROR","object":{"message":"?"}}\n'), id="error-event-without-code"),
]


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("fault", FAULTS)
async def test_watch_survives(
    client: KubeClient, server: FakeApiServer, clock: EagerClock, fault: Fault, times: int
) -> None:
    await add(client, "first")
    server.plan(watching, fault, times=times)
    informer = Informer(client, PODS, settings=IMPATIENT, clock=clock)
    async with running(informer):
        await informer.synced()
        await add(client, "second")
        await client.delete(PODS, "first", "ns")
        await until(lambda: names(informer) == ["second"])
        # Never in a hurry: each failure is followed by a pause.
        assert informer.stats.failures + informer.stats.silent >= 1
        assert len(clock.slept) >= informer.stats.failures
        assert all(0.1 <= delay_s <= 30 for delay_s in clock.slept)


@pytest.mark.parametrize(
    "fault",
    [fault for fault in FAULTS if fault.id not in {"half-open", "429"}],
)
async def test_list_survives(
    client: KubeClient, server: FakeApiServer, clock: EagerClock, fault: Fault
) -> None:
    await add(client, "first")
    server.plan(listing, fault, times=4)
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    async with running(informer):
        await until(lambda: names(informer) == ["first"])


async def test_failed_relist_removes_nothing(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    for number in range(5):
        await add(client, f"p{number}")
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    async with running(informer):
        await informer.synced()
        await until(lambda: server.watches_open == 1)
        lists = len(server.requests(listing))
        # The kind is gone, then half a list comes: neither says that the objects are gone.
        server.plan(watching, refuse(410, "Expired"))
        server.plan(listing, refuse(404, "NotFound"), times=3)
        server.plan(lambda call: "continue" in call.params, refuse(500, "InternalError"), times=3)
        server.cut_connections()
        await until(lambda: len(server.requests(listing)) > lists + 7)
        assert len(informer.cache) == 5
        assert informer.stats.missed_deletions == 0
        await until(lambda: informer.last_list_complete)


async def test_pauses_grow_and_shrink_again(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    server.plan(listing, refuse(500, "InternalError"), times=12)
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    async with running(informer):
        await informer.synced()
        assert len(clock.slept) == 12
        assert clock.slept[0] <= 0.2
        assert SETTINGS.max_retry_s / 2 <= clock.slept[11] <= SETTINGS.max_retry_s
        await until(lambda: server.watches_open == 1)
        server.cut_connections()
        await until(lambda: len(clock.slept) == 13)
        assert clock.slept[12] <= 0.2


async def test_server_gone_for_a_while(client: KubeClient, server: FakeApiServer, clock: EagerClock) -> None:
    await add(client, "before")
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    async with running(informer):
        await informer.synced()
        await server.stop()
        await until(lambda: informer.stats.failures > 20)
        assert names(informer) == ["before"]
        await server.start()
        await add(client, "after")
        await until(lambda: names(informer) == ["after", "before"])


async def test_watch_ends_and_resumes_where_it_was(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    async with running(informer):
        await informer.synced()
        await until(lambda: server.watches_open == 1)
        server.objects.version = 500  # other kinds changed; the bookmark tells
        server.objects.end_watches()
        await until(lambda: len(server.requests(watching)) == 2)
    assert server.requests(watching)[1].params["resourceVersion"] == "500"
    assert informer.stats.lists == 1


@pytest.mark.parametrize("inactivity_s", [0.1, 60], ids=["silence", "proper-end"])
async def test_server_that_went_back_in_time_is_listed_again(
    client: KubeClient, server: FakeApiServer, clock: EagerClock, inactivity_s: float
) -> None:
    server.objects.version = 5000
    informer = Informer(client, PODS, settings=ReflectorSettings(inactivity_s=inactivity_s), clock=clock)
    async with running(informer):
        await informer.synced()
        await until(lambda: server.watches_open == 1)
        # The store was restored from a backup: our version lies in the future now.
        server.objects.version = 200
        await add(client, "new")  # the watch, from a version to come, stays silent
        if inactivity_s > 1:
            await clock.sleep(300)
            server.objects.end_watches()
        await until(lambda: names(informer) == ["new"])


async def test_namespaces_are_followed_independently(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    for namespace in ("a", "b", "c"):
        await add(client, "pod", namespace)
    informer = Informer(client, PODS, ("a", "b", "a"), settings=SETTINGS, clock=clock)
    async with running(informer):
        await informer.synced()
        assert sorted(informer.cache.keys()) == [("a", "pod"), ("b", "pod")]
        # A relist of one namespace says nothing about the other.
        server.plan(lambda call: call.watching and "/a/" in call.path, refuse(410, "Expired"))
        server.cut_connections()
        await client.delete(PODS, "pod", "a")
        await until(lambda: informer.cache.keys() == [("b", "pod")])


async def test_selectors_go_to_the_server(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    await add(client, "a")
    await add(client, "b")
    informer = Informer(client, PODS, field_selector="metadata.name=b", settings=SETTINGS, clock=clock)
    async with running(informer):
        await informer.synced()
        assert names(informer) == ["b"]
        await until(lambda: server.watches_open == 1)
    assert server.requests(watching)[0].params["fieldSelector"] == "metadata.name=b"


async def test_projection_decides_what_is_kept_and_told(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    await add(client, "boring")
    await add(client, "interesting", image="nginx")
    informer = Informer(client, PODS, project=lambda pod: pod.spec.containers[0].image or None, clock=clock)
    informer.add_index("image", lambda image: [image])
    seen: list[tuple[str | None, str | None]] = []
    informer.add_listener(lambda old, new: seen.append((old, new)))
    task = asyncio.create_task(informer.run())
    await informer.synced()
    assert informer.cache.list() == ["nginx"]
    assert informer.cache.by_index("image", "nginx") == ["nginx"]
    await client.patch(PODS, "interesting", "ns", {"metadata": {"labels": {"a": "b"}}})
    containers = [{"name": "c", "image": "redis"}]
    await client.patch(PODS, "interesting", "ns", {"spec": {"containers": containers}})
    await until(lambda: informer.cache.list() == ["redis"])
    assert seen == [(None, "nginx"), ("nginx", "redis")]
    assert informer.cache.by_index("image", "nginx") == []
    task.cancel()


async def test_listeners_never_see_half_a_change(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    for number in range(4):
        await add(client, f"p{number}")
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    informer.add_index("all", lambda _: ["x"])
    sizes: list[tuple[int, int]] = []
    informer.add_listener(
        lambda _, __: sizes.append((len(informer.cache), len(informer.cache.by_index("all", "x"))))
    )
    async with running(informer):
        await informer.synced()
    assert sizes == [(4, 4)] * 4


async def test_late_listener_hears_of_what_is_there(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    await add(client, "p")
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    async with running(informer):
        await informer.synced()
        seen: list[str] = []
        informer.add_listener(lambda _, new: seen.append(_name(new)))
        assert seen == ["p"]


async def test_unreadable_object_is_not_absent(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    await add(client, "good")
    await add(client, "turns-bad", image="nginx")
    target = server.objects.locate("/api/v1/namespaces/ns/pods")
    server.objects.create(target, {"metadata": {"name": "born-bad"}, "spec": {"containers": "none"}})
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    async with running(informer):
        await informer.synced()
        assert names(informer) == ["good", "turns-bad"]
        assert informer.last_list_complete
        with pytest.raises(UnreadableObjectError, match="Pod ns/born-bad"):
            informer.cache.get("ns", "born-bad")

        # The last state that could be read stays, also over a relist.
        turns_bad = server.objects.locate("/api/v1/namespaces/ns/pods/turns-bad")
        server.objects.merge(turns_bad, {"spec": {"containers": 5}})
        await until(lambda: len(informer.cache.unreadable) == 2)
        server.objects.compact()
        server.cut_connections()
        await until(lambda: informer.stats.lists == 2 and informer.last_list_complete)
        kept = informer.cache.get("ns", "turns-bad")
        assert kept is not None
        assert kept.spec.containers[0].image == "nginx"

        server.objects.merge(turns_bad, {"spec": {"containers": []}})
        server.objects.delete(server.objects.locate("/api/v1/namespaces/ns/pods/born-bad"), {})
        await until(lambda: not informer.cache.unreadable)
        assert informer.cache.get("ns", "born-bad") is None


async def test_hostile_content_that_breaks_our_code_hits_one_object_only(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    await add(client, "good", image="nginx")
    await add(client, "bad", image="")
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    informer.add_index("first", lambda pod: [pod.spec.containers[0].image[0]])
    async with running(informer):
        await informer.synced()
        assert names(informer) == ["good"]
        assert list(informer.cache.unreadable) == [("ns", "bad")]


async def test_pages_shrink_when_they_are_too_large(server: FakeApiServer, clock: EagerClock) -> None:
    async with KubeClient(
        server_config(server.url), clock=clock, limits=ClientLimits(max_body_bytes=3000)
    ) as client:
        for number in range(20):
            await add(client, f"p{number:02}", image="x" * 400)
        informer = Informer(client, PODS, settings=ReflectorSettings(page_size=500), clock=clock)
        async with running(informer):
            await until(lambda: len(informer.cache) == 20)


async def test_repeating_continue_token_does_not_loop(
    client: KubeClient, server: FakeApiServer, clock: EagerClock
) -> None:
    page = {"metadata": {"resourceVersion": "100", "continue": "again"}, "items": []}
    server.plan(listing, answer_text(200, json.dumps(page).encode()), times=4)
    informer = Informer(client, PODS, settings=SETTINGS, clock=clock)
    async with running(informer):
        await informer.synced()
    assert informer.stats.failures == 2
