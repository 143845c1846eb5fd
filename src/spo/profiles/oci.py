"""The text of a profile's file: the ``linux.seccomp`` object of the OCI runtime specification."""

import msgspec

from spo.api.seccomp_profile import Arg, SeccompProfileSpec, Syscall
from spo.profiles.errno_ret import errno_number


class OciSyscall(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One rule."""

    names: list[str]
    action: str
    errno_ret: int | None = None
    args: list[Arg] = []


class OciProfile(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A file; the order of the fields is the order of the keys."""

    default_action: str
    architectures: list[str] = []
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[OciSyscall] = []
    flags: list[str] = []


_ENCODER = msgspec.json.Encoder()


def render(spec: SeccompProfileSpec) -> bytes:
    """Compact JSON without the empty keys and without ``baseProfileName``; errnoRet as a number.

    Raises:
        InvalidProfileError: an errnoRet is no number.
    """
    profile = OciProfile(
        default_action=spec.default_action,
        architectures=spec.architectures,
        listener_path=spec.listener_path or "",
        listener_metadata=spec.listener_metadata or "",
        syscalls=[_syscall(index, entry) for index, entry in enumerate(spec.syscalls)],
        flags=spec.flags,
    )
    return _ENCODER.encode(profile)


def _syscall(index: int, entry: Syscall) -> OciSyscall:
    return OciSyscall(
        names=entry.names,
        action=entry.action,
        errno_ret=errno_number(entry.errno_ret, f"syscalls[{index}].errnoRet"),
        args=entry.args,
    )
