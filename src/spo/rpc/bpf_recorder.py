"""Messages between the daemon and the process ``bpf-recorder``."""

from typing import Annotated, Final

import msgspec

from spo.names import LISTENER_DIR, apart
from spo.rpc.protocol import Failure, Protocol

PROBE_SOCKET_DIR: Final = f"{LISTENER_DIR}/probes"
"""root:65535 0750: the daemon can use what lies in it, and cannot replace it."""
SOCKET: Final = f"{PROBE_SOCKET_DIR}/bpf-recorder.sock"
"""Where the recorder answers."""


def recorder_socket(operator_namespace: str) -> str:
    """The same for the operator of any namespace: several may share a node."""
    return f"{PROBE_SOCKET_DIR}/bpf-recorder{apart(operator_namespace)}.sock"


Key = Annotated[int, msgspec.Meta(ge=0)]
"""The kernel's unique id of a mount namespace: never used twice, unlike the inode number."""

RecordingName = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
"""Who wants something recorded: any text that names the request, such as the uid of a pod."""

Label = Annotated[str, msgspec.Meta(max_length=512)]
"""A name that is logged and otherwise not looked at."""

NOT_RUNNING: Final = "not-running"
"""Reason of a failure: nothing is being recorded."""
UNKNOWN_NAMESPACE: Final = "unknown-namespace"
"""Reason of a failure: the namespace was rejected, undecided for too long, or never seen."""
NO_RECORDER: Final = "no-recorder"
"""Reason of a failure: the kernel refused to record."""
TOO_MANY: Final = "too-many-recordings"
"""Reason of a failure: a limit that only a faulty client reaches."""


class _Message(msgspec.Struct, tag_field="type", rename="camel", frozen=True):
    """Base of all messages."""


class Start(_Message, tag="start", frozen=True):
    """Record from now on. Doing it again for the same ``recording`` changes nothing. Answer: Started."""

    recording: RecordingName


class Stop(_Message, tag="stop", frozen=True):
    """``recording`` needs no more; with the last one all observations are dropped. Answer: Stopped."""

    recording: RecordingName


class Keep(_Message, tag="keep", frozen=True):
    """The namespace belongs to a recorded container. Answer: Kept."""

    key: Key
    profile: Label = ""
    """Value of the pod's annotation; for the log lines of the recorder, which users read."""
    container: Label = ""
    """Name of the container; for the same."""


class Reject(_Message, tag="reject", frozen=True):
    """The namespace is not, or no longer, wanted: its observations are dropped. Answer: Done."""

    key: Key


class Read(_Message, tag="read", frozen=True):
    """Tell what was seen so far. Answer: Observed."""

    key: Key


class Reset(_Message, tag="reset", frozen=True):
    """Forget what was seen so far, and go on. Answer: Done."""

    key: Key


class Subscribe(_Message, tag="subscribe", frozen=True):
    """Send an Identified for every namespace known, then for each new one. Answer: Status."""


class GetStatus(_Message, tag="status", frozen=True):
    """Tell what is going on. Answer: Status."""


class Losses(_Message, tag="losses", frozen=True):
    """What could not be recorded, counted since the recorder was attached."""

    map_full: int = 0
    """Namespaces that found no place in the kernel's map."""
    ring_full: int = 0
    """Identifications that found no place in the ring buffer."""
    process_map_full: int = 0
    """Tasks that found no place in the kernel's map."""
    unknown_numbers: int = 0
    """Calls with a number of 1,024 or more."""
    expired: int = 0
    """Namespaces of containers that nobody kept or rejected in time."""
    interrupted: int = 0
    """Times that a live recording had to begin anew: its pinned objects were gone or of another version."""


class Started(_Message, tag="started", frozen=True):
    """The recorder is attached."""

    already_running: bool
    losses: Losses


class Stopped(_Message, tag="stopped", frozen=True):
    """One request less."""

    remaining: int
    """How many recordings still need the recorder."""
    losses: Losses


class Kept(_Message, tag="kept", frozen=True):
    """The namespace stays recorded until it is rejected or the last recording stops."""

    late: bool
    """It was running before the recorder was attached: its start was not seen."""
    losses: Losses


class Done(_Message, tag="done", frozen=True):
    """It is done."""

    losses: Losses


class Seen(_Message, tag="seen", frozen=True):
    """Syscalls of one class in one phase."""

    syscall_class: Annotated[int, msgspec.Meta(ge=0, le=2)]
    """As ``spo.bpf.observation.SyscallClass``."""
    phase: Annotated[int, msgspec.Meta(ge=0, le=2)]
    """As ``spo.bpf.observation.Phase``."""
    numbers: list[Annotated[int, msgspec.Meta(ge=0, lt=1024)]]
    """Sorted."""


class Observed(_Message, tag="observed", frozen=True):
    """What was seen in one namespace; pairs of class and phase without a syscall are left out."""

    key: Key
    late: bool
    seen: list[Seen]
    losses: Losses


class Status(_Message, tag="status", frozen=True):
    """What is going on."""

    recordings: list[str]
    """Names of Start that had no Stop yet, sorted; they survive a restart of this process."""
    undecided: int
    kept: int
    losses: Losses


class Identified(_Message, tag="identified", frozen=True):
    """Event: a namespace belongs to a container. May come again for one key; the later one counts."""

    key: Key
    inode: int
    """Number of the namespace as tools show it; used again by the kernel at once."""
    container_id: str
    """64 hexadecimal digits."""
    pod_uid: str | None
    """``None``: not a container of Kubernetes."""
    pid: int
    """Of the task that was seen, in the initial pid namespace."""
    comm: str
    late: bool
    """It was running before the recorder was attached: its start was not seen."""
    kept: bool
    """It was kept already: a client that comes back need not decide again."""


Request = Start | Stop | Keep | Reject | Read | Reset | Subscribe | GetStatus
Answer = Started | Stopped | Kept | Done | Observed | Status | Identified | Failure

PROTOCOL: Final = Protocol("bpf-recorder", 1, Request, Answer)
"""Raise the version with every change that the other end would not understand."""
