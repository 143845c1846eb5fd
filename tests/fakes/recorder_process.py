"""The process ``bpf-recorder`` with a socket and pins of its own, for tests and measurements."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from spo.rpc.blocking import BlockingClient
from spo.rpc.bpf_recorder import PROTOCOL

READY = "Starting GRPC API server"
LIMIT_S = 20.0


class RecorderProcess:
    """Started at once, ready when the constructor returns.

    Args:
        folder: for the socket; its path must be short.
        pins: a directory of a bpf file system.
        wrapper: a command that runs the process, such as strace.
    """

    def __init__(self, folder: Path, pins: Path, *, wrapper: Sequence[str] = ()) -> None:
        self.socket = folder / "probes" / "bpf-recorder.sock"
        self.pins = pins
        command = (
            sys.executable,
            "-m",
            "spo",
            "bpf-recorder",
            f"--socket={self.socket}",
            f"--pin-root={pins}",
        )
        self._process = subprocess.Popen(
            (*wrapper, *command),
            env={**os.environ, "NODE_NAME": "node-1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)
            if READY in line:
                break
        self._rest = threading.Thread(target=self._read_rest)
        self._rest.start()

    @property
    def pid(self) -> int:
        """Of the process itself, which is its own leader even below a wrapper."""
        return int(self.lines[-1].split()[2]) if self.lines else self._process.pid

    def messages(self) -> list[str]:
        """What was logged, without header and pairs."""
        return [line.partition('"msg"="')[2].partition('"')[0] for line in self.lines]

    def connect(self) -> BlockingClient:
        """A client as root."""
        return BlockingClient(self.socket, PROTOCOL, timeout_s=LIMIT_S)

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def wait(self) -> int:
        """The exit code of a process that ends on its own."""
        code = self._process.wait(LIMIT_S)
        self._rest.join()
        return code

    def _end(self, number: signal.Signals) -> int:
        if self._process.poll() is None:
            os.kill(self.pid, number)
        return self.wait()

    def _read_rest(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as rest:
            self.lines.extend(rest)

    def rss_kib(self, field: str = "VmRSS") -> int:
        """Resident memory in KiB."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith(field + ":"))
