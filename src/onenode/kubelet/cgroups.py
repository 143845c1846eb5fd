"""Control groups of pods: Podman makes them and leaves them behind."""

import contextlib
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")


def remove_pod_cgroup(parent: str, root: Path = ROOT) -> None:
    """Remove the empty groups of a pod in every hierarchy, and the levels above once they are empty.

    Args:
        parent: as given to ``podman run --cgroup-parent``.
        root: where control groups are mounted.
    """
    if (root / "cgroup.controllers").exists():
        hierarchies = [root]
    else:
        hierarchies = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    for hierarchy in hierarchies:
        group = hierarchy / parent.lstrip("/")
        below = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
        above = [path for path in group.parents if path.is_relative_to(hierarchy) and path != hierarchy]
        for path in (*below, group, *above):
            # Busy: a process or another pod is still there; its own removal tries again.
            with contextlib.suppress(OSError):
                path.rmdir()
