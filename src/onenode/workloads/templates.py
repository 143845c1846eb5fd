"""Pod templates and label selectors of workloads.

Pure.
"""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any, Final

__all__ = ["HASH_LABEL", "format_selector", "same_template", "template_hash", "with_labels"]

Obj = dict[str, Any]

HASH_LABEL: Final = "pod-template-hash"
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_HASH_LENGTH: Final = 10


def template_hash(template: Obj, collisions: int = 0) -> str:
    """A short text that differs for different templates; safe in names and labels."""
    text = json.dumps(_plain(template), sort_keys=True, separators=(",", ":")) + f"#{collisions}"
    digest = hashlib.sha256(text.encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:_HASH_LENGTH])


def same_template(one: Obj, other: Obj) -> bool:
    """Both make the same pods; the label with the hash does not count."""
    return bool(_plain(one) == _plain(other))


def _plain(template: Obj) -> Obj:
    plain = copy.deepcopy(template)
    labels = (plain.get("metadata") or {}).get("labels") or {}
    labels.pop(HASH_LABEL, None)
    return plain


def with_labels(template: Obj, labels: dict[str, str]) -> Obj:
    """A copy with more labels."""
    made = copy.deepcopy(template)
    metadata = made.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    return made


def format_selector(selector: Obj | None) -> str:
    """A LabelSelector as text, such as ``app=a,tier in (x,y)``; empty if it holds no terms."""
    terms = [(key, f"{key}={value}") for key, value in ((selector or {}).get("matchLabels") or {}).items()]
    for expression in (selector or {}).get("matchExpressions") or []:
        key, values = expression.get("key", ""), ",".join(sorted(expression.get("values") or []))
        shown = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        terms.append((key, shown.get(expression.get("operator", ""), key)))
    return ",".join(text for _, text in sorted(terms))
