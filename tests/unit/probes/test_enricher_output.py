import fcntl
import os
from collections.abc import Iterator

import pytest

from spo.probes.log_enricher.output import MAX_WAITING_CHARACTERS, Output

SIZE = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SIZE)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_lines_arrive_in_order(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1])
    output.write("one\n")
    output.write("two é\n")
    assert output.has_lines
    output.flush()
    assert os.read(pipe[0], 100).decode() == "one\ntwo é\n"
    assert not output.has_lines
    output.close()


def test_reader_that_does_not_read_is_not_waited_for(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1])
    line = "x" * 99 + "\n"
    for _ in range(100):
        output.write(line)
    output.flush()
    assert output.is_stuck
    received = b""
    while output.is_stuck:
        received += os.read(pipe[0], SIZE)
        output.flush()
    received += os.read(pipe[0], SIZE)
    assert received == line.encode() * 100
    assert output.dropped == 0
    output.close()


def test_lines_that_find_no_place_are_counted(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1])
    line = "x" * 9_999 + "\n"
    count = MAX_WAITING_CHARACTERS // 10_000
    for _ in range(count + 20):
        output.write(line)
    assert 5 <= output.dropped <= 20
    output.close()


def test_the_descriptor_that_others_share_stays_blocking(pipe: tuple[int, int]) -> None:
    output = Output(pipe[1])
    assert os.get_blocking(pipe[1])
    assert not os.get_blocking(output.fileno())
    output.close()
    assert os.get_blocking(pipe[1])


def test_reader_that_is_gone_is_no_reason_to_end() -> None:
    reading, writing = os.pipe()
    output = Output(writing)
    os.close(reading)
    output.write("one\ntwo\n")
    output.flush()
    assert (output.is_stuck, output.dropped) == (False, 2)
    output.close()
    os.close(writing)
