"""The syscalls that a container runtime itself makes under the container's filter.

Between loading the filter and executing the program the runtime drops capabilities, changes users, closes
descriptors. A profile without these calls is a profile under which no container starts. What was observed
while recording is always better than these lists; they are for recordings that observed no filter.
"""

from typing import Final

from spo.bpf.observation import Observation, Phase
from spo.recording.profile import Machine, syscall_names


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_GO_RUNTIME: Final = _names("""
    clone close epoll_ctl epoll_pwait exit fcntl futex getpid gettid madvise mmap munmap nanosleep
    rt_sigaction rt_sigprocmask rt_sigreturn sched_yield sigaltstack tgkill
""")
"""What Go's scheduler and garbage collector may do at any time in runc; seen in some runs only."""

_RUNC_LATE: Final = _GO_RUNTIME | _names("execve fstat fstatfs getdents64 openat read write")
"""Measured with runc 1.1.5, noNewPrivileges: the filter is the last thing but the start signal."""

_RUNC_NEWER: Final = _names("close_range newfstatat openat2 prctl readlinkat statx")
"""runc from 1.2.8 and 1.3.3 on reads /proc with these, as its reworked path handling does."""

_RUNC_EARLY: Final = _names("""
    capget capset chdir faccessat2 fchown fchownat getcwd getppid setgid setgroups setuid
""")
"""Measured with runc 1.1.5 without noNewPrivileges: users and capabilities change under the filter."""

_CRUN_LATE: Final = _names("""
    access brk close close_range execve exit_group faccessat2 fcntl fstat lseek mmap mprotect munmap
    newfstatat openat openat2 prctl read rt_sigaction rt_sigprocmask stat statx write
""")
_CRUN_EARLY: Final = _names("""
    arch_prctl capset chdir dup2 dup3 fchdir getcwd getegid geteuid getgid getpid getppid getuid ioctl
    keyctl select set_tid_address setgroups setresgid setresuid setsid umask
""")
"""crun: from the published base profile for 0.20.1, without what prepares mounts before the filter."""

RUNTIMES: Final = ("crun", "runc")
"""Runtimes with a list of their own."""


def shipped(runtime: str | None = None, no_new_privileges: bool | None = None) -> frozenset[str]:
    """The shipped list for a runtime.

    Args:
        runtime: base name of its executable, as ``runc``; for another one, or ``None``, all lists together.
        no_new_privileges: whether the container has it. Runtimes then load the filter later, after changing
            users and capabilities. ``None``: not known, which is as good as without.
    """
    late_only = bool(no_new_privileges)
    runc = _RUNC_LATE | _RUNC_NEWER | (frozenset() if late_only else _RUNC_EARLY)
    crun = _CRUN_LATE | (frozenset() if late_only else _CRUN_EARLY)
    if runtime == "runc":
        return runc
    if runtime == "crun":
        return crun
    return runc | crun


def base_of(
    observation: Observation,
    machine: Machine,
    *,
    runtime: str | None = None,
    no_new_privileges: bool | None = None,
) -> frozenset[str]:
    """The runtime's calls under the filter as they were observed; if no filter was loaded, the shipped list.

    To what was observed comes ``execve``, the runtime's last call, which starts the program; and, but for
    crun, what Go's own runtime may do in the next run though it did not in this one: a container must
    start every time.
    """
    observed = syscall_names(observation, machine, Phase.RUNTIME_FILTERED)
    if observed:
        unseen = frozenset[str]() if runtime == "crun" else _GO_RUNTIME
        return unseen.union({"execve"}, *observed.values())
    return shipped(runtime, no_new_privileges)
