"""What the process ``bpf-recorder`` takes: memory, and the time until it records, answers, ends."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import results

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from spo.probes.bpf_recorder.kernel import BpfKernel  # noqa: E402
from spo.rpc.blocking import BlockingClient  # noqa: E402
from spo.rpc.bpf_recorder import GetStatus, Start, Started, Status, Stop, Stopped, Subscribe  # noqa: E402
from tests.fakes.recorder_process import RecorderProcess  # noqa: E402

ROUNDS = 15
CALLS = 2_000
NAMESPACES = 300


@contextmanager
def bpf_file_system() -> Iterator[Path]:
    """One of our own: recordings of this machine are left alone."""
    with tempfile.TemporaryDirectory(prefix="spo-bench-") as folder:
        subprocess.run(("mount", "-t", "bpf", "bpf", folder), check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(("umount", "-l", folder), check=True)


def timed(action: Callable[[], object]) -> float:
    """Milliseconds."""
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) * 1000


def load_and_attach(pins: Path) -> tuple[list[float], list[float]]:
    """Loading, attaching and pinning, without the process around it: milliseconds, and those of CPU time."""
    kernel = BpfKernel(pins / "load", None)
    wall, cpu = [], []
    for _ in range(ROUNDS):
        begin = time.perf_counter(), time.process_time()
        recorder = kernel.start()
        wall.append((time.perf_counter() - begin[0]) * 1000)
        cpu.append((time.process_time() - begin[1]) * 1000)
        recorder.detach()
        recorder.close()
    return wall, cpu


def starts(client: BlockingClient) -> list[float]:
    """From the request to the answer: all of the above, and the file that survives."""
    values = []
    for _ in range(ROUNDS):
        values.append(timed(lambda: client.call(Start("bench"), Started)))
        client.call(Stop("bench"), Stopped)
    return values


def answers(client: BlockingClient) -> list[float]:
    """The shortest call."""
    return [timed(lambda: client.call(GetStatus(), Status)) for _ in range(CALLS)]


def row(what: str, values: Sequence[float], promise: str) -> tuple[str, ...]:
    """Median, p99 and worst."""
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
    shown = (f"{value:.2f}" for value in (statistics.median(ordered), p99, ordered[-1]))
    return (what, str(len(ordered)), *shown, promise)


def main() -> None:
    """Measure and write the section."""
    with tempfile.TemporaryDirectory(prefix="spo-bench-") as folder, bpf_file_system() as pins:
        memory = []
        wall, cpu = load_and_attach(pins)
        times = [row("load, attach, pin", wall, "<= 50"), row("the same, CPU time", cpu, "-")]
        process = RecorderProcess(Path(folder), pins / "process")

        def note(what: str, promise: str = "-") -> None:
            rss = (f"{process.rss_kib(field) / 1024:.1f}" for field in ("VmRSS", "RssAnon", "RssFile"))
            memory.append((what, *rss, promise))

        note("idle, after the self-test", "<= 24")
        with process.connect() as client:
            times.append(row("Start over the socket", starts(client), "-"))
            times.append(row("shortest call over the socket", answers(client), "-"))
            note("idle, after some recordings", "<= 24")
            client.call(Start("bench"), Started)
            client.call(Subscribe(), Status)
            note("recording")
            for _ in range(NAMESPACES):
                subprocess.run(("unshare", "--mount", "true"), check=True)
            note(f"recording, after {NAMESPACES} namespaces of no container")
            client.call(Stop("bench"), Stopped)
        times.append(row("SIGTERM to the end", [timed(process.stop)], "-"))
    text = results.table(("bpf-recorder, MB", "RSS", "of it anonymous", "of it files", "promise"), memory)
    text += "\n" + results.table(("ms", "n", "median", "p99", "worst", "promise"), times)
    results.write_section("The process bpf-recorder (bench/recorder_process.py)", text)
    print(text)


if __name__ == "__main__":
    main()
