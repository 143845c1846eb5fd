/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the recorder in the kernel and its user space share. src/spo/bpf/layout.py has the same structs for ctypes;
 * a test compares them with the BTF of the built object.
 */
#ifndef SPO_RECORDER_H
#define SPO_RECORDER_H

#define SYSCALL_NUMBERS 1024
#define BITMAP_WORDS (SYSCALL_NUMBERS / 64)
#define CGROUP_NAMES 6
/* With room for "kubepods-burstable-pod<uid>.slice:cri-containerd:<id>", of 145 bytes. */
#define CGROUP_NAME_BYTES 160
#define COMM_BYTES 16

/* The one key that no mount namespace has: the tree of processes that user space put in. */
#define TREE_KEY (~0ULL)

enum syscall_class {
	CLASS_NATIVE,
	CLASS_COMPAT, /* 32-bit calls of a 64-bit kernel */
	CLASS_X32,
	SYSCALL_CLASSES,
};

enum phase {
	PHASE_RUNTIME,		/* joined the namespace and has not loaded a seccomp filter */
	PHASE_RUNTIME_FILTERED, /* has loaded one, and has not called execve since */
	PHASE_PROGRAM,		/* has called execve inside the namespace, or descends from one that has */
	PHASES,
};

enum identification_kind {
	IDENTIFIED_AT_FIRST_SIGHT,
	IDENTIFIED_AT_FIRST_EXEC,
};

/* What was seen in one mount namespace, or in the tree. Value of the map `recordings`. */
struct recording {
	__u64 bits[SYSCALL_CLASSES][PHASES][BITMAP_WORDS];
	__u32 inode;
	__u8 ignored;	/* set by user space: nothing more is recorded here */
	__u8 late;	/* was seen first through a process older than the recorder */
	__u8 exec_seen;
	__u8 unused;
};

/* What is known of one process (thread group). Value of the map `processes`. */
struct process {
	__u64 program_key;  /* where it called execve last, or its parent did */
	__u64 filtered_key; /* where it loaded a seccomp filter */
	__u64 in_tree;
};

/* Sent over the ring buffer `identifications`. */
struct identification {
	__u64 key;
	__u32 inode;
	__u32 pid;
	__u32 kind;
	__u32 cgroup_names; /* how many of `cgroups` are filled, the leaf first */
	char comm[COMM_BYTES];
	char cgroups[CGROUP_NAMES][CGROUP_NAME_BYTES];
};

/* The one global variable of the object; user space maps it into its memory. */
struct recorder_state {
	/* Written by user space. */
	__u64 attached_at; /* boot time in ns: a process older than this was there before us */
	__u32 generation;  /* a change makes every first-seen cache forget */
	__u32 probe_pid;   /* the process whose first call shows that the recorder works */
	__u32 record_namespaces;
	__u32 record_tree;
	/* Written by the kernel side. */
	__u64 own_namespace;
	__u64 host_namespace;
	__u32 ready;
	__u32 unused;
	__u64 lost_recordings; /* calls not recorded, because `recordings` was full */
	__u64 lost_processes;  /* processes whose phase is not known, because `processes` was full */
	__u64 lost_identifications;
	__u64 unknown_numbers; /* calls with a number outside the bitmap */
};

#endif /* SPO_RECORDER_H */
