"""Pure: the containers of the DaemonSet, each with the rights it needs and no others."""

from pathlib import PurePosixPath
from typing import Final

import msgspec

from spo.api.spod import LogEnricherSource, ResourceRequirements, SpodSpec
from spo.host.node_paths import pin_root
from spo.manager.spod import volumes
from spo.manager.spod.installation import Installation
from spo.manager.spod.volumes import Json, mount, shared_mount
from spo.names import OPERATOR_NAME, ROOTLESS_UID
from spo.rpc.bpf_recorder import recorder_socket
from spo.rpc.log_enricher import daemon_socket

ENABLER: Final = "non-root-enabler"
COPIER: Final = "selinux-shared-policies-copier"
DAEMON: Final = OPERATOR_NAME
SELINUXD: Final = "selinuxd"
LOG_ENRICHER: Final = "log-enricher"
BPF_RECORDER: Final = "bpf-recorder"

PROFILING_PORTS: Final = {DAEMON: 6060, LOG_ENRICHER: 6061, BPF_RECORDER: 6062}
"""By name: whoever looks for one need not know what else is enabled."""
HEALTH_PORT_NAME: Final = "liveness-port"
METRICS_PORT_NAME: Final = "https"
USUAL_PROC: Final = "/proc"
APPARMOR_ANNOTATION: Final = "container.apparmor.security.beta.kubernetes.io/"
"""Prefix + container name: what the field appArmorProfile says, for Kubernetes before 1.30."""

# Taken from the kernel before it hands the node's namespaces, audit records and foreign processes to anybody.
_OWNERSHIP: Final = ("CHOWN", "FOWNER", "FSETID", "DAC_OVERRIDE")
_RECORDING: Final = ("BPF", "PERFMON", "SYS_RESOURCE", "CHOWN")
_AUDITING: Final = (
    "AUDIT_READ",
    "AUDIT_CONTROL",
    "NET_ADMIN",  # for a receive buffer that holds a burst of records
    "SYS_PTRACE",
    "SYS_ADMIN",
    "DAC_READ_SEARCH",
)

_COPY_POLICIES: Final = """\
set -ex
chown 65535:0 /etc/selinux.d
chmod 750 /etc/selinux.d
semodule -i /usr/share/selinuxd/templates/*.cil
semodule -i /opt/spo-profiles/selinuxd.cil
semodule -i /opt/spo-profiles/selinuxrecording.cil
"""


def enabler(installation: Installation, spec: SpodSpec) -> Json:
    """Prepares the directories of the node as root."""
    return {
        **_ours(ENABLER, installation, spec),
        "args": [ENABLER],
        "env": [*_verbosity(spec), *_host_root(installation)],
        "volumeMounts": [
            mount(installation, volume) for volume in (volumes.VARLIB, volumes.RUN, volumes.RECORDINGS)
        ],
        "securityContext": _root(_OWNERSHIP, confined=True),
        "resources": _resources(("32Mi", "100m", "10Mi"), ("64Mi", "50Mi")),
    }


def copier(installation: Installation) -> Json:
    """Installs the policies that SELinux profiles build on."""
    return {
        "name": COPIER,
        "image": installation.selinuxd_image,
        "imagePullPolicy": installation.pull_policy,
        "command": ["bash", "-c"],
        "args": [_COPY_POLICIES],
        "volumeMounts": [
            shared_mount(volumes.SELINUX_DROP_DIR),
            *(mount(installation, volume) for volume in volumes.SELINUX_HOST),
        ],
        "securityContext": _root(_OWNERSHIP, confined=True),
        "resources": _resources(("32Mi", "100m", "10Mi"), ("1024Mi", "50Mi")),
    }


