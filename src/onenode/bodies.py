"""Request bodies: JSON or YAML text to an object, with duplicate keys told and Go's error texts."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec
import yaml

from onenode.causes import go_quote
from onenode.negotiation import ACCEPTED, JSON, PROTOBUF, YAML
from onenode.protobuf import ProtobufError, decode_protobuf
from onenode.registry import Resource
from onenode.requests import Request
from onenode.status import ApiError, bad_request, unsupported_media_type
from onenode.yaml_text import load_yaml, yaml_problem

__all__ = [
    "Body",
    "decode_object",
    "decode_patch_body",
    "decode_protobuf_body",
    "duplicate_fields",
    "json_problem",
]

LARGEST_BODY_BYTES: Final = 3 * 1024 * 1024
_DEEPEST: Final = 400
"""Nesting a body may have; the walks over it are recursive."""
_BAD_TYPE_META: Final = (
    r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }'
)


Body = dict[str, Any]
"""A decoded object."""


def json_problem(text: bytes) -> str | None:
    """What Go's decoder says about a text that is not JSON; ``None`` if it is."""
    try:
        msgspec.json.decode(text)
    except RecursionError:
        return "exceeded max depth"
    except UnicodeDecodeError:
        # Go's decoder would store replacement characters: a text that nobody sent.
        return "invalid UTF-8 in string"
    except msgspec.DecodeError as error:
        if "truncated" in str(error) or not text.strip():
            return "unexpected end of JSON input"
        match = re.search(r"\(byte (\d+)\)", str(error))
        offset = int(match[1]) if match else 0
        char = text[offset : offset + 1].decode("latin-1") or " "
        shown = go_quote(char)[1:-1] if char != "'" else "\\'"
        return f"invalid character '{shown}' looking for beginning of value"
    return None


def decode_object(request: Request, resource: Resource) -> Body:
    """The object in the body of a POST or PUT, of the kind the path asks for.

    Raises:
        ApiError: the content type, the text, or what it says it is, is wrong.
    """
    media = request.content_type or JSON
    if media == PROTOBUF and not resource.custom:
        return _checked(decode_protobuf_body(request.body), resource, request.body, "")
    if media not in (JSON, YAML):
        raise unsupported_media_type(ACCEPTED)
    where = f"the object provided is unrecognized (must be of type {resource.kind}): "
    value, problem = _parse(request.body, media)
    if problem is not None:
        shown = _shown(request.body)
        raise bad_request(f"{where}couldn't get version/kind; json parse error: {problem} ({shown})")
    if not isinstance(value, dict):
        kind = _go_kind(value)
        text = f"json: cannot unmarshal {kind} into Go value of type {_BAD_TYPE_META}"
        shown = request.body.hex()
        raise bad_request(f"{where}couldn't get version/kind; json parse error: {text} ({shown})")
    return _checked(dict(value), resource, request.body, where)


def decode_protobuf_body(body: bytes) -> Body:
    """The object in a protobuf body.

    Raises:
        ApiError: it is not one of the few that are understood.
    """
    try:
        return Body(decode_protobuf(body))
    except ProtobufError as error:
        raise ApiError(415, "UnsupportedMediaType", str(error)) from error


def _parse(text: bytes, media: str) -> tuple[Any, str | None]:
    if media == YAML:
        try:
            return load_yaml(text), None
        except yaml.YAMLError as error:
            return None, f"error converting YAML to JSON: {yaml_problem(error)}"
    problem = json_problem(text)
    if problem is not None:
        return None, problem
    value = msgspec.json.decode(text)
    return value, ("nesting too deep" if _depth(value) > _DEEPEST else None)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= _DEEPEST:
        depth += 1
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
    return depth


def _checked(body: Body, resource: Resource, raw: bytes, where: str) -> Body:
    kind, api_version = body.get("kind"), body.get("apiVersion")
    if not resource.custom:
        return _checked_builtin(body, resource)
    for name, value in (("Kind", kind), ("apiVersion", api_version)):
        if not isinstance(value, str) or not value:
            text = raw.decode("utf-8", "replace")
            raise bad_request(f"{where}Object '{name}' is missing in '{text}' ({_shown(raw)})")
    if api_version != resource.group_version:
        text = (
            f"the API version in the data ({api_version}) does not match "
            f"the expected API version ({resource.group_version})"
        )
        error = bad_request(text)
        if str(api_version).startswith(f"{resource.group}/"):
            # A version without a schema knows no field.
            foreign = sorted(set(body) - {"apiVersion", "kind", "metadata"})
            error.headers = tuple(("Warning", f'299 - "unknown field \\"{name}\\""') for name in foreign)
        raise error
    return body


def _checked_builtin(body: Body, resource: Resource) -> Body:
    kind = body.setdefault("kind", resource.kind) or resource.kind
    api_version = body.setdefault("apiVersion", resource.group_version) or resource.group_version
    version = str(api_version).rpartition("/")[2]
    says = f'{kind} in version "{version}" cannot be handled as a {resource.kind}: '
    if api_version != resource.group_version:
        scheme = 'in scheme "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"'
        raise bad_request(f'{says}no kind "{kind}" is registered for version "{api_version}" {scheme}')
    if kind != resource.kind:
        package = (resource.group.partition(".")[0]) or "core"
        source = f"{version}.{kind}"
        raise bad_request(f"{says}converting ({source}) to ({package}.{resource.kind}): unknown conversion")
    return body


def _shown(raw: bytes) -> str:
    """The start of a body, as error texts quote it."""
    text = raw.decode("utf-8", "replace")
    if not text:
        return "<empty>"
    return text if len(text) <= 30 else f"{text[:30]} ..."


def _go_kind(value: Any) -> str:
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "bool"
    return "array" if isinstance(value, list) else "number"


def decode_patch_body(request: Request, wanted: str) -> Any:
    """The document of a JSON or merge patch.

    Args:
        request: the PATCH.
        wanted: Go's name of the type that the patch must have, for the error text.

    Raises:
        ApiError: it is not JSON, or not of that type.
    """
    problem = json_problem(request.body)
    if problem is not None:
        raise bad_request(f"error decoding patch: {problem}")
    value = msgspec.json.decode(request.body)
    is_list = wanted.startswith("[]")
    if not isinstance(value, list if is_list else dict):
        kind = "object" if isinstance(value, dict) else _go_kind(value)
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {kind} into Go value of type {wanted}"
        )
    if _depth(value) > _DEEPEST:
        raise bad_request("error decoding patch: nesting too deep")
    return value


def duplicate_fields(raw: bytes) -> list[str]:
    """Paths of the keys that a JSON text holds twice in one object."""
    if len(raw) > LARGEST_BODY_BYTES:
        raise ApiError(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728")
    found: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        doubled: list[str] = []
        for key, value in pairs:
            if key in result:
                doubled.append(key)
            result[key] = value
        if doubled:
            result = _Doubled(result)
            result.keys_twice = doubled
        return result

    _name_doubled(json.loads(raw, object_pairs_hook=collect), "", found)
    return found


class _Doubled(dict[str, Any]):
    keys_twice: list[str]


def _name_doubled(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Doubled):
        found.extend(f"{path}{key}" for key in value.keys_twice)
    if isinstance(value, dict):
        for key, child in value.items():
            _name_doubled(child, f"{path}{key}.", found)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _name_doubled(child, f"{path.removesuffix('.')}[{index}].", found)
