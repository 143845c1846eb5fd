"""Pure: profiles in the format of pprof, a gzip'd protocol buffer.

Source: ``proto/profile.proto`` of github.com/google/pprof. Of its fields those are written that a profile of
Python needs: no addresses, one mapping that says that all names are known.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

_GZIP: Final = 16 + zlib.MAX_WBITS
_MAPPING_ID: Final = 1
_INT64: Final = (1 << 64) - 1


class Frame(NamedTuple):
    """A line of a program."""

    function: str
    file: str = ""
    line: int = 0


class ValueType(NamedTuple):
    """What a number counts."""

    type: str
    """Such as ``cpu``."""
    unit: str
    """Such as ``nanoseconds``, ``bytes`` or ``count``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a profile says about itself."""

    sample_types: tuple[ValueType, ...]
    """Of the values of each sample; the last is what tools show."""
    program: str
    """Path of what was looked at."""
    comment: str
    """What the profile shows, and what it does not; ``go tool pprof -comments`` prints it."""
    period_type: ValueType
    """What lies between two samples."""
    period: int
    """How much of it; 1 if nothing was sampled."""
    time_ns: int
    """When it was begun, nanoseconds since the epoch."""
    duration_ns: int = 0
    """How long it took; 0 for the state of a moment."""


class Sample(NamedTuple):
    """What was counted in one place."""

    stack: Sequence[Frame]
    """The innermost first."""
    values: Sequence[int]
    """One for each of the types."""


def encode(header: Header, samples: Iterable[Sample]) -> bytes:
    """The file that ``go tool pprof`` reads.

    Raises:
        ValueError: a sample has more or fewer values than there are types.
    """
    packer = zlib.compressobj(wbits=_GZIP)
    body = _Body(header)
    for sample in samples:
        body.add(sample)
    return packer.compress(body.finish()) + packer.flush()


class _Body:
    """The message Profile; numbers of fields are those of profile.proto."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[tuple[str, str], int] = {}
        self._locations: dict[Frame, int] = {}
        self._out = bytearray()

    def add(self, sample: Sample) -> None:
        if len(sample.values) != len(self._header.sample_types):
            raise ValueError(f"{len(sample.values)} values for {len(self._header.sample_types)} types")
        message = bytearray()
        _packed(message, 1, [self._location(frame) for frame in sample.stack])
        _packed(message, 2, sample.values)
        _bytes(self._out, 2, message)

    def finish(self) -> bytes:
        header = self._header
        for one in header.sample_types:
            _bytes(self._out, 1, self._value_type(one))
        mapping = bytearray()
        _int(mapping, 1, _MAPPING_ID)
        _int(mapping, 5, self._string(header.program))
        for has in (7, 8, 9):  # functions, file names, line numbers
            _int(mapping, has, 1)
        _bytes(self._out, 3, mapping)
        for frame, number in self._locations.items():
            line, location = bytearray(), bytearray()
            _int(line, 1, self._functions[frame.function, frame.file])
            _int(line, 2, frame.line)
            _int(location, 1, number)
            _int(location, 2, _MAPPING_ID)
            _bytes(location, 4, line)
            _bytes(self._out, 4, location)
        for (name, file), number in self._functions.items():
            function = bytearray()
            _int(function, 1, number)
            _int(function, 2, self._string(name))
            _int(function, 3, self._string(name))
            _int(function, 4, self._string(file))
            _bytes(self._out, 5, function)
        _int(self._out, 9, header.time_ns)
        _int(self._out, 10, header.duration_ns)
        _bytes(self._out, 11, self._value_type(header.period_type))
        _int(self._out, 12, header.period)
        _packed(self._out, 13, [self._string(header.comment)])
        _int(self._out, 14, self._string(header.sample_types[-1].type))
        for text in self._strings:  # last: by now all are known
            _bytes(self._out, 6, text.encode("utf-8", "replace"))
        return bytes(self._out)

    def _value_type(self, one: ValueType) -> bytearray:
        message = bytearray()
        _int(message, 1, self._string(one.type))
        _int(message, 2, self._string(one.unit))
        return message

    def _location(self, frame: Frame) -> int:
        self._functions.setdefault((frame.function, frame.file), len(self._functions) + 1)
        return self._locations.setdefault(frame, len(self._locations) + 1)

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))


def _varint(out: bytearray, number: int) -> None:
    number &= _INT64
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _int(out: bytearray, field: int, number: int) -> None:
    _varint(out, field << 3)
    _varint(out, number)


def _bytes(out: bytearray, field: int, content: bytes | bytearray) -> None:
    _varint(out, field << 3 | 2)
    _varint(out, len(content))
    out += content


def _packed(out: bytearray, field: int, numbers: Iterable[int]) -> None:
    content = bytearray()
    for number in numbers:
        _varint(content, number)
    _bytes(out, field, content)
