"""Kubernetes quantities in their canonical form: ``0.5`` of a CPU is ``500m``, ``1024Mi`` is ``1Gi``.

Pure.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

__all__ = ["canonical_quantity", "parse_quantity"]

_QUANTITY: Final = re.compile(
    r"^([+-]?)(\d+(?:\.\d*)?|\.\d+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d{1,2})?$"
)
_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL: Final = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_SMALLEST: Final = Fraction(1, 10**9)


def parse_quantity(text: str) -> Fraction | None:
    """The number; ``None`` if the text is no quantity."""
    match = _QUANTITY.match(text)
    if match is None:
        return None
    sign, digits, suffix = match.groups()
    number = Fraction(digits if not digits.startswith(".") else f"0{digits}")
    if sign == "-":
        number = -number
    if suffix in _BINARY:
        return _shifted(number, 1024, _BINARY[suffix])
    if suffix and suffix[0] in "eE" and len(suffix) > 1:
        return _shifted(number, 10, int(suffix[1:]))
    return _shifted(number, 1000, _DECIMAL[suffix or ""])


def _shifted(number: Fraction, base: int, power: int) -> Fraction:
    factor: int = base ** abs(power)
    return number * factor if power >= 0 else number / factor


def canonical_quantity(text: str) -> str:
    """The same quantity with the largest suffix that leaves a whole number; unparsable text as it is."""
    value = parse_quantity(text)
    if value is None:
        return text
    if value and value % _SMALLEST:
        value = (value // _SMALLEST + 1) * _SMALLEST
    match = _QUANTITY.match(text)
    suffix = (match and match[3]) or ""
    if suffix in _BINARY and value.denominator == 1:
        return _scaled(value, 1024, ["", *_BINARY])
    if suffix[:1] in ("e", "E") and len(suffix) > 1:
        return _exponent(value)
    return _scaled(value * 10**9, 1000, list(_DECIMAL))


def _scaled(value: Fraction, base: int, suffixes: list[str]) -> str:
    number = int(value)
    if number == 0:
        return "0"
    index = 0
    while index + 1 < len(suffixes) and number % base == 0:
        number //= base
        index += 1
    return f"{number}{suffixes[index]}"


def _exponent(value: Fraction) -> str:
    number, power = value, 0
    while number.denominator != 1:
        number *= 1000
        power -= 3
    whole = int(number)
    while whole and whole % 1000 == 0:
        whole //= 1000
        power += 3
    return f"{whole}e{power}" if power else str(whole)
