"""AppArmorProfile: an AppArmor profile as text."""

from typing import Annotated

import msgspec

from spo.api.constraints import schema
from spo.api.meta import ObjectMeta
from spo.api.profile_status import ProfileStatus
from spo.api.resource import Resource
from spo.names import API_GROUP


class AppArmorProfileSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The text of an AppArmor profile."""

    policy: Annotated[str, schema(minLength=1, maxLength=500_000)]
    """The profile, as ``apparmor_parser`` reads it; its name in the kernel is ``spo-<object name>``."""


class AppArmorProfile(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """An AppArmor profile that the operator loads on every node."""

    metadata: ObjectMeta
    spec: AppArmorProfileSpec
    """The text."""
    status: ProfileStatus | None = None
    """Where it is loaded; written by the operator."""


APPARMOR_PROFILES = Resource(
    API_GROUP, "v1alpha1", "AppArmorProfile", "apparmorprofiles", True, AppArmorProfile
)
