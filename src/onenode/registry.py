"""The resources that are served: built-in ones and those of the CustomResourceDefinitions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from onenode.object_names import subdomain_problems

__all__ = ["ALL_VERBS", "METADATA_FIELDS", "Column", "Registry", "Resource", "Subresource"]

ALL_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
METADATA_FIELDS: Final = frozenset({"metadata.name", "metadata.namespace"})
"""What every kind can be selected by."""

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the Table form."""

    name: str
    type: str
    cell: Callable[[Obj, datetime], Any]
    """Value for an object at a moment."""
    format: str = ""
    priority: int = 0
    description: str = ""

    def definition(self) -> dict[str, Any]:
        """As in ``columnDefinitions``."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of an object with a path of its own."""

    name: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    kind: str = ""
    """Kind of its body, if not the resource's own."""
    group: str = ""
    version: str = ""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource in one version."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    load_schema: Callable[[], dict[str, Any]]
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: Mapping[str, Subresource] = field(default_factory=dict)
    columns: tuple[Column, ...] = ()
    custom: bool = False
    """Defined by a CustomResourceDefinition."""
    field_annotation: str = ""
    """An annotation that is a field inside a real server; rows of Tables, made there, lack it."""
    selectable: Collection[str] = METADATA_FIELDS
    plain_selectors: bool = False
    """A kind without selectable fields of its own words its refusal differently."""
    name_problems: Callable[[str], list[str]] = subdomain_problems
    storage: str = ""
    """Name in the store, if another resource holds the objects."""
    from_stored: Callable[[Obj], Obj] | None = None
    """Makes this version of a stored object, in a copy; ``None`` if it is stored as served."""
    to_stored: Callable[[Obj], Obj] | None = None
    """The way back."""

    @property
    def group_version(self) -> str:
        """``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def full_name(self) -> str:
        """``plural`` or ``plural.group``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def stored_as(self) -> str:
        """Name in the store."""
        return self.storage or self.full_name

    @cached_property
    def schema(self) -> dict[str, Any]:
        """Structural schema; shared, never change it."""
        return self.load_schema()

    @property
    def has_status(self) -> bool:
        """Its status is written through a subresource only."""
        return "status" in self.subresources

    def list_name(self) -> str:
        """Kind of its lists."""
        return self.list_kind or f"{self.kind}List"


class Registry:
    """All resources, found by their path.

    ``changed`` counts changes of the custom ones; discovery and OpenAPI keep what they made of it until then.
    """

    def __init__(self, builtin: Iterable[Resource]) -> None:
        self._builtin = {(r.group, r.version, r.plural): r for r in builtin}
        self._custom: dict[tuple[str, str, str], Resource] = {}
        self.changed = 0

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource of a path."""
        key = (group, version, plural)
        return self._builtin.get(key) or self._custom.get(key)

    def by_kind(self, group: str, version: str, kind: str) -> Resource | None:
        """The resource of an apiVersion and kind."""
        for resource in self.all():
            if (resource.group, resource.version, resource.kind) == (group, version, kind):
                return resource
        return None

    def is_builtin_group(self, group: str) -> bool:
        """The group belongs to the server itself."""
        return any(key[0] == group for key in self._builtin)

    def is_builtin(self, group: str, plural: str) -> bool:
        """The resource belongs to the server itself."""
        return any((key[0], key[2]) == (group, plural) for key in self._builtin)

    def all(self) -> list[Resource]:
        """Every resource, built-in ones first."""
        return [*self._builtin.values(), *self._custom.values()]

    def stored(self) -> dict[str, Resource]:
        """One resource for each name in the store: the one to write it through."""
        found: dict[str, Resource] = {}
        for resource in self.all():
            if not resource.storage:
                found.setdefault(resource.stored_as, resource)
        return found

    def versions(self) -> dict[str, list[str]]:
        """Groups with their versions, in the order of the registry."""
        groups: dict[str, list[str]] = {}
        for resource in self.all():
            versions = groups.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        return groups

    def of_version(self, group: str, version: str) -> list[Resource]:
        """The resources of one group version."""
        return [r for r in self.all() if (r.group, r.version) == (group, version)]

    def replace_custom(self, resources: Iterable[Resource]) -> None:
        """Serve exactly these custom resources."""
        self._custom = {(r.group, r.version, r.plural): r for r in resources}
        self.changed += 1
