"""What the session and the kernel know, in the words of messages and log lines."""

from collections.abc import Iterator
from typing import Final

from spo import klog
from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.probes.bpf_recorder.session import Tracked
from spo.rpc.bpf_recorder import Identified, Seen

log = klog.get("bpf-recorder")

_PAIRS: Final = [(cls, phase) for cls in SyscallClass for phase in Phase]


def seen(observation: Observation) -> Iterator[Seen]:
    """What was seen, by class and phase; pairs without a syscall are left out."""
    for cls, phase in _PAIRS:
        if numbers := observation.numbers(cls, phase):
            yield Seen(int(cls), int(phase), sorted(numbers))


def log_kept(tracked: Tracked, container: str) -> None:
    """The lines by which users see that a recording works."""
    if container:
        log.info("Found container ID in cluster", containerID=tracked.container_id, containerName=container)
    log.info("Saving PID for profile", mntns=tracked.inode, pid=tracked.pid, profile=tracked.profile)
    if tracked.has_program:  # it came before the decision
        log_short_path(tracked)


def log_short_path(tracked: Tracked) -> None:
    """One more task of a namespace that is kept already."""
    log.info(
        "Using short path via tracked mount namespace",
        mntns=tracked.inode,
        pid=tracked.pid,
        profile=tracked.profile,
    )


def identified(tracked: Tracked) -> Identified:
    """What subscribers are told."""
    return Identified(
        tracked.key,
        tracked.inode,
        tracked.container_id or "",
        tracked.pod_uid,
        tracked.pid,
        tracked.comm,
        tracked.late,
        tracked.kept,
    )
