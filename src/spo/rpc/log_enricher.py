"""Messages between the process ``log-enricher``, which calls, and the daemon of its node, which answers."""

from typing import Annotated, Final

import msgspec

from spo.names import DAEMON_RUN_DIR, apart
from spo.rpc.protocol import Failure, Protocol

DAEMON_SOCKET: Final = f"{DAEMON_RUN_DIR}/log-enricher.sock"
"""Where the daemon answers; the directory is the daemon's own."""


def daemon_socket(operator_namespace: str) -> str:
    """The same for the operator of any namespace: several may share a node."""
    return f"{DAEMON_RUN_DIR}/log-enricher{apart(operator_namespace)}.sock"


MAX_ENTRIES: Final = 100
"""Of each list in a message: with the longest texts it still fits a frame."""
MAX_CALLS: Final = 2048
"""Of the syscalls of one architecture in a message; no table has as many."""
MAX_TEXT: Final = 256
"""Characters of a text that a workload chooses; longer ones are cut."""

ContainerId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Amount = Annotated[int, msgspec.Meta(ge=0)]


class _Message(msgspec.Struct, tag_field="type", rename="camel", frozen=True):
    """Base of all messages."""


class Wanted(_Message, tag="wanted", frozen=True):
    """A container that was seen."""

    container_id: ContainerId
    pod_uid: Text | None = None
    """From its cgroup; ``None``: the cgroup does not say."""


class Find(_Message, tag="find", frozen=True):
    """Whose containers are these? Answer: Found."""

    containers: Annotated[list[Wanted], msgspec.Meta(max_length=MAX_ENTRIES)]


class KnownContainer(_Message, tag="container", frozen=True):
    """A container of a pod of this node."""

    container_id: ContainerId
    namespace: str
    pod: str
    container: str
    record: str = ""
    """Value of the annotation that asks to record it from the log; empty: none."""


class Found(_Message, tag="found", frozen=True):
    """Those that are known; ask again for the others, whose id the kubelet may report later."""

    containers: list[KnownContainer]
    waiting: list[str] = []
    """Names of containers, of the pods that were asked for, that have no id yet."""


class Trace(_Message, tag="trace", frozen=True):
    """In which containers were these processes, that have ended? Answer: Traced."""

    pids: Annotated[list[Amount], msgspec.Meta(max_length=MAX_ENTRIES)]
    """In the initial pid namespace."""


class TracedProcess(_Message, tag="process", frozen=True):
    """A process that the recorder saw begin to work in a container."""

    pid: Amount
    container_id: ContainerId
    pod_uid: Text | None
    seen_s: float
    """When it was told, as ``time.monotonic``."""


class Traced(_Message, tag="traced", frozen=True):
    """Those that were seen not long ago."""

    processes: list[TracedProcess]


class _Entry(_Message, tag="entry", frozen=True):
    """What one container did, and how often since the last Count."""

    container_id: ContainerId
    namespace: str
    pod: str
    container: str
    executable: Text
    count: Amount


class SeccompCount(_Entry, tag="seccomp", frozen=True):
    """Calls that seccomp logged or refused."""

    syscall: Text
    architecture: Text
    """As in a profile, such as ``SCMP_ARCH_X86_64``."""


class SelinuxCount(_Entry, tag="selinux", frozen=True):
    """Decisions of SELinux."""

    permissions: Text
    """Names with spaces between."""
    source_context: Text
    target_context: Text
    target_class: Text


class AppArmorCount(_Entry, tag="apparmor", frozen=True):
    """Decisions of AppArmor."""

    decision: Text
    operation: Text
    profile: Text
    name: Text


class SeenCalls(_Message, tag="seen", frozen=True):
    """Syscalls of a container that is recorded, told once for each connection."""

    container_id: ContainerId
    architecture: Text
    """As in a profile; decides what the numbers mean."""
    numbers: Annotated[list[Amount], msgspec.Meta(max_length=MAX_CALLS)]
    by_runtime: bool = False
    """Made by the container runtime, before it started the program."""


class Losses(_Message, tag="losses", frozen=True):
    """What did not become a count, since the process began."""

    overruns: Amount = 0
    """Times that the kernel found the receive buffer full; how many records it dropped is not known."""
    gaps: Amount = 0
    """Serial numbers of audit events that never came."""
    process_gone: Amount = 0
    """Records of processes that had ended before their container could be found."""
    no_container: Amount = 0
    """Records of processes of no container."""
    unknown_container: Amount = 0
    """Records of containers that the daemon did not know in time, such as sandboxes."""
    backlog_full: Amount = 0
    """Records for which there was no place to wait until their container is known."""
    unknown_syscall: Amount = 0
    """Records of a syscall that has no name."""
    unreadable: Amount = 0
    """Messages of the right type that are no records, and lines that are too long."""
    not_printed: Amount = 0
    """Lines that nobody took from our output; they were counted."""
    merged: Amount = 0
    """Records that were counted under the executable ``other``."""
    kernel_dropped: Amount = 0
    """Records that the kernel dropped before any listener could have them, such as at its backlog limit."""


class Count(_Message, tag="count", frozen=True):
    """Add to the metrics. Answer: Counted.

    A batch that got no answer is sent again with its number, which the daemon counts once. The first one of
    a connection is sent even if there is nothing to count: the daemon knows from then on that we listen.
    """

    session: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    """Of the sending process; random."""
    number: Amount
    """1 for the first batch of a session, then one more each."""
    entries: Annotated[
        list[SeccompCount | SelinuxCount | AppArmorCount], msgspec.Meta(max_length=MAX_ENTRIES)
    ]
    losses: Losses
    seen: Annotated[list[SeenCalls], msgspec.Meta(max_length=MAX_ENTRIES)] = []
    first_serial: Amount | None = 0
    """Serial of the first audit event of the session; 0: there was none; ``None``: events can be missing
    without our knowing, as in a log file."""
    began_ms: Amount = 0
    """Since when the session listens, in milliseconds since the Unix epoch."""
    through_serial: Amount = 0
    """All that came up to this event has been told; 0: not known."""


class Counted(_Message, tag="counted", frozen=True):
    """It is done."""

    done: Annotated[list[ContainerId], msgspec.Meta(max_length=MAX_ENTRIES)] = []
    """Containers of which no syscalls need be told again."""


class Drain(_Message, tag="drain", frozen=True):
    """Event, to whoever has sent a Count: tell what the kernel has logged up to now, then call Drained."""

    number: Amount
    """More than the last one."""


class Drained(_Message, tag="drained", frozen=True):
    """All has been told that was logged before the Drain with this number. Answer: Counted."""

    number: Amount


Request = Find | Trace | Count | Drained
Answer = Found | Traced | Counted | Drain | Failure

PROTOCOL: Final = Protocol("log-enricher", 3, Request, Answer)
"""Raise the version with every change that the other end would not understand."""
