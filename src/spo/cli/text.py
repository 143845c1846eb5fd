"""Text that comes from files and arguments, on its way to a terminal."""

from collections.abc import Sequence


def printable(text: str) -> str:
    """Escape what could control a terminal, and what is not text at all."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()


def enumerated(found: Sequence[str], limit: int = 10) -> str:
    """``a, b, c and 5 more``."""
    listed = ", ".join(found[:limit])
    return f"{listed} and {len(found) - limit} more" if len(found) > limit else listed
