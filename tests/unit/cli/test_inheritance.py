import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spo.cli import inheritance


def test_environment_is_without_what_python_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_CTYPE", "C.UTF-8")
    monkeypatch.setenv("KEPT", "1")
    (tmp_path / "environ").write_bytes(b"KEPT=1\0")
    found = inheritance.environment(tmp_path / "environ")
    assert "LC_CTYPE" not in found
    assert found["KEPT"] == "1"


def test_environment_has_the_callers_own_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_CTYPE", "C.UTF-8")
    (tmp_path / "environ").write_bytes(b"A=LC_CTYPE=x\0LC_CTYPE=C\0")
    assert inheritance.environment(tmp_path / "environ")["LC_CTYPE"] == "C"


def test_environment_without_proc_is_pythons(tmp_path: Path) -> None:
    assert inheritance.environment(tmp_path / "absent") == dict(os.environ)


def test_signals_are_as_found() -> None:
    script = (
        "import signal; from spo.cli.inheritance import restore_signals; restore_signals();"
        "print(*(signal.getsignal(s).name for s in (signal.SIGPIPE, signal.SIGINT, signal.SIGHUP)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert done.stdout.split() == ["SIG_DFL", "SIG_DFL", "SIG_IGN"]
