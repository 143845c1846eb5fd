"""From a recording to a container of Podman that runs under it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.images import BUSYBOX

SPOC = (sys.executable, "-m", "spo.cli")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not (shutil.which("podman") and BUSYBOX.exists()), reason="needs podman and busybox-static"
    ),
]


def spoc(*arguments: str) -> str:
    done = subprocess.run((*SPOC, *arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "options",
    [[], ["--security-opt=no-new-privileges"], ["--user=1000"]],
    ids=["default", "no-new-privileges", "user"],
)
def test_a_recorded_and_installed_profile_confines_a_container(
    tmp_path: Path, busybox_image: str, podman_environment: dict[str, str], options: list[str]
) -> None:
    recorded, root = tmp_path / "ls.yaml", tmp_path / "seccomp"
    spoc("record", "-q", "--container-base", "-o", str(recorded), "--", str(BUSYBOX), "ls", "/")
    installed = spoc("install", "--root", str(root), str(recorded), "ls").strip()
    assert installed == str(root / "spoc/ls.json")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        podman = ["podman", "run", "--rm", "--network=none", f"--security-opt=seccomp={installed}", *options]
        return subprocess.run(
            [*podman, busybox_image, *command],
            env=podman_environment,
            capture_output=True,
            text=True,
            check=False,
        )

    listed = run("ls", "/")
    assert (listed.returncode, "bin" in listed.stdout.split()) == (0, True), listed.stderr
    refused = run("mkdir", "/tmp/x")
    assert refused.returncode != 0
    assert "Operation not permitted" in refused.stderr
