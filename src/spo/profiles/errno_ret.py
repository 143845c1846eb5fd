"""``errnoRet``: a string in manifests of old, a number in the file that the container runtime reads."""

import re
from typing import Final

from spo.errors import TerminalError

MAX_ERRNO: Final = 4095
"""The kernel cuts greater values down to this one (MAX_ERRNO, linux/err.h)."""
_DECIMAL: Final = re.compile(r"[0-9]{1,5}")


class InvalidProfileError(TerminalError):
    """A field of a profile has a value with which no filter can be made."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"spec.{self.field}: {self.problem}"


def errno_number(value: int | str | None, field: str) -> int | None:
    """The number that ``errnoRet`` means; ``None`` if it says nothing.

    Raises:
        InvalidProfileError: not a number, or not in 0..4095.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise InvalidProfileError(field, f"{value!r} is not a decimal number; write for example 1 for EPERM")
    number = int(value)
    if not 0 <= number <= MAX_ERRNO:
        raise InvalidProfileError(field, f"{number} is not between 0 and {MAX_ERRNO}")
    return number
