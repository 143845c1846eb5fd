"""``bench/RESULTS.md``: every benchmark writes its own section and leaves the others."""

import datetime
import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

FILE = Path(__file__).parent / "RESULTS.md"
INTRODUCTION = """\
# Results

Written by `make bench`. One machine runs the API server, the operator and the load; it is shared and noisy,
so compare ratios, not milliseconds.
"""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def machine() -> str:
    """When and where."""
    where = f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs"
    return f"{datetime.date.today().isoformat()}, {where}, Python {platform.python_version()}"


def write_section(title: str, text: str) -> None:
    """Put a section, with date and machine, in the place of the one with this title, or at the end."""
    present = FILE.read_text() if FILE.exists() else ""
    _, *sections = re.split(r"^## ", present, flags=re.MULTILINE)
    kept = {section.split("\n", 1)[0]: section.rstrip() for section in sections}
    kept[title] = f"{title}\n\n{machine()}\n\n{text.rstrip()}"
    FILE.write_text("\n".join([INTRODUCTION, *(f"## {section}\n" for section in kept.values())]))
