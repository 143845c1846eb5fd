"""Kubernetes objects in protobuf: the few kinds that kubectl sends no other way.

Pure. ``kubectl create namespace``, ``create token``, ``auth can-i`` and their kin encode their requests in
protobuf and do not fall back to JSON. This decodes them into the JSON form; answers are JSON, which those
commands accept. A kind or field that is not listed here is refused, never guessed.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["MEDIA_TYPE", "ProtobufError", "decode_protobuf"]

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"

_MAGIC: Final = b"k8s\x00"
_MAX_DEPTH: Final = 20


class ProtobufError(ValueError):
    """A body is not a protobuf object of a kind that is known here."""


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a message.

    ``kind`` is ``str``, ``int``, ``bool``, ``bytes``, ``time``, ``map`` (of strings), ``bytesmap``, or the
    name of a message. ``pointer``: present means set, even to zero; other fields are always sent and zero
    means unset.
    """

    name: str
    kind: str
    repeated: bool = False
    pointer: bool = False


def _message(text: str) -> dict[int, _Field]:
    """Read ``1 name str, 2 spec* Spec, 3 items[] str``."""
    fields: dict[int, _Field] = {}
    for part in text.split(","):
        number, name, kind = part.split()
        bare = name.removesuffix("[]").removesuffix("*")
        fields[int(number)] = _Field(bare, kind, repeated=name.endswith("[]"), pointer=name.endswith("*"))
    return fields


