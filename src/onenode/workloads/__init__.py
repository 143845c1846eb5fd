"""Controllers that keep pods running: Deployment, ReplicaSet, DaemonSet, Job."""
