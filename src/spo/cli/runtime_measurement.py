"""Start short containers of an OCI runtime and see what it does under their filter."""

import json
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, Self

from spo.bpf.observation import Observation, Phase
from spo.bpf.recorder import IdentificationEvent
from spo.errors import SpoError
from spo.recording.identity import container_of
from spo.recording.profile import Machine, syscall_names
from spo.recording.runtime_base import RUNTIMES

TIMEOUT_S: Final = 60.0
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache")
"""What a program of this machine needs to start; seen in the containers, not writable."""
_VERSION: Final = re.compile(r"^\S+ version (\S+)", re.MULTILINE)
_USERS: Final = (0, 65534)


class Recording(Protocol):
    """What is needed of ``spo.bpf.recorder.Recorder``."""

    def events(self, timeout_ms: int = 0) -> list[IdentificationEvent]:
        """Announced namespaces."""
        ...

    def read(self, key: int) -> Observation:
        """What was seen in one."""
        ...

    def forget(self, key: int) -> None:
        """Give its memory back."""
        ...


class RuntimeMeasurementError(SpoError):
    """The runtime could not be measured."""

    def __init__(self, runtime: str, problem: str) -> None:
        super().__init__(runtime, problem)
        self.runtime = runtime
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.runtime}: {self.problem}"


class Runtime:
    """An OCI runtime of this machine."""

    def __init__(self, path: str, title: str) -> None:
        """Take its executable and its name with version; callers use :meth:`find`."""
        self._path = path
        self.title: Final = title

    @classmethod
    def find(cls, wanted: str | None) -> Self:
        """The runtime of this name or path, or the first known one that is installed.

        Raises:
            RuntimeMeasurementError: there is none, or it does not run.
        """
        names = (wanted,) if wanted else RUNTIMES
        path = next((path for name in names if (path := shutil.which(name))), None)
        if path is None:
            raise RuntimeMeasurementError(
                " or ".join(names), "not found; install it or name it with --runtime"
            )
        version = _VERSION.search(_run([path, "--version"], path).stdout)
        name = Path(path).name
        return cls(path, f"{name}-v{version[1].partition('+')[0]}" if version else name)

    def measure(
        self, recorder: Recording, runs: int, machine: Machine, *, no_new_privileges: bool
    ) -> frozenset[str]:
        """What it calls under the filter, in any of some containers.

        Args:
            recorder: attached, and recording namespaces.
            runs: how many containers, of root and of another user in turn.
            machine: whose numbers the recorder sees.
            no_new_privileges: of the containers.

        Raises:
            RuntimeMeasurementError: a container did not run, or was not seen.
        """
        names: set[str] = set()
        for run in range(runs):
            user = _USERS[run % len(_USERS)]
            seen = self._measure_once(recorder, user, no_new_privileges=no_new_privileges)
            names.update(*syscall_names(seen, machine, Phase.RUNTIME_FILTERED).values())
        if not names:
            raise RuntimeMeasurementError(
                self._path, "no call under a filter was seen; does it support seccomp?"
            )
        return frozenset(names)

    def _measure_once(self, recorder: Recording, user: int, *, no_new_privileges: bool) -> Observation:
        container = secrets.token_hex(32)
        with tempfile.TemporaryDirectory(prefix="spoc-measure-") as folder:
            bundle = Path(folder)
            (bundle / "rootfs").mkdir()
            config = _config(container, user, no_new_privileges=no_new_privileges)
            (bundle / "config.json").write_text(json.dumps(config))
            command = [self._path, "--root", str(bundle / "state")]
            try:
                _run([*command, "run", "--bundle", folder, container], self._path)
            finally:
                # Gone already, but for a container that did not start.
                subprocess.run([*command, "delete", "--force", container], check=False, capture_output=True)
        seen = Observation.EMPTY
        for key in {event.key for event in recorder.events() if _is_of(event, container)}:
            seen |= recorder.read(key)
            recorder.forget(key)
        return seen


def _is_of(event: IdentificationEvent, container: str) -> bool:
    identity = container_of(event.cgroups)
    return identity is not None and identity.container_id == container


def _run(command: list[str], subject: str) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeMeasurementError(subject, str(error)) from error
    if done.returncode:
        reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise RuntimeMeasurementError(subject, reason)
    return done


def _config(container: str, user: int, *, no_new_privileges: bool) -> Mapping[str, Any]:
    """The smallest container that runs ``true`` under a filter which refuses nothing that is used."""
    mounts = [
        {"destination": path, "type": "bind", "source": str(Path(path).resolve()), "options": ["rbind", "ro"]}
        for path in _SYSTEM
        if Path(path).exists()
    ]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": user, "gid": user, "additionalGids": [user]},
            "args": [shutil.which("true") or "/bin/true"],
            "cwd": "/",
            "noNewPrivileges": no_new_privileges,
            "capabilities": {kind: ["CAP_KILL"] for kind in ("bounding", "effective", "permitted")},
        },
        "root": {"path": "rootfs"},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, *mounts],
        "linux": {
            "cgroupsPath": f"/{container}",
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}],
            },
        },
    }
