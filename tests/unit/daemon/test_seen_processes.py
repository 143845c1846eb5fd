"""What the recorder saw, as the log enricher may ask for it."""

from spo.daemon.seen_processes import MAX_PROCESSES, REMEMBERED_S, SeenProcesses
from spo.rpc.bpf_recorder import Identified
from spo.rpc.log_enricher import Traced, TracedProcess

A, B = "a" * 64, "b" * 64


class Seen:
    def __init__(self) -> None:
        self.now_s = 50.0
        self.processes = SeenProcesses(lambda: self.now_s)

    def add(self, pid: int, container_id: str = A, *, late: bool = False) -> None:
        self.processes.add(Identified(1, 2, container_id, "uid", pid, "sh", late, False))


def test_process_is_remembered_for_a_while() -> None:
    seen = Seen()
    seen.add(7)
    assert seen.processes.find([8, 7]) == Traced([TracedProcess(7, A, "uid", 50.0)])
    seen.now_s += REMEMBERED_S + 1
    assert seen.processes.find([7]) == Traced([])


def test_later_process_with_the_same_id_counts() -> None:
    seen = Seen()
    seen.add(7)
    seen.add(7, B)
    assert [one.container_id for one in seen.processes.find([7]).processes] == [B]


def test_process_from_before_the_recorder_is_not_believed() -> None:
    seen = Seen()
    seen.add(7, late=True)
    assert seen.processes.find([7]) == Traced([])


def test_memory_is_bounded() -> None:
    seen = Seen()
    for pid in range(1, MAX_PROCESSES + 10):
        seen.add(pid)
    assert seen.processes.find([1, 9, 10]).processes[0].pid == 10
