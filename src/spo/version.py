"""What identifies this program in a bug report."""

import platform
from importlib import metadata
from typing import Final

DISTRIBUTION: Final = "security-profiles-operator"


def version_facts() -> dict[str, str]:
    """Version of the program, of Python, and the platform."""
    try:
        own = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        own = "unknown"  # run from a copy of the sources
    return {
        "version": own,
        "pythonVersion": platform.python_version(),
        "compiler": platform.python_compiler(),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


def version_lines() -> list[str]:
    """The facts for people, one a line."""
    return [f"{name[0].upper() + name[1:] + ':':<15}{value}" for name, value in version_facts().items()]
