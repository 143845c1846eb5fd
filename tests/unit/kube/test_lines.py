from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.kube.lines import LineTooLongError, UnfinishedLineError, split_lines


async def _chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _lines(*pieces: bytes, limit: int = 100) -> list[bytes]:
    return [line async for line in split_lines(_chunks(*pieces), limit)]


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda line: b"\n" not in line)), st.data())
async def test_lines_come_out_whole_however_they_were_cut(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)))))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    assert await _lines(*pieces) == [line for line in lines if line.strip()]


async def test_unicode_line_separators_do_not_end_a_line() -> None:
    text = '{"message": "a\u2028b\u0085c"}'.encode()
    assert await _lines(text + b"\n") == [text]


async def test_a_cut_line_is_an_error_and_not_an_event() -> None:
    lines = split_lines(_chunks(b"one\ntw"), 100)
    assert await anext(lines) == b"one"
    with pytest.raises(UnfinishedLineError):
        await anext(lines)


@pytest.mark.parametrize(
    "pieces",
    [pytest.param((b"x" * 11,), id="no-end"), pytest.param((b"x" * 6, b"x" * 6 + b"\n"), id="with-end")],
)
async def test_a_line_without_end_does_not_fill_the_memory(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(LineTooLongError):
        await _lines(*pieces, limit=10)
