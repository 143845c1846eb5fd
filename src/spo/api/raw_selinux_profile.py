"""RawSelinuxProfile: an SELinux policy as CIL text."""

from typing import Annotated

import msgspec

from spo.api.constraints import schema
from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.api.selinux_profile import SelinuxProfileStatus
from spo.names import API_GROUP


class RawSelinuxProfileSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The text of an SELinux policy."""

    policy: Annotated[str, schema(maxLength=500_000)] = ""
    """Body of a CIL block: statements without the block around them."""


class RawSelinuxProfile(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """An SELinux policy, written in CIL, that the operator installs on every node."""

    metadata: ObjectMeta
    spec: RawSelinuxProfileSpec = msgspec.field(default_factory=RawSelinuxProfileSpec)
    """The text."""
    status: SelinuxProfileStatus | None = None
    """Where it is installed; written by the operator."""


RAW_SELINUX_PROFILES = Resource(
    API_GROUP, "v1alpha2", "RawSelinuxProfile", "rawselinuxprofiles", True, RawSelinuxProfile
)
