// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Records which system calls are entered, in a bitmap for each mount namespace or for one tree of processes.
 *
 * sys_enter runs for every call of the machine while it is attached. Almost all of them end in the first-seen cache
 * of the CPU: "this task, in this namespace, has made this call before". Only what is new takes the slow way: find
 * out whom the call belongs to, set the bit, then remember it in the cache. That order, and reading the generation
 * before anything is looked up, is why no bit can be lost to a reset on another CPU.
 */
#include "kernel_types.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "recorder.h"

#define CACHE_SLOTS 64
#define ANCESTORS_MAX 64
#define SUBSYSTEMS_MAX 12

#if defined(__TARGET_ARCH_x86)
#define NR_execve 59
#define NR_execveat 322
#define NR_prctl 157
#define NR_seccomp 317
#define NR_compat_execve 11
#define NR_compat_execveat 358
#define NR_x32_execve 520
#define NR_x32_execveat 545
#define TS_COMPAT 0x2
#define X32_SYSCALL_BIT 0x40000000
#elif defined(__TARGET_ARCH_arm64)
#define NR_execve 221
#define NR_execveat 281
#define NR_prctl 167
#define NR_seccomp 277
#define NR_compat_execve 11
#define NR_compat_execveat 387
#define TIF_32BIT (1UL << 22)
#else
#error "only x86-64 and arm64 are supported"
#endif

#define PR_SET_SECCOMP 22
#define SECCOMP_MODE_FILTER 2
#define SECCOMP_SET_MODE_FILTER 1

#define ALL_ONES (~0ULL)

struct cache_slot {
	__u64 task_start;
	__u64 namespace;
	__u32 pid;
	__u32 generation_and_class;
	__u64 bits[BITMAP_WORDS];
};

/* Who makes the call. */
struct caller {
	__u64 namespace;
	__u64 task_start;
	__u32 pid;
	__u32 tgid;
	__u32 class;
};

struct recorder_state state;

const struct recording empty_recording;

/* Puts the struct into the object's BTF, for the test of layout.py. */
const struct identification *const identification_type = NULL;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct recording);
} recordings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct process);
} processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CACHE_SLOTS);
	__type(key, __u32);
	__type(value, struct cache_slot);
} first_seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} identifications SEC(".maps");

static __always_inline void count(__u64 *counter)
{
	__sync_fetch_and_add(counter, 1);
}

/* The inode of a mount namespace is used again at once when it ends; this number is not. */
static __always_inline __u64 namespace_of(struct task_struct *task)
{
	struct mnt_namespace *namespace = BPF_CORE_READ(task, nsproxy, mnt_ns);

	if (bpf_core_field_exists(namespace->seq))
		return BPF_CORE_READ(namespace, seq);
	return BPF_CORE_READ(namespace, ns.ns_id);
}

static __always_inline bool is_exec(__u32 class, __u32 number)
{
	switch (class) {
	case CLASS_NATIVE:
		return number == NR_execve || number == NR_execveat;
	case CLASS_COMPAT:
		return number == NR_compat_execve || number == NR_compat_execveat;
#if defined(__TARGET_ARCH_x86)
	case CLASS_X32:
		return number == NR_x32_execve || number == NR_x32_execveat;
#endif
	}
	return false;
}

/* A filter is loaded by a pointer to it; container runtimes also call with NULL to ask what the kernel can do. */
static __always_inline bool loads_filter(struct pt_regs *regs, __u32 class, __u32 number)
{
	__u64 first, second, third;

	if (class != CLASS_NATIVE || (number != NR_seccomp && number != NR_prctl))
		return false;
#if defined(__TARGET_ARCH_x86)
	first = BPF_CORE_READ(regs, di);
	second = BPF_CORE_READ(regs, si);
	third = BPF_CORE_READ(regs, dx);
#else
	first = BPF_CORE_READ(regs, orig_x0);
	second = BPF_CORE_READ(regs, user_regs.regs[1]);
	third = BPF_CORE_READ(regs, user_regs.regs[2]);
#endif
	if (!third)
		return false;
	if (number == NR_seccomp)
		return first == SECCOMP_SET_MODE_FILTER;
	return first == PR_SET_SECCOMP && second == SECCOMP_MODE_FILTER;
}

