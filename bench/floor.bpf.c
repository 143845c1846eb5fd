// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Does nothing at every syscall: what any recorder on this tracepoint costs at least. */
#include "../bpf/kernel_types.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("tp_btf/sys_enter")
int BPF_PROG(nothing, struct pt_regs *regs, long id)
{
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
