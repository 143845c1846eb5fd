"""Discovery documents: what is served, in both forms."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

from onenode.answers import Answer
from onenode.negotiation import DISCOVERY, JSON, Form, encode
from onenode.registry import Registry, Resource
from onenode.requests import Request

__all__ = ["VERSION", "Discovery"]

Obj = dict[str, Any]

VERSION: Final = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.0+onenode",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
"""The API level that is spoken, with a name that says by whom."""
_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Discovery:
    """Makes discovery documents; aggregated ones are kept until the registry changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made: dict[bool, tuple[int, bytes, str]] = {}

    # Unaggregated

    def versions(self, host: str) -> Obj:
        """``/api``."""
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
        }

    def groups(self) -> Obj:
        """``/apis``."""
        names = [name for name in self._registry.versions() if name]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [self._group(name) for name in names]}

    def group(self, name: str) -> Obj | None:
        """``/apis/GROUP``."""
        if not name or name not in self._registry.versions():
            return None
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(name)}

    def _group(self, name: str) -> Obj:
        versions = _by_priority(self._registry.versions()[name])
        shown = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
        return {"name": name, "versions": shown, "preferredVersion": shown[0]}

    def resources(self, group: str, version: str) -> Obj | None:
        """``/apis/GROUP/VERSION``."""
        resources = self._registry.of_version(group, version)
        if not resources:
            return None
        group_version = f"{group}/{version}" if group else version
        document: Obj = {"kind": "APIResourceList", "groupVersion": group_version}
        if group:
            document = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version}
        document["resources"] = [entry for resource in resources for entry in _entries(resource)]
        return document

    # Aggregated

    def aggregated(self, request: Request, form: Form, *, legacy: bool) -> Answer:
        """``/api`` (legacy) or ``/apis`` with all their resources; 304 for a client that has it."""
        body, tag = self._aggregate(legacy=legacy)
        headers = [("ETag", f'"{tag}"'), ("Vary", "Accept")]
        if request.headers.get("if-none-match") == f'"{tag}"':
            return Answer(304, b"", "", headers)
        return Answer(200, body, _AGGREGATED, headers)

    def _aggregate(self, *, legacy: bool) -> tuple[bytes, str]:
        made = self._made.get(legacy)
        if made is None or made[0] != self._registry.changed:
            names = [name for name in self._registry.versions() if (name == "") == legacy]
            document = {
                "kind": DISCOVERY,
                "apiVersion": "apidiscovery.k8s.io/v2",
                "metadata": {},
                "items": [self._aggregated_group(name) for name in names],
            }
            body = encode(document, Form(JSON))
            made = (self._registry.changed, body, hashlib.sha512(body).hexdigest().upper())
            self._made[legacy] = made
        return made[1], made[2]

    def _aggregated_group(self, name: str) -> Obj:
        return {
            "metadata": {"name": name} if name else {},
            "versions": [
                {
                    "version": version,
                    "resources": sorted(
                        (_aggregated(r) for r in self._registry.of_version(name, version)),
                        key=lambda entry: str(entry["resource"]),
                    ),
                    "freshness": "Current",
                }
                for version in _by_priority(self._registry.versions()[name])
            ],
        }


def _by_priority(versions: list[str]) -> list[str]:
    """v1 before v1beta1 before v1alpha1; the larger number first."""

    def rank(version: str) -> tuple[int, int, int]:
        stage = 2 if "beta" in version else 1 if "alpha" in version else 3
        numbers = [int(n) for n in "".join(c if c.isdigit() else " " for c in version).split()]
        return (stage, numbers[0] if numbers else 0, numbers[1] if len(numbers) > 1 else 0)

    return sorted(versions, key=rank, reverse=True)


def _entries(resource: Resource) -> list[Obj]:
    main: Obj = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        main["shortNames"] = list(resource.short_names)
    if resource.categories:
        main["categories"] = list(resource.categories)
    main["storageVersionHash"] = _storage_hash(resource)
    entries = [main]
    for sub in sorted(resource.subresources.values(), key=lambda one: one.name):
        entry: Obj = {
            "name": f"{resource.plural}/{sub.name}",
            "singularName": "",
            "namespaced": resource.namespaced,
        }
        if sub.group:
            entry |= {"group": sub.group, "version": sub.version}
        entry |= {"kind": sub.kind or resource.kind, "verbs": list(sub.verbs)}
        entries.append(entry)
    return entries


def _storage_hash(resource: Resource) -> str:
    text = f"{resource.group}/{resource.version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def _aggregated(resource: Resource) -> Obj:
    custom = resource.custom
    own = ("", "", resource.kind) if not custom else (resource.group, resource.version, resource.kind)
    entry: Obj = {
        "resource": resource.plural,
        "responseKind": {"group": own[0], "version": own[1], "kind": own[2]},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": {
                    "group": sub.group or own[0],
                    "version": sub.version or own[1],
                    "kind": sub.kind or resource.kind,
                },
                "verbs": list(sub.verbs),
            }
            for sub in sorted(resource.subresources.values(), key=lambda one: one.name)
        ]
    return entry