static __always_inline bool is_older_than_us(struct task_struct *task)
{
	return BPF_CORE_READ(task, group_leader, start_boottime) < state.attached_at;
}

static __always_inline struct kernfs_node *parent_of(struct kernfs_node *node)
{
	struct kernfs_node___linux_6_15 *newer = (void *)node;

	if (bpf_core_field_exists(newer->__parent))
		return BPF_CORE_READ(newer, __parent);
	return BPF_CORE_READ(node, parent);
}

/* The cgroup of the default hierarchy, or of the first v1 controller where the task is not in the root. */
static __always_inline struct cgroup *cgroup_of(struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup *group = BPF_CORE_READ(set, dfl_cgrp);

	if (BPF_CORE_READ(group, level) > 0)
		return group;
	for (int i = 0; i < SUBSYSTEMS_MAX; i++) {
		struct cgroup_subsys_state *subsystem = NULL;
		struct cgroup *candidate;

		bpf_core_read(&subsystem, sizeof(subsystem), &set->subsys[i]);
		candidate = BPF_CORE_READ(subsystem, cgroup);
		if (BPF_CORE_READ(candidate, level) > 0)
			return candidate;
	}
	return group;
}

/* Tells user space who lives in the namespace. */
static __always_inline void identify(struct task_struct *task, __u64 key, __u32 inode, __u32 kind)
{
	struct identification *event = bpf_ringbuf_reserve(&identifications, sizeof(*event), 0);
	struct kernfs_node *node;
	__u32 names = 0;

	if (!event) {
		count(&state.lost_identifications);
		return;
	}
	event->key = key;
	event->inode = inode;
	event->pid = BPF_CORE_READ(task, tgid);
	event->kind = kind;
	BPF_CORE_READ_INTO(&event->comm, task, comm);
	node = BPF_CORE_READ(cgroup_of(task), kn);
	for (int i = 0; i < CGROUP_NAMES; i++) {
		const char *name = BPF_CORE_READ(node, name);

		event->cgroups[i][0] = 0;
		if (!name)
			break;
		bpf_probe_read_kernel_str(event->cgroups[i], CGROUP_NAME_BYTES, name);
		names = i + 1;
		node = parent_of(node);
	}
	event->cgroup_names = names;
	bpf_ringbuf_submit(event, 0);
}

/* The recording of `key`; a new one when there is none yet. NULL when there is no room. */
static __always_inline struct recording *recording_of(struct task_struct *task, __u64 key)
{
	struct recording *recording = bpf_map_lookup_elem(&recordings, &key);
	bool first;

	if (recording)
		return recording;
	first = !bpf_map_update_elem(&recordings, &key, &empty_recording, BPF_NOEXIST);
	recording = bpf_map_lookup_elem(&recordings, &key);
	if (!recording) {
		count(&state.lost_recordings);
		return NULL;
	}
	if (first && key != TREE_KEY) {
		recording->inode = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
		recording->late = is_older_than_us(task);
		identify(task, key, recording->inode, IDENTIFIED_AT_FIRST_SIGHT);
	}
	return recording;
}

/* The tree comes first: it survives `unshare --mount`. */
static __always_inline __u64 key_of(struct process *process, __u64 namespace)
{
	if (process && process->in_tree)
		return TREE_KEY;
	if (!state.record_namespaces || !namespace)
		return 0;
	if (namespace == state.host_namespace || namespace == state.own_namespace)
		return 0;
	return namespace;
}

static __always_inline enum phase phase_of(struct task_struct *task, struct process *process, __u64 key)
{
	if (process && process->program_key == key)
		return PHASE_PROGRAM;
	if (!process && is_older_than_us(task))
		return PHASE_PROGRAM;
	if (process && process->filtered_key == key)
		return PHASE_RUNTIME_FILTERED;
	return PHASE_RUNTIME;
}

static __always_inline struct process *process_of(__u32 tgid)
{
	static const struct process unknown;

	bpf_map_update_elem(&processes, &tgid, &unknown, BPF_NOEXIST);
	return bpf_map_lookup_elem(&processes, &tgid);
}

