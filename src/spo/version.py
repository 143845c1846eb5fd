"""What identifies this program in a bug report."""

import platform
import sys
from pathlib import Path
from typing import Final

DISTRIBUTION: Final = "security-profiles-operator"


def version_facts() -> dict[str, str]:
    """Version of the program, of Python, and the platform."""
    return {
        "version": _installed_version(),
        "pythonVersion": platform.python_version(),
        "compiler": platform.python_compiler(),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


def version_lines() -> list[str]:
    """The facts for people, one a line."""
    return [f"{name[0].upper() + name[1:] + ':':<15}{value}" for name, value in version_facts().items()]


def _installed_version() -> str:
    """As ``importlib.metadata`` finds it, which would cost every process of a node 3 MB."""
    prefix, suffix = DISTRIBUTION.replace("-", "_") + "-", ".dist-info"
    for folder in map(Path, sys.path):
        for found in folder.glob(f"{prefix}*{suffix}"):
            return found.name.removeprefix(prefix).removesuffix(suffix)
    return "unknown"  # run from a copy of the sources
