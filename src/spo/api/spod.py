"""SecurityProfilesOperatorDaemon: settings of what runs on the nodes, and of admission."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from spo.api.constraints import (
    ATOMIC_MAP,
    HANDED_ON,
    MAX_NAME,
    int_or_string,
    listed,
    schema,
    stored_default,
    words,
)
from spo.api.meta import Conditions, ObjectMeta, OptionalSelector
from spo.api.resource import Resource
from spo.api.seccomp_profile import Action
from spo.names import API_GROUP


class SpodState(StrEnum):
    """How far the DaemonSet is."""

    PENDING = "PENDING"
    CREATING = "CREATING"
    UPDATING = "UPDATING"
    RUNNING = "RUNNING"
    ERROR = "ERROR"


class LogEnricherSource(StrEnum):
    """Where audit records are read."""

    NETLINK = "netlink"
    AUDITD = "auditd"
    SYSLOG = "syslog"


class FailurePolicy(StrEnum):
    """What happens to a pod when the webhook does not answer."""

    FAIL = "Fail"
    IGNORE = "Ignore"


class TolerationOperator(StrEnum):
    """How a toleration compares with a taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


ALLOWABLE_ACTIONS = (Action.ALLOW, Action.LOG, Action.TRACE, Action.NOTIFY)
"""Actions that let a syscall happen, and so can be held to a list."""


class Toleration(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A taint that the pods of the DaemonSet put up with."""

    key: Annotated[str, schema(maxLength=317)] | None = None
    """Key of the taint; absent with operator ``Exists``: every taint."""
    operator: Annotated[str, words(TolerationOperator)] | None = None
    """How the taint is compared; absent: ``Equal``."""
    value: Annotated[str, schema(maxLength=63)] | None = None
    """Value of the taint."""
    effect: Annotated[str, words(TaintEffect)] | None = None
    """Effect of the taint; absent: all effects."""
    toleration_seconds: Annotated[int, schema(format="int64")] | None = None
    """How long a pod stays after a ``NoExecute`` taint appears; absent: for ever."""


class LocalObjectReference(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """An object in the namespace of the operator."""

    name: Annotated[str, schema(minLength=1, maxLength=MAX_NAME)]
    """Name of the object."""


Quantities = dict[str, Annotated[int | str, int_or_string(maxLength=64)]]
"""Such as ``{"memory": "64Mi"}``."""


class ResourceRequirements(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """What a container may use, and what is kept for it."""

    limits: Quantities = {}
    """At most this much, such as ``memory: 128Mi``."""
    requests: Quantities = {}
    """Kept free for it on the node."""


class SelinuxOptions(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Settings for SELinux policies."""

    allowed_system_profiles: Annotated[
        list[Annotated[str, schema(minLength=1, maxLength=MAX_NAME)]],
        listed(256),
        stored_default(["container"]),
    ] = msgspec.field(default_factory=lambda: ["container"])
    """Policies of the node that a SelinuxProfile may inherit."""


class WebhookOptions(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Settings of one admission webhook."""

    name: Annotated[str, schema(minLength=1, maxLength=MAX_NAME)]
    """Which webhook: ``binding.spo.io`` or ``recording.spo.io``."""
    failure_policy: Annotated[str, words(FailurePolicy)] | None = None
    """What happens to a pod when the webhook does not answer; absent: ``Fail``."""
    namespace_selector: OptionalSelector = None
    """Namespaces whose pods it sees, in place of those that hold a binding or a recording."""
    object_selector: OptionalSelector = None
    """Pods it sees; absent: all but the operator's own."""


class NodeGate(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """How long new nodes wait for their profiles before they take pods."""

    timeout: Annotated[str, schema(pattern="^([0-9]+(s|m|h))+$", maxLength=32), stored_default("5m")] = "5m"
    """After this long the taint is removed even if profiles are missing, such as ``90s`` or ``5m``."""


class SpodSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Settings of what runs on the nodes, and of admission."""

    verbosity: Annotated[int, schema(format="int32", minimum=0)] = 0
    """How much is logged: 0 for the usual, 1 for details."""
    enable_profiling: bool = False
    """Serve CPU and memory profiles of the processes."""
    enable_selinux: bool = False
    """Install SELinux policies."""
    enable_log_enricher: bool = False
    """Add pod and container to audit records."""
    enable_bpf_recorder: bool = False
    """Run the eBPF recorder."""
    enable_app_armor: bool = False
    """Load AppArmor profiles."""
    tolerations: Annotated[list[Toleration], listed(256)] = []
    """Taints that the pods of the DaemonSet put up with."""
    affinity: Annotated[dict[str, Any], HANDED_ON] | None = None
    """Affinity of the pods of the DaemonSet, as in a pod."""
    priority_class_name: Annotated[str, schema(maxLength=MAX_NAME)] | None = None
    """PriorityClass of the pods of the DaemonSet."""
    image_pull_secrets: Annotated[list[LocalObjectReference], listed(64)] = []
    """Secrets to pull the images with."""
    daemon_resource_requirements: Annotated[ResourceRequirements | None, ATOMIC_MAP] = None
    """Resources of the daemon container, in place of the built-in ones."""
    selinux_options: SelinuxOptions | None = None
    """Settings for SELinux policies."""
    host_proc_volume_path: Annotated[str, schema(pattern="^(/.*)?$", maxLength=4096)] | None = None
    """Where the node has its proc file system, if not at ``/proc``."""
    webhook_options: Annotated[list[WebhookOptions], listed(16, by="name")] = []
    """Settings of the admission webhooks."""
    allowed_syscalls: Annotated[list[Annotated[str, schema(minLength=1, maxLength=128)]], listed(4096)] = []
    """The only syscalls that profiles may allow; none: all."""
    allowed_seccomp_actions: Annotated[list[Annotated[str, words(ALLOWABLE_ACTIONS)]], listed(4)] = []
    """Actions that are held to ``allowedSyscalls``; none: all four."""
    log_enricher_source: Annotated[str, words(LogEnricherSource)] | None = None
    """Where audit records are read: the kernel, audit.log or syslog; absent: the best there is."""
    strict_syscalls: bool = False
    """Refuse profiles with a syscall that no architecture has, instead of a warning."""
    node_gate: NodeGate | None = None
    """How long new nodes wait for their profiles before they take pods."""


class SpodStatus(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """What became of the settings; written by the manager only."""

    conditions: Conditions = []
    """``Ready`` is True while every node runs the DaemonSet with these settings."""
    state: Annotated[str, words(SpodState)] | None = None
    """How far the DaemonSet is."""


class SecurityProfilesOperatorDaemon(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Settings of what runs on the nodes, and of admission."""

    metadata: ObjectMeta
    spec: SpodSpec = msgspec.field(default_factory=SpodSpec)
    """The settings."""
    status: SpodStatus | None = None
    """What became of them; written by the operator."""


SPODS = Resource(
    API_GROUP,
    "v1alpha1",
    "SecurityProfilesOperatorDaemon",
    "securityprofilesoperatordaemons",
    True,
    SecurityProfilesOperatorDaemon,
)