/* Makes the slot speak of this caller; what it said of another is forgotten. */
static __always_inline void claim(struct cache_slot *slot, struct caller *caller, __u32 generation_and_class, __u64 word)
{
	slot->generation_and_class = 0;
	slot->task_start = caller->task_start;
	slot->namespace = caller->namespace;
	slot->pid = caller->pid;
	for (int i = 0; i < BITMAP_WORDS; i++)
		slot->bits[i] = word;
	slot->generation_and_class = generation_and_class;
}

static __always_inline bool speaks_of(struct cache_slot *slot, struct caller *caller, __u32 generation_and_class)
{
	return slot->generation_and_class == generation_and_class && slot->pid == caller->pid &&
	       slot->task_start == caller->task_start && slot->namespace == caller->namespace;
}

/* A call that the cache does not know. A function of its own: the way through the cache stays short. */
static __noinline int record(struct caller *caller, struct pt_regs *regs, __u32 number, __u32 generation_and_class)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 index;
	struct recording *recording;
	struct process *process;
	struct cache_slot *slot;
	enum phase phase;
	__u32 class, tgid;
	__u64 key;

	if (!caller)
		return 0;
	index = caller->pid % CACHE_SLOTS;
	slot = bpf_map_lookup_elem(&first_seen, &index);
	if (!slot)
		return 0;
	tgid = caller->tgid;
	process = bpf_map_lookup_elem(&processes, &tgid);
	key = key_of(process, caller->namespace);
	if (!key) {
		claim(slot, caller, generation_and_class, ALL_ONES);
		return 0;
	}
	recording = recording_of(task, key);
	if (!recording)
		return 0;
	if (recording->ignored) {
		claim(slot, caller, generation_and_class, ALL_ONES);
		return 0;
	}
	class = caller->class;
	phase = phase_of(task, process, key);
	/* The program's own execve is made before it is the program; its filter must allow it. */
	if (key == TREE_KEY && is_exec(class, number))
		phase = PHASE_PROGRAM;
	if (number >= SYSCALL_NUMBERS) {
		count(&state.unknown_numbers);
		return 0;
	}
	if (class >= SYSCALL_CLASSES || phase >= PHASES)
		return 0;
	__sync_fetch_and_or(&recording->bits[class][phase][number / 64], 1ULL << (number % 64));
	if (phase != PHASE_PROGRAM) {
		/* Not cached: the phase of a task may change between two calls. */
		if (loads_filter(regs, class, number)) {
			process = process_of(tgid);
			if (process)
				process->filtered_key = key;
			else
				count(&state.lost_processes);
		}
		return 0;
	}
	if (key == TREE_KEY && is_exec(class, number))
		return 0;
	if (!speaks_of(slot, caller, generation_and_class))
		claim(slot, caller, generation_and_class, 0);
	slot->bits[number / 64] |= 1ULL << (number % 64);
	return 0;
}

/* The first call of the process that loaded us: proves that calls are seen, and tells which namespaces are not a container's. */
static __noinline int meet_user_space(struct caller *caller)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	if (!caller || caller->tgid != state.probe_pid)
		return 0;
	for (int i = 0; i < ANCESTORS_MAX; i++) {
		if (BPF_CORE_READ(task, tgid) <= 1)
			break;
		task = BPF_CORE_READ(task, group_leader, real_parent);
	}
	state.own_namespace = caller->namespace;
	state.host_namespace = namespace_of(task);
	state.ready = 1;
	return 0;
}

static __always_inline int on_sys_enter(struct caller *caller, struct pt_regs *regs, __u64 id)
{
	/* Before anything is looked up: a reset after this line makes what we put into the cache stale. */
	__u32 generation = *(volatile __u32 *)&state.generation;
	__u32 generation_and_class, index, number;
	struct cache_slot *slot;

	if (!state.record_tree && caller->namespace == state.host_namespace && state.ready)
		return 0;
#if defined(__TARGET_ARCH_x86)
	if (caller->class == CLASS_NATIVE && (id & X32_SYSCALL_BIT)) {
		caller->class = CLASS_X32;
		id &= ~(__u64)X32_SYSCALL_BIT;
	}
#endif
	if (!state.ready)
		return meet_user_space(caller);
	generation_and_class = generation * 4 + caller->class;
	/* Counted only if somebody records the caller: others shall not make a recording look incomplete. */
	if (id >= SYSCALL_NUMBERS)
		return record(caller, regs, SYSCALL_NUMBERS, generation_and_class);
	number = id;
	index = caller->pid % CACHE_SLOTS;
	slot = bpf_map_lookup_elem(&first_seen, &index);
	if (slot && speaks_of(slot, caller, generation_and_class) &&
	    (slot->bits[(number / 64) % BITMAP_WORDS] & (1ULL << (number % 64))))
		return 0;
	return record(caller, regs, number, generation_and_class);
}

