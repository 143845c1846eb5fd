"""The daemon as the process ``log-enricher`` meets it, and that process, for tests and measurements."""

import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from spo.rpc.listener import Listener, SocketPlace
from spo.rpc.log_enricher import (
    PROTOCOL,
    Count,
    Counted,
    Find,
    Found,
    KnownContainer,
    Losses,
    SeccompCount,
    Trace,
    Traced,
    TracedProcess,
)
from spo.rpc.server import Peer, Server

LIMIT_S = 20.0


class EnricherDaemon:
    """Knows the containers that it is told; adds up what it is sent."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.known: dict[str, KnownContainer] = {}
        self.asked: Counter[str] = Counter()
        self.processes: dict[int, TracedProcess] = {}
        """What the recorder saw."""
        self.counts: Counter[tuple[str, str, str]] = Counter()
        """(container, executable, syscall) -> how often."""
        self.batches: list[tuple[str, int]] = []
        self.losses = Losses()
        self.others: list[Any] = []
        self._ours, self._theirs = os.pipe()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Serve, in a thread of its own; returns when a client can connect."""
        listening = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(listening,))
        self._thread.start()
        assert listening.wait(LIMIT_S)

    def stop(self) -> None:
        """End as a killed daemon does: nothing is answered any more."""
        if self._thread is not None:
            os.write(self._theirs, b"x")
            self._thread.join(LIMIT_S)
            self._thread = None

    def knows(self, container_id: str, container: str = "c", pod: str = "p") -> None:
        """From now on."""
        self.known[container_id] = KnownContainer(container_id, "default", pod, container)

    def handle(self, _: Peer, request: Find | Trace | Count) -> msgspec.Struct:
        if isinstance(request, Trace):
            return Traced([self.processes[pid] for pid in request.pids if pid in self.processes])
        if isinstance(request, Find):
            ids = [wanted.container_id for wanted in request.containers]
            self.asked.update(ids)
            return Found([self.known[one] for one in ids if one in self.known])
        self.batches.append((request.session, request.number))
        for entry in request.entries:
            if isinstance(entry, SeccompCount):
                self.counts[entry.container, entry.executable, entry.syscall] += entry.count
            else:
                self.others.append(entry)
        self.losses = request.losses
        return Counted()

    def _serve(self, listening: threading.Event) -> None:
        place = SocketPlace(path=self.socket, uid=os.getuid(), gid=os.getgid())
        with Listener(place) as listener, selectors.DefaultSelector() as selector:
            server = Server(listener.socket, PROTOCOL, self.handle, selector, allowed_uids={os.getuid()})
            selector.register(self._ours, selectors.EVENT_READ, None)
            listening.set()
            while True:
                for key, events in selector.select(0.5):
                    if key.data is None:
                        os.read(self._ours, 1)
                        server.close()
                        return
                    key.data(events)
                server.tick()
                server.flush()


class EnricherProcess:
    """The process with all its paths in a folder; started at once, reading when the constructor returns."""

    def __init__(self, folder: Path, *options: str, wrapper: Sequence[str] = ()) -> None:
        self.lines: list[str] = []
        self._grown = threading.Condition()
        command = (
            sys.executable,
            "-m",
            "spo",
            "log-enricher",
            f"--daemon-socket={folder}/daemon/e.sock",
            f"--audit-log={folder}/audit.log",
            f"--syslog={folder}/syslog",
            *options,
        )
        self._process = subprocess.Popen(
            (*wrapper, *command), env={**os.environ, "NODE_NAME": "node-1"}, stderr=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.wait_for(r"Reading from")

    @property
    def pid(self) -> int:
        """Of the process itself, also below a wrapper."""
        for line in self.lines:
            found = re.match(r"[IWE]\d{4} \S+ +(\d+) ", line)
            if found:
                return int(found[1])
        return self._process.pid

    def wait_for(self, pattern: str, count: int = 1) -> list[str]:
        """The lines with ``pattern``, as soon as there are ``count``."""
        deadline_s = time.monotonic() + LIMIT_S
        with self._grown:
            while len(found := [line for line in self.lines if re.search(pattern, line)]) < count:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or (self._process.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(f"no {pattern!r} in:\n{''.join(self.lines[-50:])}")
                self._grown.wait(min(left_s, 0.2))
        return found

    def audits(self) -> list[str]:
        """The lines about records, without their heads."""
        return [line.partition('"msg"="audit"  ')[2] for line in self.lines if '"msg"="audit"' in line]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit code."""
        if self._process.poll() is None:
            os.kill(self.pid, number)
        code = self._process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        return code

    def rss_kib(self) -> int:
        """Resident memory in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                with self._grown:
                    self.lines.append(line)
                    self._grown.notify_all()


def wait_until(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Look again and again, for things that tell nobody when they change."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not become true in time"
        time.sleep(0.01)
