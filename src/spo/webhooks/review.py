"""AdmissionReview in, AdmissionReview out: bytes on both sides, the caches in between."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from spo.api.admission import (
    REVIEW_VERSIONS,
    AdmissionRequest,
    AdmissionResponse,
    AdmissionReview,
    AdmissionStatus,
    AdmittedPod,
    AnsweredReview,
)
from spo.errors import TerminalError
from spo.names import BINDING_PATH, RECORDING_PATH
from spo.profiles.binding_rule import BindingRule
from spo.recording.trace_annotation import RecordingRule
from spo.webhooks.binding import Availability, Bindable, bind
from spo.webhooks.decision import UNCHANGED, Decision
from spo.webhooks.recording import logged_containers, record

_UNCHANGED_REASON: Final = "pod unchanged"
_EPHEMERAL: Final = "ephemeralcontainers"
_NODE_USER: Final = "system:node:"
_BAD_REQUEST: Final = 400
_FORBIDDEN: Final = 403
_INTERNAL: Final = 500

_reviews = msgspec.json.Decoder(AdmissionReview)
_pods = msgspec.json.Decoder(AdmittedPod)
_old_pods = msgspec.json.Decoder(AdmittedPod | None)
_encoder = msgspec.json.Encoder()


class BadReviewError(TerminalError):
    """A body that is no AdmissionReview: there is not even a uid to answer to."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"not an AdmissionReview of admission.k8s.io/v1 or v1beta1: {self.problem}"


class UnreadableRuleError(TerminalError):
    """A binding or recording of the namespace cannot be read: what it asks for is unknown."""

    def __init__(self, kind: str, namespace: str, name: str, problem: str) -> None:
        super().__init__(kind, namespace, name, problem)
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}: {self.problem}; correct or delete it"


class Rules(Protocol):
    """What is known of the cluster; :class:`spo.webhooks.cluster.CachedRules` in production."""

    def bindings(self, namespace: str) -> list[BindingRule]:
        """The bindings of a namespace; raises UnreadableRuleError."""

    def recordings(self, namespace: str) -> list[RecordingRule]:
        """The recordings of a namespace; raises UnreadableRuleError."""

    def profile(self, namespace: str, name: str) -> Availability:
        """Whether a SeccompProfile can be used."""

    async def look_again(self, namespace: str, name: str) -> Availability:
        """The same, asked of the API server: the copy here may be a moment behind."""


@dataclass(slots=True)
class ReviewStats:
    """Counters; plain numbers, read by whoever exports metrics."""

    answered: int = 0
    patched: int = 0
    refused: int = 0
    malformed: int = 0


