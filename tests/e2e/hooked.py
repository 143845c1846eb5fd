"""A node whose container engine calls our OCI hook."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster

DIRECTORY = "run/security-profiles-operator/recordings"


@contextmanager
def hook_on_node(cluster: Cluster) -> Iterator[Path]:
    """The node has the hook meanwhile; where it leaves its files."""
    if not cluster.own:
        pytest.skip("installs a hook on the node")
    hooks = f"--hooks-dir={cluster.node_root}/etc/containers/oci/hooks.d"
    spoc("hook", "install", hooks, f"--directory=/{DIRECTORY}", f"--host-root={cluster.node_root}")
    directory = cluster.node_root / DIRECTORY
    try:
        yield directory
    finally:
        spoc("hook", "remove", hooks)
        for left in directory.iterdir():
            left.unlink()


def spoc(*arguments: str) -> None:
    """Run a command of ``spoc`` that must work."""
    done = subprocess.run((sys.executable, "-m", "spo.cli", *arguments), check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
