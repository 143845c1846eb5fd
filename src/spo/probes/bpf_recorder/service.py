"""Carries out what the daemon asks: the session says what is wanted, the kernel does it."""

import time
from collections.abc import Callable

import msgspec

from spo import klog
from spo.bpf.errors import RecorderError
from spo.bpf.recorder import Namespace
from spo.probes.bpf_recorder.answers import identified, log_kept, log_short_path, seen
from spo.probes.bpf_recorder.kernel import Kernel, KernelRecorder
from spo.probes.bpf_recorder.session import MAX_RECORDINGS, Session, UnknownNamespaceError
from spo.probes.bpf_recorder.state_file import StateFile
from spo.recording.identity import container_of
from spo.rpc.bpf_recorder import (
    NO_RECORDER,
    NOT_RUNNING,
    TOO_MANY,
    UNKNOWN_NAMESPACE,
    Done,
    GetStatus,
    Identified,
    Keep,
    Kept,
    Losses,
    Observed,
    Read,
    Reject,
    Request,
    Reset,
    Start,
    Started,
    Status,
    Stop,
    Stopped,
    Subscribe,
)
from spo.rpc.protocol import CallFailedError
from spo.rpc.server import Peer

log = klog.get("bpf-recorder")


class RecorderService:
    """One per process. Not thread safe.

    Args:
        own_namespace: inode of the mount namespace that this process lives in; never recorded.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        kernel: Kernel,
        state: StateFile,
        session: Session,
        *,
        own_namespace: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kernel = kernel
        self._state = state
        self._session = session
        self._own_namespace = own_namespace
        self._clock = clock
        self._news: list[Identified] = []
        self._save_failed = False
        self._unannounced = 0
        self.recorder: KernelRecorder | None = None
        """Attached; ``None``: nothing is recorded."""

    def restore(self) -> None:
        """Go on with a recording that was live when the last process ended; remove all other pins.

        Raises:
            RecorderError: the kernel refuses.
        """
        saved = self._state.load()
        for name in self._kernel.remove_other_pins():
            log.info("Removed pinned objects of another version", layout=name)
        if not saved.recordings:
            if self._kernel.remove_pins():
                log.info("Removed pinned objects that no recording needs")
            return
        try:
            self.recorder = self._kernel.adopt()
        except RecorderError as error:
            log.error("Cannot go on with the recordings of the last run, beginning anew", error=error)
            saved.interrupted += 1
            self._kernel.remove_pins()
            self.recorder = self._kernel.start()
        namespaces = self.recorder.namespaces()
        present = {found.key for found in namespaces if not found.ignored}
        ignored = [found.key for found in namespaces if found.ignored]
        gone = self._session.restore(saved, present, ignored, self._clock())
        self._look_for_new()
        for tracked in gone:
            log.warning("Lost a namespace", container=tracked.container_id, mntns=tracked.inode)
        log.info("Going on with recordings", namespaces=len(present), recordings=len(saved.recordings))

    def handle(self, peer: Peer, request: Request) -> msgspec.Struct:
        """The answer to one request.

        Raises:
            CallFailedError: it cannot be done.
        """
        match request:
            case Start():
                return self._start(request.recording)
            case Stop():
                return self._stop(request.recording)
            case Subscribe():
                peer.subscribed = True
                for tracked in self._session.tracked:
                    if tracked.container_id is not None:
                        peer.push(identified(tracked))
                return self._status()
            case GetStatus():
                return self._status()
            case Keep() | Reject() | Read() | Reset():
                return self._decide(request)

    def take_news(self) -> list[Identified]:
        """What subscribers have to be told since the last call."""
        news, self._news = self._news, []
        return news

    def poll(self) -> None:
        """Take what the kernel has announced."""
        if self.recorder is None:
            return
        for event in self.recorder.events(0):
            if not self._session.knows(event.key) and (found := self.recorder.namespace(event.key)):
                self._discover(found)
            container = container_of(event.cgroups)
            tracked = self._session.identify(
                event.key, container, event.pid, event.comm, is_program=event.exec
            )
            if tracked is not None:
                if tracked.kept:
                    log_short_path(tracked)
                self._news.append(identified(tracked))
            elif event.exec and self._session.is_foreign(event.key):
                self._reject(event.key)
        unannounced = self.recorder.losses().ring_full
        if unannounced != self._unannounced:  # they are recorded all the same, and must expire
            self._unannounced = unannounced
            self._look_for_new()

    def tick(self) -> None:
        """Reject what nobody has decided on in time."""
        deadline_s = self._session.next_deadline_s
        if deadline_s is None or self._clock() < deadline_s:
            return
        for tracked in self._session.expire(self._clock()):
            if tracked.container_id is not None:
                log.warning(
                    "Nobody asked for a namespace in time",
                    container=tracked.container_id,
                    mntns=tracked.inode,
                )
            self._reject(tracked.key)

    def next_deadline_s(self) -> float | None:
        """When :meth:`tick` must be called at the latest; ``None``: no need."""
        return self._session.next_deadline_s

    def save(self) -> None:
        """Store what must survive this process, if it has changed."""
        if not self._session.changed:
            return
        try:
            self._state.save(self._session.saved())
        except OSError as error:
            if not self._save_failed:
                log.error("Cannot save what a restart of this process needs; still trying", error=error)
            self._save_failed = True
            return
        self._session.changed = self._save_failed = False

    def close(self) -> None:
        """End of this process: a live recording goes on in the kernel, for the next one to take over."""
        self.save()
        if self.recorder is not None:
            log.info("Leaving recordings to the next start", recordings=len(self._session.recordings))
            self.recorder.close()
            self.recorder = None

    def _start(self, recording: str) -> Started:
        recordings = self._session.recordings
        if len(recordings) >= MAX_RECORDINGS and recording not in recordings:
            raise CallFailedError(f"{MAX_RECORDINGS} recordings are running; stop some", TOO_MANY)
        running = self.recorder is not None
        if running:
            log.info("bpf recorder already running", recordings=len(recordings))
        else:
            try:
                self._kernel.remove_pins()
                self.recorder = self._kernel.start()
            except RecorderError as error:
                log.error("Cannot load bpf module", error=error)
                raise CallFailedError(str(error), NO_RECORDER) from error
        self._session.start(recording)
        return Started(running, self._losses())

    def _stop(self, recording: str) -> Stopped:
        if self.recorder is None:
            log.info("bpf recorder not running")
            return Stopped(0, Losses())
        losses = self._losses()
        self._session.stop(recording)
        remaining = len(self._session.recordings)
        if remaining:
            log.info("Not stopping because another recording is in progress", recordings=remaining)
            return Stopped(remaining, losses)
        self.save()  # first: pins without a recording are removed at the next start
        recorder, self.recorder = self.recorder, None
        log.info("Unloading bpf module")
        try:
            recorder.detach()
        except RecorderError as error:
            raise CallFailedError(str(error), NO_RECORDER) from error
        finally:
            recorder.close()
        return Stopped(0, losses)

    def _decide(self, request: Keep | Reject | Read | Reset) -> Kept | Done | Observed:
        if self.recorder is None:
            raise CallFailedError("bpf recorder not running", NOT_RUNNING)
        try:
            tracked = self._session.get(request.key)
        except UnknownNamespaceError as error:
            if isinstance(request, Reject):
                return Done(self._losses())
            raise CallFailedError(
                f"namespace {request.key} is not recorded: it was rejected, undecided for too long, "
                "or never seen",
                UNKNOWN_NAMESPACE,
            ) from error
        match request:
            case Keep():
                self._session.keep(request.key, request.profile)
                log_kept(tracked, request.container)
                return Kept(tracked.late, self._losses())
            case Reject():
                self._reject(request.key)
            case Reset():
                self.recorder.reset(request.key)
            case Read():
                observation = self.recorder.read(request.key)
                return Observed(request.key, tracked.late, list(seen(observation)), self._losses())
        return Done(self._losses())

    def _reject(self, key: int) -> None:
        assert self.recorder is not None  # noqa: S101 - callers have looked
        self.recorder.reject(key)
        for old in self._session.reject(key):
            self.recorder.forget(old)

    def _look_for_new(self) -> None:
        assert self.recorder is not None  # noqa: S101 - callers have looked
        for found in self.recorder.namespaces():
            self._discover(found)

    def _discover(self, found: Namespace) -> None:
        if found.ignored:
            return
        if found.inode == self._own_namespace:
            self._reject(found.key)
        else:
            self._session.discover(found.key, found.inode, late=found.late, now_s=self._clock())

    def _losses(self) -> Losses:
        session = self._session
        if self.recorder is None:
            return Losses(expired=session.expired, interrupted=session.interrupted)
        kernel = self.recorder.losses()
        return Losses(
            kernel.map_full,
            kernel.ring_full,
            kernel.process_map_full,
            kernel.unknown_numbers,
            session.expired,
            session.interrupted,
        )

    def _status(self) -> Status:
        session = self._session
        kept = len(session.tracked) - session.undecided
        return Status(sorted(session.recordings), session.undecided, kept, self._losses())
