"""Applies what the webhooks answer, by the library that onenode uses: a mistake in a patch is an error."""

import copy
import json
from collections.abc import Iterable
from typing import Any

import jsonpatch
import msgspec

from spo.api.admission import AdmittedPod, PatchOperation


def patched(obj: dict[str, Any], operations: Iterable[PatchOperation]) -> dict[str, Any]:
    """The object with the patch applied; the one given stays."""
    patch = json.loads(msgspec.json.encode(list(operations)))
    result: dict[str, Any] = jsonpatch.JsonPatch(patch).apply(copy.deepcopy(obj))
    return result


def as_admitted(obj: dict[str, Any]) -> AdmittedPod:
    """The pod as the webhooks read it."""
    return msgspec.convert(obj, AdmittedPod)
