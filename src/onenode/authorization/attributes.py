"""From a request to the attributes that rules are about, and the answer to one that may not be."""

from __future__ import annotations

from typing import Final

from onenode.authorization.rules import Attributes
from onenode.requests import Request, User, parse_resource_path
from onenode.status import ApiError

__all__ = ["attributes_of", "forbidden_request"]

_VERBS: Final = {
    "POST": "create",
    "GET": "get",
    "HEAD": "get",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_ON_COLLECTIONS: Final = {"get": "list", "delete": "deletecollection"}
_NAME_FIELD: Final = "metadata.name"


def attributes_of(request: Request) -> Attributes:
    """What a request asks for."""
    path = parse_resource_path(request.path)
    verb = _VERBS.get(request.method, request.method.lower())
    if path is None:
        return Attributes(verb=request.method.lower(), path=request.path or "/")
    name = path.name
    if not name:
        verb = _ON_COLLECTIONS.get(verb, verb)
        if verb == "list" and request.flag("watch"):
            verb = "watch"
    if path.watch and request.method in ("GET", "HEAD"):
        verb = "watch"
    if not name and verb in ("list", "watch", "deletecollection"):
        # A rule for one name also covers the collection narrowed to that name.
        name = _selected_name(request.parameter("fieldSelector"))
    is_namespace = not path.group and path.plural == "namespaces"
    return Attributes(
        verb=verb,
        group=path.group,
        version=path.version,
        resource=path.plural,
        subresource=path.subresource,
        name=name,
        namespace=(path.name if is_namespace else path.namespace) or "",
    )


def _selected_name(selector: str) -> str:
    for term in selector.split(","):
        field, found, value = term.partition("=")
        if found and field.strip() == _NAME_FIELD:
            return value.removeprefix("=").strip()
    return ""


def forbidden_request(user: User, wanted: Attributes, reason: str = "") -> ApiError:
    """403 in the words of a real server."""
    because = f": {reason}" if reason else ""
    if wanted.path:
        text = f'forbidden: User "{user.name}" cannot {wanted.verb} path "{wanted.path}"{because}'
        return ApiError(403, "Forbidden", text, {})
    full_name = f"{wanted.resource}.{wanted.group}" if wanted.group else wanted.resource
    shown = f'{full_name} "{wanted.name}"' if wanted.name else full_name
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    text = (
        f'{shown} is forbidden: User "{user.name}" cannot {wanted.verb} resource "{wanted.full_resource}" '
        f'in API group "{wanted.group}" {where}{because}'
    )
    about = {"name": wanted.name, "group": wanted.group, "kind": wanted.resource}
    return ApiError(403, "Forbidden", text, {name: value for name, value in about.items() if value})
