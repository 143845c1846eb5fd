import os
import signal
import sys
from pathlib import Path
from typing import cast

import pytest

from spo.bpf.recorder import Recorder
from spo.cli.recording_session import record_command, signals_held, tree_of


def test_a_tree_has_parents_before_children() -> None:
    parents = {1: 0, 5: 9, 9: 4, 4: 1, 7: 4, 6: 1}
    found = tree_of(4, parents, own=6)
    assert sorted(found) == [4, 5, 7, 9]
    assert found.index(9) < found.index(5)


def test_the_recorder_and_what_started_it_are_left_out() -> None:
    shell, sudo, spoc, program = 10, 11, 12, 13
    parents = {1: 0, shell: 1, sudo: shell, spoc: sudo, program: shell}
    assert tree_of(shell, parents, own=spoc) == [shell, program]


def test_a_deep_tree_is_no_problem() -> None:
    parents = {pid: pid - 1 for pid in range(1, 5000)}
    assert len(tree_of(1, parents, own=0)) == 4999


def test_a_loop_of_parents_ends() -> None:
    assert tree_of(3, {3: 1, 1: 2, 2: 1}, own=2) == [3]


def test_signals_that_wait_are_dropped() -> None:
    with signals_held() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.SIGTERM in signal.sigpending()
        signals.drop()
        assert signal.SIGTERM not in signal.sigpending()


def test_what_we_were_told_to_ignore_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_held() as signals:
            assert signal.SIGHUP not in signals.ending | signals.passed_on
            assert signal.SIGTERM in signals.ending
    finally:
        signal.signal(signal.SIGHUP, before)


class InterruptedWhileAttaching:
    """A recorder to whose user it takes too long."""

    def attach(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def add_process(self, pid: int) -> None:
        assert pid > 0


def test_ctrl_c_before_the_command_starts_is_not_lost(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    script = f"open({str(proof)!r}, 'w')"
    recorder = cast("Recorder", InterruptedWhileAttaching())
    with pytest.raises(KeyboardInterrupt):
        record_command(
            recorder, [sys.executable, "-c", script], os.environ, user=None, progress=lambda _seen: None
        )
    assert not proof.exists()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
