"""One reason why the server refuses an object, in the words of the real server.

Pure. Every 422 answer lists such causes; the texts are held to the recorded answers of a 1.36 server.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

__all__ = [
    "NO_FIELD",
    "OMITTED",
    "Cause",
    "GoStruct",
    "describe_causes",
    "duplicate",
    "forbidden",
    "go_float",
    "go_json",
    "go_print",
    "go_quote",
    "go_value",
    "invalid",
    "not_found",
    "not_supported",
    "required",
    "too_long",
    "too_many",
    "type_invalid",
]

NO_FIELD: Final = "<nil>"
"""Field of a cause that belongs to no field path."""


class _Omitted:
    """Marks a bad value that is left out of the message."""


OMITTED: Final = _Omitted()
"""Bad value for ``invalid``: the message then starts with the detail."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of ``details.causes`` of a Status."""

    reason: str
    message: str
    field: str

    @property
    def text(self) -> str:
        """The form used in the message of the Status: field and message."""
        return f"{self.field}: {self.message}"

    def to_dict(self) -> dict[str, str]:
        """The wire form."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


def describe_causes(causes: Sequence[Cause]) -> str:
    """The text after ``is invalid:``: one cause bare, several in brackets; equal texts once."""
    texts = list(dict.fromkeys(cause.text for cause in causes))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def go_float(number: float) -> str:
    """A float as Go's ``%v`` prints it: shortest digits, an exponent from 1e6 up and below 1e-4."""
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else ("+Inf" if number > 0 else "-Inf")
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    power = int(exponent) + len(digits) - 1
    if number == 0 or -5 < power < 6:
        return f"{number:.0f}" if number == int(number) else repr(number)
    text = "".join(map(str, digits))
    mantissa = text[0] + (f".{text[1:]}" if len(text) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


_QUOTED: Final = {
    "\\": "\\\\", '"': '\\"', "\a": "\\a", "\b": "\\b", "\f": "\\f",
    "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
}  # fmt: skip


def go_quote(text: str) -> str:
    """A string as Go's ``%q`` prints it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(_quoted(char) for char in text)}"'


def _quoted(char: str) -> str:
    if char in _QUOTED:
        return _QUOTED[char]
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class GoStruct(dict[str, Any]):
    """A value printed in its own key order, as Go prints a struct."""


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        names = list(value) if isinstance(value, GoStruct) else sorted(value)
        return {name: _ordered(value[name]) for name in names}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def go_json(value: Any) -> str:
    """Compact JSON as Go writes it: keys of maps in order, ``<``, ``>`` and ``&`` escaped."""
    text = json.dumps(_ordered(value), separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def go_print(value: Any) -> str:
    """A JSON value as Go's ``%v`` prints it, such as ``map[image:x]``."""
    if value is None:
        return "<nil>"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{go_print(value[name])}' for name in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_print, value))}]"
    return value if isinstance(value, str) else go_value(value)


def go_value(value: Any) -> str:
    """A bad value as field errors print it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return go_quote(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return go_float(value)
    return go_json(value)


def _with_detail(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def required(field: str, detail: str = "") -> Cause:
    """A required member is missing."""
    return Cause("FieldValueRequired", _with_detail("Required value", detail), field)


def invalid(field: str, value: Any, detail: str) -> Cause:
    """A value breaks a rule; ``OMITTED`` leaves the value out."""
    text = "Invalid value" if value is OMITTED else f"Invalid value: {go_value(value)}"
    return Cause("FieldValueInvalid", _with_detail(text, detail), field)


def type_invalid(field: str, value: Any, detail: str) -> Cause:
    """A value has the wrong type."""
    return Cause("FieldValueTypeInvalid", _with_detail(f"Invalid value: {go_value(value)}", detail), field)


def not_supported(field: str, value: Any, supported: Iterable[Any]) -> Cause:
    """A value is not one of an enumeration."""
    values = ", ".join(go_quote(one if isinstance(one, str) else go_json(one)) for one in supported)
    return Cause(
        "FieldValueNotSupported", f"Unsupported value: {go_value(value)}: supported values: {values}", field
    )


def duplicate(field: str, value: Any) -> Cause:
    """A set or map list holds an item twice."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {go_value(value)}", field)


def forbidden(field: str, detail: str) -> Cause:
    """A value may not be set or changed."""
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", field)


def not_found(field: str, value: Any) -> Cause:
    """A value names something that does not exist."""
    return Cause("FieldValueNotFound", f"Not found: {go_value(value)}", field)


def too_long(field: str, limit: int) -> Cause:
    """A string is longer than ``limit``."""
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", field)


def too_many(field: str, count: int, limit: int, what: str = "items") -> Cause:
    """A list or map has more than ``limit`` members."""
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {limit} {what}", field)
