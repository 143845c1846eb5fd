"""The cluster of the end-to-end tests: onenode, or the one that the environment names.

``KUBECONFIG`` together with ``E2E_NODE_ROOT`` (where the file system of one of its nodes is seen, ``/`` on
the node itself) selects another cluster; the operator must run there, and the image that
``E2E_BUSYBOX_IMAGE`` names must be at hand. ``E2E_NAMESPACE`` is for an operator that looks after one
namespace only, and has no default profiles (``SPO_DEFAULT_PROFILES=false``): all tests use it in turn.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Namespace
from tools.devcluster import DevCluster, free_port


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is an end-to-end test."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster of this run; an own one is stopped at the end and must leave nothing."""
    kubeconfig, node_root = os.environ.get("KUBECONFIG"), os.environ.get("E2E_NODE_ROOT")
    if kubeconfig and node_root:
        yield Cluster(kubeconfig, Path(node_root), own=False)
        return
    # Not below a private folder: the daemon, uid 65535, must be able to reach its files.
    folder = Path(tempfile.mkdtemp(prefix="spo-e2e-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "node/var/lib").mkdir(parents=True)
    dev = DevCluster(
        state=folder / "state",
        node_root=folder / "node",
        port=free_port(),
        node_name="e2e-node",
        access_log=folder / "access.jsonl",
    )
    try:
        dev.up()
        yield Cluster(str(dev.kubeconfig), dev.node_root, own=True, access_log=dev.access_log)
    finally:
        dev.down()
    left = [path for path in (folder / "node").rglob("*") if not path.is_dir()]
    assert not left, f"left on the node: {left}"
    shutil.rmtree(folder)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """A fresh namespace; its pods, profiles and itself are gone after the test."""
    only = os.environ.get("E2E_NAMESPACE")
    name = only or f"e2e-{secrets.token_hex(4)}"
    made = Namespace(cluster, name)
    made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield made
    made.kubectl("delete", "pods", "--all", "--grace-period=1", "--timeout=30s")
    if only:
        made.kubectl("delete", "deployments,jobs,profilebindings,profilerecordings", "--all", "--timeout=30s")
        made.kubectl("delete", "pods,events", "--all", "--grace-period=1", "--timeout=30s")
    made.kubectl("delete", "seccompprofiles", "--all", "--timeout=30s")
    if only:
        return
    made.kubectl("delete", "namespace", name, "--timeout=30s")
