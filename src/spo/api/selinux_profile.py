"""SelinuxProfile: an SELinux policy as structured rules."""

from enum import StrEnum
from typing import Annotated

import msgspec

from spo.api.constraints import MAX_NAME, listed, schema, stored_default, words
from spo.api.meta import ObjectMeta
from spo.api.profile_status import ProfileStatus
from spo.api.resource import Resource
from spo.names import API_GROUP


class PolicyKind(StrEnum):
    """Where an inherited policy comes from."""

    SYSTEM = "System"
    SELINUX_PROFILE = "SelinuxProfile"


class InheritedPolicy(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A policy whose rules are taken over."""

    kind: Annotated[str, words(PolicyKind, default=PolicyKind.SYSTEM)] = PolicyKind.SYSTEM
    """``System`` for a policy of the node, ``SelinuxProfile`` for one of the same namespace."""
    name: Annotated[str, schema(minLength=1, maxLength=MAX_NAME)]
    """Name of the policy."""


Permissions = Annotated[list[Annotated[str, schema(minLength=1, maxLength=128)]], listed(256)]
"""Such as ``open``, ``read``."""


def _container_policy() -> list[InheritedPolicy]:
    return [InheritedPolicy(name="container")]


class SelinuxProfileSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The rules of an SELinux policy."""

    inherit: Annotated[
        list[InheritedPolicy], listed(64), stored_default([{"kind": "System", "name": "container"}])
    ] = msgspec.field(default_factory=_container_policy)
    """Policies whose rules are taken over."""
    allow: dict[str, dict[str, Permissions]] = {}
    """What is allowed: label type (``@self`` for its own), then object class, then permissions."""


class SelinuxProfileStatus(ProfileStatus, rename="camel", omit_defaults=True, kw_only=True):
    """Where the policy is installed, and how pods name it."""

    usage: Annotated[str, schema(maxLength=4096)] | None = None
    """What a pod writes into ``securityContext.seLinuxOptions.type``."""


class SelinuxProfile(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """An SELinux policy that the operator installs on every node."""

    metadata: ObjectMeta
    spec: SelinuxProfileSpec = msgspec.field(default_factory=SelinuxProfileSpec)
    """The rules."""
    status: SelinuxProfileStatus | None = None
    """Where it is installed; written by the operator."""


SELINUX_PROFILES = Resource(API_GROUP, "v1alpha2", "SelinuxProfile", "selinuxprofiles", True, SelinuxProfile)
