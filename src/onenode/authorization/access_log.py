"""What service accounts asked for and whether they may: for tests that compare it with the rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from onenode.authorization.rules import Attributes
from onenode.requests import User

__all__ = ["AccessLog"]

_ACCOUNTS: Final = "system:serviceaccount:"


class AccessLog:
    """A file with one JSON object a line; what was allowed before is not written again."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self._known: set[tuple[str, Attributes]] = set()

    def note(self, user: User, wanted: Attributes, *, allowed: bool) -> None:
        """A decision about a request."""
        asked = (user.name, wanted)
        if not user.name.startswith(_ACCOUNTS) or (allowed and asked in self._known):
            return
        if allowed:
            self._known.add(asked)
        line = {
            "user": user.name,
            "verb": wanted.verb,
            "group": wanted.group,
            "resource": wanted.full_resource,
            "namespace": wanted.namespace,
            "name": wanted.name,
            "path": wanted.path,
            "allowed": allowed,
        }
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
