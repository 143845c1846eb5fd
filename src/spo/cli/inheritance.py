"""What a program that we start shall find as if we were not there; Python changes some of it for itself."""

import os
import signal
from pathlib import Path
from typing import Final

_ENVIRON: Final = Path("/proc/self/environ")
_COERCED: Final = "LC_CTYPE"
"""In the C locale Python sets this variable for itself and for whatever it starts (PEP 538)."""
_IGNORED: Final = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these signals, and execve(2) would hand that on."""


def environment(environ: Path = _ENVIRON) -> dict[str, str]:
    """The variables that we were started with.

    Args:
        environ: what the kernel has kept of them.
    """
    variables = dict(os.environ)
    try:
        kept = environ.read_bytes().split(b"\0")
    except OSError:
        return variables
    variables.pop(_COERCED, None)
    for entry in kept:
        name, _, value = entry.partition(b"=")
        if name == _COERCED.encode():
            variables[_COERCED] = os.fsdecode(value)
    return variables


def restore_signals() -> None:
    """Give the signals that Python handles or ignores their default back; others stay as they were found."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
