"""Text in audit records.

The kernel quotes a text of a workload that has nothing but visible ASCII without quotes, and writes any other
one in hexadecimal. So a quoted text can hold neither a space nor the end of itself.
"""

import re
from functools import lru_cache
from typing import Final

_CACHED_TEXTS: Final = 1024
_FIELD: Final = re.compile(rb'([A-Za-z_]+)=("[^"\n]*"|[^\s"]+)')
_HEX: Final = re.compile(rb"(?:[0-9A-F]{2})+")


@lru_cache(_CACHED_TEXTS)
def text_of(value: bytes) -> str:
    """What a value stands for: without its quotes, or from hexadecimal; empty for ``(null)``.

    Bytes that are no UTF-8 become ``\\xNN``. The result can hold any character: escape it for output.
    """
    if value[:1] == b'"':
        value = value[1:-1] if len(value) > 1 and value.endswith(b'"') else value[1:]
    elif _HEX.fullmatch(value):
        value = bytes.fromhex(value.decode("ascii"))
    elif value == b"(null)":
        return ""
    return value.decode("utf-8", "backslashreplace")


def fields_of(text: bytes) -> dict[str, bytes]:
    """``key=value`` pairs, in their order; of two with one key, the first."""
    found: dict[str, bytes] = {}
    for key, value in _FIELD.findall(text):
        found.setdefault(key.decode("ascii"), value)
    return found
