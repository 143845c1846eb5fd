"""The table names what differs, so that nobody has to run the suite again to know."""

from spo.bpf.observation import SyscallClass
from tests.fidelity.comparison import Comparison
from tests.fidelity.report import Report, Row
from tests.fidelity.strace_log import parse

LOG = """\
10 [   0] read(0, ""..., 1)                 = 0
10 [   1] write(1, ""..., 1)                = 1
11 [ 202] futex(0x1, FUTEX_WAIT_PRIVATE, 2, NULL <unfinished ...>
11 [ 202] <... futex resumed>)              = ?
"""


def row(*recorded: int) -> Row:
    native = SyscallClass.NATIVE
    seen = parse(LOG.splitlines(), None)
    comparison = Comparison(seen, frozenset((native, number) for number in recorded))
    return Row("cat", "two files", comparison, recordings=5, distinct=3)


def test_differences_are_named() -> None:
    text = Report(rows=[row(1, 12, 202)]).text("here")
    assert "| cat | two files | 3 | 1: read | 1: brk | 3 | not reached |" in text


def test_a_call_of_the_tracer_is_explained_and_not_missing() -> None:
    text = Report(rows=[row(0, 1)]).text("here")
    assert "| cat | two files | 3 | 0 | 0 | 3 | not reached |" in text
    assert "\ncat: futex only in strace's log" in text


def test_sections_without_rows_are_absent() -> None:
    text = Report(rows=[row(0, 1, 202)], facts=["all is well."]).text("here")
    assert "In containers" not in text
    assert "only in strace's log" not in text
    assert text.endswith("- all is well.\n")
    assert "recorded 5 times" in text
