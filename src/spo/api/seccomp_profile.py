"""SeccompProfile: the rules, and where they are installed."""

from enum import StrEnum
from typing import Annotated

import msgspec

from spo.api.constraints import MAX_NAME, int_or_string, listed, schema, words
from spo.api.meta import ObjectMeta
from spo.api.profile_status import FailingNode, NodeCounts, ProfileStatus
from spo.api.resource import Resource
from spo.names import API_GROUP, LISTENER_DIR, LOCALHOST_PROFILE_KEY

__all__ = [
    "LISTENER_PATH_PATTERN",
    "SECCOMP_PROFILES",
    "Action",
    "Architecture",
    "Arg",
    "FailingNode",
    "Flag",
    "NodeCounts",
    "Operator",
    "SeccompProfile",
    "SeccompProfileSpec",
    "SeccompProfileStatus",
    "Syscall",
]

LISTENER_PATH_PATTERN = f"^{LISTENER_DIR}/[A-Za-z0-9_.-]+$"
"""The container runtime connects to the listener as root: it must lie where only we make sockets."""


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


class Architecture(StrEnum):
    """What a syscall number belongs to."""

    NATIVE = "SCMP_ARCH_NATIVE"
    X86 = "SCMP_ARCH_X86"
    X86_64 = "SCMP_ARCH_X86_64"
    X32 = "SCMP_ARCH_X32"
    ARM = "SCMP_ARCH_ARM"
    AARCH64 = "SCMP_ARCH_AARCH64"
    MIPS = "SCMP_ARCH_MIPS"
    MIPS64 = "SCMP_ARCH_MIPS64"
    MIPS64N32 = "SCMP_ARCH_MIPS64N32"
    MIPSEL = "SCMP_ARCH_MIPSEL"
    MIPSEL64 = "SCMP_ARCH_MIPSEL64"
    MIPSEL64N32 = "SCMP_ARCH_MIPSEL64N32"
    PPC = "SCMP_ARCH_PPC"
    PPC64 = "SCMP_ARCH_PPC64"
    PPC64LE = "SCMP_ARCH_PPC64LE"
    S390 = "SCMP_ARCH_S390"
    S390X = "SCMP_ARCH_S390X"
    PARISC = "SCMP_ARCH_PARISC"
    PARISC64 = "SCMP_ARCH_PARISC64"
    RISCV64 = "SCMP_ARCH_RISCV64"


class Operator(StrEnum):
    """How an argument is compared."""

    NE = "SCMP_CMP_NE"
    LT = "SCMP_CMP_LT"
    LE = "SCMP_CMP_LE"
    EQ = "SCMP_CMP_EQ"
    GE = "SCMP_CMP_GE"
    GT = "SCMP_CMP_GT"
    MASKED_EQ = "SCMP_CMP_MASKED_EQ"


class Flag(StrEnum):
    """How the filter is loaded."""

    TSYNC = "SECCOMP_FILTER_FLAG_TSYNC"
    LOG = "SECCOMP_FILTER_FLAG_LOG"
    SPEC_ALLOW = "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
    WAIT_KILLABLE_RECV = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"


ARG_VALUE = schema(format="int64", minimum=0)


class Arg(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A condition on one argument of a syscall."""

    index: Annotated[int, schema(format="int32", minimum=0, maximum=5)]
    """Which argument; the first is 0."""
    value: Annotated[int, ARG_VALUE] = 0
    """What it is compared with; the mask for ``SCMP_CMP_MASKED_EQ``."""
    value_two: Annotated[int, ARG_VALUE] = 0
    """The value under the mask for ``SCMP_CMP_MASKED_EQ``; otherwise unused."""
    op: Annotated[str, words(Operator)]
    """How it is compared."""


class Syscall(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One rule: what happens to some syscalls."""

    names: Annotated[list[Annotated[str, schema(minLength=1, maxLength=128)]], listed(4096)]
    """Names of the syscalls; each counts on the architectures that have it."""
    action: Annotated[str, words(Action)]
    """What happens to them."""
    errno_ret: Annotated[int | str, int_or_string(minimum=0, maximum=4095, maxLength=16)] | None = None
    """Error number that the caller gets with ``SCMP_ACT_ERRNO``, or the tracer with ``SCMP_ACT_TRACE``."""
    args: Annotated[list[Arg], listed(6)] = []
    """Conditions on the arguments; the rule counts only if all hold."""


class SeccompProfileSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The rules of a seccomp profile."""

    base_profile_name: Annotated[str, schema(maxLength=MAX_NAME)] | None = None
    """SeccompProfile of the same namespace whose syscalls are added; what this profile says itself wins."""
    default_action: Annotated[str, words(Action)]
    """What happens to a syscall that no rule names."""
    architectures: Annotated[list[Annotated[str, words(Architecture)]], listed(64)] = []
    """Architectures whose syscalls the container may make; none: the native one of the node."""
    listener_path: Annotated[str, schema(pattern=LISTENER_PATH_PATTERN, maxLength=107)] | None = None
    """Unix socket of the agent that decides about syscalls with ``SCMP_ACT_NOTIFY``."""
    listener_metadata: Annotated[str, schema(maxLength=4096)] | None = None
    """Handed to the agent as it is."""
    syscalls: Annotated[list[Syscall], listed(4096)] = []
    """The rules."""
    flags: Annotated[list[Annotated[str, words(Flag)]], listed(16)] = []
    """How the filter is loaded."""
    disabled: bool = False
    """Install the profile on no node until this is false."""


class SeccompProfileStatus(ProfileStatus, rename="camel", omit_defaults=True, kw_only=True):
    """Where the seccomp profile is installed, and how pods name it."""

    path: Annotated[str, schema(maxLength=4096)] | None = None
    """Path of the file on a node."""
    localhost_profile: Annotated[str, schema(maxLength=4096)] | None = None
    """What a pod writes into ``securityContext.seccompProfile.localhostProfile``."""
    localhost_profile_key: Annotated[str, schema(maxLength=4096)] | None = msgspec.field(
        default=None, name=LOCALHOST_PROFILE_KEY
    )
    """The same as ``localhostProfile``, for scripts that read this older key."""


NOTIFY_NEEDS_LISTENER = schema(
    **{
        "x-kubernetes-validations": [
            {
                "rule": (
                    "has(self.listenerPath) || (self.defaultAction != 'SCMP_ACT_NOTIFY' && "
                    "(!has(self.syscalls) || self.syscalls.all(s, s.action != 'SCMP_ACT_NOTIFY')))"
                ),
                "message": (
                    "spec.listenerPath is required with SCMP_ACT_NOTIFY: "
                    f"name the socket of the agent below {LISTENER_DIR}/"
                ),
                "fieldPath": ".listenerPath",
                "reason": "FieldValueRequired",
            }
        ]
    }
)
"""Without an agent the syscall would hang, or the runtime would refuse the container."""


class SeccompProfile(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A seccomp profile that the operator installs on every node."""

    metadata: ObjectMeta
    spec: Annotated[SeccompProfileSpec, NOTIFY_NEEDS_LISTENER]
    """The rules."""
    status: SeccompProfileStatus | None = None
    """Where it is installed; written by the operator."""


SECCOMP_PROFILES = Resource(API_GROUP, "v1beta1", "SeccompProfile", "seccompprofiles", True, SeccompProfile)
