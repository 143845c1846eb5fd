"""Syscalls of mips_n64. Made by ``tools/generate_syscall_tables.py``; do not edit."""

from typing import Final

TABLE: Final = """\
5000 read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask
5015 ioctl pread64 pwrite64 readv writev access pipe _newselect sched_yield mremap msync mincore madvise
5028 shmget shmat shmctl dup dup2 pause nanosleep getitimer setitimer alarm getpid sendfile socket connect
5042 accept sendto recvfrom sendmsg recvmsg shutdown bind listen getsockname getpeername socketpair
5053 setsockopt getsockopt clone fork execve exit wait4 kill uname semget semop semctl shmdt msgget msgsnd
5068 msgrcv msgctl fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir rename mkdir
5082 rmdir creat link unlink symlink readlink chmod fchmod chown fchown lchown umask gettimeofday getrlimit
5096 getrusage sysinfo times ptrace getuid syslog getgid setuid setgid geteuid getegid setpgid getppid
5109 getpgrp setsid setreuid setregid getgroups setgroups setresuid getresuid setresgid getresgid getpgid
5120 setfsuid setfsgid getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend
5129 sigaltstack utime mknod personality ustat statfs fstatfs sysfs getpriority setpriority sched_setparam
5140 sched_getparam sched_setscheduler sched_getscheduler sched_get_priority_max sched_get_priority_min
5145 sched_rr_get_interval mlock munlock mlockall munlockall vhangup pivot_root _sysctl prctl adjtimex
5155 setrlimit chroot sync acct settimeofday mount umount2 swapon swapoff reboot sethostname setdomainname
5167 create_module init_module delete_module get_kernel_syms query_module quotactl nfsservctl getpmsg
5175 putpmsg afs_syscall
5178 gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr
5188 flistxattr removexattr lremovexattr fremovexattr tkill
5194 futex sched_setaffinity sched_getaffinity cacheflush cachectl sysmips io_setup io_destroy io_getevents
5203 io_submit io_cancel exit_group lookup_dcookie epoll_create epoll_ctl epoll_wait remap_file_pages
5211 rt_sigreturn set_tid_address restart_syscall semtimedop fadvise64 timer_create timer_settime
5218 timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime clock_getres clock_nanosleep
5225 tgkill utimes mbind get_mempolicy set_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive
5234 mq_notify mq_getsetattr vserver waitid
5239 add_key request_key keyctl set_thread_area inotify_init inotify_add_watch inotify_rm_watch
5246 migrate_pages openat mkdirat mknodat fchownat futimesat newfstatat unlinkat renameat linkat symlinkat
5257 readlinkat fchmodat faccessat pselect6 ppoll unshare splice sync_file_range tee vmsplice move_pages
5268 set_robust_list get_robust_list kexec_load getcpu epoll_pwait ioprio_set ioprio_get utimensat signalfd
5277 timerfd eventfd fallocate timerfd_create timerfd_gettime timerfd_settime signalfd4 eventfd2
5285 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open accept4
5294 recvmmsg fanotify_init fanotify_mark prlimit64 name_to_handle_at open_by_handle_at clock_adjtime syncfs
5302 sendmmsg setns process_vm_readv process_vm_writev kcmp finit_module getdents64 sched_setattr
5310 sched_getattr renameat2 seccomp getrandom memfd_create bpf execveat userfaultfd membarrier mlock2
5320 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx rseq io_pgetevents
5424 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig
5432 fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise
5441 epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset landlock_add_rule landlock_restrict_self
5448 process_mrelease futex_waitv set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake
5455 futex_wait futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal
5463 setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr listns
5471 rseq_slice_yield
"""
