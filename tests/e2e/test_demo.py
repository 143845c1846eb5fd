"""The README's demo, as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster

ROOT = Path(__file__).parents[2]
PROFILE_PATH = "operator/demo-workloads"


def image_names() -> set[str]:
    command = ("podman", "images", "--format={{.Repository}}:{{.Tag}}", "--filter=dangling=false")
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_demo_shows_everything_and_leaves_nothing(cluster: Cluster) -> None:
    if not cluster.own:
        pytest.skip("the demo brings its own cluster; KUBECONFIG names another")
    images = image_names()
    done = subprocess.run(
        (sys.executable, str(ROOT / "tools/demo.py")), check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "$ spoc record -o ls.yaml -- ls /usr" in done.stdout
    assert "Seccomp:\t2" in done.stdout
    assert "mkdir: can't create directory 'test': Operation not permitted" in done.stdout
    assert 'pod "my-pod" deleted' in done.stdout
    assert f"{PROFILE_PATH}/profile-block.json" in done.stdout
    assert "the recorded call works" in done.stdout
    assert "recording-nginx-2" in done.stdout
    assert 'seccomp_profile_total{operation="update"}' in done.stdout
    assert '"pod"="log-pod" "syscallID"=83 "syscallName"="mkdir"' in done.stdout
    assert 'pod="log-pod",syscall="mkdir"} 1' in done.stdout
    assert "make up" in done.stdout
    assert not Path("/var/lib/security-profiles-operator").exists()
    assert not (ROOT / ".run/onenode").exists()
    after = image_names()
    assert images <= after, "the demo took names away"
    assert not {name for name in after - images if name.startswith("docker.io/")}
