import io
import re
from collections.abc import Iterator

import pytest

from spo import klog

HEADER = re.compile(
    r"^(?P<severity>[IWE])\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ test_log_format\.py:\d+\] (?P<rest>.*)$"
)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    written = io.StringIO()
    klog.configure(0, written)
    yield written
    klog.configure(0)


def line(stream: io.StringIO) -> tuple[str, str]:
    """Severity and everything behind the header of the only line."""
    (text,) = stream.getvalue().splitlines()
    found = HEADER.match(text)
    assert found, text
    return found["severity"], found["rest"]


def test_pairs_are_sorted_and_encoded_as_json(stream: io.StringIO) -> None:
    klog.get("log-enricher").info("audit", pid=1, container="c", node='a"b')
    assert line(stream) == ("I", 'log-enricher "msg"="audit"  "container"="c" "node"="a\\"b" "pid"=1')


def test_nameless_logger_leaves_the_place_of_the_name_empty(stream: io.StringIO) -> None:
    klog.get().info("Set logging verbosity to 1")
    assert line(stream) == ("I", ' "msg"="Set logging verbosity to 1"')


def test_error_comes_behind_the_message(stream: io.StringIO) -> None:
    klog.get("profile").error("cannot save", ValueError("disk full"), path="a")
    assert line(stream) == ("E", 'profile "msg"="cannot save" "error"="disk full"  "path"="a"')


def test_line_breaks_from_outside_cannot_forge_a_line(stream: io.StringIO) -> None:
    klog.get("profile").warning("odd", name="a\nI0101 00:00:00.000000 1 x:1] forged")
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize(("verbosity", "lines"), [(0, 0), (1, 1)])
def test_details_appear_from_verbosity_1_on(verbosity: int, lines: int) -> None:
    written = io.StringIO()
    klog.configure(verbosity, written)
    klog.get("profile").debug("a detail")
    klog.configure(0)
    assert len(written.getvalue().splitlines()) == lines
