"""Questions to the API server about a caller of ours: who is it, and may it do this."""

from typing import Any

import msgspec

from spo.api.meta import ObjectMeta
from spo.api.resource import Resource


class UserInfo(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Who a token belongs to."""

    username: str = ""
    uid: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}


class TokenReviewSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The question."""

    token: str
    audiences: list[str] = []
    """Empty: the token must be for the API server."""


class TokenReviewStatus(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The answer."""

    authenticated: bool = False
    user: UserInfo = msgspec.field(default_factory=UserInfo)
    error: str = ""


class TokenReview(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Whose token is this?"""

    metadata: ObjectMeta = msgspec.field(default_factory=lambda: ObjectMeta(name=""))
    spec: TokenReviewSpec | None = None
    status: TokenReviewStatus = msgspec.field(default_factory=TokenReviewStatus)


class NonResourceAttributes(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A URL that is no object."""

    path: str
    verb: str


class SubjectAccessReviewSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The question."""

    user: str
    uid: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    non_resource_attributes: NonResourceAttributes


class SubjectAccessReviewStatus(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The answer."""

    allowed: bool = False
    denied: bool = False
    reason: str = ""


class SubjectAccessReview(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """May this user do that?"""

    metadata: ObjectMeta = msgspec.field(default_factory=lambda: ObjectMeta(name=""))
    spec: Any = None
    """SubjectAccessReviewSpec when it is asked; what comes back is not read."""
    status: SubjectAccessReviewStatus = msgspec.field(default_factory=SubjectAccessReviewStatus)


TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", False, TokenReview)
SUBJECT_ACCESS_REVIEWS = Resource(
    "authorization.k8s.io",
    "v1",
    "SubjectAccessReview",
    "subjectaccessreviews",
    False,
    SubjectAccessReview,
)
