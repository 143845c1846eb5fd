"""Acting as somebody else: the ``Impersonate-*`` headers, for those whom the rules let."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote

from onenode.authorization.authorizer import Authorizer
from onenode.authorization.rules import Attributes
from onenode.requests import ANONYMOUS, User
from onenode.status import internal_error

__all__ = ["impersonated"]

_PREFIX: Final = "impersonate-"
_EXTRA: Final = "extra-"
_ACCOUNT: Final = "system:serviceaccount:"
_AUTHENTICATION: Final = "authentication.k8s.io"
_KNOWN: Final = ("system:authenticated", "system:unauthenticated")


def impersonated(user: User, headers: Iterable[tuple[str, str]], authorizer: Authorizer) -> User:
    """The user that a request acts as.

    Args:
        user: who asks.
        headers: all headers, names in lower case, repeated ones several times.
        authorizer: decides whether the user may act as another.

    Raises:
        ApiError: the user may not, or the headers name no user.
    """
    wanted = [(name[len(_PREFIX) :], value) for name, value in headers if name.startswith(_PREFIX)]
    if not wanted:
        return user
    names = [value for name, value in wanted if name == "user" and value]
    if not names:
        shown = ", ".join(f"{name}={value}" for name, value in wanted)
        raise internal_error(f"requested [{shown}] without impersonating a user")
    groups = [value for name, value in wanted if name == "group"]
    uid = next((value for name, value in wanted if name == "uid"), "")
    extra: dict[str, list[str]] = {}
    for name, value in wanted:
        if name.startswith(_EXTRA):
            extra.setdefault(unquote(name[len(_EXTRA) :]), []).append(value)
    for asked in _questions(names[0], groups, uid, extra):
        authorizer.check(user, asked)
    return User(names[0], _all_groups(names[0], groups), uid, extra)


def _questions(name: str, groups: list[str], uid: str, extra: dict[str, list[str]]) -> Iterable[Attributes]:
    account = _service_account(name)
    if account is not None:
        namespace, account_name = account
        yield _may("serviceaccounts", account_name, namespace=namespace)
    else:
        yield _may("users", name)
    for group in groups:
        yield _may("groups", group)
    if uid:
        yield _may("uids", uid, group=_AUTHENTICATION)
    for key, values in extra.items():
        for value in values:
            yield _may("userextras", value, group=_AUTHENTICATION, subresource=key)


def _may(
    resource: str, name: str, *, namespace: str = "", group: str = "", subresource: str = ""
) -> Attributes:
    return Attributes(
        verb="impersonate",
        group=group,
        version="v1",
        resource=resource,
        subresource=subresource,
        name=name,
        namespace=namespace,
    )


def _service_account(name: str) -> tuple[str, str] | None:
    namespace, separator, account = name.removeprefix(_ACCOUNT).partition(":")
    return (namespace, account) if name.startswith(_ACCOUNT) and separator and account else None


def _all_groups(name: str, groups: list[str]) -> tuple[str, ...]:
    found = list(groups)
    account = _service_account(name)
    if account is not None and not groups:
        found = ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
    if not any(group in _KNOWN for group in found):
        found.append(_KNOWN[1] if name == ANONYMOUS.name else _KNOWN[0])
    return tuple(found)
