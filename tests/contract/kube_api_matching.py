"""Compares an answer with a recorded one: placeholders stand for values of the recorded server."""

from __future__ import annotations

import re
import uuid
from typing import Any

_PLACEHOLDER = re.compile(
    r"<(?P<kind>uid|rv|suffix-vol|suffix|event-suffix|continue|etag|pod-ip|cluster-ip|container-id|digest)-(?P<n>\d+)>"
    r"|<(?P<loose>time|microtime|age|HASH|token|ca-bundle|kernel-version|klog|server|suffix|unix-time|kid)>"
)
_LOOSE = {
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "microtime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
    # The recorder also cut the repetitions of an event: "5s (x2 over 9s)".
    "age": r"(?:\d+[smhdy])+(?: \(x\d+ over (?:\d+[smhdy])+\))?|<unknown>|<invalid>",
    "suffix": r"[a-z0-9]{5}",
}
_BOUND = {
    "uid": r"[0-9a-f-]{36}",
    "rv": r"\d+",
    "suffix": r"[a-z0-9]{5}",
    "suffix-vol": r"[a-z0-9]{5}",
    "event-suffix": r"[0-9a-f.]+",
}


class MismatchError(AssertionError):
    """The answer is not the recorded one."""


class Bindings:
    """Values of placeholders seen so far."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def set(self, values: dict[str, str]) -> None:
        """Take values that a set-up request gave."""
        self._values.update(values)

    def knows(self, text: str) -> bool:
        """Every placeholder in a text has a value."""
        return all(match[0] in self._values for match in _PLACEHOLDER.finditer(text))

    def saved(self) -> dict[str, str]:
        """The values, for ``restore``."""
        return dict(self._values)

    def restore(self, values: dict[str, str]) -> None:
        """Forget what came after ``saved``."""
        self._values = values

    def fill(self, text: str) -> str:
        """A recorded request text with our values; what was never seen gets a value of its kind."""
        return _PLACEHOLDER.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        key = match[0]
        if key in self._values:
            return self._values[key]
        kind = match["kind"]
        if kind == "uid":
            return self._values.setdefault(key, str(uuid.UUID(int=int(match["n"]))))
        if kind == "rv":
            return self._values.setdefault(key, self._free_revision(int(match["n"])))
        if kind in ("event-suffix", "digest"):
            length = 64 if kind == "digest" else 16
            return self._values.setdefault(key, match["n"].zfill(length))
        return "2026-01-01T00:00:00Z" if key == "<time>" else key

    def _free_revision(self, rank: int) -> str:
        """A revision that never was: long ago, or far in the future."""
        below = [int(v) for k, v in self._values.items() if k.startswith("<rv-") and _rank(k) < rank]
        above = [int(v) for k, v in self._values.items() if k.startswith("<rv-") and _rank(k) > rank]
        return str(max(below) + 100_000) if below and not above else "1"

    def match_text(self, wanted: str, actual: str, where: str) -> None:
        """Compare two texts; unknown placeholders take the actual value.

        Raises:
            MismatchError: they differ.
        """
        if wanted == actual:
            return
        pattern, names = "", []
        position = 0
        for match in _PLACEHOLDER.finditer(wanted):
            pattern += re.escape(wanted[position : match.start()])
            position = match.end()
            if match["loose"]:
                pattern += f"(?:{_LOOSE.get(match['loose'], '(?s:.+?)')})"
            elif match[0] in self._values:
                pattern += re.escape(self._values[match[0]])
            elif match[0] in names:
                pattern += f"(?P=p{names.index(match[0])})"
            else:
                pattern += f"(?P<p{len(names)}>{_BOUND.get(match['kind'], '.+?')})"
                names.append(match[0])
        pattern += re.escape(wanted[position:])
        found = re.fullmatch(pattern, actual)
        if found is None:
            raise MismatchError(f"{where}: {self._shown(wanted)!r} was recorded, got {actual!r}")
        for index, name in enumerate(names):
            self._bind(name, found[f"p{index}"], where)

    def _shown(self, text: str) -> str:
        return _PLACEHOLDER.sub(lambda m: self._values.get(m[0], m[0]), text)

    def _bind(self, name: str, value: str, where: str) -> None:
        if name.startswith("<rv-"):
            self._check_rank(name, int(value), where)
        self._values[name] = value

    def _check_rank(self, name: str, value: int, where: str) -> None:
        for other, text in self._values.items():
            if not other.startswith("<rv-"):
                continue
            if (_rank(other) < _rank(name)) != (int(text) < value) or int(text) == value:
                raise MismatchError(f"{where}: {name} is {value}, but {other} is {text}")


def _rank(name: str) -> int:
    return int(name[len("<rv-") : -1])


def without_managed_fields(value: Any) -> Any:
    """A copy without managedFields, as most files were recorded."""
    if isinstance(value, dict):
        return {k: without_managed_fields(v) for k, v in value.items() if k != "managedFields"}
    return [without_managed_fields(item) for item in value] if isinstance(value, list) else value


def without_descriptions(value: Any) -> Any:
    """A copy without the texts that were removed from schemas and column definitions."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not (k == "description" and isinstance(v, str))}
        return {k: without_descriptions(v) for k, v in kept.items()}
    return [without_descriptions(item) for item in value] if isinstance(value, list) else value