#if defined(__TARGET_ARCH_x86)
#define class_of(task) (((task)->thread_info.status & TS_COMPAT) ? CLASS_COMPAT : CLASS_NATIVE)
#define read_class_of(task) ((BPF_CORE_READ(task, thread_info.status) & TS_COMPAT) ? CLASS_COMPAT : CLASS_NATIVE)
#else
#define class_of(task) (((task)->thread_info.flags & TIF_32BIT) ? CLASS_COMPAT : CLASS_NATIVE)
#define read_class_of(task) ((BPF_CORE_READ(task, thread_info.flags) & TIF_32BIT) ? CLASS_COMPAT : CLASS_NATIVE)
#endif

/* With the BTF of the running kernel: fields are loaded directly. */
SEC("tp_btf/sys_enter")
int BPF_PROG(sys_enter, struct pt_regs *regs, long id)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct mnt_namespace *namespace = task->nsproxy->mnt_ns;
	struct caller caller = {
		.task_start = task->start_boottime,
		.pid = task->pid,
		.tgid = task->tgid,
		.class = class_of(task),
	};

	if (bpf_core_field_exists(namespace->seq))
		caller.namespace = namespace->seq;
	else
		caller.namespace = namespace->ns.ns_id;
	return on_sys_enter(&caller, regs, id);
}

/* Without it (a BTF file was given): the same through bpf_probe_read_kernel, slower. */
SEC("raw_tp/sys_enter")
int BPF_PROG(sys_enter_raw, struct pt_regs *regs, long id)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct caller caller = {
		.namespace = namespace_of(task),
		.task_start = BPF_CORE_READ(task, start_boottime),
		.pid = BPF_CORE_READ(task, pid),
		.tgid = BPF_CORE_READ(task, tgid),
		.class = read_class_of(task),
	};

	return on_sys_enter(&caller, regs, id);
}

/* Runs when an execve has succeeded, in the task that made it. */
SEC("raw_tp/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task)
{
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct process *process = bpf_map_lookup_elem(&processes, &tgid);
	__u64 key = key_of(process, namespace_of(task));
	struct recording *recording;

	if (!key || !state.ready)
		return 0;
	if (key != TREE_KEY) {
		recording = recording_of(task, key);
		if (!recording || recording->ignored)
			return 0;
		if (!recording->exec_seen) {
			recording->exec_seen = 1;
			identify(task, key, recording->inode, IDENTIFIED_AT_FIRST_EXEC);
		}
	}
	if (!process)
		process = process_of(tgid);
	if (process)
		process->program_key = key;
	else
		count(&state.lost_processes);
	return 0;
}

/* Runs before the child does. A new thread belongs to a process that is already known. */
SEC("raw_tp/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 parent_tgid = BPF_CORE_READ(parent, tgid);
	__u32 child_tgid = BPF_CORE_READ(child, tgid);
	struct process *known;
	struct process inherited = {};

	if (parent_tgid == child_tgid || !state.ready)
		return 0;
	known = bpf_map_lookup_elem(&processes, &parent_tgid);
	if (known) {
		inherited = *known;
	} else {
		/* The child of a program that was there before us is that program too. */
		__u64 key = key_of(NULL, namespace_of(parent));

		if (!key || !is_older_than_us(parent)) {
			/* User space may have added the process that had this number before, just when it ended. */
			bpf_map_delete_elem(&processes, &child_tgid);
			return 0;
		}
		inherited.program_key = key;
	}
	if (bpf_map_update_elem(&processes, &child_tgid, &inherited, BPF_ANY))
		count(&state.lost_processes);
	return 0;
}

/* Process ids are used again: forget them with the last thread. */
SEC("raw_tp/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	__u32 tgid = BPF_CORE_READ(task, tgid);

	if (BPF_CORE_READ(task, signal, live.counter) == 0)
		bpf_map_delete_elem(&processes, &tgid);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
