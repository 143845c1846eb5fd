"""What the API server checks about a field, beside its type; ends up in the CRD only.

The limits are not checked again when an object is read: an object that was stored under an older CRD must
not make the list that holds it unreadable.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

INT_OR_STRING: Final = "x-kubernetes-int-or-string"
"""Marks a field that takes a number or a text."""

PRESERVE_UNKNOWN: Final = "x-kubernetes-preserve-unknown-fields"
"""Marks an object that is handed on as it is."""

STORED_DEFAULT: Final = "x-stored-default"
"""Marks a default that the API server writes into the object; the generator turns it into ``default``.

Python defaults say what an absent field means, and stay out of the CRD.
"""

MAX_NAME: Final = 253
"""Longest name of an object."""

MAX_MESSAGE: Final = 32_768
"""As in the conditions of Kubernetes itself."""


def schema(**keywords: object) -> msgspec.Meta:
    """Keywords of the OpenAPI schema: ``Annotated[str, schema(maxLength=253)]``."""
    return msgspec.Meta(extra_json_schema=dict(keywords))


def words(allowed: Iterable[str], *, default: str | None = None) -> msgspec.Meta:
    """A closed set of words.

    Args:
        allowed: the words, in the order users shall see them.
        default: what the API server writes where the field is absent.
    """
    keywords: dict[str, object] = {"enum": [str(word) for word in allowed]}
    if default is not None:
        keywords[STORED_DEFAULT] = str(default)
    return msgspec.Meta(extra_json_schema=keywords)


def stored_default(value: object) -> msgspec.Meta:
    """A default that the API server writes into the object."""
    return msgspec.Meta(extra_json_schema={STORED_DEFAULT: value})


def int_or_string(**keywords: object) -> msgspec.Meta:
    """A number or a text; ``keywords`` limit whichever of both they apply to."""
    return msgspec.Meta(extra_json_schema={INT_OR_STRING: True, **keywords})


def listed(max_items: int, *, by: str | None = None) -> msgspec.Meta:
    """A bounded list, replaced as a whole by an apply; ``by`` names the key if it is merged item by item."""
    kind: dict[str, object] = {"x-kubernetes-list-type": "atomic"}
    if by is not None:
        kind = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [by]}
    return msgspec.Meta(extra_json_schema={"maxItems": max_items, **kind})


ATOMIC_MAP: Final = schema(**{"x-kubernetes-map-type": "atomic"})
"""An object that an apply replaces as a whole."""

HANDED_ON: Final = schema(**{PRESERVE_UNKNOWN: True})
"""An object whose content belongs to Kubernetes and is checked there."""
