"""POST, PUT and PATCH: from the body of a request to a stored object.

The order is that of a real server: decode, prune, default, admit, validate, store.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from onenode import causes
from onenode.admission import admit_create, check_namespace, check_pod_security
from onenode.authorization.escalation import check_escalation
from onenode.bodies import Body, decode_object, duplicate_fields
from onenode.causes import Cause
from onenode.clock import timestamp
from onenode.context import Context
from onenode.ephemeral_containers import SUBRESOURCE, only_ephemeral, validate_ephemeral
from onenode.event_rules import validate_event
from onenode.go_nulls import read_nulls
from onenode.go_types import decoding_problem
from onenode.managed_fields import keep_times_if_unchanged, track_update
from onenode.metadata import (
    drop_system_fields,
    finalizer_warnings,
    keep_system_fields,
    own_metadata,
    validate_metadata,
    validate_metadata_update,
)
from onenode.negotiation import JSON
from onenode.object_names import generate_name
from onenode.pruning import METADATA_SCHEMA
from onenode.registry import Resource
from onenode.requests import SYSTEM, Options, Request, User
from onenode.schema import apply_defaults, prune, validate_custom_resource
from onenode.status import (
    ApiError,
    RacedError,
    already_exists,
    bad_request,
    conflict,
    internal_error,
    invalid,
    not_found,
    raced,
    warning_headers,
)
from onenode.store import ConflictError, NotStoredError
from onenode.strategies import strategy_of
from onenode.watch import Record
from onenode.webhooks.review import Attributes

__all__ = ["Write", "Written"]

_NAME_ATTEMPTS: Final = 8
_WRITE_ATTEMPTS: Final = 5
"""How often a write that insists on no version is tried while others write the same object."""
_ROOT_FIELDS: Final = ("apiVersion", "kind", "metadata", "status")

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """What came of a write."""

    stored: Obj
    """As stored, or as it would be."""
    status: int
    warnings: list[str]


@dataclass(kw_only=True)
class Write:
    """One write of one object."""

    context: Context
    resource: Resource
    namespace: str | None
    name: str = ""
    subresource: str = ""
    options: Options
    user: User = SYSTEM
    """Who writes, as webhooks are told."""
    is_patch: bool = False
    """What is written comes from the stored object, changed by a patch."""
    warnings: list[str] = field(default_factory=list)

    # Entry points

    async def create(self, request: Request) -> Written:
        """POST to a collection."""
        return await self.create_object(self.decoded(request))

    async def update(self, request: Request) -> Written:
        """PUT of a name."""
        return await self.insist(lambda: self._update(request))

    async def insist(self, attempt: Callable[[], Awaitable[Written]]) -> Written:
        """Try again if another write came between: webhooks take their time."""
        for _ in range(_WRITE_ATTEMPTS - 1):
            try:
                return await attempt()
            except RacedError:
                self.warnings.clear()
        return await attempt()

    async def _update(self, request: Request) -> Written:
        obj = self.decoded(request)
        self.check_place(own_metadata(obj))
        old = self.stored()
        if old is None:
            if not strategy_of(self.resource).create_on_update or self.subresource:
                raise not_found(self.resource, self.name)
            self.may_create()
            return await self.create_object(obj)
        return await self.update_object(old, obj)

    def may_create(self) -> None:
        """Who changes an object that does not exist creates it, and must have that right for its name.

        Raises:
            ApiError: 403.
        """
        self.context.authorizer.check_create(self.user, self.resource, self.namespace or "", self.name)

    # Steps that patches share

    def decoded(self, request: Request) -> Body:
        """The object of a request, pruned, in the version of the path."""
        obj = decode_object(request, self.resource)
        doubled = duplicate_fields(request.body) if (request.content_type or JSON) == JSON else []
        problem = self.type_problem(obj)
        if problem is not None:
            raise bad_request(self._cannot_be_handled(problem))
        unknown = self.prune(obj)
        found = [f"duplicate field {causes.go_quote(path)}" for path in doubled]
        found += [f"unknown field {causes.go_quote(path)}" for path in unknown]
        if found and self.options.field_validation == "Strict":
            raise bad_request(self._cannot_be_handled(f"strict decoding error: {', '.join(found)}"))
        if self.options.field_validation == "Warn":
            self.warnings += found
        return obj

    def prune(self, obj: Obj) -> list[str]:
        """Drop unknown fields and read the nulls of typed ones; the paths of what was dropped."""
        unknown = prune(obj, self.resource.schema)
        read_nulls(obj, self.resource.schema)
        return unknown

    def type_problem(self, obj: Obj) -> str | None:
        """A type error of the typed part of an object: all of a built-in kind, the metadata of the others."""
        if self.resource.custom:
            return decoding_problem(obj.get("metadata"), METADATA_SCHEMA)
        return decoding_problem(obj, self.resource.schema)

    def _cannot_be_handled(self, problem: str) -> str:
        kind, version = self.resource.kind, self.resource.version
        return f'{kind} in version "{version}" cannot be handled as a {kind}: {problem}'

    def stored(self) -> Record | None:
        """The object of the path, if it exists."""
        return self.context.store.record(self.resource.stored_as, self.namespace, self.name)

    def check_place(self, metadata: Obj) -> None:
        """Name and namespace of the body agree with the path."""
        if not metadata.get("name"):
            raise bad_request(
                f"the name of the object ({self.name} based on URL) was undeterminable: name must be provided"
            )
        if metadata.get("name") != self.name:
            raise bad_request(
                f"the name of the object ({metadata.get('name', '')}) does not match the name on the URL "
                f"({self.name})"
            )
        self.check_namespace(metadata)

    def check_namespace(self, metadata: Obj) -> None:
        """The namespace of the body agrees with the path."""
        if not self.resource.namespaced:
            metadata.pop("namespace", None)
            return
        if metadata.get("namespace", self.namespace) != self.namespace:
            text = "the namespace of the provided object does not match the namespace sent on the request"
            raise bad_request(text)
        metadata["namespace"] = self.namespace

    # Create

    async def create_object(self, obj: Obj, *, applied: bool = False) -> Written:
        """Store a new object; ``applied`` if server-side apply already recorded the managers.

        It does not pause unless a webhook wants to see the object.
        """
        metadata = own_metadata(obj)
        self.check_namespace(metadata)
        if not applied and metadata.get("resourceVersion"):
            raise internal_error("resourceVersion should not be set on objects to be created")
        drop_system_fields(metadata)
        strategy = strategy_of(self.resource)
        self._check_kind(obj, metadata)
        obj = self._to_stored(obj)
        if self.resource.has_status:
            obj.pop("status", None)
        self._default(obj)
        if not applied:
            # Before the server adds parts of its own: those have no manager.
            self._track(None, obj)
        admit_create(self.context, self.resource, obj)
        obj = await self._mutated("CREATE", obj, None)
        self._check_escalation(obj, None)
        metadata = own_metadata(obj)
        self._choose_name(metadata)
        strategy.prepare_create(obj)
        if strategy.counts_generation:
            metadata["generation"] = 1
        self._raise_if_invalid(obj, validate_metadata(metadata, self.resource) + self._causes(obj, None))
        self.warnings += check_pod_security(self.context, self.resource, obj)
        await self._judged("CREATE", obj, None)
        self.warnings += finalizer_warnings(metadata) + strategy.warn(obj)
        return Written(self._store_new(obj), 201, self.warnings)

    def _choose_name(self, metadata: Obj) -> None:
        prefix = metadata.get("generateName")
        if metadata.get("name") or not prefix:
            return
        store = self.context.store
        for _ in range(_NAME_ATTEMPTS):
            metadata["name"] = generate_name(prefix, self.context.random)
            if store.record(self.resource.stored_as, self.namespace, metadata["name"]) is None:
                return

    def _check_kind(self, obj: Obj, metadata: Obj) -> None:
        kind = obj.get("kind")
        if kind != self.resource.kind:
            found = [causes.invalid("kind", kind, f"must be {self.resource.kind}")]
            raise invalid(str(kind), self.resource.group, metadata.get("name", ""), found)

    def _store_new(self, obj: Obj) -> Obj:
        check_namespace(self.context, self.resource, obj["metadata"])
        store, name = self.context.store, obj["metadata"]["name"]
        existing = store.record(self.resource.stored_as, self.namespace, name)
        if existing is not None:
            being_deleted = bool(existing.view["metadata"].get("deletionTimestamp"))
            raise already_exists(self.resource, name, being_deleted=being_deleted)
        if not self.options.dry_run:
            return store.create(self.resource.stored_as, obj)
        obj["metadata"]["uid"] = store.new_uid()
        obj["metadata"]["creationTimestamp"] = timestamp(store.clock())
        return obj

    # Update

    async def update_object(self, old_record: Record, obj: Obj, *, applied: bool = False) -> Written:
        """Replace an object by what a client sent, or by what a patch made of it."""
        old = old_record.copy()
        metadata = own_metadata(obj)
        self._check_version(metadata, old_record)
        sent = dict(metadata)
        self._check_uid(metadata, old)
        keep_system_fields(metadata, old["metadata"])
        metadata["resourceVersion"] = str(old_record.revision)
        self._check_kind(obj, metadata)
        obj = self._to_stored(obj)
        obj = self._keep_foreign_parts(obj, old)
        strategy = strategy_of(self.resource)
        self._default(obj)
        if not applied:
            self._track(old, obj)
        obj = await self._mutated("UPDATE", obj, old)
        self._check_escalation(obj, old)
        metadata = obj["metadata"]
        if not self.subresource:
            strategy.prepare_update(obj, old)
        if strategy.counts_generation and _content(obj) != _content(old):
            metadata["generation"] = (old["metadata"].get("generation") or 0) + 1
        keep_times_if_unchanged(old, obj)
        found = validate_metadata_update(metadata, old["metadata"], sent)
        if not self.subresource:
            # A real server looks three times at the metadata of a custom resource, and tells it each time.
            times = 3 if self.resource.custom else 1
            found += validate_metadata(metadata, self.resource) * times
        self._raise_if_invalid(obj, found + self._causes(obj, old))
        if self.subresource == SUBRESOURCE or not (self.subresource or self.resource.stored_as == "pods"):
            # A change of a pod itself cannot make it worse.
            self.warnings += check_pod_security(self.context, self.resource, obj)
        await self._judged("UPDATE", obj, old)
        if (metadata.get("finalizers") or []) != (old["metadata"].get("finalizers") or []):
            self.warnings += finalizer_warnings(metadata)
        return Written(self._store_changed(obj), 200, self.warnings)

    def _check_version(self, metadata: Obj, old: Record) -> None:
        version = metadata.get("resourceVersion")
        if version and not str(version).isdigit():
            shown = causes.go_quote(str(version))
            raise internal_error(f"strconv.ParseUint: parsing {shown}: invalid syntax")
        if version in (None, "", "0"):
            if strategy_of(self.resource).unconditional_update:
                return
            text = "must be specified for an update"
            found = [causes.invalid("metadata.resourceVersion", 0, text)]
            raise invalid(self.resource.plural, self.resource.group, self.name, found)
        if int(version) != old.revision:
            raise conflict(self.resource, self.name)

    def _check_uid(self, metadata: Obj, old: Obj) -> None:
        uid, real = metadata.get("uid"), old["metadata"].get("uid")
        if self.is_patch or not uid or uid == real:
            return
        group = f"{self.resource.group}/" if self.resource.group else ""
        where = f"{self.namespace}/" if self.namespace else ""
        text = (
            f"StorageError: invalid object, Code: 4, Key: /registry/{group}{self.resource.plural}/{where}"
            f"{self.name}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: "
            f"{uid}, UID in object meta: {real}"
        )
        raise conflict(self.resource, self.name, text)

    def _keep_foreign_parts(self, obj: Obj, old: Obj) -> Obj:
        """A write of the object leaves the status alone, a write of the status leaves the rest alone."""
        if self.subresource == "status":
            return self._only_status(obj, old)
        if self.subresource == SUBRESOURCE:
            return only_ephemeral(obj, old)
        if self.resource.has_status:
            if "status" in old:
                obj["status"] = copy.deepcopy(old["status"])
            else:
                obj.pop("status", None)
        return obj

    def _only_status(self, obj: Obj, old: Obj) -> Obj:
        kept = copy.deepcopy(old)
        if obj.get("status") is None:
            kept.pop("status", None)
        else:
            kept["status"] = obj["status"]
        for name in ("managedFields", *strategy_of(self.resource).status_metadata):
            if name in obj["metadata"]:
                kept["metadata"][name] = obj["metadata"][name]
            else:
                kept["metadata"].pop(name, None)
        return kept

    def _store_changed(self, obj: Obj) -> Obj:
        if self.options.dry_run:
            return obj
        try:
            return self.context.store.update(self.resource.stored_as, obj)
        except NotStoredError as error:
            raise not_found(self.resource, self.name) from error
        except ConflictError as error:
            raise raced(self.resource, self.name) from error

    def _check_escalation(self, obj: Obj, old: Obj | None) -> None:
        context = self.context
        check_escalation(context.authorizer, context.store, self.resource, self.user, obj, old)

    # Webhooks

    def _attributes(self, operation: str, metadata: Obj) -> Attributes:
        kind = "CreateOptions" if operation == "CREATE" else "UpdateOptions"
        return Attributes(
            operation=operation,
            resource=self.resource,
            subresource=self.subresource,
            namespace=metadata.get("namespace"),
            name=str(metadata.get("name") or ""),
            user=self.user,
            options={"kind": kind, "apiVersion": "meta.k8s.io/v1", **self.options.sent},
            dry_run=self.options.dry_run,
        )

    async def _mutated(self, operation: str, obj: Obj, old: Obj | None) -> Obj:
        """The object after the webhooks that may change it."""
        shown = self._served(obj)
        found = await self.context.webhooks.mutate(
            self._attributes(operation, obj["metadata"]),
            shown,
            None if old is None else self._served(old),
            lambda changed: self._whole(changed, old),
            self.warnings,
        )
        return obj if found is None or found is shown else self._to_stored(found)

    async def _judged(self, operation: str, obj: Obj, old: Obj | None) -> None:
        attributes = self._attributes(operation, obj["metadata"])
        before = None if old is None else self._served(old)
        await self.context.webhooks.validate(attributes, self._served(obj), before, self.warnings)

    def _served(self, obj: Obj) -> Obj:
        convert = self.resource.from_stored
        return obj if convert is None else convert(obj)

    def _whole(self, changed: Obj, old: Obj | None) -> Obj:
        """What a webhook made of an object, with defaults and the additions of the server.

        Raises:
            ApiError: it is not an object of the kind any more.
        """
        problem = self.type_problem(changed)
        if problem is not None:
            text = f"Internal error occurred: {self._cannot_be_handled(problem)}"
            raise ApiError(500, "InternalError", text, {"causes": [{"message": problem}]})
        if not self.resource.custom:
            self.prune(changed)
        metadata = own_metadata(changed)
        if old is not None:
            keep_system_fields(metadata, old["metadata"])
            metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        changed = self._to_stored(changed)
        self._default(changed)
        if old is None:
            admit_create(self.context, self.resource, changed)
        else:
            changed = self._keep_foreign_parts(changed, old)
        return self._served(changed)

    # Common

    def _to_stored(self, obj: Obj) -> Obj:
        convert = self.resource.to_stored
        return obj if convert is None else convert(obj)

    def _default(self, obj: Obj) -> None:
        if self.resource.custom:
            apply_defaults(obj, self.resource.schema)
        elif self.resource.to_stored is None:
            read_nulls(obj, self.resource.schema)
        strategy_of(self.resource).default(obj)

    def _track(self, old: Obj | None, obj: Obj) -> None:
        resource = self.resource
        stored_in_other_form = resource.to_stored is not None
        schema = self._stored_schema() if stored_in_other_form else resource.schema
        track_update(
            old,
            obj,
            self.options.manager,
            timestamp(self.context.clock()),
            schema,
            resource.group_version,
            self.subresource or None,
        )

    def _stored_schema(self) -> Obj:
        holder = self.context.registry.stored().get(self.resource.stored_as)
        return self.resource.schema if holder is None else holder.schema

    def _causes(self, obj: Obj, old: Obj | None) -> list[Cause]:
        if self.resource.custom:
            subresource = self.subresource or None
            return validate_custom_resource(obj, self.resource.schema, old, subresource=subresource)
        if self.subresource == SUBRESOURCE and old is not None:
            return validate_ephemeral(obj, old)
        if self.subresource:
            return []
        if self.resource.stored_as == "events":  # the rules differ between its two groups
            return validate_event(obj, old, self.resource.group)
        return strategy_of(self.resource).validate(obj, old)

    def _raise_if_invalid(self, obj: Obj, found: list[Cause]) -> None:
        if found:
            name = obj["metadata"].get("name", "")
            # Events keep the group of their stored form in error texts.
            group = "" if self.resource.to_stored is not None else self.resource.group
            error = invalid(self.resource.kind, group, name, found)
            error.headers = warning_headers(self.warnings)
            raise error


def _content(obj: Obj) -> Obj:
    return {name: value for name, value in obj.items() if name not in _ROOT_FIELDS}
