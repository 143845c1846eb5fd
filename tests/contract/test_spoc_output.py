"""Output that cannot be written, readers that go away, Ctrl-C: one line or silence, never a traceback."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

SPOC = (sys.executable, "-m", "spo.cli")
PRINTING = (
    ["show", "p.json"],
    ["diff", "p.json"],
    ["check", "p.json", "p.json"],
    ["convert", "p.json"],
    ["merge", "-o", "-", "p.json"],
    ["version"],
    ["completion", "zsh"],
    ["--help"],
    ["merge", "--help"],
)


@pytest.fixture(autouse=True)
def _profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rules = [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}]
    Path("p.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}))


def shell(redirection: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", f'"$@" {redirection}', "sh", *SPOC, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", PRINTING, ids=lambda arguments: arguments[0])
@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        pytest.param(">/dev/full", "No space left on device", id="full"),
        pytest.param(">&-", "Bad file descriptor", id="closed"),
    ],
)
def test_output_that_cannot_be_written_is_told(arguments: list[str], redirection: str, reason: str) -> None:
    done = shell(redirection, arguments)

    assert done.returncode == 1
    assert done.stderr == f"Unable to run: cannot write standard output: {reason}\n"


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_errors_that_nobody_can_read_keep_their_status(redirection: str) -> None:
    done = shell(redirection, ["show", "missing"])
    assert (done.returncode, done.stdout) == (1, "")


def test_a_reader_that_goes_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*SPOC, "diff", "p.json"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_ctrl_c_ends_without_a_traceback(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [*SPOC, "show", str(fifo)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
        fifo.open("wb"),  # opens when the other side does
    ):
        while True:  # again if it came between Python's last look for signals and the wait for input
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                out, error = process.communicate(timeout=1)
                break
    assert (process.returncode, out, error.strip()) == (130, b"", b"")


def test_devices_and_pipes_are_written_to(tmp_path: Path) -> None:
    done = shell("| cat", ["convert", "-o", "/dev/stdout", "p.json"])
    assert "kind: SeccompProfile" in done.stdout
    assert subprocess.run([*SPOC, "convert", "-o", "/dev/null", "p.json"], check=False).returncode == 0
    done = shell("3>out", ["convert", "-o", "/dev/fd/3", "p.json"])
    assert done.returncode == 0
    assert "kind: SeccompProfile" in (tmp_path / "out").read_text()
