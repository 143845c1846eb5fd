"""Kubernetes objects in protobuf: the few kinds that kubectl sends no other way.

Pure. ``kubectl create namespace``, ``create token``, ``auth can-i`` and their kin encode their requests in
protobuf and do not fall back to JSON. This decodes them into the JSON form; answers are JSON, which those
commands accept. A kind or field that is not listed here is refused, never guessed.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable, Iterator
from typing import Any, Final

from onenode.protobuf_messages import INLINE, MESSAGES, Field

__all__ = ["MEDIA_TYPE", "ProtobufError", "decode_protobuf"]

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"

_MAGIC: Final = b"k8s\x00"
_MAX_DEPTH: Final = 20


class ProtobufError(ValueError):
    """A body is not a protobuf object of a kind that is known here."""


_KINDS: Final = frozenset(
    {"Namespace", "ConfigMap", "Secret", "ServiceAccount", "Role", "ClusterRole", "RoleBinding"}
    | {"ClusterRoleBinding", "TokenRequest", "SelfSubjectReview", "SelfSubjectAccessReview"}
    | {"SelfSubjectRulesReview", "Deployment", "Pod", "Job", "Service", "DeleteOptions"}
)


def decode_protobuf(body: bytes) -> dict[str, Any]:
    """The object in a request body, as JSON would have carried it.

    Raises:
        ProtobufError: the body is malformed, or its kind or one of its fields is not known here.
    """
    if not body.startswith(_MAGIC):
        raise ProtobufError("the body does not start with the mark of a protobuf object")
    envelope = _decode(body[len(_MAGIC) :], "Unknown", 0)
    meta = envelope.get("typeMeta") or {}
    kind = meta.get("kind", "")
    if kind not in _KINDS:
        raise ProtobufError(f"objects of kind {kind!r} are accepted as JSON or YAML only")
    return {
        "kind": kind,
        "apiVersion": meta.get("apiVersion", ""),
        **_decode(envelope.get("raw", b""), kind, 0),
    }


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value & (2**64 - 1), at
    raise ProtobufError("a number is cut off or too long")


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and raw values of the fields of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ProtobufError("a field is cut off")
            yield number, data[at : at + length]
            at += length
        else:
            raise ProtobufError(f"wire type {wire} is not used by these kinds")


def _decode(data: bytes, message: str, depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise ProtobufError("messages are nested too deep")
    known = MESSAGES[message]
    decoded: dict[str, Any] = {}
    for number, raw in _fields(data):
        field = known.get(number)
        if field is None:
            raise ProtobufError(f"field {number} of {message} is accepted in JSON or YAML only")
        value = _value(raw, field, depth)
        if field.repeated:
            decoded.setdefault(field.name, []).append(value)
        elif field.kind in _MAPS:
            decoded.setdefault(field.name, {})[value.get("key", "")] = value.get("value", "")
        elif field.name == INLINE:
            decoded.update(value)
        elif field.pointer or value not in ("", 0, False, None, {}):
            decoded[field.name] = value
    return decoded


_MAPS: Final = {"map": "Entry", "bytesmap": "BytesEntry", "amounts": "AmountEntry"}
_WIRE_MESSAGES: Final = {**_MAPS, "time": "Timestamp", "amount": "Quantity", "intorstr": "IntOrString"}


def _value(raw: int | bytes, field: Field, depth: int) -> Any:
    kind = field.kind
    if kind in ("int", "bool"):
        if not isinstance(raw, int):
            raise ProtobufError(f"{field.name} is not a number")
        return bool(raw) if kind == "bool" else raw - 2**64 * (raw >> 63)
    if not isinstance(raw, bytes):
        raise ProtobufError(f"{field.name} is a number")
    if kind in ("raw", "bytes"):
        return raw if kind == "raw" else base64.b64encode(raw).decode()
    if kind == "str":
        return _text(raw, field.name)
    inner = _decode(raw, _WIRE_MESSAGES.get(kind, kind), depth + 1)
    return _SCALARS[kind](inner) if kind in _SCALARS else inner


def _text(raw: bytes, name: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ProtobufError(f"{name} is not text") from error


def _moment(stamp: dict[str, Any]) -> str | None:
    if not stamp:
        return None
    try:
        moment = datetime.datetime.fromtimestamp(stamp.get("seconds", 0), datetime.UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ProtobufError("a time is out of range") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _amount(quantity: dict[str, Any]) -> str:
    return str(quantity.get("string", ""))


def _number_or_text(value: dict[str, Any]) -> int | str:
    found: int | str = value.get("strVal", "") if value.get("type") else value.get("intVal", 0)
    return found


_SCALARS: Final[dict[str, Callable[[dict[str, Any]], Any]]] = {
    "time": _moment,
    "amount": _amount,
    "intorstr": _number_or_text,
}
"""What is a message in protobuf and a plain value in JSON."""
