"""Metadata, conditions and selectors, shared by all kinds."""

import msgspec


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


class Condition(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """One aspect of an object's state."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int = 0


def set_condition(
    conditions: list[Condition], condition: Condition, now: str
) -> tuple[list[Condition], bool]:
    """Put a condition into the list, one per type; identical ones keep their transition time.

    Returns:
        The list and whether it differs from the one given.
    """
    present = next((item for item in conditions if item.type == condition.type), None)
    turned = present is None or present.status != condition.status
    changed_at = now if present is None or turned else present.last_transition_time
    wanted = msgspec.structs.replace(condition, last_transition_time=changed_at)
    if present == wanted:
        return conditions, False
    return [item for item in conditions if item.type != condition.type] + [wanted], True