def daemon(installation: Installation, spec: SpodSpec) -> Json:
    """Keeps the profiles of the node; the only one with access to the API, and without any privilege."""
    args, mounts = (
        ["daemon"],
        [
            mount(installation, volumes.PROFILES),
            volumes.api_access_mount(),
            mount(installation, volumes.RUN, read_only=True),
            mount(installation, volumes.RECORDINGS),
            volumes.metrics_mount(),
        ],
    )
    environment = [
        _node_name(),
        _field("OPERATOR_NAMESPACE", "metadata.namespace"),
        _text("SPOD_NAME", installation.spod_name),
        _text("SPO_HEALTH_ADDRESS", f"{installation.health_host}:{installation.health_port}"),
        _text("SPO_METRICS_ADDRESS", f"{installation.metrics_host}:{installation.metrics_port}"),
        *_verbosity(spec),
        *_profiling(DAEMON, installation, spec),
        *_host_root(installation),
    ]
    if installation.namespaces:
        environment.append(_text("RESTRICT_TO_NAMESPACE", ",".join(installation.namespaces)))
    if spec.enable_selinux:
        args.append("--with-selinux=true")
        mounts += [shared_mount(volumes.SELINUX_DROP_DIR), shared_mount(volumes.SELINUXD_PRIVATE)]
    if spec.enable_log_enricher:
        environment.append(_enricher_socket(installation))
        mounts.append(mount(installation, volumes.DAEMON_RUN))
    return {
        **_ours(DAEMON, installation, spec),
        "args": args,
        "env": environment,
        "ports": [
            {"name": name, "containerPort": port, "protocol": "TCP"}
            for name, port in (
                (HEALTH_PORT_NAME, installation.health_port),
                (METRICS_PORT_NAME, installation.metrics_port),
            )
        ],
        **_probes(installation),
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsUser": ROOTLESS_UID,
            "runAsGroup": ROOTLESS_UID,
            "capabilities": {"drop": ["ALL"]},
            "seLinuxOptions": {"type": "spc_t"},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": _daemon_resources(spec.daemon_resource_requirements),
    }


def selinuxd(installation: Installation, spec: SpodSpec) -> Json:
    """Installs SELinux policies."""
    args = [
        "daemon",
        "--datastore-path",
        "/var/run/selinuxd/selinuxd.db",
        "--socket-path",
        "/var/run/selinuxd/selinuxd.sock",
        "--socket-uid",
        "0",
        "--socket-gid",
        str(ROOTLESS_UID),
    ]
    if spec.enable_profiling:
        args.append("--enable-profiling=true")
    return {
        "name": SELINUXD,
        "image": installation.selinuxd_image,
        "imagePullPolicy": installation.pull_policy,
        "args": args,
        "env": _verbosity(spec),
        "volumeMounts": [
            shared_mount(volumes.SELINUX_DROP_DIR, read_only=True),
            shared_mount(volumes.SELINUXD_PRIVATE),
            *(mount(installation, volume) for volume in volumes.SELINUX_HOST),
        ],
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "runAsUser": 0,
            "runAsGroup": 0,
            "capabilities": {"add": list(_OWNERSHIP)},
            "seLinuxOptions": {"type": "selinuxd.process"},
        },
        "resources": _resources(("512Mi", "100m", "200Mi"), ("1024Mi", "400Mi")),
    }


def log_enricher(installation: Installation, spec: SpodSpec) -> Json:
    """Tells which pod an audit record is about."""
    environment = [_node_name(), *_verbosity(spec), *_profiling(LOG_ENRICHER, installation, spec)]
    if spec.log_enricher_source:
        environment.append(_text("SPO_LOG_ENRICHER_SOURCE", str(spec.log_enricher_source)))
    if installation.shares_machine:
        environment.append(_enricher_socket(installation))
    if installation.host_network:
        environment.append(_text("SPO_HOST_NETNS", "own"))  # already where the kernel sends its records
    mounts = [mount(installation, volumes.DAEMON_RUN)]
    mounts += [
        {**mount(installation, volume, read_only=True), "mountPath": volume.path}
        for volume in log_volumes(spec)
    ]
    return {
        **_ours(LOG_ENRICHER, installation, spec),
        "args": [LOG_ENRICHER],
        "env": environment,
        "volumeMounts": mounts + ([volumes.proc_mount()] if has_proc_volume(spec) else []),
        # The daemon's socket is for its own group.
        "securityContext": {**_root(_AUDITING, confined=False), "runAsGroup": ROOTLESS_UID},
        "resources": _resources(("64Mi", "50m", "10Mi"), ("256Mi", "128Mi")),
    }


def bpf_recorder(installation: Installation, spec: SpodSpec) -> Json:
    """Loads its BPF program when something is to be recorded; talks to the daemon only."""
    args = [BPF_RECORDER]
    if installation.shares_machine:
        args += [
            f"--socket={installation.on_node(recorder_socket(installation.operator_namespace))}",
            f"--pin-root={pin_root(installation.host_root, installation.operator_namespace)}",
        ]
    mounts = [mount(installation, volumes.RUN), mount(installation, volumes.BPFFS)]
    return {
        **_ours(BPF_RECORDER, installation, spec),
        "args": args,
        "env": [_node_name(), *_verbosity(spec), *_profiling(BPF_RECORDER, installation, spec)],
        "volumeMounts": mounts + ([volumes.proc_mount()] if has_proc_volume(spec) else []),
        "securityContext": _root(_RECORDING, confined=False),
        "resources": _resources(("64Mi", "50m", "10Mi"), ("128Mi", "20Mi")),
    }


