"""Files that a volume shows, replaced all at once.

The layout is the one Kubernetes made known: ``<key>`` is a link to ``..data/<key>`` and ``..data`` a link to
a dated directory, so that readers see either all old or all new files.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

_DATA: Final = "..data"


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """Contents and permissions of one file."""

    content: bytes
    mode: int = 0o644
    owner: int | None = None


def checked_relative_path(text: str) -> PurePosixPath:
    """A path that stays inside its volume and does not clash with our own links.

    Raises:
        ValueError: it is empty, absolute, has a ``..`` part, begins with ``..`` or has a NUL byte.
    """
    path = PurePosixPath(text)
    if not text or path.is_absolute() or not path.parts or "\0" in text:
        raise ValueError(f"invalid path {text!r}: must be relative")
    if ".." in path.parts or path.parts[0].startswith(".."):
        raise ValueError(f"invalid path {text!r}: must not contain '..'")
    return path


def write_files(
    directory: Path, files: Mapping[PurePosixPath, VolumeFile], *, group: int | None = None
) -> bool:
    """Make a volume directory show exactly these files.

    Args:
        directory: exists; belongs to this volume alone.
        files: by path inside the volume.
        group: ``fsGroup``: owns and may read everything.

    Returns:
        ``False`` if nothing had to change.
    """
    data = directory / _DATA
    if _shows(data, files):
        return False
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    fresh.chmod(0o755)
    for path, file in files.items():
        _write(fresh, path, file, group)
    if group is not None:
        for folder in (directory, fresh, *(path for path in fresh.rglob("*") if path.is_dir())):
            os.chown(folder, -1, group)
            folder.chmod(0o2755)
    previous = data.readlink() if data.is_symlink() else None
    link = directory / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(data)
    _link_names(directory, {path.parts[0] for path in files})
    if previous is not None:
        shutil.rmtree(directory / previous.name, ignore_errors=True)
    return True


def _write(root: Path, path: PurePosixPath, file: VolumeFile, group: int | None) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = file.mode if group is None else file.mode | 0o440
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(file.content)
        os.fchown(descriptor, -1 if file.owner is None else file.owner, -1 if group is None else group)
        os.fchmod(descriptor, mode)


def _link_names(directory: Path, names: set[str]) -> None:
    for entry in directory.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"{_DATA}/{name}")


def _shows(data: Path, files: Mapping[PurePosixPath, VolumeFile]) -> bool:
    if not data.is_dir():
        return False
    present = {PurePosixPath(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}
    return present == set(files) and all((data / path).read_bytes() == files[path].content for path in files)
