"""Pure: the DaemonSet that a spod object calls for."""

from typing import Any, Final

import msgspec

from spo.api.spod import SPODS, SecurityProfilesOperatorDaemon, SpodSpec
from spo.manager.spod import containers, volumes
from spo.manager.spod.checks import check
from spo.manager.spod.installation import Installation
from spo.names import NODE_GATE_TAINT, OPERATOR_NAME, SPOD_NAME

Json = dict[str, Any]

LABELS: Final = {"app": OPERATOR_NAME}
POD_LABELS: Final = {**LABELS, "name": SPOD_NAME}
ANNOTATIONS: Final = {"openshift.io/scc": "privileged"}


def render(spod: SecurityProfilesOperatorDaemon, installation: Installation) -> Json:
    """The whole DaemonSet, as it is sent to the API server.

    Raises:
        InvalidSpodError: the settings cannot be carried out.
    """
    spec = spod.spec
    check(spec, installation.selinuxd_image)
    owner = {
        "apiVersion": SPODS.api_version,
        "kind": SPODS.kind,
        "name": spod.metadata.name,
        "uid": spod.metadata.uid,
        "controller": True,
    }
    return {
        "metadata": {
            "name": installation.spod_name,
            "namespace": installation.operator_namespace,
            "labels": LABELS,
            "ownerReferences": [owner],
        },
        "spec": {
            # All at once: a node without its daemon for seconds does no harm.
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
            "selector": {"matchLabels": POD_LABELS},
            "template": {
                "metadata": {"labels": POD_LABELS, "annotations": _annotations(spec)},
                "spec": _pod(spec, installation),
            },
        },
    }


def _annotations(spec: SpodSpec) -> Json:
    probes = (
        (containers.LOG_ENRICHER, spec.enable_log_enricher),
        (containers.BPF_RECORDER, spec.enable_bpf_recorder),
    )
    unconfined = {
        f"{containers.APPARMOR_ANNOTATION}{name}": "unconfined" for name, enabled in probes if enabled
    }
    return {**ANNOTATIONS, **unconfined}


def _pod(spec: SpodSpec, installation: Installation) -> Json:
    inits, running = [containers.enabler(installation, spec)], [containers.daemon(installation, spec)]
    if spec.enable_selinux:
        inits.append(containers.copier(installation))
        running.append(containers.selinuxd(installation, spec))
    if spec.enable_log_enricher:
        running.append(containers.log_enricher(installation, spec))
    if spec.enable_bpf_recorder:
        running.append(containers.bpf_recorder(installation, spec))
    pod: Json = {
        "serviceAccountName": SPOD_NAME,
        # Only the daemon container gets a token: others have capabilities of root and need no API.
        "automountServiceAccountToken": False,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "initContainers": inits,
        "containers": running,
        "volumes": _volumes(spec, installation),
    }
    if installation.host_network:
        pod["hostNetwork"] = True
    if spec.enable_log_enricher or spec.enable_bpf_recorder:
        pod["hostPID"] = True  # they know processes by the numbers of the node
    return {**pod, **_scheduling(spec, installation)}


def _scheduling(spec: SpodSpec, installation: Installation) -> Json:
    found: Json = {}
    tolerations: list[Json] = msgspec.to_builtins(spec.tolerations)
    if installation.node_gate:
        # Without daemon a node would never get its profiles.
        tolerations.append({"key": NODE_GATE_TAINT, "operator": "Exists"})
    if tolerations:
        found["tolerations"] = tolerations
    if spec.affinity:
        found["affinity"] = spec.affinity
    if spec.priority_class_name:
        found["priorityClassName"] = spec.priority_class_name
    if spec.image_pull_secrets:
        found["imagePullSecrets"] = msgspec.to_builtins(spec.image_pull_secrets)
    return found


def _volumes(spec: SpodSpec, installation: Installation) -> list[Json]:
    """Only those that are mounted: a directory that a node lacks must not keep its daemon from starting."""
    host = [volumes.VARLIB, volumes.PROFILES, volumes.RUN, volumes.RECORDINGS]
    rest = [volumes.api_access_volume(), volumes.metrics_volume()]
    if spec.enable_selinux:
        host += volumes.SELINUX_HOST
        rest += volumes.empty_dirs((volumes.SELINUX_DROP_DIR, volumes.SELINUXD_PRIVATE))
    if spec.enable_log_enricher:
        host += [volumes.DAEMON_RUN, *containers.log_volumes(spec)]
    if spec.enable_bpf_recorder:
        host.append(volumes.BPFFS)
    if containers.has_proc_volume(spec):
        rest.append(volumes.proc_volume(installation, spec.host_proc_volume_path or ""))
    return [*(volumes.host_volume(installation, volume) for volume in host), *rest]
