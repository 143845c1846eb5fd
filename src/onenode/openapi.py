"""OpenAPI: the index and one document per group version (v3), and an empty document for v2.

kubectl reads v3 for ``explain`` and to learn that PATCH takes ``fieldValidation``. It asks for v2 before it
patches a custom resource, only to look for a schema that custom resources do not have there: the answer is a
valid document without definitions.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from onenode.answers import Answer
from onenode.negotiation import JSON, PROTOBUF, Form, encode
from onenode.patching import APPLY, JSON_PATCH, MERGE, STRATEGIC
from onenode.pruning import METADATA_SCHEMA
from onenode.registry import Registry, Resource
from onenode.requests import Request
from onenode.status import PageNotFoundError, not_acceptable

__all__ = ["OpenApi"]

Obj = dict[str, Any]

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_TEXTS: Final = {
    "apiVersion": "APIVersion defines the versioned schema of this representation of an object. Servers "
    "should convert recognized schemas to the latest internal value, and may reject unrecognized values. "
    "More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
    "kind": "Kind is a string value representing the REST resource this object represents. Servers may "
    "infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. "
    "More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
    "metadata": "Standard object's metadata. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
}
_V2_PROTOBUF: Final = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_V2_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_V2_INFO: Final = b"\x0a\x0aKubernetes\x12\x041.36"
_V2_BYTES: Final = b"\x0a\x032.0\x12" + bytes([len(_V2_INFO)]) + _V2_INFO + b"\x42\x00"
"""openapi.v2.Document in protobuf: swagger (1), info (2) with title and version, empty paths (8)."""


class OpenApi:
    """Makes the documents; each is kept until the registry changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._documents: dict[tuple[str, str], tuple[int, bytes, str]] = {}

    def index(self) -> Answer:
        """``/openapi/v3``."""
        paths: Obj = {}
        for group, versions in self._registry.versions().items():
            for version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                tag = self._document(group, version)[1]
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={tag}"}
        body = encode({"paths": dict(sorted(paths.items()))}, Form())
        return Answer(200, body, "text/plain; charset=utf-8")

    def document(self, request: Request, path: str) -> Answer:
        """``/openapi/v3/...``.

        Raises:
            PageNotFoundError: there is no such group version.
        """
        parts = path.split("/")
        group, version = ("", parts[1]) if parts[0] == "api" and len(parts) == 2 else ("", "")
        if parts[0] == "apis" and len(parts) == 3:
            group, version = parts[1], parts[2]
        if not version or not self._registry.of_version(group, version):
            raise PageNotFoundError
        accept = request.headers.get("accept", "*/*")
        if not any(word in accept for word in ("json", "*/*")):
            raise not_acceptable([JSON])
        body, tag = self._document(group, version)
        headers = [("ETag", f'"{tag}"'), ("Vary", "Accept")]
        if request.headers.get("if-none-match") == f'"{tag}"':
            return Answer(304, b"", "", headers)
        if request.parameter("hash") == tag:
            headers.append(("Cache-Control", "public, immutable"))
        return Answer(200, body, JSON, headers)

    def version_two(self, request: Request) -> Answer:
        """``/openapi/v2``: a document that defines nothing."""
        accept = request.headers.get("accept", "*/*")
        tag = '"empty"'
        headers = [("ETag", tag), ("Vary", "Accept-Encoding"), ("Vary", "Accept")]
        if request.headers.get("if-none-match") == tag:
            return Answer(304, b"", "", headers)
        if _V2_PROTOBUF in accept or PROTOBUF in accept:
            return Answer(200, _V2_BYTES, _V2_TYPE, headers)
        body = {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "1.36"}, "paths": {}}
        return Answer(200, encode(body, Form()), JSON, headers)

    def _document(self, group: str, version: str) -> tuple[bytes, str]:
        made = self._documents.get((group, version))
        if made is None or made[0] != self._registry.changed:
            body = encode(self._made(group, version), Form())
            made = (self._registry.changed, body, hashlib.sha512(body).hexdigest().upper())
            self._documents[group, version] = made
        return made[1], made[2]

    def _made(self, group: str, version: str) -> Obj:
        resources = self._registry.of_version(group, version)
        schemas: Obj = {
            f"{_META}.ObjectMeta": _public(METADATA_SCHEMA),
            f"{_META}.ListMeta": {"type": "object"},
            f"{_META}.Patch": {"type": "object"},
        }
        paths: Obj = {}
        for resource in resources:
            schemas[_schema_name(resource)] = _schema(resource)
            paths |= _paths(resource)
        custom = any(resource.custom for resource in resources)
        return {
            "openapi": "3.0.0",
            "info": {
                "title": "Kubernetes CRD Swagger" if custom else "Kubernetes",
                "version": "v0.1.0" if custom else "1.36",
            },
            "paths": paths,
            "components": {"schemas": schemas},
        }


