"""The manifests as users apply them, on a cluster that has nothing yet."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tools.devcluster import OPERATOR_NAMESPACE, ROOT, DevCluster, free_port

RUNNING_S = 30.0
DEFAULT_PROFILES: tuple[str, ...] = ()


@pytest.fixture
def empty() -> Iterator[DevCluster]:
    """onenode without a CRD, and with the image at hand."""
    folder = Path(tempfile.mkdtemp(prefix="spo-manifests-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "node/var/lib").mkdir(parents=True)
    dev = DevCluster(
        state=folder / "state", node_root=folder / "node", port=free_port(), node_name="e2e-node"
    )
    dev.build_image()
    try:
        where = (f"--node-name={dev.node_name}", f"--node-root={dev.node_root}", f"--port={dev.port}")
        dev.onenode("up", f"--state={dev.state}", *where)
        yield dev
    finally:
        dev.down()
    left = [path for path in (folder / "node").rglob("*") if not path.is_dir()]
    assert not left, f"left on the node: {left}"
    shutil.rmtree(folder)


def manifest(dev: DevCluster, name: str, namespace: str = "") -> str:
    """A file of deploy/; the place of the node's file system alone is another, as tests share a machine."""
    text = (ROOT / "deploy" / name).read_text()
    objects = [one for one in yaml.safe_load_all(text.replace("NS_REPLACE", namespace)) if one]
    manager = next(
        one
        for one in objects
        if one["kind"] == "Deployment" and one["metadata"]["name"] == OPERATOR_NAMESPACE
    )
    container = manager["spec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "SPO_SPOD_HOST_ROOT", "value": str(dev.node_root)})
    return yaml.safe_dump_all(objects)


def wait_running(dev: DevCluster, namespace: str = OPERATOR_NAMESPACE) -> None:
    where = (f"--namespace={OPERATOR_NAMESPACE}", "--timeout=60s")
    dev.kubectl("wait", "--for=create", "spod/spod", *where)
    dev.kubectl("wait", "--for=jsonpath={.status.state}=RUNNING", "spod/spod", *where)
    for profile in DEFAULT_PROFILES:
        at = (f"--namespace={namespace}", "--timeout=60s", f"seccompprofile/{profile}")
        dev.kubectl("wait", "--for=jsonpath={.status.status}=Installed", *at)


def test_one_file_makes_a_running_operator(empty: DevCluster) -> None:
    began = time.monotonic()
    empty.kubectl("apply", "-f", "-", stdin=manifest(empty, "operator.yaml"))
    wait_running(empty)
    took_s = time.monotonic() - began
    print(f"from kubectl apply to RUNNING and default profiles Installed: {took_s:.1f} s")
    assert took_s <= RUNNING_S
    again = empty.kubectl("apply", "-f", "-", stdin=manifest(empty, "operator.yaml")).stdout
    changed = [line for line in again.splitlines() if not line.endswith(" unchanged")]
    assert changed == []
    empty.kubectl(
        "rollout",
        "status",
        f"deployment/{OPERATOR_NAMESPACE}-webhook",
        "-n",
        OPERATOR_NAMESPACE,
        "--timeout=30s",
    )
