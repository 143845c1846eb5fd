"""Pure: the volumes of the DaemonSet, and where its containers see them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from spo.host.node_paths import BPF_FILE_SYSTEM
from spo.manager.spod.installation import Installation
from spo.names import (
    DAEMON_RUN_DIR,
    HOOK_RECORDINGS_DIR,
    LISTENER_DIR,
    METRICS_CERTIFICATE,
    OPERATOR_ROOT,
    PROFILES_ROOT,
)
from spo.settings import METRICS_CERTIFICATE_DIR

Json = dict[str, Any]

_TOKEN_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
_TOKEN_LIFE_S: Final = 3600
_MODE_0444: Final = 0o444


@dataclass(frozen=True, slots=True)
class HostPath:
    """A directory of the node."""

    name: str
    path: str
    type: str = "Directory"
    mount_path: str = ""
    """Where containers see it; empty: at the same path."""


VARLIB: Final = HostPath("host-varlib-volume", "/var/lib")
PROFILES: Final = HostPath("host-operator-volume", OPERATOR_ROOT, "DirectoryOrCreate", PROFILES_ROOT)
# Not an emptyDir: a recording goes on when the pod is replaced.
RUN: Final = HostPath("host-run-volume", LISTENER_DIR, "DirectoryOrCreate")
DAEMON_RUN: Final = HostPath("host-daemon-run-volume", DAEMON_RUN_DIR, "DirectoryOrCreate")
"""The daemon's own directory; the rest of RUN belongs to root."""
RECORDINGS: Final = HostPath("profile-recording-output-volume", HOOK_RECORDINGS_DIR, "DirectoryOrCreate")
"""Where OCI hooks write; the daemon takes the files away."""
BPFFS: Final = HostPath("host-bpffs-volume", BPF_FILE_SYSTEM)
AUDIT_LOG: Final = HostPath("host-auditlog-volume", "/var/log/audit", "DirectoryOrCreate")
SYSLOG: Final = HostPath("host-syslog-volume", "/var/log", "DirectoryOrCreate")
SELINUX_FS: Final = HostPath("host-fsselinux-volume", "/sys/fs/selinux")
SELINUX_ETC: Final = HostPath("host-etcselinux-volume", "/etc/selinux")
SELINUX_VARLIB: Final = HostPath("host-varlibselinux-volume", "/var/lib/selinux")
SELINUX_HOST: Final = (SELINUX_FS, SELINUX_ETC, SELINUX_VARLIB)
PROC: Final = "host-proc-volume"
SELINUX_DROP_DIR: Final = ("selinux-drop-dir", "/etc/selinux.d")
SELINUXD_PRIVATE: Final = ("selinuxd-private-volume", "/var/run/selinuxd")
METRICS: Final = ("metrics-cert-volume", str(METRICS_CERTIFICATE_DIR))
_API_ACCESS: Final = "api-access"


def host_volume(installation: Installation, volume: HostPath) -> Json:
    """The volume."""
    path = {"path": installation.on_node(volume.path), "type": volume.type}
    return {"name": volume.name, "hostPath": path}


def proc_volume(installation: Installation, path: str) -> Json:
    """The node's proc file system, where it is not the usual one."""
    return {"name": PROC, "hostPath": {"path": installation.on_node(path), "type": "Directory"}}


def api_access_volume() -> Json:
    """Token, CA and namespace; mounted by the daemon container alone."""
    return {
        "name": _API_ACCESS,
        "projected": {
            "defaultMode": _MODE_0444,
            "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_LIFE_S}},
                {
                    "configMap": {
                        "name": "kube-root-ca.crt",
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    }
                },
                {
                    "downwardAPI": {
                        "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                    }
                },
            ],
        },
    }


def metrics_volume() -> Json:
    """The certificate of the metrics; without it the daemon does all its other work."""
    source = {"secretName": METRICS_CERTIFICATE, "optional": True, "defaultMode": _MODE_0444}
    return {"name": METRICS[0], "secret": source}


def metrics_mount() -> Json:
    """Where the daemon looks for it."""
    return _mount(*METRICS, read_only=True)


def empty_dirs(volumes: Iterable[tuple[str, str]]) -> list[Json]:
    """Directories that live as long as the pod."""
    return [{"name": name, "emptyDir": {}} for name, _ in volumes]


def mount(installation: Installation, volume: HostPath, *, read_only: bool = False) -> Json:
    """Where a container sees a directory of the node."""
    path = installation.on_node(volume.mount_path or volume.path)
    return _mount(volume.name, path, read_only=read_only)


def shared_mount(volume: tuple[str, str], *, read_only: bool = False) -> Json:
    """Where a container sees a directory of the pod."""
    return _mount(*volume, read_only=read_only)


def proc_mount() -> Json:
    """In place of the container's own."""
    return _mount(PROC, "/proc", read_only=True)


def api_access_mount() -> Json:
    """Where client libraries look for the token."""
    return _mount(_API_ACCESS, _TOKEN_DIR, read_only=True)


def _mount(name: str, path: str, *, read_only: bool) -> Json:
    found: Json = {"name": name, "mountPath": path}
    if read_only:
        found["readOnly"] = True
    return found
