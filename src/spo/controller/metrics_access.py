"""Who may read the metrics: whoever the API server says, asked at most once a minute per token and path."""

import asyncio
import hashlib
from enum import Enum
from http import HTTPStatus
from typing import Final, Protocol

from spo import klog
from spo.api.access_reviews import (
    SUBJECT_ACCESS_REVIEWS,
    TOKEN_REVIEWS,
    NonResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
    TokenReview,
    TokenReviewSpec,
    UserInfo,
)
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.errors import KubeError

log = klog.get("metrics")

CACHE_S: Final = 60.0
MAX_CACHED: Final = 1024
MAX_TOKEN_BYTES: Final = 4096
MAX_QUESTIONS: Final = 8
"""Reviews under way at one time: a crowd with wrong tokens must not become load of the API server."""
_SCHEME: Final = "bearer"


class Verdict(Enum):
    """What becomes of a request."""

    ALLOWED = HTTPStatus.OK
    WHO_ARE_YOU = HTTPStatus.UNAUTHORIZED
    FORBIDDEN = HTTPStatus.FORBIDDEN
    ASK_LATER = HTTPStatus.SERVICE_UNAVAILABLE
    """The API server does not answer; this is never kept."""


class Reviews(Protocol):
    """The two questions."""

    async def user_of(self, token: str) -> UserInfo | None:
        """Whose token it is; None: nobody's."""

    async def may_get(self, user: UserInfo, path: str) -> bool:
        """Whether the user may GET the path."""


class ApiReviews:
    """Asks the API server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def user_of(self, token: str) -> UserInfo | None:
        """See :class:`Reviews`."""
        review = TokenReview(spec=TokenReviewSpec(token=token))
        status = (await self._client.create(TOKEN_REVIEWS, review)).status
        return status.user if status.authenticated else None

    async def may_get(self, user: UserInfo, path: str) -> bool:
        """See :class:`Reviews`."""
        spec = SubjectAccessReviewSpec(
            user=user.username,
            uid=user.uid,
            groups=user.groups,
            extra=user.extra,
            non_resource_attributes=NonResourceAttributes(path=path, verb="get"),
        )
        status = (await self._client.create(SUBJECT_ACCESS_REVIEWS, SubjectAccessReview(spec=spec))).status
        return status.allowed and not status.denied


class MetricsAccess:
    """Decides about requests; remembers verdicts for a minute, by a digest of the token."""

    def __init__(self, reviews: Reviews, clock: Clock = SYSTEM_CLOCK) -> None:
        self._reviews = reviews
        self._clock = clock
        self._verdicts: dict[tuple[bytes, str], tuple[float, Verdict]] = {}
        self._questions = asyncio.Semaphore(MAX_QUESTIONS)

    async def verdict(self, authorization: str, path: str) -> Verdict:
        """Judge a request.

        Args:
            authorization: the header as it came, or nothing.
            path: that is asked for.
        """
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != _SCHEME or not token or len(token) > MAX_TOKEN_BYTES or not token.isascii():
            return Verdict.WHO_ARE_YOU
        key = (hashlib.sha256(token.encode()).digest(), path)
        known = self._known(key)
        if known is not None:
            return known
        async with self._questions:
            # Somebody may have asked the same while we waited.
            verdict = self._known(key) or await self._asked(token, path)
        if verdict is not Verdict.ASK_LATER:
            self._remember(key, verdict)
        return verdict

    async def _asked(self, token: str, path: str) -> Verdict:
        try:
            user = await self._reviews.user_of(token)
            if user is None:
                return Verdict.WHO_ARE_YOU
            return Verdict.ALLOWED if await self._reviews.may_get(user, path) else Verdict.FORBIDDEN
        except KubeError as error:
            log.warning("Cannot ask the API server about a reader of metrics", problem=str(error))
            return Verdict.ASK_LATER

    def _known(self, key: tuple[bytes, str]) -> Verdict | None:
        entry = self._verdicts.get(key)
        return entry[1] if entry is not None and entry[0] > self._clock.monotonic() else None

    def _remember(self, key: tuple[bytes, str], verdict: Verdict) -> None:
        self._verdicts.pop(key, None)
        self._verdicts[key] = (self._clock.monotonic() + CACHE_S, verdict)
        while len(self._verdicts) > MAX_CACHED:
            # The first is the oldest, and the first to expire.
            del self._verdicts[next(iter(self._verdicts))]
