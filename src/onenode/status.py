"""Answers that say no: ``Status`` objects with the codes, reasons and texts of a real server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from onenode.causes import Cause, describe_causes

__all__ = [
    "ApiError",
    "Named",
    "PageNotFoundError",
    "RacedError",
    "already_exists",
    "bad_request",
    "conflict",
    "expired",
    "forbidden",
    "internal_error",
    "invalid",
    "invalid_options",
    "method_not_allowed",
    "no_representation",
    "not_acceptable",
    "not_found",
    "not_supported_on",
    "raced",
    "resource_unknown",
    "too_large_version",
    "unauthorized",
    "unsupported_media_type",
    "warning_headers",
]

_MODIFIED: Final = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


class Named(Protocol):
    """The names of a resource that answers cite."""

    @property
    def group(self) -> str:
        """API group; empty for core."""
        ...

    @property
    def kind(self) -> str:
        """Kind."""
        ...

    @property
    def plural(self) -> str:
        """Resource name."""
        ...

    @property
    def full_name(self) -> str:
        """``plural`` or ``plural.group``."""
        ...


def warning_headers(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Warning headers of an answer; nothing in a text can end its header."""
    return tuple(("Warning", f'299 - "{_header_text(text)}"') for text in texts)


def _header_text(text: str) -> str:
    clean = "".join(char if char.isprintable() and ord(char) < 128 else "?" for char in text)
    return clean.replace("\\", "\\\\").replace('"', '\\"')


class PageNotFoundError(Exception):
    """There is nothing at this path: plain text 404."""


class ApiError(Exception):
    """A request that ends with a Status."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(code, reason, message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = tuple(headers)

    def __str__(self) -> str:
        return self.message

    def to_status(self) -> dict[str, Any]:
        """The answer's body."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


class RacedError(ApiError):
    """Somebody else wrote between reading and writing; who insists on no version may try again."""


def _about(name: str, group: str, kind: str, causes: Sequence[Cause] = ()) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if kind:
        details["kind"] = kind
    if causes:
        details["causes"] = [cause.to_dict() for cause in causes]
    return details


def _resource(resource: Named, name: str, causes: Sequence[Cause] = ()) -> dict[str, Any]:
    return _about(name, resource.group, resource.plural, causes)


def not_found(resource: Named, name: str) -> ApiError:
    """No object of this name."""
    return ApiError(404, "NotFound", f'{resource.full_name} "{name}" not found', _resource(resource, name))


def resource_unknown() -> ApiError:
    """No such resource in a built-in group."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    """The path exists, not for this method."""
    text = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", text, {})


def not_supported_on(resource: Named, verb: str) -> ApiError:
    """The resource does not know this verb."""
    text = f'{verb} is not supported on resources of kind "{resource.full_name}"'
    return ApiError(405, "MethodNotAllowed", text, _resource(resource, ""))


def already_exists(resource: Named, name: str, *, being_deleted: bool = False) -> ApiError:
    """The name is taken."""
    text = f'{resource.full_name} "{name}" already exists'
    prefix = "object is being deleted: " if being_deleted else ""
    return ApiError(409, "AlreadyExists", prefix + text, _resource(resource, name))


def conflict(resource: Named, name: str, text: str = _MODIFIED) -> ApiError:
    """The object is not the one the client saw."""
    message = f'Operation cannot be fulfilled on {resource.full_name} "{name}": {text}'
    return ApiError(409, "Conflict", message, _resource(resource, name))


def raced(resource: Named, name: str) -> RacedError:
    """The object changed while the write was under way."""
    error = conflict(resource, name)
    return RacedError(error.code, error.reason, error.message, error.details)


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """The object breaks rules; every broken one is told."""
    qualified = f"{kind}.{group}" if group else kind
    message = f'{qualified} "{name}" is invalid: {describe_causes(causes)}'
    return ApiError(422, "Invalid", message, _about(name, group, kind, causes))


def invalid_options(kind: str, causes: Sequence[Cause]) -> ApiError:
    """A parameter of the request has a value that does not exist; ``kind`` such as ``ListOptions``."""
    return invalid(kind, "meta.k8s.io", "", causes)


def bad_request(message: str) -> ApiError:
    """The request cannot be understood."""
    return ApiError(400, "BadRequest", message)


def internal_error(message: str) -> ApiError:
    """What a real server answers as an unclassified 500."""
    return ApiError(500, "", message)


def forbidden(resource: Named, name: str, text: str, causes: Sequence[Cause] = ()) -> ApiError:
    """Understood, and refused."""
    message = f'{resource.full_name} "{name}" is forbidden: {text}'
    return ApiError(403, "Forbidden", message, _resource(resource, name, causes))


def unauthorized() -> ApiError:
    """Nobody we know."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """The body's content type is not one of ``accepted``."""
    text = "the body of the request was in an unknown format - accepted media types include: "
    return ApiError(415, "UnsupportedMediaType", text + ", ".join(accepted))


def not_acceptable(accepted: Sequence[str]) -> ApiError:
    """None of the forms the client accepts can be made."""
    text = "only the following media types are accepted: " + ", ".join(accepted)
    return ApiError(406, "NotAcceptable", text)


def no_representation(available: Sequence[str]) -> ApiError:
    """The client accepts media types only that nothing is ever made in."""
    text = f"406: Not Acceptable\n\nAvailable representations: {', '.join(available)}"
    return ApiError(406, "NotAcceptable", text, {})


def expired(message: str) -> ApiError:
    """The version is older than what is kept."""
    return ApiError(410, "Expired", message)


def too_large_version(wanted: int, current: int) -> ApiError:
    """A version that has not been written yet."""
    text = f"Too large resource version: {wanted}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return ApiError(
        504,
        "Timeout",
        f"Timeout: {text}",
        {"causes": [cause], "retryAfterSeconds": 1},
        [("Retry-After", "1")],
    )
