"""String formats and patterns of schemas.

Pure. Formats nobody checks (and unknown ones) accept every string, as on the real server.
"""

from __future__ import annotations

import base64
import binascii
import functools
import ipaddress
import re
import uuid
from collections.abc import Callable
from typing import Final

__all__ = ["check_format", "is_checked_pattern", "is_pattern"]

_DATE_TIME: Final = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(\.\d+)?([Zz]|[+-]\d{2}:\d{2})"
)
_DATE: Final = re.compile(r"(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_HOST_NAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
                               r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")  # fmt: skip
_DURATION: Final = re.compile(r"[+-]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
                              r"((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))*)")  # fmt: skip
_QUANTITY: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")


def _is_date_time(text: str) -> bool:
    match = _DATE_TIME.fullmatch(text)
    return match is not None and 1 <= int(match[2]) <= 12 and 1 <= int(match[3]) <= 31


def _is_parsed_by(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


_CHECKS: Final[dict[str, Callable[[str], bool]]] = {
    "date-time": _is_date_time,
    "datetime": _is_date_time,
    "date": lambda text: bool(_DATE.fullmatch(text)),
    "duration": lambda text: bool(_DURATION.fullmatch(text)),
    "byte": _is_parsed_by(_decode_base64),
    "hostname": lambda text: bool(_HOST_NAME.fullmatch(text)),
    "ipv4": _is_parsed_by(ipaddress.IPv4Address),
    "ipv6": _is_parsed_by(ipaddress.IPv6Address),
    "cidr": _is_parsed_by(ipaddress.ip_network),
    "uuid": _is_parsed_by(uuid.UUID),
    "k8s-quantity": lambda text: bool(_QUANTITY.fullmatch(text)),
}


def check_format(name: str, text: str) -> bool:
    """True if ``text`` has the named format, or nobody checks that format."""
    check = _CHECKS.get(name)
    return check is None or check(text)


@functools.lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    # Go's syntax differs from ours in few places, such as \z for the very end.
    try:
        return re.compile(pattern.replace(r"\z", r"\Z"), re.ASCII)
    except re.error:
        return None


def is_pattern(pattern: str) -> bool:
    """True if a pattern can be used here; the rare syntax only Go has cannot."""
    return _compiled(pattern) is not None


def is_checked_pattern(pattern: str, text: str) -> bool:
    """True if ``text`` contains a match of ``pattern``; a pattern that cannot be compiled never matches."""
    compiled = _compiled(pattern)
    if compiled is None:
        return False
    found = compiled.search(text)
    # Go's $ matches only at the very end, ours also before a last newline.
    return found is not None and not (
        pattern.endswith("$") and not pattern.endswith(r"\$") and found.end() != len(text)
    )
