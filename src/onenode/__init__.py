"""A one-machine, Kubernetes-compatible API whose pods are Podman containers."""
