import pytest
from hypothesis import given
from hypothesis import strategies as st

from spo.rpc.frames import MAX_FRAME_BYTES, FrameError, FrameReader, frame


def read_all(reader: FrameReader) -> list[bytes]:
    return list(iter(reader.next, None))


@given(st.lists(st.binary(min_size=1, max_size=300)), st.lists(st.integers(1, 40)))
def test_frames_survive_any_cutting(contents: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(content) for content in contents)
    reader, got = FrameReader(), []
    for cut in (*cuts, len(stream)):
        reader.feed(stream[:cut])
        stream = stream[cut:]
        got += read_all(reader)
    assert got == contents
    assert reader.waiting_bytes == 0


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_give_frames_or_a_frame_error(data: bytes) -> None:
    reader = FrameReader()
    reader.feed(data)
    try:
        read_all(reader)
    except FrameError:
        return
    assert reader.waiting_bytes <= len(data)


def test_largest_frame_passes() -> None:
    reader = FrameReader()
    reader.feed(frame(b"x" * MAX_FRAME_BYTES))
    assert reader.next() == b"x" * MAX_FRAME_BYTES


@pytest.mark.parametrize("length", [0, MAX_FRAME_BYTES + 1, 2 * MAX_FRAME_BYTES, 0xFFFFFFFF])
def test_length_is_refused_before_the_content_comes(length: int) -> None:
    reader = FrameReader()
    reader.feed(length.to_bytes(4, "big"))
    with pytest.raises(FrameError, match=rf"a frame of {length} bytes: 1 to 1048576 are allowed"):
        reader.next()


@pytest.mark.parametrize("content", [b"", b"x" * (MAX_FRAME_BYTES + 1)])
def test_frame_that_nobody_would_take_is_not_made(content: bytes) -> None:
    with pytest.raises(FrameError):
        frame(content)
