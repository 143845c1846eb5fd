"""Typed view of the parts of a Pod that the pod runner reads; what is not listed is ignored."""

from typing import Any

import msgspec

from onenode.kubelet.errors import InvalidPodError


class _Part(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Shared settings: wire names are camelCase. Read only by convention."""


class SeccompProfile(_Part):
    """Where the seccomp profile of a container comes from."""

    type: str
    localhost_profile: str | None = None


class Capabilities(_Part):
    """Capabilities added to and dropped from the default set."""

    add: list[str] = []
    drop: list[str] = []


class SelinuxOptions(_Part):
    """SELinux label parts."""

    user: str | None = None
    role: str | None = None
    type: str | None = None
    level: str | None = None


class ContainerSecurityContext(_Part):
    """Security settings of one container; they win over those of the pod."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    capabilities: Capabilities | None = None
    privileged: bool | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    seccomp_profile: SeccompProfile | None = None
    proc_mount: str | None = None
    se_linux_options: SelinuxOptions | None = None


class Sysctl(_Part):
    """Kernel parameter of the pod's namespaces."""

    name: str
    value: str


class PodSecurityContext(_Part):
    """Security settings of all containers of a pod."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    supplemental_groups: list[int] = []
    seccomp_profile: SeccompProfile | None = None
    sysctls: list[Sysctl] = []
    se_linux_options: SelinuxOptions | None = None


class FieldRef(_Part):
    """A field of the pod itself, e.g. ``metadata.name``."""

    field_path: str


class ResourceFieldRef(_Part):
    """A resource limit or request of a container."""

    resource: str
    container_name: str | None = None
    divisor: str | int | None = None


class KeyRef(_Part):
    """One key of a ConfigMap or Secret."""

    key: str
    name: str = ""
    optional: bool = False


class ObjectRef(_Part):
    """A whole ConfigMap or Secret."""

    name: str = ""
    optional: bool = False


class EnvSource(_Part):
    """Where the value of an environment variable comes from."""

    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None
    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None


class EnvVar(_Part):
    """One environment variable."""

    name: str
    value: str | None = None
    value_from: EnvSource | None = None


class EnvFrom(_Part):
    """All keys of an object as environment variables."""

    prefix: str = ""
    config_map_ref: ObjectRef | None = None
    secret_ref: ObjectRef | None = None


class VolumeMount(_Part):
    """Where a container sees a volume."""

    name: str
    mount_path: str
    read_only: bool = False
    sub_path: str = ""
    sub_path_expr: str = ""
    mount_propagation: str | None = None


class ContainerPort(_Part):
    """A port: its name for probes, and where the node shows it (``host_port``)."""

    container_port: int
    name: str = ""
    host_port: int | None = None
    host_ip: str | None = msgspec.field(default=None, name="hostIP")
    protocol: str = "TCP"


class Resources(_Part):
    """Requests and limits."""

    limits: dict[str, str | int | float] = {}
    requests: dict[str, str | int | float] = {}


class ExecAction(_Part):
    """A command in the container."""

    command: list[str] = []


class HttpHeader(_Part):
    """One header of a request."""

    name: str
    value: str = ""


class HttpGetAction(_Part):
    """A request to the container."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: list[HttpHeader] = []


class TcpSocketAction(_Part):
    """A connection to the container."""

    port: int | str
    host: str = ""


class Probe(_Part):
    """How to find out about a container's health; at most one action is set."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class Container(_Part):
    """One container or init container."""

    name: str
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    env: list[EnvVar] = []
    env_from: list[EnvFrom] = []
    volume_mounts: list[VolumeMount] = []
    ports: list[ContainerPort] = []
    resources: Resources = msgspec.field(default_factory=Resources)
    security_context: ContainerSecurityContext = msgspec.field(default_factory=ContainerSecurityContext)
    image_pull_policy: str = "IfNotPresent"
    stdin: bool = False
    tty: bool = False
    termination_message_path: str = "/dev/termination-log"
    termination_message_policy: str = "File"
    restart_policy: str | None = None
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None

    @property
    def has_probes(self) -> bool:
        """Its health is to be followed."""
        return bool(self.startup_probe or self.readiness_probe or self.liveness_probe)

    @property
    def is_sidecar(self) -> bool:
        """An init container that keeps running beside the others."""
        return self.restart_policy == "Always"


class KeyToPath(_Part):
    """One key of an object as a file."""

    key: str
    path: str
    mode: int | None = None


class HostPathSource(_Part):
    """A path of the node."""

    path: str
    type: str = ""


class EmptyDirSource(_Part):
    """A directory that lives as long as the pod."""

    medium: str = ""


class ConfigMapSource(_Part):
    """Keys of a ConfigMap as files."""

    name: str = ""
    items: list[KeyToPath] = []
    default_mode: int | None = None
    optional: bool = False


class SecretSource(_Part):
    """Keys of a Secret as files; in a projection the name is called ``name``."""

    secret_name: str = ""
    name: str = ""
    items: list[KeyToPath] = []
    default_mode: int | None = None
    optional: bool = False


class DownwardFile(_Part):
    """A field of the pod as a file."""

    path: str
    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None
    mode: int | None = None


class DownwardSource(_Part):
    """Fields of the pod as files."""

    items: list[DownwardFile] = []
    default_mode: int | None = None


class TokenSource(_Part):
    """A token of the pod's service account."""

    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class Projection(_Part):
    """One source of a projected volume."""

    service_account_token: TokenSource | None = None
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    downward_api: DownwardSource | None = msgspec.field(default=None, name="downwardAPI")


class ProjectedSource(_Part):
    """Several sources in one directory."""

    sources: list[Projection] = []
    default_mode: int | None = None


class Volume(_Part):
    """One volume of a pod; exactly one source is set."""

    name: str
    host_path: HostPathSource | None = None
    empty_dir: EmptyDirSource | None = None
    config_map: ConfigMapSource | None = None
    secret: SecretSource | None = None
    downward_api: DownwardSource | None = msgspec.field(default=None, name="downwardAPI")
    projected: ProjectedSource | None = None

    @property
    def changes(self) -> bool:
        """Its files follow objects of the API."""
        return bool(self.config_map or self.secret or self.downward_api or self.projected)


class HostAlias(_Part):
    """A line of ``/etc/hosts``."""

    ip: str
    hostnames: list[str] = []


class PodSpec(_Part):
    """What to run."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    volumes: list[Volume] = []
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    active_deadline_seconds: int | None = None
    host_network: bool = False
    host_pid: bool = msgspec.field(default=False, name="hostPID")
    host_ipc: bool = msgspec.field(default=False, name="hostIPC")
    share_process_namespace: bool = False
    node_name: str = ""
    service_account_name: str = "default"
    security_context: PodSecurityContext = msgspec.field(default_factory=PodSecurityContext)
    hostname: str = ""
    host_aliases: list[HostAlias] = []


class PodMetadata(_Part):
    """Identity, labels, deletion."""

    name: str
    namespace: str
    uid: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    generation: int | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    finalizers: list[str] = []


class Pod(_Part):
    """One pod as the API has it, without its status."""

    metadata: PodMetadata
    spec: PodSpec

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name

    def container(self, name: str) -> Container | None:
        """The container or init container with this name."""
        everything = (*self.spec.init_containers, *self.spec.containers)
        return next((container for container in everything if container.name == name), None)


def parse_pod(stored: dict[str, Any]) -> Pod:
    """Read a stored Pod; members that are ``null`` count as absent.

    Raises:
        InvalidPodError: a field has another type than the API allows.
    """
    try:
        return msgspec.convert(_without_nulls(stored), Pod)
    except msgspec.ValidationError as error:
        raise InvalidPodError(str(error)) from error


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