def _enricher_socket(installation: Installation) -> Json:
    socket = daemon_socket(installation.operator_namespace)
    return _text("SPO_ENRICHER_SOCKET", installation.on_node(socket))


def log_volumes(spec: SpodSpec) -> list[volumes.HostPath]:
    """Where the enricher reads files, which it does unless it is told to ask the kernel."""
    match spec.log_enricher_source:
        case LogEnricherSource.NETLINK:
            return []
        case LogEnricherSource.AUDITD:
            return [volumes.AUDIT_LOG]
        case LogEnricherSource.SYSLOG:
            return [volumes.SYSLOG]
    return [volumes.AUDIT_LOG, volumes.SYSLOG]


def has_proc_volume(spec: SpodSpec) -> bool:
    """Whether the probes see another proc file system than their own."""
    probes = spec.enable_log_enricher or spec.enable_bpf_recorder
    return probes and (spec.host_proc_volume_path or USUAL_PROC) != USUAL_PROC


def _ours(name: str, installation: Installation, _: SpodSpec) -> Json:
    return {"name": name, "image": installation.image, "imagePullPolicy": installation.pull_policy}


def _root(capabilities: tuple[str, ...], *, confined: bool) -> Json:
    """Uid 0 with these capabilities.

    Args:
        confined: by the profiles that runtimes have for everybody. They let nobody look at processes of
            others; who has to is explicitly without them, as nodes may apply them where nothing is said.
    """
    context: Json = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsUser": 0,
        "capabilities": {"drop": ["ALL"], "add": list(capabilities)},
        "seLinuxOptions": {"type": "spc_t"},
        "seccompProfile": {"type": "RuntimeDefault" if confined else "Unconfined"},
    }
    if not confined:
        context["appArmorProfile"] = {"type": "Unconfined"}
    return context


def _probes(installation: Installation) -> Json:
    """Alive: the process answers. Ready: it knows all profiles and the pods of its node."""

    def get(path: str) -> Json:
        asked: Json = {"path": path, "port": HEALTH_PORT_NAME}
        if installation.health_host:
            asked["host"] = installation.health_host
        return {"httpGet": asked}

    return {
        "startupProbe": {
            **get("/healthz"),
            "initialDelaySeconds": 1,
            "periodSeconds": 1,
            "failureThreshold": 30,
        },
        # Patient: on a machine with little to spare a slow answer is no death.
        "livenessProbe": {
            **get("/healthz"),
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "readinessProbe": {**get("/readyz"), "periodSeconds": 2, "timeoutSeconds": 5},
    }


def _resources(requests: tuple[str, str, str], limits: tuple[str, str]) -> Json:
    """Requests of memory, CPU and disk, limits of memory and disk."""
    return {
        "requests": {"memory": requests[0], "cpu": requests[1], "ephemeral-storage": requests[2]},
        "limits": {"memory": limits[0], "ephemeral-storage": limits[1]},
    }


def _daemon_resources(wanted: ResourceRequirements | None) -> Json:
    if wanted is None:
        return _resources(("64Mi", "100m", "50Mi"), ("128Mi", "200Mi"))
    found: Json = msgspec.to_builtins(wanted)
    return found


def _node_name() -> Json:
    return _field("NODE_NAME", "spec.nodeName")


def _field(name: str, path: str) -> Json:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _text(name: str, value: str) -> Json:
    return {"name": name, "value": value}


def _verbosity(spec: SpodSpec) -> list[Json]:
    return [_text("SPO_VERBOSITY", str(spec.verbosity))]


def _profiling(container: str, installation: Installation, spec: SpodSpec) -> list[Json]:
    if not spec.enable_profiling:
        return []
    port = PROFILING_PORTS[container]
    environment = [_text("SPO_PROFILING", "true"), _text("SPO_PROFILING_PORT", str(port))]
    if installation.metrics_host:  # where not everybody is to read metrics, nobody else gets profiles
        environment.append(_text("SPO_PROFILING_HOST", installation.metrics_host))
    return environment


def _host_root(installation: Installation) -> list[Json]:
    usual = installation.host_root == PurePosixPath("/")
    return [] if usual else [_text("SPO_HOST_ROOT", str(installation.host_root))]
