"""Words that others see: API group, labels, finalizers, paths, annotations. Each lives here once."""

from typing import Final

API_GROUP: Final = "security-profiles-operator.x-k8s.io"
"""Group of all our kinds."""

OPERATOR_NAME: Final = "security-profiles-operator"
"""Deployment name, default namespace, and value of the ``app`` label."""

SPOD_NAME: Final = "spod"
"""Name of the default spod object, of its DaemonSet, and value of the ``name`` label of its pods."""

LOCALHOST_PROFILE_KEY: Final = "seccompProfile.localhostProfile"
"""Literal status key, so that jsonpath ``{.status.seccompProfile\\.localhostProfile}`` works."""

INSTALLED_FINALIZER: Final = "spo.x-k8s.io/installed-on-nodes"
"""On profiles; set and dropped by spo.manager: some living node may still list the profile."""

IN_USE_FINALIZER: Final = "in-use-by-active-pods"
"""On profiles; set and dropped by spo.manager: a pod references the profile."""

NODE_NAME_LABEL: Final = "spo.x-k8s.io/node-name"
"""On node statuses whose node name fits a label value; set by spo.daemon."""

SECCOMP_POD_ANNOTATION: Final = "seccomp.security.alpha.kubernetes.io/pod"
"""Written by users of old clusters: ``localhost/<profile>``; read by spo.profiles.paths."""

KUBELET_SECCOMP_ROOT: Final = "/var/lib/kubelet/seccomp"
"""Where the kubelet and the container runtime look for localhost profiles."""

PROFILES_ROOT: Final = "/var/lib/kubelet/seccomp/operator"
"""Symbolic link to OPERATOR_ROOT, made by the non-root-enabler."""

OPERATOR_ROOT: Final = "/var/lib/security-profiles-operator"
"""Where the daemon, uid 65535, keeps the profile files of the node."""

SHIPPED_PROFILES_DIR: Final = "/opt/spo-profiles"
"""Profiles for the operator's own containers; copied to the node by the non-root-enabler."""

PROFILE_PREFIX: Final = "operator"
"""First path element of every localhost profile of ours."""

ROOTLESS_UID: Final = 65535
"""User and group of the daemon."""

LISTENER_DIR: Final = "/var/run/security-profiles-operator"
"""The only directory in which a seccomp listener socket may lie."""

DAEMON_RUN_DIR: Final = f"{LISTENER_DIR}/daemon"
"""Sockets on which the daemon answers; made for uid 65535 by the non-root-enabler."""

DAEMON_FIELD_MANAGER: Final = "spod"
"""Field manager of node statuses, written by spo.daemon."""

MANAGER_FIELD_MANAGER: Final = "security-profiles-operator"
"""Field manager of profile statuses, written by spo.manager."""

MANAGER_LEASE: Final = "security-profiles-operator-lock"
"""Lease of the manager's leader election."""

SYSCALLS_BY_ARCHITECTURE_ANNOTATION: Final = "spo.x-k8s.io/syscalls-by-architecture"
"""On recorded profiles of several architectures: JSON object, architecture -> sorted names of syscalls."""

RUNTIME_BASE_ANNOTATION: Final = "spo.x-k8s.io/runtime-base"
"""On recorded profiles: JSON list of the syscalls that are allowed for the container runtime only."""

TRACE_SYSCALL_ANNOTATION: Final = "io.containers.trace-syscall/"
"""Prefix + container name: file for an OCI hook. Set by spo.webhooks, read by the hook and the daemon."""

TRACE_LOGS_ANNOTATION: Final = "io.containers.trace-logs/"
"""Prefix + container name: record from the audit log. Set by spo.webhooks, read by the daemon."""

TRACE_BPF_ANNOTATION: Final = "io.containers.trace-bpf/"
"""Prefix + container name: record the container with eBPF. Set by spo.webhooks, read by the daemon."""

TRACE_AVCS_ANNOTATION: Final = "io.containers.trace-avcs/"
"""Prefix + container name: record SELinux denials. Set by spo.webhooks, read by the daemon."""

REPLACED_PROFILE_ANNOTATION: Final = "replaced-profile.spo.x-k8s.io/"
"""Prefix + container name: the profile before a recording replaced it. Set by spo.webhooks, for events."""

HOOK_RECORDINGS_DIR: Final = "/run/security-profiles-operator/recordings"
"""Where OCI hooks write what they recorded."""

LOG_PROFILE_NAME: Final = "log-enricher-trace"
"""SeccompProfile in the operator's namespace that lets everything happen and logs it."""

RECORDED_SELINUX_TYPE: Final = "selinuxrecording.process"
"""SELinux type of containers that are recorded from denials."""

BINDING_FINALIZER: Final = "active-workload-lock"
"""On bindings; set and dropped by spo.manager: a pod is bound by it."""

WEBHOOK_NAME: Final = "security-profiles-operator-webhook"
"""Deployment and ServiceAccount of the admission webhooks, and value of the ``name`` label of their pods."""

WEBHOOK_SERVICE: Final = "webhook-service"
"""Service in front of the admission webhooks."""

