"""Reads what the encoder of pprof profiles writes; knows protocol buffers, and nothing of the encoder."""

import gzip
from dataclasses import dataclass, field


@dataclass
class ReadProfile:
    """The parts of a profile that tests look at."""

    sample_types: list[tuple[str, str]] = field(default_factory=list)
    samples: list[tuple[list[tuple[str, str, int]], list[int]]] = field(default_factory=list)
    """Stack of (function, file, line), the innermost first, and the values."""
    default_type: str = ""
    comments: list[str] = field(default_factory=list)
    period: tuple[str, str, int] = ("", "", 0)
    time_ns: int = 0
    duration_ns: int = 0
    program: str = ""

    def totals(self) -> dict[str, int]:
        """Sum of the last value by innermost function."""
        found: dict[str, int] = {}
        for stack, values in self.samples:
            found[stack[0][0]] = found.get(stack[0][0], 0) + values[-1]
        return found


Message = list[tuple[int, int | bytes]]


def read_profile(content: bytes) -> ReadProfile:
    """Decode a file; raises AssertionError or another error where it is malformed."""
    fields = _message(gzip.decompress(content))
    strings = [_raw(value).decode() for number, value in fields if number == 6]
    assert strings[0] == ""
    assert len(strings) == len(set(strings))

    def text(index: int | bytes) -> str:
        return strings[_number(index)]

    def value_type(value: int | bytes) -> tuple[str, str]:
        parts = dict(_message(_raw(value)))
        return text(parts.get(1, 0)), text(parts.get(2, 0))

    functions = {}
    for message in _all(fields, 5):
        parts = dict(message)
        functions[parts[1]] = text(parts[2]), text(parts.get(4, 0))
    mappings = {dict(message)[1]: dict(message) for message in _all(fields, 3)}
    locations = {}
    for message in _all(fields, 4):
        parts = dict(message)
        assert parts[1] != 0
        assert parts[2] in mappings
        line = dict(_message(_raw(parts[4])))
        locations[parts[1]] = (*functions[line[1]], _number(line.get(2, 0)))
    single = {number: value for number, value in fields if number in {9, 10, 11, 12, 14}}
    found = ReadProfile(
        sample_types=[value_type(value) for number, value in fields if number == 1],
        default_type=text(single[14]),
        period=(*value_type(single[11]), _number(single[12])),
        time_ns=_number(single[9]),
        duration_ns=_number(single[10]),
        comments=[text(one) for number, value in fields if number == 13 for one in _numbers(_raw(value))],
        program=text(next(iter(mappings.values()))[5]),
    )
    for message in _all(fields, 2):
        parts = dict(message)
        stack = [locations[one] for one in _numbers(_raw(parts[1]))]
        values = _numbers(_raw(parts[2]))
        assert len(values) == len(found.sample_types)
        found.samples.append((stack, values))
    return found


def _all(fields: Message, wanted: int) -> list[Message]:
    return [_message(_raw(value)) for number, value in fields if number == wanted]


def _message(content: bytes) -> Message:
    found: Message = []
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        number, kind = divmod(key, 8)
        value, at = _varint(content, at)
        if kind == 2:
            assert at + value <= len(content)
            found.append((number, content[at : at + value]))
            at += value
        else:
            assert kind == 0
            found.append((number, value))
    return found


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        assert shift <= 70
        if byte < 0x80:
            return number, at


def _numbers(content: bytes) -> list[int]:
    found, at = [], 0
    while at < len(content):
        number, at = _varint(content, at)
        found.append(number - (1 << 64) if number >= 1 << 63 else number)
    return found


def _number(value: int | bytes) -> int:
    assert isinstance(value, int)
    return value


def _raw(value: int | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value
