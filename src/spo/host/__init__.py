"""The node: profile files, set-up by root, the kernel's seccomp support, libseccomp."""
