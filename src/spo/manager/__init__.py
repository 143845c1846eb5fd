"""The cluster-wide process: the only writer of the status and finalizers of profiles."""
