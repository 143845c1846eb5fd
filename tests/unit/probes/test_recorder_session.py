import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.probes.bpf_recorder.session import MAX_IGNORED, Saved, Session, UnknownNamespaceError

ID = "a" * 64


def session(*, recording: str = "r") -> Session:
    made = Session(120.0)
    made.start(recording)
    return made


def keys(made: Session) -> list[int]:
    return [tracked.key for tracked in made.tracked]


def test_starting_twice_counts_once() -> None:
    made = session()
    made.start("r")
    made.start("other")
    made.stop("r")
    assert made.recordings == {"other"}
    made.stop("never started")
    assert made.recordings == {"other"}


def test_last_stop_forgets_everything() -> None:
    made = session()
    made.discover(1, 10, late=False, now_s=0)
    made.discover(2, 20, late=False, now_s=0)
    made.reject(2)
    made.expired = made.interrupted = 3
    made.stop("r")
    assert made.saved() == Saved()
    assert not made.knows(2)
    assert made.next_deadline_s is None


def test_undecided_namespace_expires_and_is_counted() -> None:
    made = session()
    made.discover(1, 10, late=False, now_s=0)
    made.identify(1, (ID, None), 7, "sh")
    made.discover(2, 20, late=False, now_s=5)
    assert made.next_deadline_s == 120
    assert made.expire(119.9) == []
    assert [tracked.key for tracked in made.expire(120)] == [1]
    made.reject(1)
    assert made.expired == 1
    assert made.next_deadline_s == 125
    with pytest.raises(UnknownNamespaceError):
        made.keep(1)


def test_expired_namespace_of_no_container_is_no_loss() -> None:
    made = session()
    made.discover(1, 10, late=False, now_s=0)
    made.identify(1, None, 7, "sh")
    assert len(made.expire(120)) == 1
    assert made.expired == 0


def test_kept_namespace_never_expires() -> None:
    made = session()
    made.discover(1, 10, late=True, now_s=0)
    assert made.keep(1).late
    assert made.next_deadline_s is None
    assert made.expire(1e9) == []


def test_seeing_a_namespace_again_buys_no_time() -> None:
    made = session()
    made.discover(1, 10, late=False, now_s=0)
    made.discover(1, 10, late=False, now_s=100)
    assert made.next_deadline_s == 120


def test_later_identification_wins_unless_it_does_not_know() -> None:
    made = session()
    made.discover(1, 10, late=False, now_s=0)
    made.identify(1, (ID, "uid"), 7, "runc:[1:CHILD]")
    made.identify(1, ("b" * 64, "uid-2"), 8, "nginx")
    assert made.identify(1, None, 9, "x") is None
    tracked = made.get(1)
    assert (tracked.container_id, tracked.pod_uid, tracked.pid, tracked.comm) == (
        "b" * 64,
        "uid-2",
        8,
        "nginx",
    )


def test_rejected_namespace_stays_out() -> None:
    made = session()
    made.discover(1, 10, late=False, now_s=0)
    assert made.reject(1) == []
    made.discover(1, 10, late=False, now_s=1)
    assert made.identify(1, (ID, None), 7, "sh") is None
    assert keys(made) == []


def test_memory_of_rejected_namespaces_is_bounded() -> None:
    made = session()
    forgotten = [old for key in range(MAX_IGNORED + 3) for old in made.reject(key)]
    assert forgotten == [0, 1, 2]
    assert not made.knows(0)
    assert made.knows(3)


def test_kept_namespace_may_be_rejected() -> None:
    made = session()
    made.discover(1, 10, late=False, now_s=0)
    made.keep(1)
    made.reject(1)
    assert keys(made) == []


def test_restored_session_goes_on() -> None:
    first = session(recording="a")
    for key in (1, 2, 3, 4):
        first.discover(key, key * 10, late=False, now_s=0)
        first.identify(key, (ID, None), key, "sh")
    first.keep(1)
    first.keep(2)
    first.expired = 5
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(first.saved()), type=Saved)

    second = Session(120.0)
    gone = second.restore(stored, present=[1, 3, 9], ignored=[8], now_s=1000)
    assert [tracked.key for tracked in gone] == [2]
    assert keys(second) == [1, 3]
    assert second.recordings == {"a"}
    assert second.get(1).kept
    assert second.next_deadline_s == 1120
    assert second.knows(8)
    assert second.expired == 5


def test_change_is_noted_only_when_there_is_one() -> None:
    made = session()
    made.discover(1, 10, late=False, now_s=0)
    made.changed = False
    made.discover(1, 10, late=False, now_s=1)
    made.reject(99)
    assert made.expire(2) == []
    assert not made.changed
    made.keep(1)
    assert made.changed


KEYS = st.integers(1, 6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["discover", "identify", "keep", "reject"]), KEYS),
        st.tuples(st.sampled_from(["wait"]), st.integers(1, 200)),
        st.tuples(st.sampled_from(["start", "stop", "restart"]), KEYS),
    ),
    max_size=40,
)


class Model:
    """A session, and what we think that it has kept."""

    def __init__(self) -> None:
        self.session = session()
        self.kept: set[int] = set()
        self.now_s = 0.0

    def discover(self, key: int) -> None:
        if self.session.recordings:
            self.session.discover(key, key, late=False, now_s=self.now_s)

    def identify(self, key: int) -> None:
        self.session.identify(key, (ID, None), 1, "x")

    def keep(self, key: int) -> None:
        try:
            self.session.keep(key)
            self.kept.add(key)
        except UnknownNamespaceError:
            assert key not in keys(self.session)

    def reject(self, key: int) -> None:
        self.session.reject(key)
        self.kept.discard(key)

    def start(self, number: int) -> None:
        self.session.start(str(number))

    def stop(self, number: int) -> None:
        self.session.stop(str(number))

    def restart(self, _number: int) -> None:
        saved = self.session.saved()
        self.session = Session(120.0)
        self.session.restore(saved, [tracked.key for tracked in saved.namespaces], [], self.now_s)

    def wait(self, seconds: int) -> None:
        self.now_s += seconds
        for tracked in self.session.expire(self.now_s):
            self.session.reject(tracked.key)

    def check(self) -> None:
        if not self.session.recordings:
            self.kept.clear()
        assert {tracked.key for tracked in self.session.tracked if tracked.kept} == self.kept
        assert self.session.undecided == len(self.session.tracked) - len(self.kept)
        deadline_s = self.session.next_deadline_s
        assert deadline_s is None or deadline_s > self.now_s


@given(STEPS)
def test_any_order_keeps_the_books_straight(steps: list[tuple[str, int]]) -> None:
    model = Model()
    for what, value in steps:
        getattr(model, what)(value)
        model.check()
