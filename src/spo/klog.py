"""Log lines in the klog format that users grep: ``I1115 12:02:45.991786 11 file:line] name "msg"="..."``."""

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, Final, TextIO

_SEVERITIES: Final = {logging.WARNING: "W", logging.ERROR: "E", logging.CRITICAL: "F"}
_ROOT: Final = "spo"


def _quote(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


class _KlogFormatter(logging.Formatter):
    """Header, logger name, message, then the pairs sorted by key."""

    def format(self, record: logging.LogRecord) -> str:
        severity = _SEVERITIES.get(record.levelno, "I")
        local = time.localtime(record.created)
        micros = int(record.created % 1 * 1_000_000)
        stamp = f"{severity}{time.strftime('%m%d %H:%M:%S', local)}.{micros:06d}"
        pairs: Mapping[str, object] = getattr(record, "pairs", {})
        name = record.name.removeprefix(_ROOT).removeprefix(".")
        error = f' "error"={_quote(str(record.exc_info[1]))}' if record.exc_info else ""
        text = " ".join(f'"{key}"={_quote(pairs[key])}' for key in sorted(pairs))
        return (
            f"{stamp} {os.getpid():7d} {record.filename}:{record.lineno}] "
            f'{name} "msg"={_quote(record.getMessage())}{error}{"  " + text if text else ""}'
        )


class Logger:
    """Thin front of ``logging``: a constant message, values as keyword pairs.

    ``debug`` lines appear from verbosity 1 on.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"{_ROOT}.{name}" if name else _ROOT)

    def debug(self, message: str, /, **pairs: object) -> None:
        """Log a detail, shown with ``--verbosity 1``."""
        self._log(logging.DEBUG, message, pairs)

    def info(self, message: str, /, **pairs: object) -> None:
        """Log a change."""
        self._log(logging.INFO, message, pairs)

    def warning(self, message: str, /, **pairs: object) -> None:
        """Log something a person should look at, that does not stop the work."""
        self._log(logging.WARNING, message, pairs)

    def error(self, message: str, /, error: BaseException | None = None, **pairs: object) -> None:
        """Log a failure, once, where it is handled; ``error`` becomes the pair ``"error"``."""
        self._log(logging.ERROR, message, pairs, error)

    def _log(
        self, level: int, message: str, pairs: Mapping[str, object], error: BaseException | None = None
    ) -> None:
        if self._logger.isEnabledFor(level):
            exc_info: Any = (type(error), error, None) if error else None
            # Two frames up: the caller of debug/info/warning/error.
            self._logger.log(level, "%s", message, extra={"pairs": pairs}, exc_info=exc_info, stacklevel=3)


def get(name: str = "") -> Logger:
    """The logger that prints ``name`` before its messages; ``""`` for the nameless one."""
    return Logger(name)


def configure(verbosity: int, stream: TextIO | None = None) -> None:
    """Send our log lines to ``stream`` (standard error by default); verbosity 0 or 1."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_KlogFormatter())
    root = logging.getLogger(_ROOT)
    root.handlers[:] = [handler]
    root.propagate = False
    root.setLevel(logging.DEBUG if verbosity > 0 else logging.INFO)
