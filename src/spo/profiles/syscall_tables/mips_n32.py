"""Syscalls of mips_n32. Made by ``tools/generate_syscall_tables.py``; do not edit."""

from typing import Final

TABLE: Final = """\
6000 read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask
6015 ioctl pread64 pwrite64 readv writev access pipe _newselect sched_yield mremap msync mincore madvise
6028 shmget shmat shmctl dup dup2 pause nanosleep getitimer setitimer alarm getpid sendfile socket connect
6042 accept sendto recvfrom sendmsg recvmsg shutdown bind listen getsockname getpeername socketpair
6053 setsockopt getsockopt clone fork execve exit wait4 kill uname semget semop semctl shmdt msgget msgsnd
6068 msgrcv msgctl fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir rename mkdir
6082 rmdir creat link unlink symlink readlink chmod fchmod chown fchown lchown umask gettimeofday getrlimit
6096 getrusage sysinfo times ptrace getuid syslog getgid setuid setgid geteuid getegid setpgid getppid
6109 getpgrp setsid setreuid setregid getgroups setgroups setresuid getresuid setresgid getresgid getpgid
6120 setfsuid setfsgid getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend
6129 sigaltstack utime mknod personality ustat statfs fstatfs sysfs getpriority setpriority sched_setparam
6140 sched_getparam sched_setscheduler sched_getscheduler sched_get_priority_max sched_get_priority_min
6145 sched_rr_get_interval mlock munlock mlockall munlockall vhangup pivot_root _sysctl prctl adjtimex
6155 setrlimit chroot sync acct settimeofday mount umount2 swapon swapoff reboot sethostname setdomainname
6167 create_module init_module delete_module get_kernel_syms query_module quotactl nfsservctl getpmsg
6175 putpmsg afs_syscall
6178 gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr
6188 flistxattr removexattr lremovexattr fremovexattr tkill
6194 futex sched_setaffinity sched_getaffinity cacheflush cachectl sysmips io_setup io_destroy io_getevents
6203 io_submit io_cancel exit_group lookup_dcookie epoll_create epoll_ctl epoll_wait remap_file_pages
6211 rt_sigreturn fcntl64 set_tid_address restart_syscall semtimedop fadvise64 statfs64 fstatfs64 sendfile64
6220 timer_create timer_settime timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime
6227 clock_getres clock_nanosleep tgkill utimes mbind get_mempolicy set_mempolicy mq_open mq_unlink
6236 mq_timedsend mq_timedreceive mq_notify mq_getsetattr vserver waitid
6243 add_key request_key keyctl set_thread_area inotify_init inotify_add_watch inotify_rm_watch
6250 migrate_pages openat mkdirat mknodat fchownat futimesat newfstatat unlinkat renameat linkat symlinkat
6261 readlinkat fchmodat faccessat pselect6 ppoll unshare splice sync_file_range tee vmsplice move_pages
6272 set_robust_list get_robust_list kexec_load getcpu epoll_pwait ioprio_set ioprio_get utimensat signalfd
6281 timerfd eventfd fallocate timerfd_create timerfd_gettime timerfd_settime signalfd4 eventfd2
6289 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open accept4
6298 recvmmsg getdents64 fanotify_init fanotify_mark prlimit64 name_to_handle_at open_by_handle_at
6305 clock_adjtime syncfs sendmmsg setns process_vm_readv process_vm_writev kcmp finit_module sched_setattr
6314 sched_getattr renameat2 seccomp getrandom memfd_create bpf execveat userfaultfd membarrier mlock2
6324 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx rseq io_pgetevents
6403 clock_gettime64 clock_settime64 clock_adjtime64 clock_getres_time64 clock_nanosleep_time64
6408 timer_gettime64 timer_settime64 timerfd_gettime64 timerfd_settime64 utimensat_time64 pselect6_time64
6414 ppoll_time64
6416 io_pgetevents_time64 recvmmsg_time64 mq_timedsend_time64 mq_timedreceive_time64 semtimedop_time64
6421 rt_sigtimedwait_time64 futex_time64 sched_rr_get_interval_time64 pidfd_send_signal io_uring_setup
6426 io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig fsmount fspick pidfd_open clone3
6436 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2 mount_setattr quotactl_fd
6444 landlock_create_ruleset landlock_add_rule landlock_restrict_self
6448 process_mrelease futex_waitv set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake
6455 futex_wait futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal
6463 setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr listns
6471 rseq_slice_yield
"""
