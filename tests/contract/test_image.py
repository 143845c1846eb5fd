"""The operator's image: what is in it, what runs in it, and that it can be made again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/security-profiles-operator:dev"
MAX_SIZE_BYTES = 80_000_000
ROLES = ("manager", "daemon", "webhook", "bpf-recorder", "log-enricher", "non-root-enabler", "version")
BASE = ROOT / "build/image/amd64"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="needs mmdebstrap and Podman"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="builds the image of amd64"),
]


@pytest.fixture(scope="module")
def image() -> str:
    """ID of the image of these sources."""
    subprocess.run((sys.executable, ROOT / "tools/image.py"), check=True, capture_output=True)
    return inspect(IMAGE)["Id"]


@pytest.fixture(scope="module")
def contents(image: str, podman_environment: dict[str, str]) -> dict[str, Any]:
    """What the probe finds in the image."""
    done = run(
        podman_environment,
        image,
        "-sP",
        "-",
        options=("--interactive", "--entrypoint=/usr/bin/python3.11"),
        stdin=Path(__file__).with_name("image_probe.py").read_text(),
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def inspect(image: str) -> dict[str, Any]:
    output = subprocess.run(("podman", "image", "inspect", image), check=True, capture_output=True).stdout
    (found,) = json.loads(output)
    described: dict[str, Any] = found
    return described


def run(
    environment: dict[str, str], image: str, *arguments: str, options: tuple[str, ...] = (), stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """A container as the manifests start them: nothing writable, no capabilities."""
    confined = ("--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--network=none")
    command = ("podman", "run", "--rm", *confined, "--security-opt=no-new-privileges", *options, image)
    return subprocess.run(
        (*command, *arguments), env=environment, input=stdin, check=False, capture_output=True, text=True
    )


def test_an_image_is_small_and_says_what_it_is(image: str) -> None:
    found = inspect(image)
    assert found["Size"] <= MAX_SIZE_BYTES
    assert found["Config"]["User"] == "65535:65535"
    assert found["Config"]["Entrypoint"] == ["/usr/local/bin/security-profiles-operator"]
    assert found["Architecture"] == "amd64"
    labels = found["Labels"]
    assert labels["org.opencontainers.image.title"] == "security-profiles-operator"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_starts_with_nothing_writable(
    image: str, podman_environment: dict[str, str], role: str
) -> None:
    done = run(podman_environment, image, role, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"security-profiles-operator {role}" in done.stdout


def test_spoc_starts_too(image: str, podman_environment: dict[str, str]) -> None:
    done = run(podman_environment, image, "--help", options=("--entrypoint=spoc",))
    assert (done.returncode, done.stderr) == (0, "")
    assert "spoc" in done.stdout


def test_the_version_is_the_one_of_the_label(image: str, podman_environment: dict[str, str]) -> None:
    done = run(podman_environment, image, "version", "--json")
    version = inspect(image)["Labels"]["org.opencontainers.image.version"]
    assert json.loads(done.stdout)["version"] == version


def test_nothing_in_it_can_be_changed_or_raises_rights(contents: dict[str, Any]) -> None:
    assert contents["user"] == [65535, 65535]
    assert contents["unusual"] == []


def test_it_has_no_shell_and_no_other_program(contents: dict[str, Any]) -> None:
    assert contents["commands"] == ["python3.11", "security-profiles-operator", "spoc"]
    assert contents["onenode"] == []


def test_every_module_and_library_loads_and_is_compiled(contents: dict[str, Any]) -> None:
    assert contents["problems"] == []
    assert contents["uncompiled"] == []
    assert contents["objects"] == ["recorder.aarch64.o", "recorder.x86_64.o"]


def test_the_bill_of_materials_lists_each_package(contents: dict[str, Any]) -> None:
    listed = contents["sbom"]["components"]
    debian = sorted([item["name"], item["version"]] for item in listed if item["purl"].startswith("pkg:deb/"))
    python = sorted(
        [item["name"], item["version"]] for item in listed if item["purl"].startswith("pkg:pypi/")
    )
    assert debian == contents["debian"]
    assert python == contents["python"]
    assert {"libseccomp2", "libbpf1", "libc6"} <= {name for name, _ in debian}
    assert {"security-profiles-operator", "cryptography"} <= {name for name, _ in python}
    # Ours is the one wheel that is made here.
    assert [item["name"] for item in listed if "hashes" not in item] == ["security-profiles-operator"]


def with_packages(folder: Path) -> Path:
    """A build folder with the fetched packages and nothing else."""
    (folder / "amd64").mkdir(parents=True)
    for kept in (BASE / "packages", *BASE.glob("wheels-*")):
        shutil.copytree(kept, folder / "amd64" / kept.name, copy_function=os.link)
    return folder


def build(checkout: Path, folder: Path) -> str:
    """Build what is missing, without a network: the digest of the manifest."""
    command = (sys.executable, checkout / "tools/image.py", "--no-load", f"--folder={folder}")
    done = subprocess.run(("unshare", "--net", *command), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    index = json.loads((folder / "amd64/oci/index.json").read_bytes())
    digest: str = index["manifests"][0]["digest"]
    assert digest in done.stdout
    return digest


def test_two_builds_of_the_same_are_the_same(image: str, tmp_path: Path) -> None:
    assert image
    checkout = tmp_path / "checkout"
    unwanted = shutil.ignore_patterns("__pycache__")
    for name in ("src/spo", "tools", "requirements"):
        shutil.copytree(ROOT / name, checkout / name, ignore=unwanted)
    for name in ("LICENSE", "README.md", "pyproject.toml"):
        shutil.copyfile(ROOT / name, checkout / name)
    # On the disk of the build cache, for hard links.
    kept = BASE.parent / f"test.{os.getpid()}"
    try:
        first = build(checkout, with_packages(kept / "first"))
        for file in checkout.rglob("*.py"):
            os.utime(file, (1, 1))
        assert build(checkout, with_packages(kept / "second")) == first
        (checkout / "src/spo/version.py").write_text("VERSION = 2\n")
        assert build(checkout, kept / "second") != first
    finally:
        shutil.rmtree(kept)
