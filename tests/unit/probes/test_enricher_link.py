"""The connection to the daemon in a loop, against the real server; both take turns in one thread."""

import dataclasses
import os
import selectors
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spo.probes.log_enricher.link import ANSWER_S, DaemonLink
from tests.fakes.rpc_server import ECHO, Echo, Echoed, EchoServer, place, short_folder


class Loop:
    """A link, its selector, a clock that the test sets."""

    def __init__(self, path: Path, *, uid: int | None = None) -> None:
        self.now_s = 100.0
        self.selector = selectors.DefaultSelector()
        self.changes: list[bool] = []
        self.answers: list[Any] = []
        uids = {os.getuid() if uid is None else uid}
        self.link = DaemonLink(
            path, ECHO, self.selector, self.changes.append, server_uids=uids, clock=lambda: self.now_s
        )

    def turn(self, server: EchoServer | None = None, rounds: int = 20) -> None:
        for _ in range(rounds):
            self.link.tick()
            if server is not None:
                server.turn(0)
            for key, events in self.selector.select(0):
                key.data(events)

    def call(self, text: str) -> None:
        self.link.call(Echo(text), self.answers.append)


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., EchoServer]]:
    made: list[EchoServer] = []

    def make(**options: Any) -> EchoServer:
        made.append(EchoServer(place(folder), **options))
        return made[-1]

    yield make
    for server in made:
        if server.selector.get_map() is not None:
            server.close()


@pytest.fixture
def loop(folder: Path) -> Iterator[Loop]:
    made = Loop(place(folder).path)
    yield made
    made.link.close()
    made.selector.close()


def test_calls_are_answered_in_their_order(loop: Loop, serve: Callable[..., EchoServer]) -> None:
    server = serve()
    loop.turn(server)
    assert loop.changes == [True]
    assert loop.link.next_deadline_s() is None
    for number in range(20):
        loop.call(f"{number}" * 10_000)
    loop.turn(server, 200)
    assert loop.answers == [Echoed(f"{number}" * 10_000) for number in range(20)]
    assert loop.link.next_deadline_s() is None


def test_daemon_that_is_not_there_is_tried_again_after_growing_pauses(
    loop: Loop, serve: Callable[..., EchoServer]
) -> None:
    pauses = []
    for _ in range(10):
        loop.turn()
        deadline_s = loop.link.next_deadline_s()
        assert deadline_s is not None
        pauses.append(deadline_s - loop.now_s)
        loop.now_s = deadline_s
    assert pauses[0] == 0.5
    assert pauses[-1] == 10.0
    loop.turn(serve())
    assert loop.changes == [True]


def test_daemon_that_goes_away_is_found_again(loop: Loop, serve: Callable[..., EchoServer]) -> None:
    first = serve()
    loop.turn(first)
    loop.call("lost")
    first.close()
    loop.turn()
    assert loop.changes == [True, False]
    assert not loop.link.is_ready
    second = serve()
    loop.now_s += 1
    loop.turn(second)
    loop.call("again")
    loop.turn(second)
    assert loop.changes == [True, False, True]
    assert loop.answers == [Echoed("again")]


def test_daemon_that_does_not_answer_is_given_up(loop: Loop, serve: Callable[..., EchoServer]) -> None:
    server = serve()
    loop.turn(server)
    loop.call("silence")
    loop.now_s += ANSWER_S - 1
    loop.turn()
    assert loop.link.is_ready
    loop.now_s += 1
    loop.turn()
    assert loop.changes == [True, False]


def test_failure_of_the_daemon_is_not_taken_for_an_answer(
    loop: Loop, serve: Callable[..., EchoServer]
) -> None:
    server = serve()
    loop.turn(server)
    loop.call("fail")
    loop.turn(server)
    assert loop.answers == []
    assert loop.changes == [True, False]


@pytest.mark.parametrize("case", ["another-version", "uid-not-allowed"])
def test_daemon_that_refuses_us_is_not_used(loop: Loop, serve: Callable[..., EchoServer], case: str) -> None:
    options: dict[str, dict[str, Any]] = {
        "another-version": {"protocol": dataclasses.replace(ECHO, version=8)},
        "uid-not-allowed": {"allowed_uids": ()},
    }
    loop.turn(serve(**options[case]))
    assert loop.changes == []
    assert not loop.link.is_ready
    assert loop.link.next_deadline_s() is not None


def test_stranger_on_the_socket_is_not_used(folder: Path, serve: Callable[..., EchoServer]) -> None:
    loop = Loop(place(folder).path, uid=os.getuid() + 1)
    loop.turn(serve())
    assert loop.changes == []
    assert not loop.link.is_ready
    loop.link.close()
    loop.selector.close()
