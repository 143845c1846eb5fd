"""Text that comes from files and arguments, on its way to a terminal."""


def printable(text: str) -> str:
    """Escape what could control a terminal, and what is not text at all."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()
