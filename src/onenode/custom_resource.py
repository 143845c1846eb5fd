"""The whole validation of one custom resource: schema, list types, rules; in the order of the real server.

Pure.
"""

from __future__ import annotations

from typing import Any, Final

from onenode import causes
from onenode.causes import NO_FIELD, Cause
from onenode.cel_rules import has_rules, validate_rules
from onenode.embedded import check_embedded
from onenode.list_types import check_list_types
from onenode.validation import validate

__all__ = ["validate_custom_resource"]

_BLOCKING: Final = frozenset({
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
})  # fmt: skip
_RULES_SKIPPED: Final = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


def validate_custom_resource(
    obj: dict[str, Any],
    schema: dict[str, Any],
    old: dict[str, Any] | None = None,
    *,
    subresource: str | None = None,
) -> list[Cause]:
    """Everything the schema of a CRD says about one object.

    Args:
        obj: the object, pruned and defaulted.
        schema: the structural schema of its version.
        old: the stored object, on an update.
        subresource: ``status`` when only the status is written.

    Returns:
        The causes of the 422 answer; empty if the object is valid.
    """
    if subresource == "status":
        found: list[Cause] = []
        status_schema = (schema.get("properties") or {}).get("status")
        if "status" in obj and status_schema is not None:
            before = old.get("status") if old is not None else None
            found = validate(obj["status"], status_schema, before, prefix="status")
    else:
        found = validate(obj, schema, old)
    found.extend(check_embedded(obj, schema))
    found.extend(check_list_types(obj, schema))
    if not has_rules(schema):
        return found
    if any(cause.reason in _BLOCKING for cause in found):
        found.append(causes.invalid(NO_FIELD, None, _RULES_SKIPPED))
        return found
    found.extend(validate_rules(obj, schema, old))
    return found
