"""What syscalls are for, and which of them are a danger in the hands of an attacker."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

_GROUPS: Final = {
    "Files: read and write": """
        _llseek close close_range copy_file_range dup dup2 dup3 fadvise64 fadvise64_64 arm_fadvise64_64
        fallocate fcntl fcntl64 fdatasync flock fsync ftruncate ftruncate64 lseek cachestat
        ioctl open openat openat2 creat pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read
        readahead readv sendfile sendfile64 splice sync sync_file_range sync_file_range2 arm_sync_file_range
        syncfs tee truncate truncate64 vmsplice write writev
    """,
    "Files: names and attributes": """
        access chdir chmod chown chown32 faccessat faccessat2 fchdir fchmod fchmodat fchmodat2 fchown fchown32
        fchownat fgetxattr flistxattr fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64
        futimesat getcwd getdents getdents64 getxattr getxattrat lchown lchown32 lgetxattr link linkat
        listxattr listxattrat llistxattr lookup_dcookie lremovexattr lsetxattr lstat lstat64 mkdir mkdirat
        mknod mknodat name_to_handle_at newfstatat oldfstat oldlstat oldstat readdir readlink readlinkat
        removexattr removexattrat rename renameat renameat2 rmdir setxattr setxattrat stat stat64 statfs
        statfs64 statx symlink symlinkat umask unlink unlinkat ustat utime utimensat utimensat_time64 utimes
        file_getattr file_setattr open_by_handle_at
    """,
    "Waiting for events": """
        _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
        epoll_wait_old eventfd eventfd2 fanotify_init fanotify_mark inotify_add_watch inotify_init
        inotify_init1 inotify_rm_watch poll ppoll ppoll_time64 pselect6 pselect6_time64 select
        io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit
        io_uring_enter io_uring_register io_uring_setup
    """,
    "Network and local sockets": """
        accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
        recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socket socketcall socketpair
    """,
    "Memory": """
        brk madvise map_shadow_stack memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2
        mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
        process_madvise process_mrelease remap_file_pages userfaultfd cacheflush
    """,
    "Processes and threads": """
        arch_prctl capget capset clone clone3 execve execveat exit exit_group fork futex futex_requeue
        futex_time64 futex_wait futex_waitv futex_wake get_robust_list get_thread_area getpgid getpgrp getpid
        getppid getpriority getsid gettid kcmp membarrier personality pidfd_getfd pidfd_open
        pidfd_send_signal prctl prlimit64 process_vm_readv process_vm_writev ptrace rseq rseq_slice_yield
        set_robust_list set_thread_area set_tid_address set_tls get_tls setpgid setpriority setsid ugetrlimit
        getrlimit setrlimit getrusage nice unshare setns vfork wait4 waitid waitpid modify_ldt vm86 vm86old
        uprobe uretprobe breakpoint usr26 usr32
    """,
    "Scheduling and placement": """
        get_mempolicy getcpu mbind migrate_pages move_pages sched_get_priority_max sched_get_priority_min
        sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
        sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler
        sched_yield set_mempolicy set_mempolicy_home_node ioprio_get ioprio_set
    """,
    "Signals": """
        kill pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
        rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sgetmask sigaction sigaltstack
        signal signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend ssetmask tgkill tkill
    """,
    "Time and timers": """
        adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
        clock_gettime64 clock_nanosleep clock_nanosleep_time64 clock_settime clock_settime64 getitimer
        gettimeofday nanosleep setitimer settimeofday stime time timer_create timer_delete timer_getoverrun
        timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
        timerfd_gettime64 timerfd_settime timerfd_settime64 times
    """,
    "Users and groups": """
        getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32
        getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
        setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
        setreuid32 setuid setuid32 add_key keyctl request_key
    """,
    "Messages between processes": """
        ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
        mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop
        semtimedop_time64 shmat shmctl shmdt shmget
    """,
    "Confinement": """
        landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_get_self_attr lsm_list_modules
        lsm_set_self_attr seccomp
    """,
    "Mounts": """
        chroot fsconfig fsmount fsopen fspick listmount listns mount mount_setattr move_mount open_tree
        open_tree_attr pivot_root quotactl quotactl_fd statmount umount umount2
    """,
    "System": """
        _sysctl acct afs_syscall bdflush bpf break create_module delete_module finit_module ftime
        get_kernel_syms getpmsg getrandom gtty idle init_module ioperm iopl kexec_file_load kexec_load lock
        mpx nfsservctl olduname oldolduname perf_event_open pciconfig_iobase pciconfig_read pciconfig_write
        prof profil putpmsg query_module reboot security setdomainname sethostname stty swapoff swapon sysfs
        sysinfo syslog tuxcall ulimit uname uselib vhangup vserver
    """,
}

OTHER: Final = "Other"
"""Group of what is named nowhere above."""

RISKS: Final = MappingProxyType(
    {
        "acct": "writes a file as the kernel",
        "add_key": "reaches kernel keyrings, a frequent source of kernel bugs",
        "bpf": "loads programs into the kernel",
        "chroot": "with CAP_SYS_CHROOT, a way out of a chroot",
        "clock_settime": "changes the clock of the node",
        "clock_settime64": "changes the clock of the node",
        "create_module": "loads code into the kernel",
        "delete_module": "unloads code from the kernel",
        "fanotify_init": "sees and blocks file accesses of other processes",
        "finit_module": "loads code into the kernel",
        "fsconfig": "mounts file systems",
        "fsmount": "mounts file systems",
        "fsopen": "mounts file systems",
        "init_module": "loads code into the kernel",
        "io_uring_setup": "operations on the ring are no syscalls: the profile does not see them",
        "ioperm": "access to hardware ports",
        "iopl": "access to hardware ports",
        "kcmp": "tells about other processes",
        "kexec_file_load": "replaces the running kernel",
        "kexec_load": "replaces the running kernel",
        "keyctl": "reaches kernel keyrings, a frequent source of kernel bugs",
        "memfd_create": "runs code that is on no disk",
        "mknod": "with CAP_MKNOD, makes device files",
        "mknodat": "with CAP_MKNOD, makes device files",
        "modify_ldt": "16-bit segments, a source of kernel bugs",
        "mount": "changes what files are seen; with other rights a way out of the container",
        "mount_setattr": "changes what files are seen",
        "move_mount": "changes what files are seen",
        "move_pages": "moves the memory of other processes",
        "name_to_handle_at": "together with open_by_handle_at a way out of the container",
        "open_by_handle_at": "opens files outside the container",
        "open_tree": "changes what files are seen",
        "perf_event_open": "observes the whole node, a frequent source of kernel bugs",
        "personality": "switches off the randomisation of addresses",
        "pidfd_getfd": "takes open files of other processes",
        "pivot_root": "changes the root directory",
        "process_madvise": "changes the memory of other processes",
        "process_vm_readv": "reads the memory of other processes",
        "process_vm_writev": "writes the memory of other processes",
        "ptrace": "controls other processes",
        "quotactl": "changes quotas of the node",
        "reboot": "stops the node",
        "request_key": "reaches kernel keyrings, a frequent source of kernel bugs",
        "setns": "enters other namespaces, with rights those of the node",
        "settimeofday": "changes the clock of the node",
        "swapoff": "changes the memory of the node",
        "swapon": "changes the memory of the node",
        "syslog": "reads the kernel's log",
        "umount": "uncovers files that were hidden",
        "umount2": "uncovers files that were hidden",
        "unshare": "user namespaces open much of the kernel to a user without rights",
        "uselib": "obsolete, a source of kernel bugs",
        "userfaultfd": "stops the kernel at will, which makes its bugs easier to use",
        "vm86": "16-bit mode, a source of kernel bugs",
        "vm86old": "16-bit mode, a source of kernel bugs",
        "vmsplice": "maps pages into pipes, a source of kernel bugs",
    }
)
"""Why a syscall deserves a look before it is allowed."""

_GROUP_OF: Final = {name: group for group, names in _GROUPS.items() for name in names.split()}


def by_purpose(names: Iterable[str]) -> dict[str, list[str]]:
    """Group names by purpose; groups in a fixed order, names sorted, no group empty."""
    grouped: dict[str, list[str]] = {group: [] for group in (*_GROUPS, OTHER)}
    for name in sorted(set(names)):
        grouped[_GROUP_OF.get(name, OTHER)].append(name)
    return {group: found for group, found in grouped.items() if found}
