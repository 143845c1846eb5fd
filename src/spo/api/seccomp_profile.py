"""SeccompProfile: the rules, and where they are installed."""

from enum import StrEnum

import msgspec

from spo.api.meta import Condition, ObjectMeta
from spo.api.resource import Resource
from spo.names import API_GROUP, LOCALHOST_PROFILE_KEY


class Action(StrEnum):
    """What happens to a syscall."""

    KILL = "SCMP_ACT_KILL"
    KILL_PROCESS = "SCMP_ACT_KILL_PROCESS"
    KILL_THREAD = "SCMP_ACT_KILL_THREAD"
    TRAP = "SCMP_ACT_TRAP"
    ERRNO = "SCMP_ACT_ERRNO"
    TRACE = "SCMP_ACT_TRACE"
    ALLOW = "SCMP_ACT_ALLOW"
    LOG = "SCMP_ACT_LOG"
    NOTIFY = "SCMP_ACT_NOTIFY"


class Arg(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A condition on one argument of a syscall."""

    index: int
    value: int = 0
    value_two: int = 0
    op: str


class Syscall(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One rule."""

    names: list[str]
    action: str
    errno_ret: int | str | None = None
    args: list[Arg] = []


class SeccompProfileSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """What the profile says."""

    base_profile_name: str | None = None
    default_action: str
    architectures: list[str] = []
    listener_path: str | None = None
    listener_metadata: str | None = None
    syscalls: list[Syscall] = []
    flags: list[str] = []


class NodeCounts(msgspec.Struct, rename="camel", kw_only=True):
    """Nodes by state."""

    desired: int = 0
    installed: int = 0
    failed: int = 0


class FailingNode(msgspec.Struct, rename="camel", kw_only=True):
    """A node that could not install the profile."""

    node_name: str
    message: str = ""


class SeccompProfileStatus(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """What has become of it."""

    conditions: list[Condition] = []
    status: str | None = None
    path: str | None = None
    active_workloads: list[str] = []
    active_workload_count: int = 0
    localhost_profile: str | None = None
    localhost_profile_key: str | None = msgspec.field(default=None, name=LOCALHOST_PROFILE_KEY)
    nodes: NodeCounts | None = None
    failing_nodes: list[FailingNode] = []
    warnings: list[str] = []
    observed_generation: int = 0


class SeccompProfile(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A seccomp profile."""

    metadata: ObjectMeta
    spec: SeccompProfileSpec
    status: SeccompProfileStatus | None = None


SECCOMP_PROFILES = Resource(API_GROUP, "v1beta1", "SeccompProfile", "seccompprofiles", True, SeccompProfile)
