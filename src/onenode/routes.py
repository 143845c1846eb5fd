"""From a path and a method to the function that answers."""

from __future__ import annotations

from typing import Final

from onenode.answers import Answer, Renderer
from onenode.auth import ISSUER
from onenode.authorization.kinds import is_review
from onenode.authorization.reviews import review
from onenode.context import Context
from onenode.deleting import delete_collection, delete_object
from onenode.discovery import VERSION, Discovery
from onenode.ephemeral_containers import SUBRESOURCE
from onenode.listing import get_object, list_objects
from onenode.negotiation import ACCEPTED, DISCOVERY, JSON, Form, encode, negotiate
from onenode.openapi import OpenApi
from onenode.openid import issuer_document, public_keys
from onenode.patching import APPLY, patch_object
from onenode.registry import Resource
from onenode.requests import Options, Request, ResourcePath, parse_resource_path
from onenode.selection import Selection
from onenode.status import (
    ApiError,
    PageNotFoundError,
    bad_request,
    method_not_allowed,
    no_representation,
    not_found,
    not_supported_on,
    resource_unknown,
    warning_headers,
)
from onenode.subresources import bind_pod, finalize_namespace, make_token, read_log
from onenode.watching import watch_objects
from onenode.workloads.scale import answer_scale
from onenode.writing import Write, Written

__all__ = ["Routes"]

_UPGRADES: Final = frozenset({"exec", "attach", "portforward"})
_ISSUER_PATH: Final = [".well-known", "openid-configuration"]
_KEYS_PATH: Final = ["openid", "v1", "jwks"]
_WRITES: Final = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_DISCOVERY_DEPTHS: Final = {"api": (1, 2), "apis": (1, 2, 3)}


