"""Keeps the conditions of CustomResourceDefinitions and tells the registry what to serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from onenode import crds
from onenode.builtin_resources import CRDS
from onenode.clock import timestamp
from onenode.deletion import CRD_CLEANUP, delete_record
from onenode.registry import Registry, Resource
from onenode.store import Store
from onenode.watch import Event

__all__ = ["DefinitionError", "Definitions", "load_definitions"]

Obj = dict[str, Any]

_ACCEPTED: Final = ("True", "NoConflicts", "no conflicts found")
_ESTABLISHED: Final = ("True", "InitialNamesAccepted", "the initial names have been accepted")
_INSTALLING: Final = ("False", "Installing", "the initial names have been accepted")
_NOT_ESTABLISHED: Final = ("False", "NotAccepted", "not all names are accepted")


class DefinitionError(Exception):
    """A file with a CustomResourceDefinition is not usable; the message says which and why."""


def load_definitions(store: Store, folder: Path) -> None:
    """Store the definitions in the YAML files of a folder; present ones are brought up to date.

    Raises:
        DefinitionError: a file does not hold a valid definition.
    """
    for path in sorted(folder.glob("*.y*ml")):
        for document in yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader):
            if document is not None:
                _load(store, path, document)


def _load(store: Store, path: Path, definition: Any) -> None:
    if not isinstance(definition, dict) or definition.get("kind") != "CustomResourceDefinition":
        raise DefinitionError(f"{path} holds something else than a CustomResourceDefinition")
    crds.default_definition(definition)
    found = crds.validate_definition(definition, None)
    if found:
        raise DefinitionError(f"{path}: {'; '.join(cause.text for cause in found)}")
    old = store.get(CRDS, None, definition["metadata"]["name"])
    if old is None:
        crds.prepare_definition(definition)
        definition["metadata"]["generation"] = 1
        store.create(CRDS, definition)
    elif old["spec"] != definition["spec"]:
        old["spec"] = definition["spec"]
        old["metadata"]["generation"] = (old["metadata"].get("generation") or 0) + 1
        store.update(CRDS, old)


class Definitions:
    """The controller."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    def start(self) -> None:
        """Establish what can be, serve what is."""
        for record in self._store.records(CRDS):
            self._reconcile(record.copy())
        self._serve()

    def handle(self, event: Event) -> None:
        """React to a definition, and to the end of an object of one that goes."""
        if event.record.resource == CRDS:
            if event.type != "DELETED":
                current = self._store.get(CRDS, None, event.record.name)
                if current is not None:
                    self._reconcile(current)
            else:
                self._retry_conflicts()
            self._serve()
        elif event.type == "DELETED":
            definition = self._store.get(CRDS, None, event.record.resource)
            if definition is not None and definition["metadata"].get("deletionTimestamp"):
                self._finish(definition)

    def _reconcile(self, definition: Obj) -> None:
        if definition["metadata"].get("deletionTimestamp"):
            self._finish(definition)
            return
        others = [record.view for record in self._store.records(CRDS)]
        conflicts = crds.name_conflicts(definition, others)
        names = ("False", *crds.conflict_condition(conflicts)) if conflicts else _ACCEPTED
        changed = self._set_condition(definition, "NamesAccepted", names)
        accepted = {n: v for n, v in crds.accepted_names(definition).items() if n not in conflicts}
        accepted = {"plural": "", "kind": ""} | accepted
        changed |= definition["status"].get("acceptedNames") != accepted
        definition["status"]["acceptedNames"] = accepted
        if conflicts and not crds.is_established(definition):
            changed |= self._set_condition(definition, "Established", _NOT_ESTABLISHED)
        if not conflicts and not crds.is_established(definition):
            changed |= self._set_condition(definition, "Established", _INSTALLING)
        if changed:
            definition = self._store.update(CRDS, definition)
        if not conflicts and self._set_condition(definition, "Established", _ESTABLISHED):
            self._store.update(CRDS, definition)

    def _set_condition(self, definition: Obj, kind: str, wanted: tuple[str, str, str]) -> bool:
        """True if it changed."""
        status, reason, message = wanted
        definition.setdefault("status", {})
        conditions = definition["status"].get("conditions") or []
        old = next((c for c in conditions if c.get("type") == kind), None)
        if old is not None and (old["status"], old["reason"], old["message"]) == wanted:
            return False
        changed_at = timestamp(self._store.clock())
        if old is not None and old["status"] == status:
            changed_at = old["lastTransitionTime"]
        new = {
            "type": kind,
            "status": status,
            "lastTransitionTime": changed_at,
            "reason": reason,
            "message": message,
        }
        definition["status"]["conditions"] = [c for c in conditions if c.get("type") != kind] + [new]
        order = {"NamesAccepted": 0, "Established": 1}
        definition["status"]["conditions"].sort(key=lambda c: order.get(c["type"], 2))
        return True

    def _retry_conflicts(self) -> None:
        for record in self._store.records(CRDS):
            if not crds.is_established(record.view):
                self._reconcile(record.copy())

    def _finish(self, definition: Obj) -> None:
        """Delete the objects of a definition that goes, then let it go."""
        name = definition["metadata"]["name"]
        resource = self._resource(definition)
        for record in self._store.records(name):
            delete_record(self._store, resource, record)
        if self._store.records(name):
            return
        current = self._store.get(CRDS, None, name)
        if current is None:
            return
        finalizers = [f for f in current["metadata"].get("finalizers") or [] if f != CRD_CLEANUP]
        current["metadata"]["finalizers"] = finalizers
        self._store.update(CRDS, current)

    def _resource(self, definition: Obj) -> Resource:
        served = {**definition, "spec": {**definition["spec"]}}
        served["spec"]["versions"] = [{**v, "served": True} for v in definition["spec"]["versions"]]
        return crds.resources_of(served)[0]

    def _serve(self) -> None:
        resources = [
            resource
            for record in self._store.records(CRDS)
            if crds.is_established(record.view)
            for resource in crds.resources_of(record.view)
        ]
        self._registry.replace_custom(resources)
