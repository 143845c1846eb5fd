import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spo.probes.log_enricher.log_file import MAX_LINE_BYTES, LogFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.log"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    path.write_bytes(b"old\n")
    made = LogFile(path)
    yield made
    made.close()


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def drained(log: LogFile) -> list[bytes]:
    lines = []
    while more := log.read():
        lines += more
    return lines


def test_reading_begins_at_the_end(log: LogFile, path: Path) -> None:
    assert drained(log) == []
    append(path, b"new\n")
    assert drained(log) == [b"new"]


def test_half_lines_wait_for_their_end(log: LogFile, path: Path) -> None:
    append(path, b"one\ntw")
    assert drained(log) == [b"one"]
    append(path, b"o\n")
    assert drained(log) == [b"two"]


def test_rotation_by_renaming_loses_nothing(log: LogFile, path: Path) -> None:
    append(path, b"one\n")
    path.rename(path.with_suffix(".1"))
    append(path.with_suffix(".1"), b"two\n")
    append(path, b"three\n")
    assert drained(log) == [b"one", b"two", b"three"]


def test_file_that_rotates_faster_than_it_is_read_loses_nothing(log: LogFile, path: Path) -> None:
    append(path, b"one\n")
    for content in (b"two\n", b"three\n", b"four\n"):
        for number in (2, 1):
            if (older := Path(f"{path}.{number}")).exists():
                older.rename(f"{path}.{number + 1}")
        path.rename(f"{path}.1")
        append(path, content)
    assert drained(log) == [b"one", b"two", b"three", b"four"]
    append(path, b"five\n")
    assert drained(log) == [b"five"]


def test_file_whose_rotated_ones_are_gone_goes_on_with_the_present_one(log: LogFile, path: Path) -> None:
    append(path, b"one\n")
    path.rename(f"{path}.1")
    append(path, b"two\n")
    Path(f"{path}.1").unlink()
    assert drained(log) == [b"one", b"two"]


def test_rotation_by_truncation_begins_anew(log: LogFile, path: Path) -> None:
    append(path, b"one and more\n")
    assert drained(log) == [b"one and more"]
    os.truncate(path, 0)
    assert drained(log) == []
    append(path, b"two\n")
    assert drained(log) == [b"two"]


def test_file_that_appears_later_is_read_from_its_beginning(path: Path) -> None:
    log = LogFile(path)
    assert drained(log) == []
    append(path, b"first\n")
    assert drained(log) == [b"first"]
    log.close()


def test_folder_that_appears_later_is_no_problem(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "audit" / "audit.log")
    assert drained(log) == []
    (tmp_path / "audit").mkdir()
    append(tmp_path / "audit" / "audit.log", b"first\n")
    assert drained(log) == [b"first"]
    log.close()


def test_deleted_file_is_waited_for(log: LogFile, path: Path) -> None:
    append(path, b"one\n")
    path.unlink()
    assert drained(log) == [b"one"]
    append(path, b"two\n")
    assert drained(log) == [b"two"]


def test_file_that_cannot_be_opened_for_a_while_is_read_then(log: LogFile, path: Path) -> None:
    path.rename(path.with_suffix(".1"))
    path.symlink_to(path)  # a loop: cannot be opened, also not by root
    assert drained(log) == []
    path.unlink()
    append(path, b"again\n")
    assert drained(log) == [b"again"]


@pytest.mark.parametrize("length", [MAX_LINE_BYTES + 1, 1 << 20])
def test_long_lines_are_dropped_and_counted(log: LogFile, path: Path, length: int) -> None:
    append(path, b"a\n" + b"x" * length + b"\nb\n")
    assert drained(log) == [b"a", b"b"]
    assert log.too_long == 1


def test_long_line_without_end_does_not_fill_the_memory(log: LogFile, path: Path) -> None:
    for _ in range(5):
        append(path, b"x" * MAX_LINE_BYTES)
        assert drained(log) == []
        assert len(log._rest) <= MAX_LINE_BYTES
    append(path, b"\nb\n")
    assert drained(log) == [b"b"]
    assert log.too_long == 1


def test_change_is_told(log: LogFile, path: Path) -> None:
    drained(log)
    assert select.select([log.fileno()], [], [], 0)[0] == []
    append(path, b"new\n")
    assert select.select([log.fileno()], [], [], 5)[0] != []
    assert drained(log) == [b"new"]
    assert select.select([log.fileno()], [], [], 0)[0] == []


def test_large_file_does_not_delay_the_start(path: Path) -> None:
    path.write_bytes(b"type=SYSCALL msg=audit(1.000:1): arch=c000003e\n" * 500_000)
    begin = time.process_time()
    log = LogFile(path)
    assert drained(log) == []
    assert time.process_time() - begin < 0.05
    log.close()
