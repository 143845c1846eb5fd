"""CustomResourceDefinitions: their defaults and rules, and the resources they make.

Pure; ``controllers.definitions`` sets the conditions and tells the registry.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from onenode import causes
from onenode.causes import Cause
from onenode.cells import name_column
from onenode.clock import parse_timestamp
from onenode.durations import age, human_duration
from onenode.jsonpath import JsonPathError, compile_path
from onenode.object_names import label_problems, subdomain_problems
from onenode.registry import Column, Resource, Subresource
from onenode.schema import check_structural

__all__ = [
    "accepted_names",
    "conflict_condition",
    "default_definition",
    "is_established",
    "name_conflicts",
    "prepare_definition",
    "resources_of",
    "validate_definition",
]

Obj = dict[str, Any]

_VERBS: Final = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_SCOPES: Final = ("Cluster", "Namespaced")
_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")


def default_definition(obj: Obj) -> None:
    """Fill in derived names, conversion and the shape of the status."""
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind") or ""
    if kind:
        names.setdefault("singular", kind.lower())
        names.setdefault("listKind", f"{kind}List")
    spec.setdefault("conversion", {"strategy": "None"})


def prepare_definition(obj: Obj) -> None:
    """The first status: nothing accepted yet."""
    stored = [
        v["name"] for v in obj["spec"].get("versions") or [] if isinstance(v, dict) and v.get("storage")
    ]
    obj["status"] = {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": stored,
    }


def validate_definition(obj: Obj, old: Obj | None) -> list[Cause]:
    """Causes about a definition."""
    spec = obj["spec"]
    names, group = spec.get("names") or {}, spec.get("group") or ""
    found: list[Cause] = []
    if obj["metadata"].get("name") != f"{names.get('plural', '')}.{group}":
        text = 'must be spec.names.plural+"."+spec.group'
        found.append(causes.invalid("metadata.name", obj["metadata"].get("name"), text))
    found += _group_causes(group)
    if spec.get("scope") not in _SCOPES:
        missing = not spec.get("scope")
        found.append(
            causes.required("spec.scope")
            if missing
            else causes.not_supported("spec.scope", spec["scope"], _SCOPES)
        )
    found += _names_causes(names)
    found += _version_causes(spec.get("versions") or [])
    if old is not None:
        found += _immutable_causes(spec, old["spec"])
    if (spec.get("conversion") or {}).get("strategy") != "None":
        text = "onenode converts between versions by name only"
        found.append(causes.invalid("spec.conversion.strategy", spec["conversion"].get("strategy"), text))
    return found


def _group_causes(group: str) -> list[Cause]:
    if not group:
        return [causes.required("spec.group")]
    found = [causes.invalid("spec.group", group, text) for text in subdomain_problems(group)]
    if "." not in group:
        found.append(causes.invalid("spec.group", group, "should be a domain with at least one dot"))
    return found


def _names_causes(names: Obj) -> list[Cause]:
    found: list[Cause] = []
    for field in ("plural", "singular", "kind", "listKind"):
        value = names.get(field) or ""
        path = f"spec.names.{field}"
        if not value:
            found.append(causes.required(path))
        else:
            found += [causes.invalid(path, value, text) for text in label_problems(value.lower())]
    return found


def _version_causes(versions: list[Obj]) -> list[Cause]:
    found: list[Cause] = []
    if sum(1 for v in versions if v.get("storage")) != 1:
        text = "must have exactly one version marked as storage version"
        found.append(causes.invalid("spec.versions", versions, text))
    names: set[str] = set()
    for index, version in enumerate(versions):
        name = version.get("name") or ""
        at = f"spec.versions[{index}].name"
        if name in names:
            found.append(causes.duplicate(at, name))
        names.add(name)
        found += [causes.invalid(at, name, text) for text in label_problems(name)]
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        path = f"spec.versions[{index}].schema.openAPIV3Schema"
        if not isinstance(schema, dict):
            found.append(causes.required(path, "schemas are required"))
            continue
        # With one version the server keeps, and cites, the schema at its old place.
        shown = "spec.validation.openAPIV3Schema" if len(versions) == 1 else path
        found += check_structural(schema, shown)
        found += _column_causes(version, f"spec.versions[{index}]")
    return found


def _column_causes(version: Obj, path: str) -> list[Cause]:
    found: list[Cause] = []
    for index, column in enumerate(version.get("additionalPrinterColumns") or []):
        where = f"{path}.additionalPrinterColumns[{index}]"
        if not column.get("name"):
            found.append(causes.required(f"{where}.name"))
        one_of = f"must be one of {','.join(_COLUMN_TYPES)}"
        kind = column.get("type")
        if not kind:
            found.append(causes.required(f"{where}.type", one_of))
        elif kind not in _COLUMN_TYPES:
            found.append(causes.invalid(f"{where}.type", kind, one_of))
        text = column.get("jsonPath") or ""
        try:
            compile_path(text)
        except JsonPathError as error:
            found.append(causes.invalid(f"{where}.jsonPath", text, str(error)))
    return found


def _immutable_causes(spec: Obj, old: Obj) -> list[Cause]:
    found = [
        causes.invalid(f"spec.{field}", spec.get(field), "field is immutable")
        for field in ("group", "scope")
        if spec.get(field) != old.get(field)
    ]
    for field in ("plural", "kind"):
        value = (spec.get("names") or {}).get(field)
        if value != (old.get("names") or {}).get(field):
            found.append(causes.invalid(f"spec.names.{field}", value, "field is immutable"))
    return found


def is_established(definition: Obj) -> bool:
    """Its resources are served."""
    conditions = (definition.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Established" and c.get("status") == "True" for c in conditions)


def accepted_names(definition: Obj) -> Obj:
    """Names a definition asks for, as the status holds them."""
    names = definition["spec"]["names"]
    order = ("plural", "singular", "shortNames", "kind", "listKind", "categories")
    return {field: names[field] for field in order if names.get(field)}


_REASONS: Final = {
    "plural": "PluralConflict",
    "singular": "SingularConflict",
    "shortNames": "ShortNamesConflict",
    "kind": "KindConflict",
    "listKind": "ListKindConflict",
}


def name_conflicts(definition: Obj, others: Iterable[Obj]) -> dict[str, str]:
    """Names that another definition of the group holds: field -> the name."""
    mine = accepted_names(definition)
    group = definition["spec"]["group"]
    words: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other["spec"]["group"] != group or other["metadata"]["name"] == definition["metadata"]["name"]:
            continue
        held = (other.get("status") or {}).get("acceptedNames") or {}
        words |= {held.get("plural", ""), held.get("singular", ""), *(held.get("shortNames") or [])}
        kinds |= {held.get("kind", ""), held.get("listKind", "")}
    found: dict[str, str] = {}
    for field in _REASONS:
        value = mine.get(field)
        taken = kinds if field in ("kind", "listKind") else words
        for one in value if isinstance(value, list) else [value]:
            if one and one in taken:
                found[field] = one
    return found


def conflict_condition(conflicts: Mapping[str, str]) -> tuple[str, str]:
    """Reason and message of the last conflict, as the real controller tells it."""
    field = list(conflicts)[-1]
    return _REASONS[field], f"{causes.go_quote(conflicts[field])} is already in use"


def resources_of(definition: Obj) -> list[Resource]:
    """The resources that a definition makes, one per served version."""
    spec = definition["spec"]
    names = spec["names"]
    found = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        schema = copy.deepcopy(version["schema"]["openAPIV3Schema"])
        subresources = version.get("subresources") or {}
        api_version = f"{spec['group']}/{version['name']}"
        found.append(
            Resource(
                group=spec["group"],
                version=version["name"],
                kind=names["kind"],
                plural=names["plural"],
                singular=names.get("singular", ""),
                namespaced=spec["scope"] == "Namespaced",
                load_schema=partial(dict, schema),
                list_kind=names.get("listKind", ""),
                short_names=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                verbs=_VERBS,
                subresources={"status": Subresource("status")} if "status" in subresources else {},
                columns=_columns(version),
                custom=True,
                from_stored=_in_version(api_version) if len(spec["versions"]) > 1 else None,
            )
        )
    return found


def _in_version(api_version: str) -> Callable[[Obj], Obj]:
    """Conversion by name: the versions of a definition differ in nothing else."""
    return lambda obj: {**obj, "apiVersion": api_version}


def _columns(version: Obj) -> tuple[Column, ...]:
    declared = version.get("additionalPrinterColumns")
    if not declared:
        declared = [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
    return (name_column(), *(_column(one) for one in declared))


def _column(declared: Obj) -> Column:
    find = compile_path(declared["jsonPath"])
    kind = declared["type"]

    def cell(obj: Obj, now: datetime) -> Any:
        values = find(obj)
        return _cell(kind, values[0], now) if values else None

    description = f"Custom resource definition column (in JSONPath format): {declared['jsonPath']}"
    return Column(
        declared["name"],
        kind,
        cell,
        format=declared.get("format") or "",
        priority=declared.get("priority") or 0,
        description=declared.get("description") or description,
    )


def _cell(kind: str, value: Any, now: datetime) -> Any:
    """A value as a cell of its column; what does not fit the type is left out."""
    if kind == "date":
        return _date_cell(value, now)
    if kind == "string":
        return value if isinstance(value, str) else causes.go_json(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "integer":
        return int(value) if is_number else None
    return value if kind == "number" and is_number else None


def _date_cell(value: Any, now: datetime) -> Any:
    if not isinstance(value, str):
        return None
    moment = parse_timestamp(value)
    return age(value, now) if moment is None else human_duration(int((now - moment).total_seconds()))
