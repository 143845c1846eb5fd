"""Load BPF objects, attach them, read their maps: the only code that speaks to libbpf."""
