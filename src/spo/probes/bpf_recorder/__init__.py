"""The process ``bpf-recorder``: keeps the BPF object, answers the daemon on a unix socket."""