def match_body(wanted: Any, actual: Any, bindings: Bindings, where: str = "body") -> None:
    """Compare two JSON values.

    Raises:
        MismatchError: they differ.
    """
    if isinstance(wanted, dict) and isinstance(actual, dict) and _has_causes(wanted):
        _match_status(wanted, actual, bindings, where)
    elif isinstance(wanted, str) and isinstance(actual, str):
        bindings.match_text(wanted, actual, where)
    elif isinstance(wanted, dict) and isinstance(actual, dict):
        _match_object(wanted, actual, bindings, where)
    elif isinstance(wanted, list) and isinstance(actual, list):
        if len(wanted) != len(actual):
            raise MismatchError(f"{where}: {len(wanted)} items were recorded, got {len(actual)}")
        for index, (one, other) in enumerate(zip(wanted, actual, strict=True)):
            match_body(one, other, bindings, f"{where}[{index}]")
    elif type(wanted) is not type(actual) or wanted != actual:
        raise MismatchError(f"{where}: {wanted!r} was recorded, got {actual!r}")


def _match_object(wanted: dict[str, Any], actual: dict[str, Any], bindings: Bindings, where: str) -> None:
    if set(wanted) != set(actual):
        missing, extra = sorted(set(wanted) - set(actual)), sorted(set(actual) - set(wanted))
        raise MismatchError(f"{where}: missing {missing}, not recorded {extra}")
    # resourceVersions last: equal names and uids explain a difference better.
    for key in sorted(wanted, key=lambda one: (one == "resourceVersion", one)):
        one, other = wanted[key], actual[key]
        if key == "managedFields":
            # In order of time, which is not the recorded one.
            one, other = sorted(one, key=_manager), sorted(other, key=_manager)
        match_body(one, other, bindings, f"{where}.{key}")


def _manager(entry: dict[str, Any]) -> tuple[str, str, str]:
    return (entry["manager"], entry["operation"], entry.get("subresource", ""))


def _has_causes(status: dict[str, Any]) -> bool:
    if status.get("kind") != "Status":
        return False
    return len((status.get("details") or {}).get("causes") or []) > 1


def _match_status(wanted: dict[str, Any], actual: dict[str, Any], bindings: Bindings, where: str) -> None:
    """Several causes come in no stable order: they are compared as a set, the message by its beginning."""

    def key(cause: dict[str, str]) -> tuple[str, str, str]:
        return (cause.get("field", ""), cause.get("reason", ""), cause.get("message", ""))

    def sorted_causes(status: dict[str, Any]) -> list[dict[str, str]]:
        return sorted((status.get("details") or {}).get("causes") or [], key=key)

    def rest(status: dict[str, Any]) -> dict[str, Any]:
        details = {**(status.get("details") or {}), "causes": []}
        message = str(status.get("message", "")).partition(" is invalid: ")[0]
        return {**status, "details": details, "message": message, "kind": "Status+"}

    match_body(rest(wanted), rest(actual), bindings, where)
    match_body(sorted_causes(wanted), sorted_causes(actual), bindings, f"{where}.details.causes")