class Reviewer:
    """Answers AdmissionReviews."""

    def __init__(self, rules: Rules, operator_namespace: str, now_s: Callable[[], float]) -> None:
        self._rules = rules
        self._operator_namespace = operator_namespace
        self._now_s = now_s
        self._by_path: dict[str, Callable[[AdmissionRequest], Decision | Awaitable[Decision]]] = {
            BINDING_PATH: self._bind,
            RECORDING_PATH: self._record,
        }
        self.stats: Final = ReviewStats()

    @property
    def paths(self) -> frozenset[str]:
        """The URL paths that :meth:`answer` knows."""
        return frozenset(self._by_path)

    def answer(self, path: str, body: bytes) -> bytes | Awaitable[bytes]:
        """The answer to one review: at once, unless the API server has to be asked first.

        Args:
            path: one of :attr:`paths`.
            body: the AdmissionReview, JSON.

        Raises:
            BadReviewError: it cannot be answered in its own terms.
        """
        try:
            review = _reviews.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            self.stats.malformed += 1
            raise BadReviewError(str(error)) from error
        if review.kind != "AdmissionReview" or review.api_version not in REVIEW_VERSIONS:
            self.stats.malformed += 1
            raise BadReviewError(f"apiVersion {review.api_version!r}, kind {review.kind!r}")
        request = review.request
        try:
            decision = self._by_path[path](request)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            problem = f"the pod cannot be read: {error}"
            return _encoded(review, self._refuse(request, _BAD_REQUEST, problem))
        except UnreadableRuleError as error:
            return _encoded(review, self._refuse(request, _INTERNAL, str(error)))
        if isinstance(decision, Decision):
            return _encoded(review, self._response(request, decision))
        return self._answer_later(review, decision)

    async def _answer_later(self, review: AdmissionReview, decision: Awaitable[Decision]) -> bytes:
        return _encoded(review, self._response(review.request, await decision))

    def _response(self, request: AdmissionRequest, decision: Decision) -> AdmissionResponse:
        if decision.refusal:
            return self._refuse(request, _FORBIDDEN, decision.refusal)
        self.stats.answered += 1
        response = AdmissionResponse(uid=request.uid, allowed=True)
        if decision.warnings:
            response.warnings = list(decision.warnings)
        if not decision.patch:
            response.status = AdmissionStatus(code=200, reason=_UNCHANGED_REASON)
            return response
        self.stats.patched += 1
        response.patch = _encoder.encode(decision.patch)
        response.patch_type = "JSONPatch"
        return response

    def _refuse(self, request: AdmissionRequest, code: int, message: str) -> AdmissionResponse:
        self.stats.answered += 1
        self.stats.refused += 1
        status = AdmissionStatus(code=code, reason=_REASONS[code], message=message)
        return AdmissionResponse(uid=request.uid, allowed=False, status=status)

    def _bind(self, request: AdmissionRequest) -> Decision | Awaitable[Decision]:
        ephemeral = request.sub_resource == _EPHEMERAL
        if not _is_new_pod(request) and not (ephemeral and request.operation == "UPDATE"):
            return UNCHANGED
        namespace = request.namespace or ""
        rules = self._rules.bindings(namespace)
        if not rules:
            return UNCHANGED
        pod = _pods.decode(request.object)
        old = _old_pods.decode(request.old_object) if ephemeral and bytes(request.old_object) else None
        logged = () if ephemeral else logged_containers(pod, self._rules.recordings(namespace))
        about = Bindable(namespace, pod, old, logged, _is_by_node(request))
        decision = bind(about, rules, lambda name: self._rules.profile(namespace, name), ephemeral=ephemeral)
        if not decision.missing:
            return decision
        return self._bind_after_looking(about, rules, decision.missing, ephemeral=ephemeral)

    async def _bind_after_looking(
        self, about: Bindable, rules: list[BindingRule], missing: tuple[str, ...], *, ephemeral: bool
    ) -> Decision:
        found = {name: await self._rules.look_again(about.namespace, name) for name in missing}

        def look_up(name: str) -> Availability:
            return found.get(name) or self._rules.profile(about.namespace, name)

        return bind(about, rules, look_up, ephemeral=ephemeral)

    def _record(self, request: AdmissionRequest) -> Decision:
        if not _is_new_pod(request):
            return UNCHANGED
        rules = self._rules.recordings(request.namespace or "")
        if not rules:
            return UNCHANGED
        pod = _pods.decode(request.object)
        return record(pod, rules, int(self._now_s()), self._operator_namespace, by_node=_is_by_node(request))


def _encoded(review: AdmissionReview, response: AdmissionResponse) -> bytes:
    return _encoder.encode(AnsweredReview(api_version=review.api_version, response=response))


_REASONS: Final = {_BAD_REQUEST: "BadRequest", _FORBIDDEN: "Forbidden", _INTERNAL: "InternalError"}


def _is_by_node(request: AdmissionRequest) -> bool:
    return request.user_info is not None and request.user_info.username.startswith(_NODE_USER)


def _is_new_pod(request: AdmissionRequest) -> bool:
    resource = request.resource
    is_pod = resource.resource == "pods" and not resource.group and not request.sub_resource
    return is_pod and request.operation == "CREATE"
