"""From a struct to its schema: what is taken over, and what is refused."""

from typing import Annotated

import msgspec
import pytest

from spo.api.constraints import int_or_string, listed, schema, stored_default, words
from spo.api.structural_schema import NotStructuralError, UndescribedFieldError, structural_schema


class Inner(msgspec.Struct, rename="camel"):
    """A part,
    told in two lines.
    """

    some_name: Annotated[str, schema(maxLength=3)]
    """Name in ``code``."""


class Base(msgspec.Struct, rename="camel", kw_only=True):
    """What the whole is made from."""

    parts: Annotated[list[Inner], listed(2, by="someName")] = []
    """The parts."""


class Whole(Base, rename="camel", kw_only=True):
    """The whole."""

    word: Annotated[str, words(["a", "b"], default="a")] = "b"
    """One of two."""
    either: Annotated[int | str, int_or_string()] | None = None
    """A number or a text."""
    by_name: dict[str, Inner] = {}
    """Parts by their name."""
    flag: Annotated[bool, stored_default(True)]
    """Yes or no."""


class Silent(msgspec.Struct):
    """Says nothing about its field."""

    quiet: int = 0


class Mixed(msgspec.Struct):
    """Takes anything."""

    anything: int | bool
    """No structural schema tells this."""


INNER = {
    "type": "object",
    "required": ["someName"],
    "properties": {"someName": {"description": "Name in `code`.", "type": "string", "maxLength": 3}},
}


def test_schema_of_a_struct() -> None:
    part = {"description": "A part, told in two lines.", **INNER}
    assert structural_schema(Whole) == {
        "description": "The whole.",
        "type": "object",
        "required": ["flag"],
        "properties": {
            "parts": {
                "description": "The parts.",
                "type": "array",
                "maxItems": 2,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["someName"],
                "items": part,
            },
            "word": {"description": "One of two.", "type": "string", "enum": ["a", "b"], "default": "a"},
            "either": {
                "description": "A number or a text.",
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": True,
            },
            "byName": {
                "description": "Parts by their name.",
                "type": "object",
                "additionalProperties": part,
            },
            "flag": {"description": "Yes or no.", "type": "boolean", "default": True},
        },
    }


def test_field_without_description_is_refused() -> None:
    with pytest.raises(
        UndescribedFieldError, match=r"Silent\.quiet has no description; write a string below"
    ):
        structural_schema(Silent)


def test_field_of_several_types_is_refused() -> None:
    with pytest.raises(NotStructuralError, match="use one type, or int_or_string"):
        structural_schema(Mixed)
