"""The CustomResourceDefinitions of all our kinds, generated from their structs."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from spo.api.apparmor_profile import APPARMOR_PROFILES
from spo.api.node_status import PROFILE_NODE_STATUSES
from spo.api.profile_binding import PROFILE_BINDINGS
from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.raw_selinux_profile import RAW_SELINUX_PROFILES
from spo.api.resource import Resource
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.api.selinux_profile import SELINUX_PROFILES
from spo.api.spod import SPODS
from spo.api.structural_schema import Schema, structural_schema

WIDE: Final = 10
"""Priority of columns that only ``kubectl get -o wide`` shows."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0

    def as_object(self) -> dict[str, Any]:
        """As in ``additionalPrinterColumns``."""
        column: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.json_path}
        return {**column, "priority": self.priority} if self.priority else column


AGE: Final = Column("Age", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True, slots=True)
class CustomResource:
    """What a CRD says beside the schema."""

    resource: Resource[Any]
    short_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    has_status_subresource: bool = True


SELINUX_COLUMNS: Final = (Column("Usage", ".status.usage"), Column("State", ".status.status"))

CUSTOM_RESOURCES: Final = (
    CustomResource(
        SECCOMP_PROFILES,
        short_names=("sp",),
        columns=(
            Column("Status", ".status.status"),
            AGE,
            Column("LocalhostProfile", ".status.localhostProfile", priority=WIDE),
        ),
    ),
    CustomResource(PROFILE_BINDINGS),
    CustomResource(PROFILE_RECORDINGS, columns=(Column("PodSelector", ".spec.podSelector", priority=WIDE),)),
    CustomResource(SPODS, short_names=("spod",), columns=(Column("State", ".status.state"),)),
    CustomResource(
        PROFILE_NODE_STATUSES,
        short_names=("spns",),
        columns=(
            Column("Node", ".nodeName"),
            Column("Installed", ".installed", "integer"),
            Column("Failed", ".failed", "integer"),
            AGE,
        ),
        has_status_subresource=False,
    ),
    CustomResource(SELINUX_PROFILES, columns=SELINUX_COLUMNS),
    CustomResource(RAW_SELINUX_PROFILES, columns=SELINUX_COLUMNS),
    CustomResource(APPARMOR_PROFILES, short_names=("aa",), columns=(Column("Status", ".status.status"),)),
)
"""Every kind of ours."""

_TYPE_META: Final[dict[str, Schema]] = {
    "apiVersion": {"description": "Group and version of this object's schema.", "type": "string"},
    "kind": {"description": "Kind of this object.", "type": "string"},
    # The API server refuses any other word about metadata.
    "metadata": {"type": "object"},
}


def custom_resource_definitions() -> list[dict[str, Any]]:
    """All CRDs, in a fixed order."""
    return [custom_resource_definition(kind) for kind in CUSTOM_RESOURCES]


def custom_resource_definition(kind: CustomResource) -> dict[str, Any]:
    """The CRD of one kind: one version, served and stored."""
    resource = kind.resource
    names: dict[str, Any] = {
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "plural": resource.plural,
        "singular": resource.kind.lower(),
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    version: dict[str, Any] = {
        "name": resource.version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}} if kind.has_status_subresource else {},
    }
    if kind.columns:
        version["additionalPrinterColumns"] = [column.as_object() for column in kind.columns]
    version["schema"] = {"openAPIV3Schema": root_schema(resource.type)}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": names,
            "versions": [version],
        },
    }


def root_schema(kind: type[msgspec.Struct]) -> Schema:
    """Schema of whole objects of a kind, with the fields that every object has."""
    schema = structural_schema(kind)
    return {**schema, "properties": {**_TYPE_META, **schema["properties"]}}