WEBHOOK_CONFIGURATION: Final = "spo-mutating-webhook-configuration"
"""MutatingWebhookConfiguration; written by spo.manager."""

WEBHOOK_CERTIFICATE: Final = "webhook-server-cert"
"""Secret with the serving certificate; written by spo.manager (or cert-manager), read by spo.webhooks."""

METRICS_SERVICE: Final = "metrics"
"""Service in front of the daemons' metrics."""

MANAGER_METRICS_SERVICE: Final = "manager-metrics"
"""Service in front of the managers' metrics."""

METRICS_CERTIFICATE: Final = "metrics-server-cert"
"""Secret with the certificate of both; written by spo.manager (or cert-manager), mounted by the servers."""

METRICS_TOKEN: Final = "metrics-token"  # noqa: S105 - a name
"""Secret with the token that Prometheus uses."""

SERVICE_MONITOR: Final = "security-profiles-operator-monitor"
"""What tells the Prometheus Operator to scrape the daemons; written by spo.manager."""

WEBHOOK_AUTHORITY: Final = "webhook-ca"
"""Secret with the key of our CA; read and written by spo.manager only, mounted nowhere."""

BINDING_WEBHOOK: Final = "binding.spo.io"
"""Name of the webhook that binds profiles."""

RECORDING_WEBHOOK: Final = "recording.spo.io"
"""Name of the webhook that marks pods to be recorded."""

BINDING_PATH: Final = "/mutate-v1-pod-binding"
"""URL path of the webhook that binds profiles."""

RECORDING_PATH: Final = "/mutate-v1-pod-recording"
"""URL path of the webhook that marks pods to be recorded."""

ADMISSION_FIELD_MANAGER: Final = "security-profiles-operator-admission"
"""Field manager of what spo.manager says about admission on bindings and recordings."""

CERTIFICATE_ANNOTATION: Final = "spo.x-k8s.io/certificate"
"""On the Secrets of our certificates: JSON with what spo.manager has to know of them without parsing them."""

NODE_GATE_TAINT: Final = "security-profiles-operator.x-k8s.io/profiles-not-ready"
"""Taint of nodes that wait for their profiles; set by whoever makes the node, removed by spo.manager."""

RECORDING_LABEL: Final = "spo.x-k8s.io/recording-id"
"""On recorded profiles: the ProfileRecording they came from; a long name is replaced by its digest."""

CONTAINER_LABEL: Final = "spo.x-k8s.io/container-id"
"""On recorded profiles: name of the container that was recorded."""

PARTIAL_LABEL: Final = "spo.x-k8s.io/partial"
"""``"true"`` on recorded profiles that are not whole yet: a snapshot, or one pod of several. Not on disk."""

RECORDED_POD_LABEL: Final = "spo.x-k8s.io/recorded-pod"
"""On recorded profiles: uid of the pod."""

RECORDED_OWNER_LABEL: Final = "spo.x-k8s.io/recorded-owner"
"""On recorded profiles of pods made from a template: uid of the pod's controller."""

RECORDING_LATE_ANNOTATION: Final = "spo.x-k8s.io/recording-late"
"""``"true"`` on recorded profiles: the container was running before the recorder was attached."""

RECORDING_LOST_ANNOTATION: Final = "spo.x-k8s.io/recording-lost"
"""On recorded profiles: how many observations were lost on the node while the container was recorded."""

RECORDED_UNDER_ANNOTATION: Final = "spo.x-k8s.io/recorded-under"
"""On recorded profiles: the localhost profile under which the container ran."""

SNAPSHOT_ANNOTATION: Final = "spo.x-k8s.io/snapshot"
"""On recordings, written by users: RFC 3339 time; running pods get their profiles once for each value."""

SNAPSHOT_OF_ANNOTATION: Final = "spo.x-k8s.io/snapshot-of"
"""On recorded profiles: the snapshot that they are from."""

SYSCALL_COVERAGE_ANNOTATION: Final = "spo.x-k8s.io/syscall-coverage"
"""On merged profiles: JSON object with ``total`` pods, and in how many of them each syscall is allowed."""

RECORDING_FINALIZER: Final = "active-seccomp-profile-recording-lock"
"""On recordings; set and dropped by spo.manager: a pod is being recorded."""

UNMERGED_FINALIZER: Final = "spo.x-k8s.io/has-unmerged-profiles"
"""On recordings; set and dropped by spo.manager: profiles of single pods wait to be merged."""

RECORDINGS_DIR: Final = ".recordings"
"""Below OPERATOR_ROOT: what the daemon needs to go on with recordings after a restart."""


def apart(operator_namespace: str) -> str:
    """What tells the sockets and pins of an operator on a node from those of one in another namespace.

    Empty for the usual namespace; short for all: the kernel takes 107 bytes for the path of a socket.
    """
    if operator_namespace == OPERATOR_NAME:
        return ""
    # Only here: OpenSSL, which it loads, would be a tenth of the memory of the probes.
    from hashlib import sha256  # noqa: PLC0415 - see above

    return f"-{sha256(operator_namespace.encode()).hexdigest()[:12]}"
