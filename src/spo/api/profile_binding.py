"""ProfileBinding: gives a profile to the containers of an image."""

from enum import StrEnum
from typing import Annotated

import msgspec

from spo.api.constraints import MAX_NAME, schema, words
from spo.api.meta import Conditions, ObjectMeta, OptionalSelector
from spo.api.profile_status import Workloads
from spo.api.resource import Resource
from spo.names import API_GROUP


class BoundKind(StrEnum):
    """Kinds that can be bound."""

    SECCOMP_PROFILE = "SeccompProfile"


class ProfileRef(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The profile to bind."""

    kind: Annotated[str, words(BoundKind)]
    """Kind of the profile."""
    name: Annotated[str, schema(minLength=1, maxLength=MAX_NAME)]
    """Name of the profile, in the namespace of the binding."""


class ProfileBindingSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Which containers get which profile."""

    profile_ref: ProfileRef
    """The profile that the containers get."""
    image: Annotated[str, schema(minLength=1, maxLength=1024)]
    """Image of the containers, as ``name``, ``name:tag`` or ``name@digest``; a name alone means tag
    ``latest``, ``*`` every image.
    """
    pod_selector: OptionalSelector = None
    """Pods whose containers are bound; absent: every pod of the namespace."""


class ProfileBindingStatus(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """What the binding does; written by the manager only."""

    conditions: Conditions = []
    """``Ready`` is True when every new pod passes the binding."""
    active_workloads: Workloads = []
    """Pods bound by it, as ``<namespace>/<pod>``; the first 50."""
    active_workload_count: Annotated[int, schema(format="int32", minimum=0)] = 0
    """How many pods are bound by it."""
    observed_generation: Annotated[int, schema(format="int64", minimum=0)] = 0
    """Generation of the binding that this was said about."""


class ProfileBinding(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Gives a profile to the containers of an image when their pods are created."""

    metadata: ObjectMeta
    spec: ProfileBindingSpec
    """Which containers get which profile."""
    status: ProfileBindingStatus | None = None
    """What the binding does; written by the operator."""


PROFILE_BINDINGS = Resource(API_GROUP, "v1alpha1", "ProfileBinding", "profilebindings", True, ProfileBinding)
