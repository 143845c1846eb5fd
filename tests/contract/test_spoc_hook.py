"""``spoc hook`` with Podman and runc: containers that ask for it are recorded, from start to end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spo.cli.hook_recording import ContainerState, HookRequestError, Wanted, request_of

pytestmark = pytest.mark.root

SPOC = (sys.executable, "-m", "spo.cli")
SCRIPT = ("sh", "-c", "mkdir /made; ls /")
Podman = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    return tmp_path / "recordings"


@pytest.fixture
def podman(tmp_path: Path, recordings: Path) -> Iterator[Podman]:
    """Podman with the hook installed."""
    hooks = tmp_path / "hooks"
    installed = subprocess.run(
        (*SPOC, "hook", "install", "--hooks-dir", hooks, "--directory", recordings),
        check=True,
        capture_output=True,
        text=True,
    )
    assert installed.stdout == f"{hooks}/spoc-seccomp.json\n"
    conf = tmp_path / "containers.conf"
    conf.write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
        '[engine]\nruntime = "runc"\n'
    )

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ("podman", "--hooks-dir", hooks, *map(str, arguments)),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "CONTAINERS_CONF": str(conf)},
        )

    yield run
    subprocess.run((*SPOC, "hook", "remove", "--hooks-dir", hooks), check=True, stdout=subprocess.DEVNULL)
    assert list(hooks.iterdir()) == []


def asks_for(path: Path) -> tuple[str, str]:
    return ("--annotation", f"io.containers.trace-syscall=of:{path}")


def names(path: Path) -> set[str]:
    """Of a recording that is there, or will be soon."""
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, f"no recording {path.name}"
        time.sleep(0.05)
    return {name for rule in json.loads(path.read_bytes())["syscalls"] for name in rule["names"]}


def test_a_container_is_recorded_and_runs_again_under_the_recording(
    podman: Podman, recordings: Path, busybox_image: str
) -> None:
    path = recordings / "web-1.json"
    before = podman("run", "--rm", *asks_for(path), busybox_image, *SCRIPT)

    assert before.returncode == 0, before.stderr
    recorded = names(path)
    assert {"mkdir", "execve", "getdents64"} <= recorded
    assert not {"pivot_root", "mount", "sethostname", "ptrace"} & recorded
    again = podman("run", "--rm", "--security-opt", f"seccomp={path}", busybox_image, *SCRIPT)
    assert (again.returncode, again.stdout) == (0, before.stdout), again.stderr


def test_what_is_executed_in_the_container_later_counts(
    podman: Podman, recordings: Path, busybox_image: str
) -> None:
    path = recordings / "web-1.json"
    container = podman("run", "-d", *asks_for(path), busybox_image, "sleep", "60").stdout.strip()
    assert podman("exec", container, "mkdir", "/made").returncode == 0
    podman("rm", "-f", "-t", "0", container)

    assert "mkdir" in names(path)


def test_a_container_that_asks_for_nothing_is_not_recorded(
    podman: Podman, recordings: Path, busybox_image: str
) -> None:
    assert podman("run", "--rm", busybox_image, "true").returncode == 0
    assert list(recordings.iterdir()) == []


def test_two_containers_with_one_name_overwrite_nothing(
    podman: Podman, recordings: Path, busybox_image: str
) -> None:
    path = recordings / "web-1.json"
    podman("run", "--rm", *asks_for(path), busybox_image, "mkdir", "/made")
    assert "mkdir" in names(path)
    podman("run", "--rm", *asks_for(path), busybox_image, "ln", "-s", "/a", "/b")

    deadline = time.monotonic() + 20
    while len(found := sorted(recordings.glob("web-1.*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (other,) = (one for one in found if one != path)
    assert "symlink" in names(other)
    assert "symlink" not in names(path)


@pytest.mark.parametrize("path", ["/etc/shadow", "/etc/web.json", "relative.json", ""])
def test_a_file_elsewhere_stops_the_container_with_a_reason(
    podman: Podman, recordings: Path, busybox_image: str, path: str
) -> None:
    annotation = ("--annotation", f"io.containers.trace-syscall=of:{path}")
    done = podman("run", "--rm", *annotation, busybox_image, "true")

    assert done.returncode != 0
    assert f"give of:{recordings}/NAME.json; this hook writes nowhere else" in done.stderr


def state(annotation: str | None, *, pid: int = 1, container: str = "c") -> bytes:
    annotations = {} if annotation is None else {"io.containers.trace-syscall": annotation}
    return json.dumps({"ociVersion": "1.0", "id": container, "pid": pid, "annotations": annotations}).encode()


def test_the_state_tells_what_to_record() -> None:
    assert request_of(state("of:/r/web.json"), Path("/r")) == Wanted("c", 1, "web.json")
    assert request_of(state(None), Path("/r")) is None
    assert ContainerState("c", 1).annotations == {}


@pytest.mark.parametrize(
    "hostile",
    [
        state("of:/r/../etc/x.json"),
        state("of:/r/x/y.json"),
        state("of:/r/.json"),
        state("of:/r/" + "x" * 300 + ".json"),
        state("of:/r/x.json;if:/etc/shadow"),
        state("of:/r/x.json", pid=0),
        state("of:/r/x.json", container="../../x"),
        b"",
        b"[]",
        b'{"id": 1, "pid": "x"}',
    ],
)
def test_hostile_states_are_refused(hostile: bytes) -> None:
    with pytest.raises(HookRequestError):
        request_of(hostile, Path("/r"))


def test_removing_what_is_not_installed_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        (*SPOC, "hook", "remove", "--hooks-dir", tmp_path), check=False, capture_output=True, text=True
    )

    assert done.returncode == 1
    assert (
        done.stderr
        == f"Unable to run: {tmp_path}/spoc-seccomp.json: is not there; the hook is not installed\n"
    )
