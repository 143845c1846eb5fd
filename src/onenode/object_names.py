"""Names, label keys and label values: what the server accepts, and why it refuses the rest.

Pure. Each ``..._problems`` function returns the texts of the server; an empty list means valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from onenode import causes
from onenode.causes import Cause

__all__ = [
    "config_key_problems",
    "generate_name",
    "label_problems",
    "label_value_problems",
    "path_segment_problems",
    "qualified_name_problems",
    "subdomain_problems",
    "validate_annotations",
    "validate_labels",
    "validate_name",
    "wanted_name",
]

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_NAME: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE: Final = f"({_NAME})?"
_ENDS: Final = "and must start and end with an alphanumeric character"
_REGEX: Final = "regex used for validation is"
_LABEL_TEXT: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    f"{_ENDS} (e.g. 'my-name',  or '123-abc', {_REGEX} '{_LABEL}')"
)
_SUBDOMAIN_TEXT: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    f"{_ENDS} (e.g. 'example.com', {_REGEX} '{_SUBDOMAIN}')"
)
_NAME_TEXT: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', "
    f"{_ENDS} (e.g. 'MyName',  or 'my.name',  or '123-abc', {_REGEX} '{_NAME}')"
)
_VALUE_TEXT: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    f"{_ENDS} (e.g. 'MyValue',  or 'my_value',  or '12345', {_REGEX} '{_VALUE}')"
)
_CONFIG_KEY: Final = "[-._a-zA-Z0-9]+"
_CONFIG_KEY_TEXT: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
    f"(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', {_REGEX} '{_CONFIG_KEY}')"
)
_ANNOTATIONS_LIMIT_BYTES: Final = 256 * 1024
_SUFFIX_LENGTH: Final = 5
_SUFFIX_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Without vowels and look-alikes, so that no words arise."""
_LONGEST_PREFIX: Final = 63 - _SUFFIX_LENGTH

Problems = Callable[[str], list[str]]


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} characters"


def _problems(value: str, pattern: str, text: str, limit: int) -> list[str]:
    found = [] if len(value) <= limit else [_too_long(limit)]
    if not re.fullmatch(pattern, value):
        found.append(text)
    return found


def label_problems(value: str) -> list[str]:
    """RFC 1123 label: names of namespaces, containers, volumes."""
    return _problems(value, _LABEL, _LABEL_TEXT, 63)


def subdomain_problems(value: str) -> list[str]:
    """RFC 1123 subdomain: names of most objects."""
    # The length is checked first: the pattern on a hostile megabyte would be slow work for nothing.
    return [_too_long(253)] if len(value) > 253 else _problems(value, _SUBDOMAIN, _SUBDOMAIN_TEXT, 253)


def path_segment_problems(value: str) -> list[str]:
    """A name that only has to fit into a URL: roles and bindings."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{char}'" for char in "/%" if char in value]


def qualified_name_problems(value: str) -> list[str]:
    """Optional DNS prefix and ``/``, then a name: keys of labels and annotations, finalizers."""
    prefix, slash, name = value.rpartition("/")
    if value.count("/") > 1:
        tail = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a qualified name {_NAME_TEXT}{tail}"]
    found: list[str] = []
    if slash:
        texts = subdomain_problems(prefix) if prefix else ["must be non-empty"]
        found.extend(f"prefix part {text}" for text in texts)
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append(f"name part {_too_long(63)}")
    if not re.fullmatch(_NAME, name):
        found.append(f"name part {_NAME_TEXT}")
    return found


def label_value_problems(value: str) -> list[str]:
    """The value of a label."""
    return _problems(value, _VALUE, _VALUE_TEXT, 63)


def config_key_problems(value: str) -> list[str]:
    """A key in the data of a ConfigMap or Secret."""
    if value == ".":
        return ["must not be '.'"]
    if value == ".." or value.startswith(".."):
        return ["must not be '..'" if value == ".." else "must not start with '..'"]
    return _problems(value, _CONFIG_KEY, _CONFIG_KEY_TEXT, 253)


def validate_name(metadata: Mapping[str, Any], problems: Problems = subdomain_problems) -> list[Cause]:
    """Causes about ``metadata.name`` and ``metadata.generateName``."""
    found: list[Cause] = []
    prefix = metadata.get("generateName") or ""
    if prefix:
        # What follows a trailing dash makes it legal.
        masked = f"{prefix[:-1]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix
        found.extend(causes.invalid("metadata.generateName", prefix, text) for text in problems(masked))
    name = metadata.get("name") or ""
    if not name:
        found.append(causes.required("metadata.name", "name or generateName is required"))
    else:
        found.extend(causes.invalid("metadata.name", name, text) for text in problems(name))
    return found


def wanted_name(metadata: Mapping[str, Any]) -> str:
    """What an object is called in answers while a generated name is not chosen."""
    return str(metadata.get("name") or metadata.get("generateName") or "")


def validate_labels(labels: Mapping[str, str], field: str = "metadata.labels") -> list[Cause]:
    """Causes about the keys and values of labels."""
    found: list[Cause] = []
    for key, value in labels.items():
        found.extend(causes.invalid(field, key, text) for text in qualified_name_problems(key))
        found.extend(causes.invalid(field, value, text) for text in label_value_problems(value))
    return found


def validate_annotations(annotations: Mapping[str, str], field: str = "metadata.annotations") -> list[Cause]:
    """Causes about the keys and the total size of annotations."""
    found: list[Cause] = []
    for key in annotations:
        found.extend(causes.invalid(field, key, text) for text in qualified_name_problems(key.lower()))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > _ANNOTATIONS_LIMIT_BYTES:
        found.append(causes.too_long(field, _ANNOTATIONS_LIMIT_BYTES))
    return found


class RandomChoice(Protocol):
    """The part of ``random.Random`` used here."""

    def choices(self, population: str, *, k: int) -> list[str]:
        """``k`` members of ``population``, with repetition."""
        ...


def generate_name(prefix: str, random: RandomChoice) -> str:
    """``metadata.generateName`` plus a random suffix; a long prefix is cut."""
    return prefix[:_LONGEST_PREFIX] + "".join(random.choices(_SUFFIX_ALPHABET, k=_SUFFIX_LENGTH))
