"""Containers are told apart and identified, however many there are and however fast they come and go."""

import secrets
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spo.bpf.recorder import Recorder
from spo.recording.identity import container_of
from tests.fidelity.catalogue import small_programs
from tests.fidelity.comparison import calls_of, names_of
from tests.fidelity.containers import recording
from tests.fidelity.oci_bundle import make_root, write_settings
from tests.fidelity.program import Place
from tests.fidelity.report import Report
from tests.fidelity.test_programs import NO_LOSSES

pytestmark = pytest.mark.root

CONTAINERS = 1000
AT_ONCE = 4
ATTEMPTS = 20


class Runc:
    """Containers straight from runc, with one root file system for all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_root(folder / "rootfs")
        small_programs(Place(folder / "rootfs", 0))

    def bundle(self, name: str, command: Sequence[str]) -> Path:
        """A directory with settings for a command; any number of containers can be made of it."""
        made = self._folder / name
        made.mkdir()
        write_settings(made, self._folder / "rootfs", command)
        return made

    def run(self, bundle: Path) -> str:
        """Run a container from start to end. Returns its id, 64 hexadecimal digits as engines give them."""
        name = secrets.token_hex(32)
        command = ("runc", "--root", str(self._folder / "state"), "run", "--bundle", str(bundle), name)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return name


@pytest.fixture
def runc(tmp_path: Path) -> Runc:
    """runc with a root file system; every container ends by itself."""
    return Runc(tmp_path)


def identified(recorder: Recorder, found: dict[int, str]) -> None:
    """Add the containers that the recorder has announced: key -> id."""
    for event in recorder.events():
        identity = container_of(event.cgroups)
        if identity is not None:
            found[event.key] = identity.container_id


def test_two_containers_with_the_same_inode_have_two_recordings(
    runc: Runc, recorder: Recorder, report: Report
) -> None:
    bundles = {name: runc.bundle(name, ("/busybox", name)) for name in ("uname", "sync")}
    own_call = {"uname": "uname", "sync": "sync"}
    seen: dict[str, str] = {}
    keys: dict[int, str] = {}
    with recording(recorder):
        for _ in range(ATTEMPTS):
            for name, bundle in bundles.items():
                seen[runc.run(bundle)] = name
            identified(recorder, keys)
            namespaces = {space.key: space.inode for space in recorder.namespaces() if space.key in keys}
            first, second = list(keys)[-2:]
            if namespaces[first] == namespaces[second]:
                break
        else:
            pytest.fail(f"the kernel did not give the same inode again in {ATTEMPTS} attempts")
        for key in (first, second):
            name = seen[keys[key]]
            others = set(own_call.values()) - {own_call[name]}
            names = set(names_of(calls_of(recorder.read(key))))
            assert own_call[name] in names
            assert not names & others
        assert {seen[keys[first]], seen[keys[second]]} == {"uname", "sync"}
        assert recorder.losses() == NO_LOSSES
    report.facts.append(
        "two containers one after the other whose mount namespaces had the same inode number: "
        "two recordings, each with the calls of its own program only."
    )


def test_a_thousand_containers_are_all_identified(runc: Runc, recorder: Recorder, report: Report) -> None:
    bundle = runc.bundle("small", ("/small64",))
    keys: dict[int, str] = {}
    with recording(recorder), ThreadPoolExecutor(AT_ONCE) as pool:
        started = set()
        for name in pool.map(runc.run, [bundle] * CONTAINERS):
            started.add(name)
            identified(recorder, keys)
        identified(recorder, keys)
        assert len(started) == CONTAINERS
        assert started - set(keys.values()) == set()
        assert recorder.losses() == NO_LOSSES
        wrong = {
            keys[space.key]: names
            for space in recorder.namespaces()
            if keys.get(space.key) in started
            and (names := names_of(calls_of(recorder.read(space.key))))
            != ["exit", "fork", "getpid", "wait4", "write"]
        }
        assert wrong == {}
    report.facts.append(
        f"{CONTAINERS:,} containers of runc started and ended during one recording, {AT_ONCE} at a time: "
        "each identified, each with exactly the five calls of its program, all loss counters 0."
    )
