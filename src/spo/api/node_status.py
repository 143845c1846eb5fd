"""SecurityProfileNodeStatus: what is installed on one node."""

from enum import StrEnum

import msgspec

from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.names import API_GROUP


class ProfileState(StrEnum):
    """State of a profile, on a node or overall."""

    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    INSTALLED = "Installed"
    TERMINATING = "Terminating"
    ERROR = "Error"
    PARTIAL = "Partial"
    DISABLED = "Disabled"


class NodeProfileState(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One profile on this node."""

    state: str
    generation: int = 0
    message: str = ""


class SecurityProfileNodeStatus(msgspec.Struct, rename="camel", kw_only=True):
    """All profiles of a node; key: ``<Kind>/<namespace>/<name>``."""

    metadata: ObjectMeta
    node_name: str
    profiles: dict[str, NodeProfileState] = {}
    installed: int = 0
    failed: int = 0


PROFILE_NODE_STATUSES = Resource(
    API_GROUP,
    "v1alpha1",
    "SecurityProfileNodeStatus",
    "securityprofilenodestatuses",
    True,
    SecurityProfileNodeStatus,
)
