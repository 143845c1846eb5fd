import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from spo.probes.log_enricher.forks import Fork
from spo.probes.log_enricher.owners import GRACE_S, MAX_PROCESSES, VERIFY_S, Clocks, Owners

BOOT_S = 1_600_000_000.0
A, B = "a" * 64, "b" * 64
POD = "1a2b3c4d-0000-4000-8000-123456789abc"


class Proc:
    """A proc file system of files, and a clock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now_s = 1000.0
        self.forks: dict[int, Fork] = {}
        self.jumped_s = 0.0
        clocks = Clocks(lambda: self.now_s, self._epoch, self._epoch)
        self.owners = Owners(root, self, clocks, ticks_per_s=100)

    def _epoch(self) -> float:
        return BOOT_S + self.jumped_s

    def drain(self) -> None:
        """All events have come."""

    def last(self, pid: int) -> Fork | None:
        return self.forks.get(pid)

    def begun_before(self, parents: Mapping[int, float], within_s: float) -> list[int]:
        return [
            pid
            for pid, fork in self.forks.items()
            if fork.parent in parents and 0.0 <= parents[fork.parent] - fork.at_s <= within_s
        ]

    def run(
        self, pid: int, cgroup: str, *, started_s: float = 10.0, comm: str = "sh", flags: int = 0
    ) -> None:
        folder = self.root / str(pid)
        folder.mkdir(exist_ok=True)
        fields = " ".join(["S", *["0"] * 5, str(flags), *["0"] * 12, str(int(started_s * 100)), "0", "0"])
        (folder / "stat").write_text(f"{pid} ({comm}) {fields}\n")
        (folder / "cgroup").write_text(cgroup)

    def end(self, pid: int) -> None:
        for file in (self.root / str(pid)).iterdir():
            file.unlink()
        (self.root / str(pid)).rmdir()

    def find(self, pid: int, *, at_s: float = 20.0) -> tuple[str | None, str | None] | None:
        owner = self.owners.find(pid, int((BOOT_S + at_s) * 1000))
        return None if owner is None else (owner.container_id, owner.pod_uid)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_container_and_pod_come_from_the_cgroup(proc: Proc) -> None:
    proc.run(7, f"0::/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{A}.scope\n")
    assert proc.find(7) == (A, POD)


def test_process_of_the_host_has_no_container(proc: Proc) -> None:
    proc.run(7, "0::/system.slice/crio.service\n")
    assert proc.find(7) == (None, None)


def test_process_that_ended_unseen_is_unknown(proc: Proc) -> None:
    assert proc.find(7) is None


def test_process_that_ended_is_remembered_for_a_while(proc: Proc) -> None:
    proc.run(7, f"0::/libpod-{A}\n")
    assert proc.find(7) == (A, None)
    proc.end(7)
    proc.now_s += VERIFY_S + 1
    assert proc.find(7) == (A, None)
    proc.now_s += GRACE_S
    assert proc.find(7) is None


def test_id_that_is_used_again_belongs_to_the_new_process(proc: Proc) -> None:
    proc.run(7, f"0::/libpod-{A}\n", started_s=10)
    assert proc.find(7, at_s=20) == (A, None)
    proc.run(7, f"0::/libpod-{B}\n", started_s=30)
    proc.now_s += VERIFY_S
    assert proc.find(7, at_s=31) == (B, None)


def test_late_record_of_the_process_before_belongs_to_it(proc: Proc) -> None:
    proc.run(7, f"0::/libpod-{A}\n", started_s=10)
    proc.find(7, at_s=20)
    proc.run(7, f"0::/libpod-{B}\n", started_s=30)
    proc.now_s += VERIFY_S
    assert proc.find(7, at_s=29) == (A, None)
    assert proc.find(7, at_s=31) == (B, None)


def test_record_from_before_the_only_process_known_is_nobodys(proc: Proc) -> None:
    proc.run(7, f"0::/libpod-{B}\n", started_s=30)
    assert proc.find(7, at_s=20) is None


def test_process_that_joins_a_container_is_found_there(proc: Proc) -> None:
    proc.run(7, "0::/\n")
    assert proc.find(7) == (None, None)
    proc.run(7, f"0::/libpod-{A}\n")
    proc.now_s += VERIFY_S
    assert proc.find(7) == (A, None)


@pytest.mark.parametrize("comm", ["a) S 1 2 3", "(", "x) 99999 (", "a\nb"])
def test_name_of_the_program_does_not_hide_the_start(proc: Proc, comm: str) -> None:
    proc.run(7, f"0::/libpod-{A}\n", started_s=30, comm=comm)
    assert proc.find(7, at_s=20) is None
    assert proc.find(7, at_s=40) == (A, None)


@pytest.mark.parametrize("stat", ["", "7 (sh", "7 (sh) S 1", "7 (sh) " + "x " * 60])
def test_broken_files_are_nobodys(proc: Proc, stat: str) -> None:
    proc.run(7, f"0::/libpod-{A}\n")
    (proc.root / "7" / "stat").write_text(stat)
    assert proc.find(7) is None


def test_process_that_ended_at_once_belongs_to_its_parents_container(proc: Proc) -> None:
    proc.run(7, f"0::/libpod-{A}\n")
    proc.forks = {8: Fork(7, 900.0), 9: Fork(8, 910.0)}
    assert proc.find(9, at_s=911) == (A, None)
    assert proc.find(8, at_s=901) == (A, None)


def test_process_that_is_ending_belongs_to_its_parents_container(proc: Proc) -> None:
    proc.run(7, f"0::/libpod-{A}\n")
    proc.run(8, "9:pids:/\n", flags=0x400004, started_s=900)
    proc.forks = {8: Fork(7, 900.0)}
    assert proc.find(8, at_s=901) == (A, None)


def test_processes_that_end_together_have_no_end_of_ancestors(proc: Proc) -> None:
    for pid in (7, 8):
        proc.run(pid, "9:pids:/\n", flags=0x400004, started_s=900)
    proc.forks = {8: Fork(7, 900.0), 7: Fork(8, 899.0)}
    assert proc.find(8, at_s=901) is None


def test_child_of_a_process_of_the_host_has_no_container(proc: Proc) -> None:
    proc.run(7, "0::/system.slice/cron.service\n")
    proc.forks = {8: Fork(7, 900.0)}
    assert proc.find(8, at_s=901) == (None, None)


def test_process_whose_family_is_gone_is_unknown(proc: Proc) -> None:
    proc.forks = {8: Fork(7, 900.0), 7: Fork(8, 899.0)}
    assert proc.find(8, at_s=901) is None


def test_id_that_is_used_again_by_a_process_that_ended_at_once(proc: Proc) -> None:
    proc.run(7, f"0::/libpod-{A}\n")
    proc.run(8, f"0::/libpod-{B}\n")
    assert proc.find(8, at_s=1000) == (B, None)
    proc.end(8)
    proc.now_s = 1002.0
    proc.forks = {8: Fork(7, 1001.0)}
    assert proc.find(8, at_s=1000.5) == (B, None)
    assert proc.find(8, at_s=1001.5) == (A, None)


def test_memory_is_bounded(proc: Proc) -> None:
    for pid in range(1, MAX_PROCESSES + 100):
        folder = proc.root / str(pid)
        folder.symlink_to(proc.root / "one")
    proc.run(0, f"0::/libpod-{A}\n")
    (proc.root / "0").rename(proc.root / "one")
    for pid in range(1, MAX_PROCESSES + 100):
        assert proc.find(pid) == (A, None)
    assert len(proc.owners._owners) == MAX_PROCESSES


def test_real_proc_names_this_process() -> None:
    owner = Owners(Path("/proc")).find(os.getpid(), 1 << 60)
    assert owner is not None
    assert owner.start_ticks > 0


@pytest.mark.parametrize("jump_s", [-86_400.0, -1.0, 1.0, 86_400.0])
def test_process_is_found_after_a_jump_of_the_clock(proc: Proc, jump_s: float) -> None:
    proc.run(7, f"0::/libpod-{A}\n", started_s=10)
    assert proc.find(7, at_s=20) == (A, None)
    proc.jumped_s = jump_s
    proc.now_s += VERIFY_S
    assert proc.find(7, at_s=30 + jump_s) == (A, None)
    proc.run(8, f"0::/libpod-{B}\n", started_s=40)
    assert proc.find(8, at_s=50 + jump_s) == (B, None)


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
def test_process_that_ended_around_a_jump_of_the_clock_is_its_own(proc: Proc, jump_s: float) -> None:
    proc.run(7, f"0::/libpod-{A}\n")
    proc.jumped_s = jump_s
    proc.forks = {8: Fork(7, 900.0)}
    assert proc.find(8, at_s=901 + jump_s) == (A, None)


def test_record_from_before_a_jump_is_never_given_to_another_container(proc: Proc) -> None:
    proc.run(7, f"0::/libpod-{A}\n", started_s=10)
    proc.find(7, at_s=20)
    proc.jumped_s = 3600.0
    proc.now_s += VERIFY_S
    proc.run(7, f"0::/libpod-{B}\n", started_s=30)
    assert proc.find(7, at_s=29) == (A, None)


def test_what_somebody_else_saw_is_believed_for_the_process_and_its_children(proc: Proc) -> None:
    proc.run(1, "0::/system.slice/crio.service\n")
    proc.forks = {8: Fork(1, 990.0), 9: Fork(8, 991.0)}
    assert proc.find(9, at_s=992) == (None, None)
    owner = proc.owners.find(9, int((BOOT_S + 992) * 1000))
    assert owner is not None
    assert owner.is_guess
    assert proc.owners.lineage([9]) == [9, 8, 1]

    proc.owners.learn(8, A, POD, 990.5)

    assert proc.find(8, at_s=990.6) == (A, POD)
    assert proc.find(9, at_s=992) == (A, POD)


def test_what_somebody_else_saw_is_not_believed_for_a_later_process(proc: Proc) -> None:
    proc.run(1, "0::/system.slice/crio.service\n")
    proc.forks = {8: Fork(1, 995.0)}
    proc.owners.learn(8, A, POD, 990.5)
    assert proc.find(8, at_s=996) == (None, None)


def test_lineage_without_end_is_cut(proc: Proc) -> None:
    proc.forks = {8: Fork(9, 1.0), 9: Fork(8, 1.0)}
    assert sorted(proc.owners.lineage([8])) == [8, 9]


def test_process_that_the_runtime_begins_after_its_helper_is_in_the_same_container(proc: Proc) -> None:
    proc.run(1, "0::/system.slice/crio.service\n")
    runtime, helper, first, child = 20, 21, 22, 23
    proc.forks = {
        runtime: Fork(1, 990.0),
        helper: Fork(runtime, 990.1),
        first: Fork(runtime, 990.2),
        child: Fork(first, 990.3),
        24: Fork(runtime, 995.0),
    }
    assert proc.owners.lineage([child]) == [child, first, runtime, 1, helper]
    proc.owners.learn(helper, A, POD, 990.15)
    assert proc.find(first, at_s=990.2) == (A, POD)
    assert proc.find(child, at_s=990.3) == (A, POD)
    assert proc.find(24, at_s=995.1) == (None, None)
    assert proc.find(runtime, at_s=990.1) == (None, None)
