"""The process on every node: profile files below the kubelet's seccomp root, and this node's status."""
