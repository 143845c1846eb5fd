"""Names, labels and annotations: texts recorded from a real server."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onenode.object_names import (
    config_key_problems,
    generate_name,
    label_problems,
    label_value_problems,
    path_segment_problems,
    qualified_name_problems,
    subdomain_problems,
    validate_annotations,
    validate_labels,
    validate_name,
)

ENDS = "and must start and end with an alphanumeric character"
REGEX = "regex used for validation is"
SUBDOMAIN = (
    f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', {ENDS} "
    rf"(e.g. 'example.com', {REGEX} '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL = (
    f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {ENDS} "
    f"(e.g. 'my-name',  or '123-abc', {REGEX} '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
NAME_PART = (
    f"name part must consist of alphanumeric characters, '-', '_' or '.', {ENDS} "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', {REGEX} '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE = (
    f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', {ENDS} "
    f"(e.g. 'MyValue',  or 'my_value',  or '12345', {REGEX} '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


@pytest.mark.parametrize(
    ("problems", "value", "texts"),
    [
        (subdomain_problems, "a.b-c.1", []),
        (subdomain_problems, "Bad_Name", [SUBDOMAIN]),
        (subdomain_problems, "a/b", [SUBDOMAIN]),
        (subdomain_problems, "a\n", [SUBDOMAIN]),
        (subdomain_problems, "a" * 254, ["must be no more than 253 characters"]),
        (label_problems, "Bad", [LABEL]),
        (label_problems, "a" * 64, ["must be no more than 63 characters"]),
        (qualified_name_problems, "example.com/MyName", []),
        (qualified_name_problems, "bad key!", [NAME_PART]),
        (qualified_name_problems, "", ["name part must be non-empty", NAME_PART]),
        (qualified_name_problems, "/x", ["prefix part must be non-empty"]),
        (qualified_name_problems, "Bad/x", [f"prefix part {SUBDOMAIN}"]),
        (label_value_problems, "", []),
        (label_value_problems, "bad value!", [VALUE]),
        (path_segment_problems, "system:node", []),
        (path_segment_problems, "..", ["may not be '..'"]),
        (path_segment_problems, "a/b", ["may not contain '/'"]),
        (config_key_problems, ".hidden", []),
        (config_key_problems, "..", ["must not be '..'"]),
    ],
)
def test_problems(problems: Any, value: str, texts: list[str]) -> None:
    assert problems(value) == texts


def test_a_qualified_name_has_one_slash_at_most() -> None:
    [text] = qualified_name_problems("a/b/c")
    assert text.endswith("with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')")


def test_the_generated_name_is_judged_with_its_prefix() -> None:
    causes = validate_name({"generateName": "Bad_", "name": "Bad_x"})
    assert [cause.text for cause in causes] == [
        f'metadata.generateName: Invalid value: "Bad_": {SUBDOMAIN}',
        f'metadata.name: Invalid value: "Bad_x": {SUBDOMAIN}',
    ]
    assert validate_name({"generateName": "gen-", "name": "gen-x"}) == []


def test_a_name_is_required() -> None:
    [cause] = validate_name({})
    assert cause.text == "metadata.name: Required value: name or generateName is required"


def test_labels_and_annotations() -> None:
    [cause] = validate_labels({"a": "b b"})
    assert cause.text == f'metadata.labels: Invalid value: "b b": {VALUE}'
    [cause] = validate_annotations({"Bad Key": "anything at all!"})
    assert cause.text == f'metadata.annotations: Invalid value: "Bad Key": {NAME_PART}'
    [cause] = validate_annotations({"a": "x" * 262_144})
    assert cause.text == "metadata.annotations: Too long: may not be more than 262144 bytes"


@given(prefix=st.text("abc-", min_size=1, max_size=80), seed=st.integers(0, 9))
def test_a_generated_name_keeps_its_prefix_and_fits_a_label(prefix: str, seed: int) -> None:
    name = generate_name(prefix, random.Random(seed))  # a seeded choice, nothing secret
    assert name[:-5] == prefix[:58]
    assert set(name[-5:]) <= set("bcdfghjklmnpqrstvwxz2456789")
    assert len(name) <= 63
