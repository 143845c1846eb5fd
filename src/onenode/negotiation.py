"""Which form an answer takes: JSON or YAML; the object, its metadata, or a Table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
import yaml

from onenode.status import not_acceptable

__all__ = ["ACCEPTED", "DISCOVERY", "JSON", "Form", "encode", "negotiate"]

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
ACCEPTED: Final = (JSON, YAML, PROTOBUF)
_STREAMS: Final = (f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
_META: Final = frozenset({"Table", "PartialObjectMetadata", "PartialObjectMetadataList"})
DISCOVERY: Final = "APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Form:
    """What the client wants."""

    media_type: str = JSON
    convert: str = ""
    """Table, PartialObjectMetadata, PartialObjectMetadataList, APIGroupDiscoveryList, or nothing."""
    version: str = "v1"

    @property
    def api_version(self) -> str:
        """apiVersion of the converted form."""
        return f"meta.k8s.io/{self.version}"


def negotiate(accept: str, *, stream: bool = False, discovery: bool = False) -> Form:
    """The first acceptable form.

    Args:
        accept: the header; empty accepts everything.
        stream: for a watch, which has no YAML form.
        discovery: the aggregated discovery document is one of the forms.

    Raises:
        ApiError: there is none.
    """
    for clause in (accept or "*/*").split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        options = dict(part.split("=", 1) for part in parameters if "=" in part)
        media = media.lower()
        if media in ("*/*", "application/*"):
            media = JSON
        if media not in (JSON, YAML) or (stream and media == YAML):
            continue
        wanted, version = options.get("as", ""), options.get("v", "v1")
        if not wanted:
            return Form(media)
        if wanted in _META and options.get("g") == "meta.k8s.io" and version in ("v1", "v1beta1"):
            return Form(media, wanted, version)
        if discovery and wanted == DISCOVERY and version == "v2":
            return Form(media, wanted, version)
    raise not_acceptable(_STREAMS if stream else ACCEPTED)


def encode(body: Any, form: Form, *, in_order: bool = False) -> bytes:
    """The bytes of an answer; ``in_order`` sorts the keys at every level."""
    if form.media_type == YAML:
        return yaml.dump(body, Dumper=_Dumper, sort_keys=True, allow_unicode=True).encode()
    return msgspec.json.encode(body, order="sorted" if in_order else None) + b"\n"


class _Dumper(yaml.CSafeDumper):
    """Writes lists without indentation of their own, and every object in full."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
