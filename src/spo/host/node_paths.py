"""Where on a node lies what does not lie below the operator's own directories."""

import hashlib
from pathlib import PurePosixPath
from typing import Final

from spo.names import OPERATOR_NAME, apart

BPF_FILE_SYSTEM: Final = "/sys/fs/bpf"


def pin_root(host_root: PurePosixPath, operator_namespace: str = OPERATOR_NAME) -> PurePosixPath:
    """Where the recorder pins what outlives it; operators that share a machine must not meet there."""
    base = PurePosixPath(BPF_FILE_SYSTEM)
    if host_root == PurePosixPath("/"):
        return base / f"{OPERATOR_NAME}{apart(operator_namespace)}"
    name = f"spo-{hashlib.sha256(str(host_root).encode()).hexdigest()[:12]}"
    return base / f"{name}{apart(operator_namespace)}"
