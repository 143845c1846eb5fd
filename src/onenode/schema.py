"""Structural schemas: the public entry points for pruning, defaulting and validation.

Pure. Order of use on a write: ``prune``, ``apply_defaults``, ``validate_custom_resource`` (schema, list types
and rules); ``check_structural`` judges the schema of a CRD itself.
"""

from __future__ import annotations

from onenode.causes import Cause, describe_causes
from onenode.custom_resource import validate_custom_resource
from onenode.defaulting import apply_defaults
from onenode.pruning import prune
from onenode.structural import check_structural
from onenode.validation import validate

__all__ = [
    "Cause",
    "apply_defaults",
    "check_structural",
    "describe_causes",
    "prune",
    "validate",
    "validate_custom_resource",
]
