"""Syscalls of x32. Made by ``tools/generate_syscall_tables.py``; do not edit."""

from typing import Final

TABLE: Final = """\
1073741824 read write open close stat fstat lstat poll lseek mmap mprotect munmap brk
1073741838 rt_sigprocmask
1073741841 pread64 pwrite64
1073741845 access pipe select sched_yield mremap msync mincore madvise shmget shmat shmctl dup dup2 pause
1073741859 nanosleep getitimer alarm setitimer getpid sendfile socket connect accept sendto
1073741872 shutdown bind listen getsockname getpeername socketpair
1073741880 clone fork vfork
1073741884 exit wait4 kill uname semget semop semctl shmdt msgget msgsnd msgrcv msgctl fcntl flock fsync
1073741899 fdatasync truncate ftruncate getdents getcwd chdir fchdir rename mkdir rmdir creat link unlink
1073741912 symlink readlink chmod fchmod chown fchown lchown umask gettimeofday getrlimit getrusage sysinfo
1073741924 times
1073741926 getuid syslog getgid setuid setgid geteuid getegid setpgid getppid getpgrp setsid setreuid
1073741938 setregid getgroups setgroups setresuid getresuid setresgid getresgid getpgid setfsuid setfsgid
1073741948 getsid capget capset
1073741954 rt_sigsuspend
1073741956 utime mknod
1073741959 personality ustat statfs fstatfs sysfs getpriority setpriority sched_setparam sched_getparam
1073741968 sched_setscheduler sched_getscheduler sched_get_priority_max sched_get_priority_min
1073741972 sched_rr_get_interval mlock munlock mlockall munlockall vhangup modify_ldt pivot_root
1073741981 prctl arch_prctl adjtimex setrlimit chroot sync acct settimeofday mount umount2 swapon swapoff
1073741993 reboot sethostname setdomainname iopl ioperm
1073741999 init_module delete_module
1073742003 quotactl
1073742005 getpmsg putpmsg afs_syscall tuxcall security gettid readahead setxattr lsetxattr fsetxattr
1073742015 getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr
1073742023 fremovexattr tkill time futex sched_setaffinity sched_getaffinity
1073742031 io_destroy io_getevents
1073742034 io_cancel
1073742036 lookup_dcookie epoll_create
1073742040 remap_file_pages getdents64 set_tid_address restart_syscall semtimedop fadvise64
1073742047 timer_settime timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime
1073742053 clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes
1073742061 mbind set_mempolicy get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive
1073742069 mq_getsetattr
1073742072 add_key request_key keyctl ioprio_set ioprio_get inotify_init inotify_add_watch inotify_rm_watch
1073742080 migrate_pages openat mkdirat mknodat fchownat futimesat newfstatat unlinkat renameat linkat
1073742090 symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare
1073742099 splice tee sync_file_range
1073742104 utimensat epoll_pwait signalfd timerfd_create eventfd fallocate timerfd_settime timerfd_gettime
1073742112 accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2 inotify_init1
1073742122 perf_event_open
1073742124 fanotify_init fanotify_mark prlimit64 name_to_handle_at open_by_handle_at clock_adjtime syncfs
1073742132 setns getcpu
1073742136 kcmp finit_module sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create
1073742144 kexec_file_load bpf
1073742147 userfaultfd membarrier mlock2 copy_file_range
1073742153 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq uretprobe uprobe
1073742248 pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen
1073742255 fsconfig fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2
1073742264 process_madvise epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset landlock_add_rule
1073742270 landlock_restrict_self memfd_secret process_mrelease futex_waitv set_mempolicy_home_node
1073742275 cachestat fchmodat2
1073742278 futex_wake futex_wait futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr
1073742285 lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat open_tree_attr
1073742292 file_getattr file_setattr listns rseq_slice_yield
1073742336 rt_sigaction rt_sigreturn ioctl readv writev recvfrom sendmsg recvmsg execve ptrace rt_sigpending
1073742347 rt_sigtimedwait rt_sigqueueinfo sigaltstack timer_create mq_notify kexec_load waitid
1073742354 set_robust_list get_robust_list vmsplice move_pages preadv pwritev rt_tgsigqueueinfo recvmmsg
1073742362 sendmmsg process_vm_readv process_vm_writev setsockopt getsockopt io_setup io_submit execveat
1073742370 preadv2 pwritev2
"""