class Routes:
    """Answers every request of a known user."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._discovery = Discovery(context.registry)
        self._openapi = OpenApi(context.registry)

    async def answer(self, request: Request) -> Answer:
        """Find what a request is about and answer it.

        Raises:
            ApiError: the answer is no.
            PageNotFoundError: there is nothing at this path.
        """
        path = parse_resource_path(request.path)
        if path is not None:
            return await self._resource(request, path)
        parts = request.path.strip("/").split("/")
        if parts[0] in _DISCOVERY_DEPTHS and len(parts) in _DISCOVERY_DEPTHS[parts[0]]:
            return self._discover(request, parts)
        return self._document(request, parts)

    # Documents about the API

    def _document(self, request: Request, parts: list[str]) -> Answer:
        if parts in (_ISSUER_PATH, _KEYS_PATH):
            return self._openid(request, parts)
        if parts == ["version"]:
            _only_get(request)
            return _json(VERSION, request)
        if parts == ["openapi", "v2"]:
            return self._openapi.version_two(request)
        if parts == ["openapi", "v3"]:
            return self._openapi.index()
        if parts[:2] == ["openapi", "v3"]:
            return self._openapi.document(request, "/".join(parts[2:]))
        if parts == [""]:
            groups = self._context.registry.versions()
            paths = ["/api", "/apis", *(f"/apis/{g}/{v}" for g, vs in groups.items() if g for v in vs)]
            return _json(
                {
                    "paths": [
                        *paths,
                        "/.well-known/openid-configuration",
                        "/healthz",
                        "/livez",
                        "/openapi/v2",
                        "/openapi/v3",
                        "/openid/v1/jwks",
                        "/readyz",
                        "/version",
                    ]
                },
                request,
            )
        raise PageNotFoundError

    def _openid(self, request: Request, parts: list[str]) -> Answer:
        _only_get(request)
        if parts == _KEYS_PATH:
            keys = public_keys(self._context.auth.key.public_key())
            return Answer(200, encode(keys, Form()), "application/jwk-set+json")
        place = f"https://{request.headers.get('host', '')}/{'/'.join(_KEYS_PATH)}"
        return _json(issuer_document(ISSUER, place), request)

    def _discover(self, request: Request, parts: list[str]) -> Answer:
        _only_get(request)
        if len(parts) == 1:
            form = negotiate(request.headers.get("accept", ""), discovery=True)
            legacy = parts[0] == "api"
            if form.convert == DISCOVERY:
                return self._discovery.aggregated(request, form, legacy=legacy)
            host = request.headers.get("host", "")
            return _json(self._discovery.versions(host) if legacy else self._discovery.groups(), request)
        group = "" if parts[0] == "api" else parts[1]
        if parts[0] == "apis" and len(parts) == 2:
            document = self._discovery.group(group)
        else:
            document = self._discovery.resources(group, parts[-1])
        if document is None:
            raise self._unknown(group)
        return _json(document, request)

    def _unknown(self, group: str) -> Exception:
        builtin = not group or self._context.registry.is_builtin_group(group)
        return resource_unknown() if builtin else PageNotFoundError()

    # Resources

    async def _resource(self, request: Request, path: ResourcePath) -> Answer:
        resource = self._context.registry.find(path.group, path.version, path.plural)
        if resource is None:
            raise self._unknown(path.group)
        self._check_place(request, path, resource)
        if is_review(resource) and not path.name:
            return review(self._context, request, resource, path.namespace)
        if path.subresource == "scale" and "scale" in resource.subresources and not path.rest:
            return await answer_scale(self._context, request, resource, path.namespace, path.name)
        if path.subresource:
            return await self._subresource(request, path, resource)
        return await self._object(request, path, resource)

    def _check_place(self, request: Request, path: ResourcePath, resource: Resource) -> None:
        """The path has a namespace exactly if the resource needs one."""
        if resource.namespaced == (path.namespace is not None):
            return
        lists_all = resource.namespaced and not path.name
        if lists_all and request.method == "GET":
            return
        if resource.custom:
            raise PageNotFoundError
        raise method_not_allowed() if lists_all else resource_unknown()

    def _renderer(self, request: Request, resource: Resource, *, stream: bool = False) -> Renderer:
        accept = request.headers.get("accept", "")
        if not resource.custom and not any(known in accept for known in ("*", "json", "yaml")) and accept:
            raise no_representation(ACCEPTED)
        form = negotiate(accept, stream=stream)
        renderer = Renderer(resource, form, self._context.clock(), request.parameter("includeObject"))
        renderer.check()
        return renderer

    async def _object(self, request: Request, path: ResourcePath, resource: Resource) -> Answer:
        method, name = request.method, path.name
        context = self._context
        if resource.stored_as == "bindings":
            return self._bind(request, path.namespace)
        if method == "GET" and (path.watch or (not name and request.flag("watch"))):
            selection = Selection.of(request, resource, path.namespace, name)
            return watch_objects(
                request, context.store, selection, self._renderer(request, resource, stream=True)
            )
        renderer = self._renderer(request, resource)
        if method in ("GET", "DELETE"):
            selection = Selection.of(request, resource, path.namespace, name)
            if method == "GET":
                answer = get_object if name else list_objects
                return answer(request, context.store, selection, renderer)
            if name and "delete" in resource.verbs:
                return await delete_object(context, request, selection, renderer)
            if "deletecollection" not in resource.verbs:
                raise method_not_allowed()
            return await delete_collection(context, request, selection, renderer)
        return await self._write(request, path, resource, renderer)

    def _bind(self, request: Request, namespace: str | None) -> Answer:
        pods = self._context.registry.find("", "v1", "pods")
        if request.method != "POST" or pods is None:
            raise method_not_allowed()
        return bind_pod(self._context, request, pods, namespace)

    async def _write(
        self, request: Request, path: ResourcePath, resource: Resource, renderer: Renderer
    ) -> Answer:
        method = request.method
        if _WRITES.get(method) not in resource.verbs:
            raise method_not_allowed()
        if (method == "POST") == bool(path.name):
            # A custom resource takes a POST to a name as a create.
            if not resource.custom:
                raise method_not_allowed()
            if method != "POST":
                raise bad_request("name must be provided")
        return _written(await self._run(request, path, resource), renderer)

    async def _run(self, request: Request, path: ResourcePath, resource: Resource) -> Written:
        kind = {"POST": "CreateOptions", "PUT": "UpdateOptions"}.get(request.method, "PatchOptions")
        write = Write(
            context=self._context,
            resource=resource,
            namespace=path.namespace,
            name=path.name,
            subresource=path.subresource,
            options=Options.of(request, kind, apply=request.content_type == APPLY),
            user=request.user,
        )
        if request.method == "POST":
            return await write.create(request)
        if request.method == "PUT":
            return await write.update(request)
        return await patch_object(write, request)

    async def _subresource(self, request: Request, path: ResourcePath, resource: Resource) -> Answer:
        context, method = self._context, request.method
        namespace, name, wanted = path.namespace, path.name, path.subresource
        if path.rest:
            raise PageNotFoundError if resource.custom else resource_unknown()
        if wanted in ("status", SUBRESOURCE) and wanted in resource.subresources:
            return await self._status(request, path, resource)
        if resource.custom:
            raise not_found(resource, name)
        match (resource.stored_as, wanted, method):
            case ("pods", "binding", "POST"):
                return bind_pod(context, request, resource, namespace, name)
            case ("namespaces", "finalize", "PUT"):
                renderer = self._renderer(request, resource)
                return renderer.one(finalize_namespace(context, request, resource, name))
            case ("serviceaccounts", "token", "POST"):
                return make_token(context, request, resource, namespace, name)
            case ("pods", "log", "GET"):
                return await read_log(context, request, resource, namespace, name)
            case ("pods", upgrade, _) if upgrade in _UPGRADES:
                raise ApiError(501, "NotImplemented", f"pods/{upgrade} is not served by this server")
        if wanted in resource.subresources or (resource.stored_as, wanted) == ("pods", "log"):
            raise method_not_allowed()
        raise resource_unknown()

    async def _status(self, request: Request, path: ResourcePath, resource: Resource) -> Answer:
        method = request.method
        if method in ("POST", "DELETE"):
            verb = "create" if method == "POST" else "delete"
            raise not_supported_on(resource, verb) if resource.custom else method_not_allowed()
        renderer = self._renderer(request, resource)
        if method == "GET":
            selection = Selection.of(request, resource, path.namespace, path.name)
            return get_object(request, self._context.store, selection, renderer)
        if method not in ("PUT", "PATCH"):
            raise method_not_allowed()
        return _written(await self._run(request, path, resource), renderer)


def _only_get(request: Request) -> None:
    if request.method != "GET":
        raise method_not_allowed()


def _json(document: object, request: Request) -> Answer:
    try:
        form = negotiate(request.headers.get("accept", ""))
    except ApiError as error:
        raise no_representation([JSON]) from error
    return Answer(200, encode(document, Form(form.media_type)), form.media_type)


def _written(written: Written, renderer: Renderer) -> Answer:
    return renderer.one(written.stored, written.status, warning_headers(written.warnings))
