"""Control groups of pods: Podman makes them and leaves them behind."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")

_TIERS: Final = ("/kubepods", "/kubepods/burstable", "/kubepods/besteffort")
"""Where ``arguments.cgroup_parent`` puts pods, by quality of service."""
_TRIES: Final = 40
_INTERVAL_S: Final = 0.05


async def remove_pod_cgroup(parent: str, root: Path = ROOT) -> bool:
    """Remove the groups of a pod in every hierarchy, and the levels above once they are empty.

    A container's monitor process lives a little longer than the container, and its group with it: this
    waits for that, for a limited time.

    Args:
        parent: as given to ``podman run --cgroup-parent``.
        root: where control groups are mounted.

    Returns:
        ``False`` if something is still there.
    """
    for _ in range(_TRIES):
        if _remove_now(parent, root):
            return True
        await asyncio.sleep(_INTERVAL_S)
    return False


async def remove_pod_cgroups(uid: str, remove: Callable[[str], Awaitable[bool]] = remove_pod_cgroup) -> None:
    """Remove the groups of a pod of which only the uid is known."""
    await asyncio.gather(*(remove(f"{tier}/pod{uid}") for tier in _TIERS))


def _remove_now(parent: str, root: Path) -> bool:
    if (root / "cgroup.controllers").exists():
        hierarchies = [root]
    else:
        hierarchies = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    gone = True
    for hierarchy in hierarchies:
        group = hierarchy / parent.lstrip("/")
        below = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
        above = [path for path in group.parents if path.is_relative_to(hierarchy) and path != hierarchy]
        for path in (*below, group, *above):
            # Not empty: a process or another pod is still there.
            with contextlib.suppress(OSError):
                path.rmdir()
        gone = gone and not group.exists()
    return gone
