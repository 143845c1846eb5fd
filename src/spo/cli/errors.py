"""Exit statuses, and errors that have one of their own."""

from enum import IntEnum
from typing import ClassVar

from spo.errors import SpoError


class ExitStatus(IntEnum):
    """What scripts may rely on."""

    OK = 0
    FAILED = 1
    """Something went wrong; for ``diff``, ``check`` and ``merge --check``: the answer is no."""
    USAGE = 2
    """The command line is wrong; for ``diff`` and ``check`` everything that went wrong."""
    NOT_EXECUTABLE = 126
    NOT_FOUND = 127
    INTERRUPTED = 130


class TroubleError(SpoError):
    """No answer can be given, which is not the answer no."""

    exit_status: ClassVar[ExitStatus] = ExitStatus.USAGE
