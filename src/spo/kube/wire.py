"""Shapes of list answers and watch events around any kind, and their decoders."""

from functools import cache
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

import msgspec

from spo.kube.errors import Status


class Metadata(Protocol):
    """The metadata that the runtime itself reads."""

    @property
    def name(self) -> str:
        """Name in the namespace."""

    @property
    def namespace(self) -> str | None:
        """``None`` or empty for cluster-scoped objects."""

    @property
    def uid(self) -> str:
        """Tells apart two objects that had the same name one after the other."""

    @property
    def resource_version(self) -> str:
        """Version of the stored object; opaque."""


class KubeObject(Protocol):
    """Any object of the API, as a slim struct."""

    @property
    def metadata(self) -> Metadata:
        """Its identity."""


T = TypeVar("T", bound=KubeObject)


class KeyMeta(msgspec.Struct, rename="camel", frozen=True):
    """Identity of an object and nothing else."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class KeyOnly(msgspec.Struct, frozen=True):
    """An object of which only the identity is read."""

    metadata: KeyMeta


class Unreadable(msgspec.Struct, frozen=True):
    """An object that exists, but whose content does not fit our type."""

    metadata: KeyMeta
    problem: str


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list."""

    items: list[T]
    resource_version: str
    """Version of the whole list: where a watch may start."""
    continue_: str = ""
    """Token of the next page; empty on the last one."""
    unreadable: tuple[Unreadable, ...] = ()
    """Present, but not in ``items``: never take these for absent."""


class Added(msgspec.Struct, Generic[T], frozen=True, tag="ADDED"):
    """The object is new, or began to match the selector."""

    object: T


class Modified(msgspec.Struct, Generic[T], frozen=True, tag="MODIFIED"):
    """The object changed."""

    object: T


class Deleted(msgspec.Struct, frozen=True, tag="DELETED"):
    """The object is gone, or no longer matches the selector."""

    object: KeyOnly


class Bookmark(msgspec.Struct, frozen=True, tag="BOOKMARK"):
    """Nothing changed; a watch may resume from this version."""

    object: KeyOnly


class WatchError(msgspec.Struct, frozen=True, tag="ERROR"):
    """The server ends the watch and says why; the client raises it as an ApiError."""

    object: Status


WatchEvent: TypeAlias = Added[T] | Modified[T] | Deleted | Bookmark | Unreadable


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _ListBody(msgspec.Struct):
    metadata: _ListMeta
    # Only the envelope here: the items are decoded by decode_page.
    items: list[msgspec.Raw] | None = None


class _TypedListBody(msgspec.Struct, Generic[T]):
    metadata: _ListMeta
    items: list[T] | None = None


class _Envelope(msgspec.Struct):
    type: str
    object: msgspec.Raw


_raw_list = msgspec.json.Decoder(_ListBody)
_envelope = msgspec.json.Decoder(_Envelope)
_key_only = msgspec.json.Decoder(KeyOnly)
_status = msgspec.json.Decoder(Status)


@cache
def _object_decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def _list_decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast("Any", _TypedListBody)[kind])


@cache
def _event_decoder(kind: type[Any]) -> msgspec.json.Decoder[Any]:
    added, modified = cast("Any", Added)[kind], cast("Any", Modified)[kind]
    return msgspec.json.Decoder(added | modified | Deleted | Bookmark | WatchError)


def decode_object(body: bytes | msgspec.Raw, kind: type[T]) -> T | Unreadable:
    """One object; raises ``msgspec.DecodeError`` if it is none at all."""
    try:
        return cast("T", _object_decoder(kind).decode(body))
    except msgspec.ValidationError as error:
        return Unreadable(_key_only.decode(body).metadata, str(error))


def decode_page(body: bytes, kind: type[T]) -> Page[T]:
    """One page of a list; objects that do not fit ``kind`` end up in ``unreadable``.

    Raises:
        msgspec.DecodeError: not a list at all, or an item without a readable name.
    """
    try:
        whole = _list_decoder(kind).decode(body)
        return Page(whole.items or [], whole.metadata.resource_version, whole.metadata.continue_)
    except msgspec.ValidationError:
        return _decode_page_one_by_one(body, kind)


def _decode_page_one_by_one(body: bytes, kind: type[T]) -> Page[T]:
    envelope = _raw_list.decode(body)
    items: list[T] = []
    unreadable: list[Unreadable] = []
    for raw in envelope.items or ():
        item = decode_object(raw, kind)
        if isinstance(item, Unreadable):
            unreadable.append(item)
        else:
            items.append(item)
    return Page(items, envelope.metadata.resource_version, envelope.metadata.continue_, tuple(unreadable))


def decode_event(line: bytes, kind: type[T]) -> WatchEvent[T] | WatchError:
    """One line of a watch.

    Raises:
        msgspec.DecodeError: not JSON, an unknown event type, or an object without a readable name.
    """
    try:
        return cast("WatchEvent[T] | WatchError", _event_decoder(kind).decode(line))
    except msgspec.ValidationError as error:
        envelope = _envelope.decode(line)
        if envelope.type not in {"ADDED", "MODIFIED"}:
            raise
        return Unreadable(_key_only.decode(envelope.object).metadata, str(error))


def decode_status(body: bytes) -> Status:
    """The body of a refusal; a text that is no Status becomes its message, shortened."""
    try:
        return _status.decode(body)
    except msgspec.DecodeError:
        return Status(message=body[:_MAX_TEXT].decode("utf-8", "replace").strip())


_MAX_TEXT = 300  # enough of a proxy's error page to recognise it
