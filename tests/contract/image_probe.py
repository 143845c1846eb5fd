"""Runs in the operator's image, from standard input: prints as JSON what is in there."""

import ctypes
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pkgutil
import stat
from collections.abc import Iterator
from pathlib import Path

TOP = ("etc", "opt", "root", "tmp", "usr", "var")
NOT_OURS = ("etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab")
"""Made by the container runtime."""
STATUS = Path("/var/lib/dpkg/status.d")
SBOM = Path("/usr/share/sbom/security-profiles-operator.cdx.json")


def files() -> Iterator[Path]:
    for top in TOP:
        yield from Path("/", top).rglob("*")


def unusual(path: Path) -> str:
    """What no file of the image may be; empty for all that is well."""
    status = path.lstat()
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        return "set-id"
    if (status.st_uid, status.st_gid) != (0, 0):
        return "not owned by root"
    if path.is_symlink():
        return "" if path.exists() else "dangling"
    return "writable" if status.st_mode & 0o022 else ""


def uncompiled() -> Iterator[str]:
    """Modules whose byte code Python would make again."""
    for source in Path("/usr").rglob("*.py"):
        code = Path(importlib.util.cache_from_source(str(source)))
        # The second word: 1 is a hash, and 2 would be a hash that is checked.
        if not code.exists() or code.read_bytes()[4:8] != b"\x01\0\0\0":
            yield str(source)


def import_problems() -> Iterator[str]:
    import spo

    for module in pkgutil.walk_packages(spo.__path__, "spo."):
        try:
            importlib.import_module(module.name)
        except Exception as error:
            yield f"{module.name}: {error!r}"


def load_problems() -> Iterator[str]:
    for library in Path("/usr").rglob("*.so*"):
        try:
            ctypes.CDLL(str(library))
        except OSError as error:
            yield f"{library}: {error}"


def paragraphs() -> Iterator[list[str]]:
    for file in sorted(STATUS.iterdir()):
        fields = dict(line.split(": ", 1) for line in file.read_text().splitlines() if ": " in line)
        yield [fields["Package"], fields["Version"]]


def distributions() -> list[list[str]]:
    return sorted([found.metadata["Name"], found.version] for found in importlib.metadata.distributions())


def main() -> None:
    made = [path for path in files() if str(path).lstrip("/") not in NOT_OURS]
    document = {
        "user": [os.getuid(), os.getgid()],
        "unusual": sorted(f"{path}: {word}" for path in made if (word := unusual(path))),
        "commands": sorted(
            path.name for folder in ("/usr/bin", "/usr/local/bin") for path in Path(folder).iterdir()
        ),
        "uncompiled": list(uncompiled()),
        "problems": [*import_problems(), *load_problems()],
        "objects": sorted(path.name for path in Path("/usr/local").rglob("*.o")),
        "debian": list(paragraphs()),
        "python": distributions(),
        "onenode": sorted(str(path) for path in Path("/usr/local").rglob("*onenode*")),
        "sbom": json.loads(SBOM.read_bytes()),
    }
    print(json.dumps(document))


main()
