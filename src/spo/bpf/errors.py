"""What can go wrong with BPF objects, each with what to do about it."""

from pathlib import Path

from spo.errors import SpoError


class RecorderError(SpoError):
    """The recorder cannot work on this machine, or no longer; the message is one line."""


class LibbpfMissingError(RecorderError):
    """The library is not installed."""

    def __init__(self, soname: str) -> None:
        super().__init__(soname)
        self.soname = soname

    def __str__(self) -> str:
        return f"{self.soname} not found; install libbpf (Debian: libbpf1)"


class ObjectMissingError(RecorderError):
    """The compiled BPF object of this machine's architecture is not in the package."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"no BPF object for this machine: {self.path.name} is absent; build it with `make bpf`"


class ArchitectureError(RecorderError):
    """There is no recorder for this kind of machine."""

    def __init__(self, machine: str) -> None:
        super().__init__(machine)
        self.machine = machine

    def __str__(self) -> str:
        return f"architecture {self.machine} is currently unsupported: the recorder knows x86_64 and aarch64"


class PermissionMissingError(RecorderError):
    """The kernel refused a BPF call to this user."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation

    def __str__(self) -> str:
        return (
            f"{self.operation}: permission denied; recording needs root, "
            "or the capabilities BPF, PERFMON and SYS_RESOURCE"
        )


class KernelBtfMissingError(RecorderError):
    """Nothing tells where the fields of this kernel's types are."""

    def __init__(self, looked_for: str) -> None:
        super().__init__(looked_for)
        self.looked_for = looked_for

    def __str__(self) -> str:
        return (
            f"no BTF of the running kernel: {self.looked_for}; name a file or a BTFHub directory with --btf"
        )


class BpfCallError(RecorderError):
    """libbpf or the kernel refused something else."""

    def __init__(self, operation: str, reason: str, detail: str = "") -> None:
        super().__init__(operation, reason, detail)
        self.operation = operation
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        text = f"{self.operation}: {self.reason}"
        return f"{text} ({self.detail})" if self.detail else text


class SelfTestError(RecorderError):
    """The programs are attached and do not see the calls of this process."""

    def __str__(self) -> str:
        return (
            "the recorder does not see the calls of its own process; "
            "it must run in the initial PID namespace (hostPID: true, or --pid=host)"
        )


class PinsError(RecorderError):
    """What is pinned cannot be used or made."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(directory, reason)
        self.directory = directory
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.directory}: {self.reason}"
