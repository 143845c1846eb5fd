"""Asks the webhooks that a request concerns: first those that may change it, then those that only judge."""

from __future__ import annotations

import asyncio
import copy
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from onenode.match_conditions import MatchConditionError, match
from onenode.patch import PatchError, json_patch
from onenode.registry import Registry
from onenode.status import ApiError, forbidden
from onenode.store import Store
from onenode.webhooks.caller import Caller
from onenode.webhooks.kinds import MUTATING, VALIDATING
from onenode.webhooks.matching import Target, is_exempt, matching_rule, selects_namespace, selects_object
from onenode.webhooks.review import (
    Attributes,
    CallError,
    Verdict,
    denial,
    failed_call,
    question,
    read_answer,
    read_patch,
)

__all__ = ["Webhooks"]

Obj = dict[str, Any]
Complete = Callable[[Obj], Obj]
"""Makes a patched object whole again: defaults, additions of the server."""

_log = logging.getLogger(__name__)
_VERSION: Final = "v1"


@dataclass(frozen=True, slots=True)
class _Hook:
    """A webhook whose rules match."""

    config: Obj
    target: Target

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def again(self) -> bool:
        """It wants to see what others changed after it."""
        return self.config.get("reinvocationPolicy") == "IfNeeded"


class Webhooks:
    """Admission by webhooks."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        self._caller = Caller(store)

    async def close(self) -> None:
        """Close the connections."""
        await self._caller.close()

    async def mutate(
        self,
        attributes: Attributes,
        obj: Obj | None,
        old: Obj | None,
        complete: Complete,
        warnings: list[str],
    ) -> Obj | None:
        """Let the mutating webhooks change an object.

        The first pause comes only if the rules of one match, so that a write that concerns none never waits.

        Args:
            attributes: the request.
            obj: the new object; ``None`` for a deletion.
            old: the object before; ``None`` for a creation.
            complete: called after each change.
            warnings: gets what the webhooks want to tell the client.

        Raises:
            ApiError: one denied the request, or could not be asked and failurePolicy is Fail.
        """
        hooks = self._hooks(MUTATING, attributes)
        if not hooks:
            return obj
        await asyncio.sleep(0)
        turn = _Turn(self, attributes, old, warnings)
        seen: set[int] = set()
        to_repeat: set[int] = set()
        for index, hook in enumerate(hooks):
            changed = await turn.change(hook, obj)
            if changed is None:
                continue
            if changed is not obj:
                obj = complete(changed)
                to_repeat |= {one for one in seen if hooks[one].again}
            seen.add(index)
        for index in sorted(to_repeat):
            changed = await turn.change(hooks[index], obj)
            if changed is not None and changed is not obj:
                obj = complete(changed)
        return obj

    async def validate(
        self, attributes: Attributes, obj: Obj | None, old: Obj | None, warnings: list[str]
    ) -> None:
        """Let the validating webhooks judge a request; all are asked at once.

        Raises:
            ApiError: one denied the request, or could not be asked and failurePolicy is Fail.
        """
        hooks = self._hooks(VALIDATING, attributes)
        if not hooks:
            return
        await asyncio.sleep(0)
        turn = _Turn(self, attributes, old, warnings)
        results = await asyncio.gather(*(turn.judge(hook, obj) for hook in hooks), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _hooks(self, stored_as: str, attributes: Attributes) -> list[_Hook]:
        records = self._store.records(stored_as)
        if not records or is_exempt(attributes.resource):
            return []
        targets = [attributes.target, *self._equivalents(attributes)]
        found: list[_Hook] = []
        for record in records:
            for webhook in record.view.get("webhooks") or ():
                target = matching_rule(webhook, attributes.operation, targets)
                if target is not None:
                    found.append(_Hook(webhook, target))
        return found

    def _equivalents(self, attributes: Attributes) -> Iterator[Target]:
        """The other versions of the same objects."""
        asked = attributes.resource
        for resource in self._registry.all():
            if resource.stored_as == asked.stored_as and resource is not asked:
                yield Target(resource, attributes.subresource)

    def namespace_labels(self, name: str | None) -> Obj | None:
        """Labels of a Namespace."""
        record = self._store.record("namespaces", None, name or "")
        return None if record is None else record.view["metadata"].get("labels")

    async def ask(self, hook: _Hook, review: Obj, *, mutating: bool) -> Verdict:
        """Ask one webhook.

        Raises:
            CallError: it gave no usable answer.
        """
        config = hook.config
        if _VERSION not in (config.get("admissionReviewVersions") or ()):
            raise CallError("webhook does not accept known AdmissionReview versions (v1)")
        timeout_s = int(config.get("timeoutSeconds") or 10)
        body = await self._caller.ask(config.get("clientConfig") or {}, review, timeout_s)
        return read_answer(body, review["request"]["uid"], mutating=mutating)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One request, shown to one webhook after the other."""

    webhooks: Webhooks
    attributes: Attributes
    old: Obj | None
    warnings: list[str]

    async def change(self, hook: _Hook, obj: Obj | None) -> Obj | None:
        """The object after a webhook; the same one if it changed nothing, ``None`` if it was not asked."""
        return await self._unless_ignored(hook, self._change(hook, obj))

    async def judge(self, hook: _Hook, obj: Obj | None) -> None:
        """Ask a validating webhook."""
        await self._unless_ignored(hook, self._judge(hook, obj))

    async def _unless_ignored(self, hook: _Hook, asking: Awaitable[Obj | None]) -> Obj | None:
        try:
            return await asking
        except CallError as error:
            if hook.config.get("failurePolicy") == "Ignore":
                _log.warning("webhook failed open name=%s error=%s", hook.name, error)
                return None
            raise failed_call(hook.name, error) from error
        except MatchConditionError as error:
            if hook.config.get("failurePolicy") == "Ignore":
                _log.warning("webhook skipped name=%s error=%s", hook.name, error)
                return None
            attributes = self.attributes
            raise forbidden(attributes.resource, attributes.name, str(error)) from error

    async def _change(self, hook: _Hook, obj: Obj | None) -> Obj | None:
        review = self._review(hook, obj)
        if review is None:
            return None
        verdict = await self._ask(hook, review, mutating=True)
        operations = read_patch(verdict)
        if not operations:
            return obj
        if obj is None:
            text = f'admission webhook "{hook.name}" attempted to modify the object, which is not supported '
            raise _internal(f"{text}for this operation")
        shown = review["request"]["object"]
        try:
            patched = json_patch(shown, operations)
        except PatchError as error:
            raise _internal(error.detail) from error
        return obj if patched == shown else _version_of(patched, self.attributes.target, hook.target)

    async def _judge(self, hook: _Hook, obj: Obj | None) -> None:
        review = self._review(hook, obj)
        if review is not None:
            await self._ask(hook, review, mutating=False)

    def _review(self, hook: _Hook, obj: Obj | None) -> Obj | None:
        """What to send; ``None`` if the selectors or conditions of the webhook leave the request out.

        Raises:
            MatchConditionError: a condition cannot be evaluated.
        """
        attributes = self.attributes
        subject = self.old if obj is None else obj
        labels = self.webhooks.namespace_labels(attributes.namespace)
        if not selects_namespace(hook.config, attributes.resource, subject, labels):
            return None
        if not selects_object(hook.config, obj, self.old):
            return None
        shown, before = (self._shown(hook, one) for one in (obj, self.old))
        review = question(attributes, hook.target, str(uuid.uuid4()), shown, before)
        conditions = hook.config.get("matchConditions")
        if conditions:
            variables = {"object": shown, "oldObject": before, "request": review["request"]}
            if not match(conditions, variables):
                return None
        return review

    def _shown(self, hook: _Hook, obj: Obj | None) -> Obj | None:
        """A copy in the webhook's version, with the parts that Go never leaves out."""
        if obj is None:
            return None
        shown = _version_of(copy.deepcopy(obj), hook.target, self.attributes.target)
        resource = hook.target.resource
        if not resource.custom and resource.has_status and self.attributes.kind is None:
            shown.setdefault("status", {})
        return shown

    async def _ask(self, hook: _Hook, review: Obj, *, mutating: bool) -> Verdict:
        verdict = await self.webhooks.ask(hook, review, mutating=mutating)
        self.warnings.extend(verdict.warnings)
        if not verdict.allowed:
            raise denial(hook.name, verdict.status)
        return verdict


def _version_of(obj: Obj, wanted: Target, given: Target) -> Obj:
    """An object of one version in another that holds the same."""
    if wanted.resource is given.resource:
        return obj
    if given.resource.to_stored is not None:
        obj = given.resource.to_stored(obj)
    if wanted.resource.from_stored is not None:
        obj = wanted.resource.from_stored(obj)
    return {**obj, "apiVersion": wanted.resource.group_version}


def _internal(text: str) -> ApiError:
    return ApiError(500, "InternalError", f"Internal error occurred: {text}", {"causes": [{"message": text}]})
