"""Processes that the BPF recorder saw in containers: the log enricher comes late to the short ones."""

from collections.abc import Callable, Sequence
from typing import Final

from spo.rpc.bpf_recorder import Identified
from spo.rpc.log_enricher import Traced, TracedProcess

MAX_PROCESSES: Final = 4096
REMEMBERED_S: Final = 10.0
"""How long after its beginning a process may be asked for."""


class SeenProcesses:
    """Bounded: the last ones.

    Args:
        monotonic: as ``time.monotonic``, which is the same clock in every process of the node.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: dict[int, TracedProcess] = {}

    def add(self, event: Identified) -> None:
        """The recorder has told of a process. Not believed for one that ran before the recorder did."""
        if event.late or event.pid <= 0:
            return
        self._seen.pop(event.pid, None)
        self._seen[event.pid] = TracedProcess(event.pid, event.container_id, event.pod_uid, self._monotonic())
        if len(self._seen) > MAX_PROCESSES:
            del self._seen[next(iter(self._seen))]

    def find(self, pids: Sequence[int]) -> Traced:
        """Those that were seen not long ago."""
        oldest_s = self._monotonic() - REMEMBERED_S
        seen = (self._seen[pid] for pid in pids if pid in self._seen)
        return Traced([one for one in seen if one.seen_s >= oldest_s])
