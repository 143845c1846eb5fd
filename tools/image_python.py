"""The Python part of the operator's image: locked packages and the project's wheel, with their byte code.

The packages are those of the image's interpreter and architecture, whatever this machine is: wheels
only, checked against the hashes of the lock file. Byte code is made here, because the image is read-only
where it runs: without it every process would compile what it imports, at every start.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PYTHON: Final = "3.11"
INTERPRETER: Final = f"/usr/bin/python{PYTHON}"
STDLIB: Final = f"usr/lib/python{PYTHON}"
PACKAGES: Final = f"usr/local/lib/python{PYTHON}/dist-packages"
DISTRIBUTION: Final = "security-profiles-operator"
LICENSE: Final = "Apache-2.0"
COMMANDS: Final = {DISTRIBUTION: "spo.__main__", "spoc": "spo.cli.__main__"}
"""Command in the image -> module with its ``main``."""
NOT_SHIPPED: Final = "onenode"
"""The one-machine cluster: a package and a command of the wheel that no cluster needs."""
_GLIBC: Final = 36
"""Minor version of the C library in the image: it runs wheels made for this one and older ones."""
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_INSTALLER_NOTES: Final = ("INSTALLER", "REQUESTED", "direct_url.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """An installed Python package, as the bill of materials names it."""

    name: str
    version: str
    spdx: str
    """SPDX expression of the licence; empty if the metadata has none."""
    license_words: str
    """The licence in other words, of older packages; may be empty."""
    sha256: str
    """Of the wheel it came from; empty for our own."""


def pip(*arguments: str) -> None:
    """Run pip of the virtual environment."""
    command = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq", *arguments)
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def fetch_locked(lock: Path, folder: Path, architecture: str) -> None:
    """Fetch the wheels of the locked packages.

    Args:
        lock: requirements file with versions and hashes.
        folder: made if missing.
        architecture: Debian's name, such as ``amd64``.

    Raises:
        subprocess.CalledProcessError: no network, a hash that does not match, or no wheel.
    """
    pip("download", f"--dest={folder}", *_wheels_for(architecture), f"--requirement={lock}")


def install_locked(lock: Path, wheels: Path, root: Path, architecture: str) -> list[Distribution]:
    """Install the locked packages into a root directory; needs no network.

    Args:
        lock: requirements file with versions and hashes.
        wheels: what :func:`fetch_locked` filled.
        root: of the image.
        architecture: Debian's name, such as ``amd64``.

    Raises:
        subprocess.CalledProcessError: a wheel is missing, or a hash does not match.
    """
    target = root / PACKAGES
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.json"
        pip(
            "install",
            f"--target={target}",
            "--no-index",
            f"--find-links={wheels}",
            "--no-compile",
            f"--report={report}",
            *_wheels_for(architecture),
            f"--requirement={lock}",
        )
        installed = json.loads(report.read_bytes())["install"]
    tidy(target)
    return sorted((distribution(entry) for entry in installed), key=lambda found: found.name)


def _wheels_for(architecture: str) -> list[str]:
    """Options of pip: locked wheels of the image's interpreter, whatever this machine is."""
    machine = _MACHINES[architecture]
    return [
        *(f"--platform=manylinux_2_{minor}_{machine}" for minor in range(_GLIBC, 16, -1)),
        f"--platform=manylinux2014_{machine}",
        "--implementation=cp",
        f"--python-version={PYTHON}",
        "--only-binary=:all:",
        "--no-deps",
        "--require-hashes",
    ]


def distribution(entry: dict[str, Any]) -> Distribution:
    """Read one entry of pip's installation report."""
    metadata = entry["metadata"]
    hashes = entry.get("download_info", {}).get("archive_info", {}).get("hashes", {})
    return Distribution(
        name=metadata["name"],
        version=metadata["version"],
        spdx=metadata.get("license_expression") or "",
        license_words=license_words(metadata),
        sha256=hashes.get("sha256", ""),
    )


def license_words(metadata: dict[str, Any]) -> str:
    """The licence as older metadata tells it: by classifiers, or by a short text."""
    prefix = "License :: "
    named = [line for line in metadata.get("classifier", []) if line.startswith(prefix)]
    text: str = ", ".join(line.rpartition(" :: ")[2] for line in named) or metadata.get("license") or ""
    return text if "\n" not in text else ""


def install_wheel(sources: Path, root: Path) -> Distribution:
    """Build the project's wheel and install it into a root directory.

    Args:
        sources: a checkout; only ``src/spo`` and the files that describe the project are read.
        root: of the image.
    """
    target = root / PACKAGES
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / "sources"
        # A copy, because setuptools would also pack what an earlier build has left in the checkout.
        shutil.copytree(
            sources / "src/spo",
            copy / "src/spo",
            ignore=shutil.ignore_patterns("__pycache__", "*.o.full"),
        )
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copyfile(sources / file, copy / file)
        backend = f"from setuptools import build_meta; print(build_meta.build_wheel({str(Path(name))!r}))"
        subprocess.run(
            (sys.executable, "-c", backend),
            cwd=copy,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        (wheel,) = Path(name).glob("*.whl")
        shutil.unpack_archive(wheel, target, "zip")
    tidy(target)
    (info,) = target.glob("*.dist-info")
    entry_points = info / "entry_points.txt"
    lines = entry_points.read_text().splitlines(keepends=True)
    entry_points.write_text("".join(line for line in lines if not line.startswith(f"{NOT_SHIPPED} =")))
    write_commands(root / "usr/local/bin")
    version = info.name.removesuffix(".dist-info").rpartition("-")[2]
    return Distribution(name=DISTRIBUTION, version=version, spdx=LICENSE, license_words="", sha256="")


def write_commands(folder: Path) -> None:
    """Write the commands of the image: no site packages of the user, nothing from the working directory."""
    folder.mkdir(parents=True)
    for command, module in COMMANDS.items():
        script = folder / command
        script.write_text(
            f"#!{INTERPRETER} -sP\nimport sys\n\nfrom {module} import main\n\nsys.exit(main())\n"
        )
        script.chmod(0o755)


def tidy(packages: Path) -> None:
    """Remove what pip notes about itself and the commands of libraries, also from the lists of files."""
    shutil.rmtree(packages / "bin", ignore_errors=True)
    for record in packages.glob("*.dist-info/RECORD"):
        for name in _INSTALLER_NOTES:
            (record.parent / name).unlink(missing_ok=True)
        lines = record.read_text().splitlines(keepends=True)
        kept = [line for line in lines if (packages / line.partition(",")[0].strip('"')).is_file()]
        record.write_text("".join(sorted(kept)))


def compile_all(root: Path, *folders: str) -> None:
    """Write the byte code of all modules below folders of a root directory, the same in every run.

    A process of its own with fixed hashes does it, because byte code depends a little on what else
    the compiling process holds.

    Raises:
        RuntimeError: this interpreter makes byte code for another version than the image's.
    """
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if running != PYTHON:
        raise RuntimeError(
            f"the image holds Python {PYTHON}, this is {running}: run `make image` on Debian 12"
        )
    command = (sys.executable, "-s", "-P", "-S", str(Path(__file__).with_name("image_bytecode.py")))
    subprocess.run(
        (*command, str(root), *folders),
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
    )
