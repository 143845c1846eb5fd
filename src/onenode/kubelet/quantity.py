"""Kubernetes quantities such as ``500m``, ``1Gi``, ``2e3``."""

import re
from fractions import Fraction
from typing import Final

from onenode.kubelet.errors import ContainerConfigError

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(\d+(\.\d*)?|\.\d+))((?P<suffix>[numkMGTPE]|[KMGTPE]i)|[eE](?P<power>[+-]?\d{1,3}))?"
)
_SCALE: Final = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}


def parse_quantity(text: str | float) -> Fraction:
    """Exact value of a quantity.

    Raises:
        ContainerConfigError: the text is no quantity.
    """
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ContainerConfigError(f"invalid quantity {str(text)!r}")
    number = Fraction(match["number"])
    if match["power"] is not None:
        return number * Fraction(10) ** int(match["power"])
    return number * _SCALE[match["suffix"]] if match["suffix"] else number
