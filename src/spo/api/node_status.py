"""SecurityProfileNodeStatus: what is installed on one node."""

from enum import StrEnum
from typing import Annotated, NamedTuple

import msgspec

from spo.api.constraints import ATOMIC_MAP, MAX_MESSAGE, MAX_NAME, schema, words
from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.names import API_GROUP


class StatusKey(NamedTuple):
    """Which profile an entry of a node status is about."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """The key in :attr:`SecurityProfileNodeStatus.profiles`."""
        return f"{self.kind}/{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, key: str) -> "StatusKey | None":
        """The parts of a key; ``None`` if it cannot be one."""
        parts = key.split("/")
        return cls(*parts) if len(parts) == 3 and all(parts) else None


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
    """State of one profile on this node."""

    state: Annotated[str, words(ProfileState)]
    """What has become of the profile here."""
    generation: Annotated[int, schema(format="int64", minimum=0)] = 0
    """Generation of the profile that this was said about."""
    message: Annotated[str, schema(maxLength=MAX_MESSAGE)] = ""
    """What went wrong, and what to do."""


class SecurityProfileNodeStatus(msgspec.Struct, rename="camel", kw_only=True):
    """All profiles of one node, written by the daemon of this node only."""

    metadata: ObjectMeta
    node_name: Annotated[str, schema(minLength=1, maxLength=MAX_NAME)]
    """Name of the node."""
    profiles: Annotated[dict[str, NodeProfileState], ATOMIC_MAP] = {}
    """State of each profile; the key is ``<Kind>/<namespace>/<name>``."""
    installed: Annotated[int, schema(format="int32", minimum=0)] = 0
    """How many profiles are installed."""
    failed: Annotated[int, schema(format="int32", minimum=0)] = 0
    """How many profiles are in state ``Error``."""


PROFILE_NODE_STATUSES = Resource(
    API_GROUP,
    "v1alpha1",
    "SecurityProfileNodeStatus",
    "securityprofilenodestatuses",
    True,
    SecurityProfileNodeStatus,
)
