"""Our output: a reader that does not read must not make us lose records."""

import contextlib
import os
import stat
from typing import Final

MAX_WAITING_CHARACTERS: Final = 4 << 20
FLUSH_CHARACTERS: Final = 64 << 10


class Output:
    """Lines to a file descriptor, without ever waiting for it. Also a stream for ``spo.klog``.

    What is not taken waits; from 4 MiB on, new lines are dropped and counted.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = _non_blocking(descriptor)
        self._lines: list[str] = []
        self._characters = 0
        self._waiting = b""
        self.dropped = 0
        """Lines that nobody will see."""

    def write(self, line: str) -> int:
        """Take a line, with its end."""
        if self._characters + len(self._waiting) > MAX_WAITING_CHARACTERS:
            self.dropped += 1
            return 0
        self._lines.append(line)
        self._characters += len(line)
        if self._characters > FLUSH_CHARACTERS and not self._waiting:
            self.flush()
        return len(line)

    def flush(self) -> None:
        """Write as much as is taken now."""
        if not self._waiting:
            if not self._lines:
                return
            self._waiting = "".join(self._lines).encode("utf-8", "backslashreplace")
            self._lines.clear()
            self._characters = 0
        try:
            while self._waiting:
                self._waiting = self._waiting[os.write(self._descriptor, self._waiting) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.dropped += self._waiting.count(b"\n")
            self._waiting = b""

    @property
    def has_lines(self) -> bool:
        """There is something to flush."""
        return bool(self._lines)

    @property
    def is_stuck(self) -> bool:
        """Something was not taken: flush again when :meth:`fileno` is ready for it."""
        return bool(self._waiting)

    def fileno(self) -> int:
        """For a selector."""
        return self._descriptor

    def close(self) -> None:
        """Write what is taken now, give up the rest."""
        with contextlib.suppress(OSError):
            self.flush()
        os.close(self._descriptor)


def _non_blocking(descriptor: int) -> int:
    """The same output, but of our own: others that have it open are not affected by how we write."""
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    return os.dup(descriptor)
