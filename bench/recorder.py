"""What recording costs: each syscall of the machine, the start of the recorder, the start of ``spoc``.

Every round measures each case once, one after the other, so that a slow moment of the machine hits all of
them; the loop in C counts its own CPU time. ``floor`` is a program that does nothing at every syscall.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import results

from spo.bpf.libbpf import Libbpf
from spo.bpf.recorder import Recorder

HERE = Path(__file__).parent
CALLS = 1_000_000
ROUNDS = 9
STARTS = 15
NO_PROCESS = (1 << 22) - 1
"""A process id that is hardly ever in use: the tree is recorded, and nobody is in it."""

Add = Callable[[int], None]


class Loops:
    """The compiled loop."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "loop"
        compile_(("-O2", "-o", str(self._path), str(HERE / "syscall_loop.c")))

    def run(self, *prefix: str, copies: int = 1, add: Add | None = None) -> float:
        """CPU nanoseconds of a call: the mean over the copies, each on a CPU of its own."""
        started = []
        for index in range(copies):
            gate, go = os.pipe()
            answer, tell = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[index]} if copies > 1 else range(99))
                os.dup2(tell, 1)
                os.close(go)
                os.read(gate, 1)
                arguments = [*prefix, str(self._path), str(CALLS)]
                os.execvp(arguments[0], arguments)
            os.close(tell)
            os.close(gate)
            if add:
                add(pid)
            started.append((pid, go, answer))
        for _, go, _ in started:
            os.close(go)
        values = []
        for pid, _, answer in started:
            os.waitpid(pid, 0)
            values.append(float(os.read(answer, 64)))
            os.close(answer)
        return statistics.mean(values)


def compile_(arguments: Sequence[str]) -> None:
    """Run the compiler."""
    subprocess.run(("clang", *arguments), check=True)


@contextlib.contextmanager
def floor(path: Path) -> Iterator[None]:
    """The program that does nothing is attached."""
    library = Libbpf.load()
    loaded = library.call("bpf_object__open_file", "open", os.fsencode(path), None)
    library.call("bpf_object__load", "load", loaded)
    program = library.call("bpf_object__find_program_by_name", "find", loaded, b"nothing")
    link = library.call("bpf_program__attach", "attach", program)
    yield
    library.free("bpf_link__destroy", link)
    library.free("bpf_object__close", loaded)


@contextlib.contextmanager
def attached(*, namespaces: bool) -> Iterator[Recorder]:
    """A recorder of containers, or of a tree in which nobody is yet."""
    with Recorder.load() as recorder:
        recorder.attach()
        if namespaces:
            recorder.record_namespaces(True)
        else:
            recorder.add_process(NO_PROCESS)
        yield recorder
        recorder.detach()


def costs_of_calls(directory: Path) -> dict[str, list[float]]:
    """Nanoseconds of a call in each case, a list over the rounds."""
    loops = Loops(directory)
    compile_(
        (
            *("-g", "-O2", "-mcpu=v3", "-target", "bpf", "-Wno-unused-parameter", "-D__TARGET_ARCH_x86"),
            *("-c", str(HERE / "floor.bpf.c"), "-o", str(directory / "floor.o")),
        )
    )
    cases: dict[str, list[float]] = {}

    def note(case: str, value: float) -> None:
        cases.setdefault(case, []).append(value)

    for _ in range(ROUNDS):
        note("nothing records", loops.run())
        with floor(directory / "floor.o"):
            note("floor: an empty program", loops.run())
        with attached(namespaces=True) as recorder:
            note("recorded container", loops.run("unshare", "-m"))
            note("host process while containers are recorded", loops.run())
        with attached(namespaces=False) as recorder:
            note("recorded command (spoc)", loops.run(add=recorder.add_process))
            note("other process while a command is recorded", loops.run())
            note("2 CPUs: recorded command", loops.run(copies=2, add=recorder.add_process))
        note("2 CPUs: nothing records", loops.run(copies=2))
        note("nothing records, after a recording", loops.run())
    return cases


def calls_table(cases: dict[str, list[float]]) -> str:
    """Medians, and what each costs over the baseline of its round."""
    promises = {
        "recorded container": "<= +110",
        "recorded command (spoc)": "<= +110",
        "host process while containers are recorded": "<= +100",
        "other process while a command is recorded": "<= +100",
        "nothing records, after a recording": "+0",
    }
    rows = []
    for case, values in cases.items():
        base = cases["2 CPUs: nothing records" if case.startswith("2 CPUs") else "nothing records"]
        extra = [value - before for value, before in zip(values, base, strict=True)]
        rows.append(
            (
                case,
                f"{statistics.median(values):.0f}",
                f"{statistics.median(extra):+.0f}",
                f"{min(extra):+.0f} .. {max(extra):+.0f}",
                f"{statistics.median(values) / statistics.median(base):.2f}",
                promises.get(case, "-"),
            )
        )
    return results.table(
        ("getppid in a loop", "ns per call", "over baseline", "range", "x baseline", "promise"), rows
    )


def milliseconds(action: Callable[[], object]) -> float:
    """Wall time of something."""
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) * 1000


def command(*arguments: str) -> Callable[[], object]:
    """Something to time."""
    return lambda: subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)


def load_and_attach() -> None:
    """What ``bpf-recorder`` does for its self-test, and when a recording begins."""
    with Recorder.load() as recorder:
        recorder.attach()
        recorder.detach()


def starts_table() -> str:
    """How long it takes to begin."""
    spoc = (sys.executable, "-m", "spo.cli")
    cases = {
        "true (baseline)": (command("true"), "-"),
        "spoc record -- true": (
            command(*spoc, "record", "-q", "-o", "/dev/null", "--", "true"),
            "<= 300 over true",
        ),
        "spoc --help": (command(*spoc, "--help"), "<= 100"),
        "load, attach, detach, close": (load_and_attach, "load + attach <= 50"),
    }
    times: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(STARTS):
        for case, (action, _) in cases.items():
            times[case].append(milliseconds(action))
    base = statistics.median(times["true (baseline)"])
    rows = [
        (
            case,
            f"{statistics.median(values):.0f}",
            f"{max(values):.0f}",
            f"{statistics.median(values) / base:.1f}",
            cases[case][1],
        )
        for case, values in times.items()
    ]
    return results.table(("start", "median ms", "worst ms", "x baseline", "promise, ms"), rows)


def main() -> None:
    """Measure and write the section."""
    with tempfile.TemporaryDirectory() as directory:
        cases = costs_of_calls(Path(directory))
    text = calls_table(cases) + f"\n{ROUNDS} rounds of {CALLS:,} calls.\n\n" + starts_table()
    results.write_section("Recording syscalls (bench/recorder.py)", text)
    print(text)


if __name__ == "__main__":
    main()
