"""Fills Secrets of type ``kubernetes.io/service-account-token``: tokens that their readers need not renew."""

from __future__ import annotations

import base64
from typing import Any, Final

from onenode.auth import Authenticator
from onenode.secret_tokens import ACCOUNT_ANNOTATION, ACCOUNT_UID_ANNOTATION, SECRETS, TOKEN_TYPE
from onenode.watch import Event

__all__ = ["AccountSecrets"]

_ACCOUNTS: Final = "serviceaccounts"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class AccountSecrets:
    """The controller.

    Args:
        auth: makes the tokens; its store holds the objects.
        ca_text: CA certificate that clients verify this server with, PEM.
    """

    def __init__(self, auth: Authenticator, ca_text: str) -> None:
        self._auth = auth
        self._store = auth.store
        self._ca_text = ca_text

    def start(self) -> None:
        """Look at every Secret."""
        for record in self._store.records(SECRETS):
            self._look_at(record.namespace, record.view)

    def handle(self, event: Event) -> None:
        """React to a Secret that changed, and to an account that came or went."""
        record = event.record
        if record.resource == SECRETS and event.type != "DELETED":
            current = self._store.record(SECRETS, record.namespace, record.name)
            if current is not None:
                self._look_at(current.namespace, current.view)
        elif record.resource == _ACCOUNTS and event.type != "MODIFIED":
            for secret in self._store.records(SECRETS, record.namespace):
                if _account_of(secret.view) == record.name:
                    self._look_at(secret.namespace, secret.view)

    def _look_at(self, namespace: str | None, secret: dict[str, Any]) -> None:
        account_name = _account_of(secret)
        metadata = secret["metadata"]
        if not namespace or not account_name or metadata.get("deletionTimestamp"):
            return
        account = self._store.record(_ACCOUNTS, namespace, account_name)
        uid = metadata["annotations"].get(ACCOUNT_UID_ANNOTATION)
        if account is None or uid not in (None, account.view["metadata"]["uid"]):
            # As the real controller does: a token of nobody is of no use, and must not outlive its account.
            self._store.delete_now(SECRETS, namespace, metadata["name"])
            return
        self._fill(namespace, metadata["name"], account_name, account.view["metadata"]["uid"])

    def _fill(self, namespace: str, name: str, account: str, account_uid: str) -> None:
        secret = self._store.get(SECRETS, namespace, name)
        if secret is None:
            return
        data = secret.setdefault("data", {})
        wanted = {"ca.crt": _encoded(self._ca_text), "namespace": _encoded(namespace)}
        token = data.get("token") or _encoded(self._auth.issue_secret_token(namespace, account, name))
        secret["metadata"]["annotations"][ACCOUNT_UID_ANNOTATION] = account_uid
        data.update(wanted, token=token)
        self._store.update(SECRETS, secret)


def _account_of(secret: dict[str, Any]) -> str:
    """Name of the account that a Secret holds a token of; empty: of none."""
    if secret.get("type") != TOKEN_TYPE:
        return ""
    name: str = (secret["metadata"].get("annotations") or {}).get(ACCOUNT_ANNOTATION, "")
    return name
