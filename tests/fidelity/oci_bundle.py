"""Containers straight from runc: a root file system with two static programs, and settings for a command."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def make_root(root: Path) -> None:
    """A root file system with busybox, and the directories that runc mounts on."""
    for name in ("proc", "dev", "sys"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root)


def write_settings(bundle: Path, root: Path, command: Sequence[str]) -> None:
    """Settings for a command without a terminal; any number of containers can be made of them."""
    subprocess.run(("runc", "spec", "--bundle", str(bundle)), check=True)
    file = bundle / "config.json"
    settings: dict[str, Any] = json.loads(file.read_text())
    settings["process"] |= {"terminal": False, "args": [*command], "rlimits": []}
    settings["root"] = {"path": str(root), "readonly": True}
    file.write_text(json.dumps(settings))
