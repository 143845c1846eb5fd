"""What the fidelity suite reads out of a log of strace."""

import pytest

from spo.bpf.observation import SyscallClass
from tests.fidelity.comparison import Comparison
from tests.fidelity.strace_log import StraceLog, StraceLogError, class_of, name_of, parse

NATIVE, COMPAT = SyscallClass.NATIVE, SyscallClass.COMPAT


def log(text: str, root: int | None = None) -> StraceLog:
    return parse(text.strip().splitlines(), root)


def names(parsed: StraceLog) -> list[str]:
    return sorted(name_of(call) for call in parsed.calls)


def test_calls_before_the_first_execve_of_the_root_do_not_count() -> None:
    parsed = log(
        """
10 [   0] read(3, "1"..., 1)               = 1
10 [   1] write(2, ""..., 0)               = 0
10 [  59] execve("/bin/ls", [...], 0x1 /* 5 vars */) = 0
10 [  12] brk(NULL)                         = 0x1
""",
        root=10,
    )
    assert names(parsed) == ["brk", "execve"]


def test_an_execve_of_another_process_does_not_start_the_count() -> None:
    parsed = log('11 [  59] execve("/bin/ls", [...], 0x1) = 0\n11 [  12] brk(NULL) = 0x1', root=10)
    assert names(parsed) == []


def test_interleaved_calls_are_told_apart_by_process() -> None:
    parsed = log(
        """
10 [  61] wait4(-1,  <unfinished ...>
11 [ 230] clock_nanosleep(CLOCK_REALTIME, 0, {tv_sec=1, tv_nsec=0},  <unfinished ...>
10 [  61] <... wait4 resumed>0x7ffd, 0, NULL) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)
11 [ 230] <... clock_nanosleep resumed>0x1) = 0
11 [ 231] exit_group(0)                     = ?
11 [ 231] +++ exited with 0 +++
10 [  61] --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=11} ---
"""
    )
    assert names(parsed) == ["clock_nanosleep", "exit_group", "wait4"]
    assert [name_of(call) for call in parsed.calls if parsed.never_returned(call)] == ["exit_group"]


def test_a_call_that_killed_processes_never_left_is_known() -> None:
    parsed = log(
        """
10 [ 202] futex(0x1, FUTEX_WAIT_PRIVATE, 2, NULL <unfinished ...>
11 [ 231] exit_group(0 <unfinished ...>
10 [ 202] <... futex resumed>)              = ?
10 [ 202] +++ exited with 0 +++
11 [ 231] <... exit_group resumed>)         = ?
"""
    )
    assert parsed.never_returned((NATIVE, 202))
    assert not parsed.never_returned((NATIVE, 0))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("10 [  59] +++ superseded by execve in pid 12 +++", id="thread-execs"),
        pytest.param("10 [ ??] ????( <unfinished ...>", id="died-at-entry"),
        pytest.param("10 ???( <unfinished ...>", id="died-without-number"),
        pytest.param("10 [  14] --- SIGSEGV {si_signo=SIGSEGV, si_addr=NULL} ---", id="signal"),
        pytest.param("10 [   1] +++ killed by SIGKILL (core dumped) +++", id="killed"),
        pytest.param("10 [  11] [ Process PID=10 runs in 32 bit mode. ]", id="personality"),
    ],
)
def test_lines_that_hold_no_call(line: str) -> None:
    assert log(line).calls == frozenset()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "strace: something new",
        "10 read(3, 4) = 1",
        "10 [   0] reading",
        "10 [  ??] read(3, 4) = 1",
        '[   0] read(3, "") = 0',
    ],
)
def test_unknown_lines_are_refused(line: str) -> None:
    with pytest.raises(StraceLogError):
        parse([line], None)


def test_32_bit_calls_are_known_by_number_and_name() -> None:
    parsed = log(
        """
10 [  59] execve("./small32", ["./small32"], 0x1 /* 5 vars */) = 0
10 [   2] fork()                            = 11
11 [   4] write(1, "child\\n"..., 6)        = 6
10 [   7] waitpid(11, NULL, 0)              = 11
10 [   1] exit(0)                           = ?
""",
        root=10,
    )
    assert names(parsed) == [
        "execve",
        "exit (32-bit)",
        "fork (32-bit)",
        "waitpid (32-bit)",
        "write (32-bit)",
    ]


def test_numbers_that_are_equal_in_both_tables_follow_the_process() -> None:
    # 435 is clone3 everywhere: nothing but the process itself tells the class.
    parsed = log(
        """
10 [ 435] clone3({flags=0}, 88)             = 11
12 [  20] [ Process PID=12 runs in 32 bit mode. ]
12 [ 435] clone3({flags=0}, 88)             = 13
13 [   4] write(1, ""..., 0)                = 0
13 [ 435] clone3({flags=0}, 88)             = 14
"""
    )
    assert parsed.calls == {(NATIVE, 435), (COMPAT, 435), (COMPAT, 4)}


def test_a_name_of_no_table_does_not_change_the_class() -> None:
    assert class_of(90, "old_mmap", COMPAT) is COMPAT
    assert class_of(90, "old_mmap", NATIVE) is NATIVE
    assert class_of(90, "chmod", COMPAT) is NATIVE


def test_text_of_the_program_cannot_pass_for_a_call() -> None:
    parsed = log('10 [   1] write(1, "\\n10 [  99] sysinfo(0x1) = 0\\n", 28) = 28')
    assert names(parsed) == ["write"]


def test_comparison_tells_what_is_missing_extra_and_of_the_tracer() -> None:
    seen = log(
        """
10 [   0] read(0, ""..., 1)                 = 0
10 [   1] write(1, ""..., 1)                = 1
11 [ 202] futex(0x1, FUTEX_WAIT_PRIVATE, 2, NULL <unfinished ...>
11 [ 202] <... futex resumed>)              = ?
"""
    )
    comparison = Comparison(seen, frozenset({(NATIVE, 1), (NATIVE, 12)}))
    assert comparison.missing == {(NATIVE, 0)}
    assert comparison.extra == {(NATIVE, 12)}
    assert comparison.of_the_tracer == {(NATIVE, 202)}
