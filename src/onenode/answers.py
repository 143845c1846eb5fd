"""Answers: objects and lists in the form the client asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from onenode.cells import CREATED_AT
from onenode.negotiation import Form, encode
from onenode.registry import Resource
from onenode.status import ApiError, bad_request, internal_error
from onenode.watch import Record

__all__ = ["TEXT", "Answer", "Renderer", "error_answer", "text_answer"]

TEXT: Final = "text/plain; charset=utf-8"
_INCLUDE: Final = ("", "Metadata", "Object", "None")

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; the body is whole, or comes in pieces."""

    status: int
    body: bytes | AsyncIterator[bytes]
    media_type: str
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple)


def text_answer(status: int, text: str) -> Answer:
    """Plain text."""
    return Answer(status, text.encode(), TEXT)


def error_answer(error: ApiError, form: Form | None = None) -> Answer:
    """A Status, in the client's media type."""
    form = form or Form()
    return Answer(error.code, encode(error.to_status(), form), form.media_type, error.headers)


@dataclass(frozen=True, slots=True)
class Renderer:
    """Makes answers about one resource in one form."""

    resource: Resource
    form: Form
    now: datetime
    include_object: str = ""

    def check(self) -> None:
        """Judge ``includeObject``.

        Raises:
            ApiError: it has a value that does not exist.
        """
        if self.form.convert == "Table" and self.include_object not in _INCLUDE:
            raise bad_request(
                "Unable to convert to Table as requested: includeObject: Invalid value: "
                f"\"{self.include_object}\": must be 'Metadata', 'Object', 'None', or empty"
            )

    def served(self, stored: Obj) -> Obj:
        """A stored object in the version of this resource."""
        convert = self.resource.from_stored
        return stored if convert is None else convert(stored)

    def one(self, stored: Obj, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        """One object."""
        body: Any
        if self.form.convert == "Table":
            body = self.table([stored], {"resourceVersion": stored["metadata"].get("resourceVersion", "")})
        elif self.form.convert == "PartialObjectMetadata":
            body = self.partial(stored)
        elif self.form.convert:
            raise internal_error("content is not a list")
        else:
            body = self.served(stored)
        return Answer(status, self._encode(body), self.form.media_type, headers)

    def many(self, records: Sequence[Record], metadata: Obj) -> Answer:
        """A list; ``metadata`` is the list's own."""
        if self.form.convert == "Table":
            body: Any = self.table([record.view for record in records], metadata)
        elif self.form.convert == "PartialObjectMetadata":
            kind = (
                "*unstructured.UnstructuredList"
                if self.resource.custom
                else f"*v1.{self.resource.list_name()}"
            )
            text = f"you requested PartialObjectMetadata, but the requested object is a list ({kind})"
            raise ApiError(406, "NotAcceptable", text)
        elif self.form.convert:
            items = [self.partial(record.view) for record in records]
            body = {
                "kind": "PartialObjectMetadataList",
                "apiVersion": self.form.api_version,
                "metadata": metadata,
                "items": items or None,
            }
        else:
            body = self._plain_list(records, metadata)
        return Answer(200, self._encode(body), self.form.media_type)

    def _plain_list(self, records: Sequence[Record], metadata: Obj) -> Obj:
        resource = self.resource
        is_json = self.form == Form()
        kind, api_version = resource.list_name(), resource.group_version
        if resource.custom:
            raw = is_json and resource.from_stored is None
            items = [msgspec.Raw(r.raw) if raw else self.served(r.view) for r in records]
            return {
                "apiVersion": api_version,
                "items": items,
                "kind": kind,
                "metadata": {"continue": "", **metadata},
            }
        bare = []
        for record in records:
            item = self.served(record.view)
            bare.append({name: item[name] for name in item if name not in ("kind", "apiVersion")})
        return {"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": bare}

    def partial(self, stored: Obj) -> Obj:
        """Metadata only."""
        return {
            "kind": "PartialObjectMetadata",
            "apiVersion": self.form.api_version,
            "metadata": stored["metadata"],
        }

    def table(self, stored: Sequence[Obj], metadata: Obj, *, definitions: bool = True) -> Obj:
        """The Table of some objects."""
        columns = self.resource.columns or CREATED_AT
        rows = [
            {"cells": [column.cell(obj, self.now) for column in columns], "object": self._row_object(obj)}
            for obj in stored
        ]
        return {
            "kind": "Table",
            "apiVersion": self.form.api_version,
            "metadata": metadata,
            "columnDefinitions": [column.definition() for column in columns] if definitions else None,
            "rows": rows if rows or self.resource.columns else None,
        }

    def _row_object(self, stored: Obj) -> Obj | None:
        if self.include_object == "None":
            return None
        if self.include_object == "Object":
            return self.served(stored)
        row = self.partial(stored)
        annotations = row["metadata"].get("annotations")
        if annotations and self.resource.field_annotation in annotations:
            kept = {k: v for k, v in annotations.items() if k != self.resource.field_annotation}
            row["metadata"] = {k: v for k, v in row["metadata"].items() if k != "annotations"}
            if kept:
                row["metadata"]["annotations"] = kept
        return row

    def _encode(self, body: Any) -> bytes:
        return encode(body, self.form, in_order=self.resource.custom and not self.form.convert)