_REVIEW: Final = "1 metadata ObjectMeta, 2 spec {}Spec, 3 status {}Status"
_MESSAGES: Final = {
    name: _message(text)
    for name, text in {
        "Unknown": "1 typeMeta TypeMeta, 2 raw raw, 3 contentEncoding str, 4 contentType str",
        "TypeMeta": "1 apiVersion str, 2 kind str",
        "ObjectMeta": "1 name str, 2 generateName str, 3 namespace str, 4 selfLink str, 5 uid str, "
        "6 resourceVersion str, 7 generation int, 8 creationTimestamp time, 9 deletionTimestamp* time, "
        "10 deletionGracePeriodSeconds* int, 11 labels map, 12 annotations map, "
        "13 ownerReferences[] OwnerReference, 14 finalizers[] str",
        "OwnerReference": "1 kind str, 3 name str, 4 uid str, 5 apiVersion str, 6 controller* bool, "
        "7 blockOwnerDeletion* bool",
        "Namespace": "1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status NamespaceStatus",
        "NamespaceSpec": "1 finalizers[] str",
        "NamespaceStatus": "1 phase str",
        "ConfigMap": "1 metadata ObjectMeta, 2 data map, 3 binaryData bytesmap, 4 immutable* bool",
        "Secret": "1 metadata ObjectMeta, 2 data bytesmap, 3 type str, 4 stringData map, 5 immutable* bool",
        "ServiceAccount": "1 metadata ObjectMeta, 4 automountServiceAccountToken* bool",
        "Role": "1 metadata ObjectMeta, 2 rules[] PolicyRule",
        "ClusterRole": "1 metadata ObjectMeta, 2 rules[] PolicyRule, 3 aggregationRule* AggregationRule",
        "AggregationRule": "1 clusterRoleSelectors[] LabelSelector",
        "PolicyRule": "1 verbs[] str, 2 apiGroups[] str, 3 resources[] str, 4 resourceNames[] str, "
        "5 nonResourceURLs[] str",
        "RoleBinding": "1 metadata ObjectMeta, 2 subjects[] Subject, 3 roleRef RoleRef",
        "ClusterRoleBinding": "1 metadata ObjectMeta, 2 subjects[] Subject, 3 roleRef RoleRef",
        "Subject": "1 kind str, 2 apiGroup str, 3 name str, 4 namespace str",
        "RoleRef": "1 apiGroup str, 2 kind str, 3 name str",
        "TokenRequest": _REVIEW.format("TokenRequest", "TokenRequest"),
        "TokenRequestSpec": "1 audiences[] str, 3 boundObjectRef* BoundObjectReference, "
        "4 expirationSeconds* int",
        "TokenRequestStatus": "1 token str, 2 expirationTimestamp time",
        "BoundObjectReference": "1 kind str, 2 apiVersion str, 3 name str, 4 uid str",
        "SelfSubjectReview": "1 metadata ObjectMeta, 2 status SelfSubjectReviewStatus",
        "SelfSubjectReviewStatus": "1 userInfo UserInfo",
        "UserInfo": "1 username str, 2 uid str, 3 groups[] str",
        "SelfSubjectAccessReview": _REVIEW.format("SelfSubjectAccessReview", "SubjectAccessReview"),
        "SelfSubjectAccessReviewSpec": "1 resourceAttributes* ResourceAttributes, "
        "2 nonResourceAttributes* NonResourceAttributes",
        "ResourceAttributes": "1 namespace str, 2 verb str, 3 group str, 4 version str, 5 resource str, "
        "6 subresource str, 7 name str",
        "NonResourceAttributes": "1 path str, 2 verb str",
        "SubjectAccessReviewStatus": "1 allowed bool, 2 reason str, 3 evaluationError str, 4 denied bool",
        "SelfSubjectRulesReview": _REVIEW.format("SelfSubjectRulesReview", "SubjectRulesReview"),
        "SelfSubjectRulesReviewSpec": "1 namespace str",
        "SubjectRulesReviewStatus": "3 incomplete bool, 4 evaluationError str",
        "Deployment": "1 metadata ObjectMeta, 2 spec DeploymentSpec, 3 status DeploymentStatus",
        "DeploymentSpec": "1 replicas* int, 2 selector* LabelSelector, 3 template PodTemplateSpec, "
        "4 strategy DeploymentStrategy, 5 minReadySeconds int, 6 revisionHistoryLimit* int, 7 paused bool, "
        "9 progressDeadlineSeconds* int",
        "DeploymentStrategy": "1 type str",
        "DeploymentStatus": "1 observedGeneration int, 2 replicas int, 3 updatedReplicas int, "
        "4 availableReplicas int, 5 unavailableReplicas int, 7 readyReplicas int",
        "LabelSelector": "1 matchLabels map",
        "PodTemplateSpec": "1 metadata ObjectMeta, 2 spec PodSpec",
        "PodSpec": "2 containers[] Container, 3 restartPolicy str, 4 terminationGracePeriodSeconds* int, "
        "5 activeDeadlineSeconds* int, 6 dnsPolicy str, 7 nodeSelector map, 8 serviceAccountName str, "
        "9 serviceAccount str, 10 nodeName str, 11 hostNetwork bool, 12 hostPID bool, 13 hostIPC bool, "
        "16 hostname str, 17 subdomain str, 19 schedulerName str, 24 priorityClassName str",
        "Container": "1 name str, 2 image str, 3 command[] str, 4 args[] str, 5 workingDir str, "
        "6 ports[] ContainerPort, 8 resources ResourceRequirements, 13 terminationMessagePath str, "
        "14 imagePullPolicy str, 16 stdin bool, 17 stdinOnce bool, 18 tty bool, "
        "20 terminationMessagePolicy str",
        "ContainerPort": "1 name str, 2 hostPort int, 3 containerPort int, 4 protocol str, 5 hostIP str",
        "Timestamp": "1 seconds int, 2 nanos int",
        "Entry": "1 key str, 2 value str",
        "BytesEntry": "1 key str, 2 value bytes",
    }.items()
}
_MESSAGES["ResourceRequirements"] = {}
_KINDS: Final = frozenset(
    {"Namespace", "ConfigMap", "Secret", "ServiceAccount", "Role", "ClusterRole", "RoleBinding"}
    | {"ClusterRoleBinding", "TokenRequest", "SelfSubjectReview", "SelfSubjectAccessReview"}
    | {"SelfSubjectRulesReview", "Deployment"}
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
    known = _MESSAGES[message]
    decoded: dict[str, Any] = {}
    for number, raw in _fields(data):
        field = known.get(number)
        if field is None:
            raise ProtobufError(f"field {number} of {message} is accepted in JSON or YAML only")
        value = _value(raw, field, depth)
        if field.repeated:
            decoded.setdefault(field.name, []).append(value)
        elif field.kind in ("map", "bytesmap"):
            decoded.setdefault(field.name, {})[value.get("key", "")] = value.get("value", "")
        elif field.pointer or value not in ("", 0, False, None, {}):
            decoded[field.name] = value
    return decoded


_WIRE_MESSAGES: Final = {"map": "Entry", "bytesmap": "BytesEntry", "time": "Timestamp"}


def _value(raw: int | bytes, field: _Field, depth: int) -> Any:
    kind = field.kind
    if kind in ("int", "bool"):
        if not isinstance(raw, int):
            raise ProtobufError(f"{field.name} is not a number")
        return bool(raw) if kind == "bool" else raw - 2**64 * (raw >> 63)
    if not isinstance(raw, bytes):
        raise ProtobufError(f"{field.name} is a number")
    if kind == "raw":
        return raw
    if kind == "bytes":
        return base64.b64encode(raw).decode()
    if kind == "str":
        return _text(raw, field.name)
    inner = _decode(raw, _WIRE_MESSAGES.get(kind, kind), depth + 1)
    return _moment(inner) if kind == "time" else inner


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
