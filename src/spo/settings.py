"""Settings of the processes: frozen, units in the names, read from the environment once by ``__main__``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Self

from spo.errors import SpoError
from spo.names import OPERATOR_NAME, SPOD_NAME, WEBHOOK_CERTIFICATE

METRICS_CERTIFICATE_DIR: Final = PurePosixPath("/var/run/secrets/metrics")
_OWN_CERTIFICATES: Final = "own"
_CERT_MANAGER: Final = "cert-manager"


class MissingSettingError(SpoError):
    """A variable without which the process cannot work is absent."""

    def __init__(self, variable: str) -> None:
        super().__init__(variable)
        self.variable = variable

    def __str__(self) -> str:
        return f"{self.variable} environment variable not set"


class InvalidSettingError(SpoError):
    """A variable has a value that cannot be meant."""

    def __init__(self, variable: str, value: str, wanted: str) -> None:
        super().__init__(variable, value, wanted)
        self.variable = variable
        self.value = value
        self.wanted = wanted

    def __str__(self) -> str:
        return f"{self.variable} environment variable: {self.value!r} is not {self.wanted}"


def _address(env: Mapping[str, str], variable: str, default: str) -> tuple[str, int]:
    """Host (empty: all addresses) and port."""
    value = env.get(variable) or default
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdecimal() or int(port) >= 1 << 16:
        raise InvalidSettingError(variable, value, "<address>:<port> or :<port>")
    return host.strip("[]"), int(port)


def _flag(env: Mapping[str, str], variable: str, default: str = "false") -> bool:
    value = env.get(variable) or default
    if value.lower() not in {"true", "false"}:
        raise InvalidSettingError(variable, value, "true or false")
    return value.lower() == "true"


def _absolute(env: Mapping[str, str], variable: str) -> PurePosixPath:
    path = PurePosixPath(env.get(variable) or "/")
    if not path.is_absolute() or ".." in path.parts:
        raise InvalidSettingError(variable, str(path), "an absolute path without '..'")
    return path


def _certificate_dir(env: Mapping[str, str]) -> PurePosixPath:
    directory = env.get("SPO_METRICS_CERTIFICATE_DIR")
    return PurePosixPath(directory) if directory else METRICS_CERTIFICATE_DIR


def _required(env: Mapping[str, str], variable: str) -> str:
    value = env.get(variable, "")
    if not value:
        raise MissingSettingError(variable)
    return value


def _watched_namespaces(env: Mapping[str, str], operator_namespace: str) -> tuple[str, ...]:
    names = [part.strip() for part in env.get("RESTRICT_TO_NAMESPACE", "").split(",") if part.strip()]
    if names and operator_namespace not in names:
        names.append(operator_namespace)
    return tuple(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSettings:
    """What one node's daemon must know."""

    node_name: str
    """Kubernetes name of this node; the pod gets it from ``spec.nodeName``."""
    operator_namespace: str = OPERATOR_NAME
    """Namespace of the operator: the node status lives there."""
    namespaces: tuple[str, ...] = ()
    """Namespaces whose profiles are installed; empty: all."""
    spod_name: str = SPOD_NAME
    """The SecurityProfilesOperatorDaemon, in the operator's namespace, that holds for this daemon."""
    host_root: PurePosixPath = PurePosixPath("/")
    """Where the node's file system is seen; ``/`` in a pod, whose hostPath volumes keep their paths."""
    health_host: str = ""
    """Address that answers ``/healthz`` and ``/readyz``; empty: all."""
    health_port: int = 8085
    """Port of the same."""
    metrics_host: str = ""
    """Address that serves metrics; empty: all."""
    metrics_port: int = 9443
    """Port of the same."""
    metrics_certificate_dir: PurePosixPath = METRICS_CERTIFICATE_DIR
    """Where ``tls.crt`` and ``tls.key`` of the metrics are."""
    enricher_socket: PurePosixPath | None = None
    """Where the log enricher of this node is served; ``None``: it is not enabled."""
    cache_sync_timeout_s: float = 120.0
    """How long to wait for the first list of every watched kind."""
    report_delay_s: float = 0.2
    """How long changes of the node status are collected before they are written."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read ``NODE_NAME``, ``OPERATOR_NAMESPACE``, ``RESTRICT_TO_NAMESPACE``, ``SPOD_NAME``,
        ``SPO_HOST_ROOT``, ``SPO_HEALTH_ADDRESS``, ``SPO_ENRICHER_SOCKET``, ``SPO_METRICS_ADDRESS``,
        ``SPO_METRICS_CERTIFICATE_DIR``.
        """
        operator_namespace = _required(env, "OPERATOR_NAMESPACE")
        health_host, health_port = _address(env, "SPO_HEALTH_ADDRESS", ":8085")
        metrics_host, metrics_port = _address(env, "SPO_METRICS_ADDRESS", ":9443")
        enricher_socket = env.get("SPO_ENRICHER_SOCKET")
        return cls(
            node_name=_required(env, "NODE_NAME"),
            operator_namespace=operator_namespace,
            namespaces=_watched_namespaces(env, operator_namespace),
            spod_name=env.get("SPOD_NAME") or SPOD_NAME,
            health_host=health_host,
            health_port=health_port,
            metrics_host=metrics_host,
            metrics_port=metrics_port,
            metrics_certificate_dir=_certificate_dir(env),
            host_root=PurePosixPath(env.get("SPO_HOST_ROOT") or "/"),
            enricher_socket=PurePosixPath(enricher_socket) if enricher_socket else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerSettings:
    """What the manager must know."""

    operator_namespace: str = OPERATOR_NAME
    """Namespace of the operator: node statuses and the Lease live there."""
    identity: str = "manager"
    """Holder name in the Lease: the pod name."""
    namespaces: tuple[str, ...] = ()
    """Namespaces whose profiles are looked after; empty: all."""
    cache_sync_timeout_s: float = 120.0
    """How long to wait for the first list of every watched kind."""
    node_gone_after_s: float = 300.0
    """How long a node may be without a spod pod, or NotReady, before deletion stops waiting for it."""
    cert_manager: bool = False
    """cert-manager makes the certificate of the webhooks, instead of a CA of our own."""
    spod_name: str = SPOD_NAME
    """The SecurityProfilesOperatorDaemon, in the operator's namespace, that counts."""
    spod_host_network: bool = False
    """The daemons use the network of their node, where the API server is reached from there only."""
    spod_health_host: str = ""
    """Address on which the daemons answer probes; empty: all of the pod."""
    spod_health_port: int = 8085
    """Port of the same."""
    spod_metrics_host: str = ""
    """Address on which the daemons serve metrics; empty: all of the pod."""
    spod_metrics_port: int = 9443
    """Port of the same."""
    metrics_host: str = ""
    """Address that serves the manager's own metrics; empty: all."""
    metrics_port: int = 9443
    """Port of the same."""
    metrics_certificate_dir: PurePosixPath = METRICS_CERTIFICATE_DIR
    """Where ``tls.crt`` and ``tls.key`` of the same are."""
    spod_host_root: PurePosixPath = PurePosixPath("/")
    """Directory of the nodes below which the daemons work; not ``/`` where operators share a machine."""
    selinuxd_image: str = ""
    """Image of selinuxd; without it SELinux cannot be enabled."""
    default_enable_selinux: bool = False
    """Whether the spod object that the manager creates enables SELinux."""
    default_profiles: bool = True
    """Whether there are profiles from the start."""
    node_gate: bool = False
    """Nodes with the taint for it take pods when their profiles are there."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read ``OPERATOR_NAMESPACE``, ``POD_NAME`` or ``HOSTNAME``, ``RESTRICT_TO_NAMESPACE``,
        ``SPO_CERTIFICATES`` (``own`` or ``cert-manager``), ``SPOD_NAME``, ``SPO_SPOD_HOST_NETWORK``,
        ``SPO_SPOD_HEALTH_ADDRESS``, ``SPO_SPOD_HOST_ROOT``, ``RELATED_IMAGE_SELINUXD``,
        ``DEFAULT_ENABLE_SELINUX``, ``SPO_METRICS_ADDRESS``, ``SPO_METRICS_CERTIFICATE_DIR``,
        ``SPO_SPOD_METRICS_ADDRESS``, ``SPO_DEFAULT_PROFILES``, ``SPO_NODE_GATE``.
        """
        metrics_host, metrics_port = _address(env, "SPO_METRICS_ADDRESS", ":9443")
        spod_metrics_host, spod_metrics_port = _address(env, "SPO_SPOD_METRICS_ADDRESS", ":9443")
        health_host, health_port = _address(env, "SPO_SPOD_HEALTH_ADDRESS", ":8085")
        operator_namespace = _required(env, "OPERATOR_NAMESPACE")
        certificates = env.get("SPO_CERTIFICATES") or _OWN_CERTIFICATES
        if certificates not in {_OWN_CERTIFICATES, _CERT_MANAGER}:
            raise InvalidSettingError(
                "SPO_CERTIFICATES", certificates, f"{_OWN_CERTIFICATES} or {_CERT_MANAGER}"
            )
        return cls(
            cert_manager=certificates == _CERT_MANAGER,
            operator_namespace=operator_namespace,
            identity=env.get("POD_NAME") or env.get("HOSTNAME") or "manager",
            namespaces=_watched_namespaces(env, operator_namespace),
            spod_name=env.get("SPOD_NAME") or SPOD_NAME,
            spod_host_network=_flag(env, "SPO_SPOD_HOST_NETWORK"),
            spod_health_host=health_host,
            spod_health_port=health_port,
            spod_metrics_host=spod_metrics_host,
            spod_metrics_port=spod_metrics_port,
            metrics_host=metrics_host,
            metrics_port=metrics_port,
            metrics_certificate_dir=_certificate_dir(env),
            spod_host_root=_absolute(env, "SPO_SPOD_HOST_ROOT"),
            selinuxd_image=env.get("RELATED_IMAGE_SELINUXD", ""),
            default_enable_selinux=_flag(env, "DEFAULT_ENABLE_SELINUX"),
            default_profiles=_flag(env, "SPO_DEFAULT_PROFILES", "true"),
            node_gate=_flag(env, "SPO_NODE_GATE"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """What a replica of the admission webhooks must know."""

    operator_namespace: str = OPERATOR_NAME
    """Namespace of the operator: the Secret of the certificate is there."""
    namespaces: tuple[str, ...] = ()
    """Namespaces whose bindings and recordings count; empty: all."""
    host: str = ""
    """Address of the webhook server; empty: all."""
    port: int = 9443
    """Port of the webhook server."""
    health_host: str = ""
    """Address that answers ``/healthz`` and ``/readyz``; empty: all."""
    health_port: int = 8085
    """Port of the same."""
    certificate: str = WEBHOOK_CERTIFICATE
    """Secret with the certificate."""
    cache_sync_timeout_s: float = 120.0
    """How long to wait for the first list of every watched kind."""
    leave_s: float = 3.0
    """How long to go on serving after SIGTERM: endpoints take that long to forget a replica."""

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, port: int | None = None) -> Self:
        """Read ``OPERATOR_NAMESPACE``, ``RESTRICT_TO_NAMESPACE``, ``SPO_HEALTH_ADDRESS``,
        ``SPO_WEBHOOK_ADDRESS``; ``port`` is stronger than the last.
        """
        operator_namespace = _required(env, "OPERATOR_NAMESPACE")
        health_host, health_port = _address(env, "SPO_HEALTH_ADDRESS", ":8085")
        host, usual_port = _address(env, "SPO_WEBHOOK_ADDRESS", ":9443")
        return cls(
            operator_namespace=operator_namespace,
            namespaces=_watched_namespaces(env, operator_namespace),
            host=host,
            port=usual_port if port is None else port,
            health_host=health_host,
            health_port=health_port,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnablerSettings:
    """What the non-root-enabler must know."""

    host_root: PurePosixPath = PurePosixPath("/")
    """Where the node's file system is seen."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read ``SPO_HOST_ROOT``."""
        return cls(host_root=PurePosixPath(env.get("SPO_HOST_ROOT") or "/"))