def _schema_name(resource: Resource) -> str:
    if not resource.custom:
        return f"io.k8s.api.{resource.group.partition('.')[0] or 'core'}.{resource.version}.{resource.kind}"
    return ".".join([*reversed(resource.group.split(".")), resource.version, resource.kind])


def _reference(name: str) -> Obj:
    return {"$ref": f"#/components/schemas/{name}"}


def _schema(resource: Resource) -> Obj:
    schema: Obj = _public(resource.schema)
    properties = {**schema.get("properties", {})}
    for name in ("apiVersion", "kind"):
        properties[name] = {"type": "string", "description": _TEXTS[name]}
    properties["metadata"] = {
        "description": _TEXTS["metadata"],
        "allOf": [_reference(f"{_META}.ObjectMeta")],
        "default": {},
    }
    schema["properties"] = dict(sorted(properties.items()))
    schema["x-kubernetes-group-version-kind"] = [_kind(resource)]
    return schema


def _kind(resource: Resource) -> Obj:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _public(schema: Any) -> Any:
    """A schema without extensions of our own."""
    if isinstance(schema, dict):
        return {k: _public(v) for k, v in schema.items() if not k.startswith("x-onenode-")}
    return [_public(item) for item in schema] if isinstance(schema, list) else schema


def _parameter(name: str, kind: str = "string", where: str = "query") -> Obj:
    parameter: Obj = {"name": name, "in": where, "schema": {"type": kind, "uniqueItems": True}}
    if where == "path":
        parameter["required"] = True
    return parameter


def _paths(resource: Resource) -> Obj:
    """The paths of one resource, with the operations that clients look for."""
    root = f"/apis/{resource.group}" if resource.group else "/api"
    place = "/namespaces/{namespace}" if resource.namespaced else ""
    collection = f"{root}/{resource.version}{place}/{resource.plural}"
    held = [_parameter("namespace", where="path")] if resource.namespaced else []
    write = [_parameter("dryRun"), _parameter("fieldManager"), _parameter("fieldValidation")]
    forms = [JSON_PATCH, MERGE, *([] if resource.custom else [STRATEGIC]), APPLY]
    patch = {
        **_operation(resource, "patch", [*write, _parameter("force", "boolean")]),
        "requestBody": {
            "content": {form: {"schema": _reference(f"{_META}.Patch")} for form in forms},
            "required": True,
        },
    }
    return {
        collection: {
            "get": _operation(resource, "list", []),
            "post": _operation(resource, "post", write),
            "parameters": held,
        },
        f"{collection}/{{name}}": {
            "get": _operation(resource, "get", []),
            "put": _operation(resource, "put", write),
            "patch": patch,
            "delete": _operation(resource, "delete", [_parameter("dryRun")]),
            "parameters": [_parameter("name", where="path"), *held],
        },
    }


def _operation(resource: Resource, action: str, parameters: list[Obj]) -> Obj:
    return {
        "operationId": f"{action}{resource.version.capitalize()}{resource.kind}",
        "parameters": parameters,
        "responses": {"200": {"content": {JSON: {"schema": _reference(_schema_name(resource))}}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _kind(resource),
    }
