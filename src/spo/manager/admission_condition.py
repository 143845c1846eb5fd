"""Condition ``Ready`` of bindings and recordings: whether new pods of their namespace pass the webhook."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from spo.api.meta import Condition, ObjectMeta
from spo.controller import DONE, Result
from spo.manager.admission_scope import AdmissionScope
from spo.profiles.label_selector import selects
from spo.profiles.release import READY

ACTIVE: Final = "AdmissionActive"
PENDING: Final = "AdmissionPending"
NOT_SELECTED: Final = "NamespaceNotSelected"

LABELS_RECHECK_S: Final = 60.0
"""How often the labels of a namespace are read again, where settings select namespaces by label."""


class AdmissionCondition:
    """Makes the condition."""

    def __init__(
        self,
        scope: AdmissionScope,
        namespace_labels: Callable[[str], Awaitable[Mapping[str, str]]],
    ) -> None:
        """Take what it works with.

        Args:
            namespace_labels: reads the labels of a namespace.
        """
        self._scope = scope
        self._namespace_labels = namespace_labels

    async def of(
        self, webhook: str, metadata: ObjectMeta, present: Sequence[Condition], message: str = ""
    ) -> tuple[Condition, Result]:
        """The condition of an object, and when to look again.

        Args:
            webhook: name of the webhook that acts on the object.
            metadata: of the object.
            present: conditions that its status has.
            message: what else there is to say.
        """
        namespace = metadata.namespace or ""
        wait_s = self._scope.settles_in_s(webhook, namespace)
        # A manager that has just taken over cannot know for how long the configuration has been there.
        was_active = any(one.type == READY and one.reason == ACTIVE for one in present)
        if was_active and (wait_s is not None or not self._scope.known):
            wait_s = 0.0
        if metadata.deletion_timestamp:
            return _condition("False", "Deleting", "it is being deleted", metadata), DONE
        if wait_s is None:
            text = "waiting for the webhook configuration"
            return _condition("False", PENDING, text, metadata), DONE  # comes back when that is stored
        selector = self._scope.selector(webhook)
        if selector is not None and not selects(selector, await self._namespace_labels(namespace)):
            text = (
                f"webhookOptions of the spod object selects namespaces for {webhook}, and not {namespace}; "
                "label the namespace"
            )
            return _condition("False", NOT_SELECTED, text, metadata), Result(LABELS_RECHECK_S)
        if wait_s > 0:
            text = "the webhook configuration was stored a moment ago"
            return _condition("False", PENDING, text, metadata), Result(wait_s)
        again = DONE if selector is None else Result(LABELS_RECHECK_S)
        return _condition("True", ACTIVE, message, metadata), again


def _condition(status: str, reason: str, message: str, metadata: ObjectMeta) -> Condition:
    return Condition(
        type=READY,
        status=status,
        reason=reason,
        message=message,
        observed_generation=metadata.generation,
    )
