"""What a client asks: the path taken apart, the parameters judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from onenode import causes
from onenode.causes import Cause
from onenode.status import bad_request, invalid_options

__all__ = ["ANONYMOUS", "SYSTEM", "Options", "Request", "ResourcePath", "User", "parse_resource_path"]

_FIELD_VALIDATION: Final = ("", "Ignore", "Strict", "Warn")
_PROPAGATION: Final = ("Foreground", "Background", "Orphan", "nil")
_LONGEST_MANAGER: Final = 128


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: dict[str, list[str]] = field(default_factory=dict)


ANONYMOUS: Final = User("system:anonymous", ("system:unauthenticated",))
SYSTEM: Final = User("system:apiserver", ("system:masters",))
"""The server itself."""


@dataclass(frozen=True)
class Request:
    """One HTTP request, body read."""

    method: str
    path: str
    query_text: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    user: User

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """Parameters with all their values."""
        found: dict[str, list[str]] = {}
        for name, value in parse_qsl(self.query_text, keep_blank_values=True):
            found.setdefault(name, []).append(value)
        return found

    def parameter(self, name: str) -> str:
        """First value of a parameter, or empty."""
        return self.query.get(name, [""])[0]

    def integer(self, name: str) -> int | None:
        """A parameter that is a number.

        Raises:
            ApiError: it is not.
        """
        text = self.parameter(name)
        if not text:
            return None
        digits = text[1:] if text[0] in "+-" else text
        if not (digits.isascii() and digits.isdigit()):
            raise bad_request(f"strconv.ParseInt: parsing {causes.go_quote(text)}: invalid syntax")
        return int(text)

    def flag(self, name: str) -> bool:
        """A boolean parameter: present and neither ``false`` nor ``0``."""
        return name in self.query and self.parameter(name) not in ("false", "0")

    @property
    def content_type(self) -> str:
        """Media type of the body without parameters; empty if none was told."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def manager(self) -> str:
        """Field manager of a write: the parameter, else the client's program name."""
        agent = self.headers.get("user-agent", "").partition("/")[0]
        return self.parameter("fieldManager") or agent[:_LONGEST_MANAGER] or "unknown"


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """``/apis/GROUP/VERSION[/namespaces/NS]/PLURAL[/NAME[/SUBRESOURCE]]``."""

    group: str
    version: str
    namespace: str | None
    plural: str
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource."""
    watch: bool = False
    """The old form ``/apis/GROUP/VERSION/watch/...``."""


def parse_resource_path(path: str) -> ResourcePath | None:
    """Take a path apart; ``None`` if it does not name a resource."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    watch = rest[0] == "watch" and len(rest) > 1
    rest = rest[1:] if watch else rest
    namespace = None
    # /api/v1/namespaces/NAME/status is the Namespace, /api/v1/namespaces/NAME/pods are its pods.
    inside = rest[0] == "namespaces" and len(rest) >= 3 and not (not group and rest[2] in _OF_NAMESPACE)
    if inside:
        namespace, rest = rest[1], rest[2:]
    rest += [""] * (3 - len(rest))
    return ResourcePath(group, version, namespace, rest[0], rest[1], rest[2], "/".join(rest[3:]), watch)


_OF_NAMESPACE: Final = frozenset({"status", "finalize"})


@dataclass(frozen=True, slots=True)
class Options:
    """Parameters common to the writing requests."""

    dry_run: bool = False
    field_validation: str = "Warn"
    manager: str = ""
    force: bool = False
    sent: Mapping[str, Any] = field(default_factory=dict)
    """What the client itself asked, as it is told to webhooks."""

    @classmethod
    def of(cls, request: Request, kind: str, *, apply: bool = False) -> Options:
        """Judge the parameters of a write; ``kind`` is the name under which the server knows them.

        Raises:
            ApiError: a value does not exist.
        """
        found: list[Cause] = []
        is_patch = kind == "PatchOptions"
        if is_patch and apply and not request.parameter("fieldManager"):
            found.append(causes.required("fieldManager", "is required for apply patch"))
        if is_patch and not apply and "force" in request.query:
            found.append(causes.forbidden("force", "may not be specified for non-apply patch"))
        found += dry_run_causes(request.query.get("dryRun", []))
        validation = request.parameter("fieldValidation")
        if validation not in _FIELD_VALIDATION:
            found.append(causes.not_supported("fieldValidation", validation, _FIELD_VALIDATION))
        manager = request.parameter("fieldManager")
        if len(manager) > _LONGEST_MANAGER:
            found.append(causes.too_long("fieldManager", _LONGEST_MANAGER))
        if found:
            raise invalid_options(kind, found)
        dry_run = request.query.get("dryRun", [])
        told = {"dryRun": dry_run, "fieldManager": manager, "fieldValidation": validation}
        return cls(
            bool(dry_run),
            validation or "Warn",
            request.manager,
            request.flag("force"),
            {name: value for name, value in told.items() if value},
        )


def dry_run_causes(values: list[Any]) -> list[Cause]:
    """``All`` is the only value of ``dryRun``."""
    if all(value == "All" for value in values):
        return []
    return [causes.not_supported("dryRun", list(values), ["All"])]


def propagation_causes(policy: Any) -> list[Cause]:
    """Judge ``propagationPolicy``."""
    if policy in (None, "", *_PROPAGATION[:3]):
        return []
    return [causes.not_supported("propagationPolicy", policy, _PROPAGATION)]
