"""Metadata, conditions and selectors, shared by all kinds."""

from enum import StrEnum
from typing import Annotated

import msgspec

from spo.api.constraints import ATOMIC_MAP, MAX_MESSAGE, listed, schema, words


class OwnerReference(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The object on whose account another one exists."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The parts of object metadata that are used here."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    generate_name: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One aspect of an object's state."""

    type: Annotated[str, schema(minLength=1, maxLength=316)]
    """Which aspect; ``Ready`` says whether the object does what it is for."""
    status: Annotated[str, words(ConditionStatus)]
    """Whether it holds."""
    reason: Annotated[str, schema(maxLength=1024)] = ""
    """Why, as one word for programs."""
    message: Annotated[str, schema(maxLength=MAX_MESSAGE)] = ""
    """Why, as a sentence for people."""
    last_transition_time: Annotated[str, schema(format="date-time")] = ""
    """When ``status`` last changed."""
    observed_generation: Annotated[int, schema(format="int64", minimum=0)] = 0
    """Generation of the object that this was said about."""


Conditions = Annotated[list[Condition], listed(16, by="type")]
"""At most one condition of a type."""


class SelectorOperator(StrEnum):
    """How a label requirement compares."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelSelectorRequirement(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A requirement on one label."""

    key: Annotated[str, schema(minLength=1, maxLength=317)]
    """Key of the label."""
    operator: Annotated[str, words(SelectorOperator)]
    """How the label is compared with ``values``."""
    values: Annotated[list[Annotated[str, schema(maxLength=63)]], listed(256)] = []
    """Values for ``In`` and ``NotIn``; empty for ``Exists`` and ``DoesNotExist``."""


class LabelSelector(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Objects that meet all requirements; an empty selector selects every object."""

    match_labels: dict[str, Annotated[str, schema(maxLength=63)]] = {}
    """Labels that must have exactly these values."""
    match_expressions: Annotated[list[LabelSelectorRequirement], listed(64)] = []
    """Further requirements; all must be met."""


Selector = Annotated[LabelSelector, ATOMIC_MAP]
"""A selector that an apply replaces as a whole."""

OptionalSelector = Annotated[LabelSelector | None, ATOMIC_MAP]
"""Not ``Selector | None``: msgspec forgets what is said about a struct inside a union."""


def set_condition(
    conditions: list[Condition], condition: Condition, now: str
) -> tuple[list[Condition], bool]:
    """Put a condition into the list, one per type.

    Args:
        conditions: what the status holds; left as it is.
        condition: the wanted one; its transition time is ignored.
        now: RFC 3339; becomes the transition time if ``status`` changes.

    Returns:
        The list and whether it differs from the one given. An identical condition changes nothing.
    """
    for index, present in enumerate(conditions):
        if present.type == condition.type:
            changed_at = present.last_transition_time if present.status == condition.status else now
            wanted = msgspec.structs.replace(condition, last_transition_time=changed_at)
            if wanted == present:
                return conditions, False
            return [*conditions[:index], wanted, *conditions[index + 1 :]], True
    return [*conditions, msgspec.structs.replace(condition, last_transition_time=now)], True
