"""Which objects of a resource a request is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onenode.registry import Resource
from onenode.requests import Request
from onenode.selectors import SelectorError, parse_field_selector, parse_label_selector
from onenode.status import bad_request
from onenode.watch import Record

__all__ = ["Selection"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Namespace, name, labels and fields."""

    namespace: str | None
    labels: Callable[[dict[str, str]], bool] | None
    fields: Callable[[dict[str, Any]], bool] | None
    resource: Resource
    name: str = ""

    @classmethod
    def of(cls, request: Request, resource: Resource, namespace: str | None, name: str = "") -> Selection:
        """Understand the selectors of a request.

        Raises:
            ApiError: one cannot be parsed or uses an unknown field.
        """
        label_text, field_text = request.parameter("labelSelector"), request.parameter("fieldSelector")
        try:
            labels = parse_label_selector(label_text) if label_text else None
            fields = (
                parse_field_selector(field_text, resource.selectable, plain=resource.plain_selectors)
                if field_text
                else None
            )
        except SelectorError as error:
            raise bad_request(str(error)) from error
        return cls(namespace, labels, fields, resource, name)

    @property
    def is_everything(self) -> bool:
        """There are no selectors."""
        return self.labels is None and self.fields is None

    def matches(self, record: Record | None) -> bool:
        """The object is one of them."""
        if record is None or (self.namespace is not None and record.namespace != self.namespace):
            return False
        if self.name and record.name != self.name:
            return False
        if self.is_everything:
            return True
        view = record.view
        if self.labels is not None and not self.labels(view["metadata"].get("labels") or {}):
            return False
        if self.fields is None:
            return True
        convert = self.resource.from_stored
        return self.fields(view if convert is None else convert(view))
