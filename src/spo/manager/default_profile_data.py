"""The profiles that an installation has from the start. Pure data."""

from typing import Any, Final

from spo.api.seccomp_profile import Action

_NGINX: Final = """
    accept4 access arch_prctl bind brk capget capset chdir chown clone close connect dup2 epoll_create
    epoll_ctl epoll_pwait epoll_wait eventfd2 execve exit exit_group faccessat fadvise64 fchdir fchown
    fcntl fgetxattr fsetxattr fstat fstatfs futex getcwd getdents getdents64 getegid geteuid getgid
    getpid getppid getrlimit getuid io_setup ioctl listen lseek mkdir mmap mprotect munmap nanosleep
    newfstatat open openat pipe prctl pread64 prlimit64 pwrite64 read recvfrom recvmsg rename
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend sched_getaffinity seccomp select sendfile
    sendmsg set_robust_list set_tid_address setgid setgroups setitimer setresgid setresuid setsockopt
    setuid sigaltstack socket socketpair stat statfs sysinfo umask uname unlink utimensat wait4 write
    writev
"""

_RUNC: Final = """
    arch_prctl brk capget capset chdir close dup3 epoll_ctl epoll_pwait execve exit_group fchdir fchown
    fcntl fstat fstatfs futex getcwd getdents64 getpid getppid getuid ioctl mmap mount mprotect
    nanosleep newfstatat openat pivot_root prctl read rt_sigaction rt_sigprocmask rt_sigreturn
    set_tid_address setgid setgroups sethostname setuid statfs tgkill umask umount2 write
"""

_CRUN: Final = """
    access arch_prctl brk capset chdir close close_range dup2 execve exit_group fchdir fstat getcwd
    getegid geteuid getgid getpid getppid getuid ioctl lseek mmap mount mprotect openat openat2
    pivot_root prctl read rt_sigaction rt_sigprocmask select set_tid_address sethostname setresgid
    setresuid setsid stat statx umask umount2 write
"""

_X86_64: Final = ("SCMP_ARCH_X86_64",)
_X86_ALL: Final = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")


def _allowing(names: str, architectures: tuple[str, ...]) -> dict[str, Any]:
    return {
        "defaultAction": str(Action.ERRNO),
        "architectures": list(architectures),
        "syscalls": [{"action": str(Action.ALLOW), "names": names.split()}],
    }


DEFAULT_PROFILES: Final[dict[str, dict[str, Any]]] = {
    "nginx-1.19.1": _allowing(_NGINX, _X86_ALL),
    "runc-v1.0.0": _allowing(_RUNC, _X86_64),
    "crun-v0.20.1": _allowing(_CRUN, _X86_64),
}
"""Name -> spec, as it is sent. The last two are base profiles: what these runtimes call under the filter."""
