"""How long a profile takes to be on the node, and to be gone; what daemon and manager use and ask for.

Starts a cluster of its own, measures, writes its section of ``bench/RESULTS.md``. The baseline of the same
run is the plain write of an object to the same API server, taken in turn with the measured writes, so that
the ratios say what the operator adds on whatever machine this is.
"""

import asyncio
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.api_requests import HEADER, NODES, request_rows  # noqa: E402
from bench.results import table, write_section  # noqa: E402

from spo.api.meta import ObjectMeta  # noqa: E402
from spo.api.resource import Resource  # noqa: E402
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile  # noqa: E402
from spo.kube.client import KubeClient  # noqa: E402
from spo.kube.wire import Added, Deleted, Modified  # noqa: E402
from tools.devcluster import OPERATOR_NAMESPACE, DevCluster, free_port  # noqa: E402

NAMESPACE = "bench"
SINGLES = 40
BATCH = 200
PROMISES = {"spod": ("<= 50, +10", "<= 0.2"), "security-profiles-operator": ("<= 60", "-")}
"""Process, by the label ``name`` of its pod -> what is promised of its memory and its idle CPU."""
IDLE_S = 60.0
SETTLE_S = 5.0
POLL_S = 0.001
LIMIT_S = 60.0


class ConfigMap(msgspec.Struct):
    """The plainest object there is: nobody reacts to it."""

    metadata: ObjectMeta


CONFIG_MAPS = Resource("", "v1", "ConfigMap", "configmaps", True, ConfigMap)


@dataclass
class Row:
    """One line of the results."""

    what: str
    values_s: Sequence[float]
    promise: str
    baseline_s: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Table cells: median, p99, worst, ratio of the medians to the baseline."""
        ordered = sorted(self.values_s)
        p99 = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
        median = statistics.median(ordered)
        ratio = f"{median / self.baseline_s:.1f}" if self.baseline_s else "-"
        return (
            self.what,
            str(len(ordered)),
            *(f"{value * 1000:.0f}" for value in (median, p99, ordered[-1])),
            ratio,
            self.promise,
        )


@contextlib.contextmanager
def cluster() -> Iterator[DevCluster]:
    """A cluster below a folder that the daemon can reach."""
    folder = Path(tempfile.mkdtemp(prefix="spo-bench-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "node/var/lib").mkdir(parents=True)
    dev = DevCluster(
        state=folder / "state", node_root=folder / "node", port=free_port(), node_name="bench-node"
    )
    try:
        dev.up()
        yield dev
    finally:
        dev.down()
        shutil.rmtree(folder)


def profile(name: str) -> dict[str, object]:
    """A small profile."""
    rules = [{"action": "SCMP_ACT_ERRNO", "names": ["mkdir", "mkdirat"]}]
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules},
    }


class Observer:
    """Notes when each profile is reported Installed, and when it is gone, from one watch."""

    def __init__(self, client: KubeClient, resource: Resource[SeccompProfile]) -> None:
        self._client, self._resource = client, resource
        self.installed_at: dict[str, float] = {}
        self.gone_at: dict[str, float] = {}

    async def run(self, since: str) -> None:
        """Watch from a resource version on."""
        watch = self._client.watch(self._resource, NAMESPACE, resource_version=since, timeout_s=3000)
        async for event in watch:
            now = time.perf_counter()
            if isinstance(event, Deleted):
                self.gone_at[event.object.metadata.name] = now
            elif isinstance(event, Added | Modified):
                status = event.object.status
                if status and status.status == "Installed":
                    self.installed_at.setdefault(event.object.metadata.name, now)


async def reached(times: dict[str, float], names: Sequence[str]) -> None:
    """Wait until all names have a time."""
    deadline = time.perf_counter() + LIMIT_S
    while any(name not in times for name in names):
        if time.perf_counter() > deadline:
            missing = [name for name in names if name not in times]
            raise TimeoutError(f"{len(missing)} of {len(names)} not within {LIMIT_S} s, first: {missing[0]}")
        await asyncio.sleep(POLL_S)


async def file_times(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """When each file appeared."""
    seen: dict[str, float] = {}
    missing = set(names)
    deadline = time.perf_counter() + LIMIT_S
    while missing and time.perf_counter() < deadline:
        present = {name for name in missing if (folder / f"{name}.json").exists()}
        seen |= dict.fromkeys(present, time.perf_counter())
        missing -= present
        await asyncio.sleep(POLL_S)
    if missing:
        raise TimeoutError(f"{len(missing)} files not within {LIMIT_S} s")
    return seen


@contextlib.asynccontextmanager
async def observed(client: KubeClient) -> AsyncIterator[Observer]:
    """An observer that runs."""
    observer = Observer(client, SECCOMP_PROFILES)
    since = (await client.list_page(SECCOMP_PROFILES, NAMESPACE)).resource_version
    task = asyncio.create_task(observer.run(since))
    try:
        yield observer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@dataclass
class Measured:
    """Everything; the dictionaries are by process."""

    rows: list[Row]
    empty_mb: dict[str, float]
    loaded_mb: dict[str, float]
    idle_percent: dict[str, float]


async def measure(dev: DevCluster) -> Measured:
    """All rows; what the two processes use with no profile, and with the batch installed."""
    folder = dev.seccomp_root / "operator" / NAMESPACE
    client = KubeClient.from_env({"KUBECONFIG": str(dev.kubeconfig)})
    baseline: list[float] = []
    disk: list[float] = []
    to_file: list[float] = []
    to_installed: list[float] = []
    to_gone: list[float] = []
    async with client, observed(client) as observer:
        # The manager counts as ready while it still starts: wait for it, uncounted.
        await client.create(SECCOMP_PROFILES, profile("warm-up"))
        await reached(observer.installed_at, ["warm-up"])
        for number in range(SINGLES):
            name = f"single-{number}"
            start = time.perf_counter()
            await client.create(CONFIG_MAPS, {"metadata": {"name": name, "namespace": NAMESPACE}})
            baseline.append(time.perf_counter() - start)
            disk.append(fsync_s(dev.node_root / "fsync"))
            start = time.perf_counter()
            await client.create(SECCOMP_PROFILES, profile(name))
            to_file.append((await file_times(folder, [name]))[name] - start)
            await reached(observer.installed_at, [name])
            to_installed.append(observer.installed_at[name] - start)
        for number in range(SINGLES):
            name = f"single-{number}"
            start = time.perf_counter()
            await client.delete(SECCOMP_PROFILES, name, NAMESPACE)
            await reached(observer.gone_at, [name])
            to_gone.append(observer.gone_at[name] - start)
        processes = {name: process_of(dev, name) for name in PROMISES}
        empty = {name: memory_mb(process) for name, process in processes.items()}
        names = [f"batch-{number}" for number in range(BATCH)]
        start = time.perf_counter()
        await asyncio.gather(*(client.create(SECCOMP_PROFILES, profile(name)) for name in names))
        files = await file_times(folder, names)
        await reached(observer.installed_at, names)
        last_file = max(files.values()) - start
        last_installed = max(observer.installed_at[name] for name in names) - start
        idle = await idle_percent(processes)
        loaded = {name: memory_mb(process) for name, process in processes.items()}
        start = time.perf_counter()
        await asyncio.gather(*(client.delete(SECCOMP_PROFILES, name, NAMESPACE) for name in names))
        await reached(observer.gone_at, names)
        last_gone = max(observer.gone_at[name] for name in names) - start
    plain = statistics.median(baseline)
    rows = [
        Row("write of an object (baseline)", baseline, "-"),
        Row("file of 300 bytes with fsync (the disk)", disk, "-"),
        Row("1 profile: apply to file", to_file, "p99 <= 300", plain),
        Row("1 profile: apply to Installed", to_installed, "p99 <= 1000", plain),
        Row("1 profile: delete to gone", to_gone, "p99 <= 1000", plain),
        Row(f"{BATCH} at once: last file", [last_file], "-", plain),
        Row(f"{BATCH} at once: last Installed", [last_installed], "<= 5000", plain),
        Row(f"{BATCH} at once: last gone", [last_gone], "<= 5000", plain),
    ]
    return Measured(rows, empty, loaded, idle)


def fsync_s(file: Path) -> float:
    """How long this disk takes for one durable file; a daemon waits twice for a profile, with its folder."""
    start = time.perf_counter()
    with file.open("wb") as written:
        written.write(b"x" * 300)
        written.flush()
        os.fsync(written.fileno())
    return time.perf_counter() - start


def process_of(dev: DevCluster, name: str) -> Path:
    """/proc directory of the operator's container in the pod with this label ``name``."""
    where = (f"--namespace={OPERATOR_NAMESPACE}", "--output=jsonpath={.items[0].metadata.uid}")
    uid = dev.kubectl("get", "pods", f"--selector=name={name}", *where).stdout
    labels = (f"io.kubernetes.pod.uid={uid}", "io.kubernetes.container.name=security-profiles-operator")
    filters = [f"--filter=label={label}" for label in labels]
    ids = subprocess.run(
        ("podman", "ps", "-q", *filters), check=True, capture_output=True, text=True
    ).stdout.split()
    inspect = ("podman", "inspect", "--format", "{{.State.Pid}}", *ids)
    pid = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.strip()
    return Path("/proc") / pid


def memory_mb(process: Path) -> float:
    """Resident memory."""
    return int((process / "status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def cpu_s(process: Path) -> float:
    """CPU time of all threads so far, exact to the nanosecond, unlike ``stat``."""
    return sum(int(file.read_text().split()[0]) for file in process.glob("task/*/schedstat")) / 1e9


async def idle_percent(processes: dict[str, Path]) -> dict[str, float]:
    """CPU of each process, in percent of a core, while nobody asks for anything."""
    await asyncio.sleep(SETTLE_S)
    begin, before = time.perf_counter(), {name: cpu_s(process) for name, process in processes.items()}
    await asyncio.sleep(IDLE_S)
    lasted_s = time.perf_counter() - begin
    return {name: 100 * (cpu_s(process) - before[name]) / lasted_s for name, process in processes.items()}


def report(found: Measured, requests: Sequence[tuple[str, ...]]) -> str:
    """The section."""
    header = ("what", "n", "median ms", "p99 ms", "worst ms", "x baseline", "promise, ms")
    usage = [
        (
            name,
            f"{found.empty_mb[name]:.0f}",
            f"{found.loaded_mb[name]:.0f}",
            memory,
            f"{found.idle_percent[name]:.2f}",
            cpu,
        )
        for name, (memory, cpu) in PROMISES.items()
    ]
    columns = (
        "process",
        "RSS, MB",
        f"with {BATCH} profiles",
        "promise",
        f"idle CPU with {BATCH} profiles, % of a core over {IDLE_S:.0f} s",
        "promise",
    )
    return (
        f"{table(header, [row.cells() for row in found.rows])}\n{table(columns, usage)}\n"
        "API requests of the operator for one change, counted by the server (bench/api_requests.py, "
        f"{NODES} nodes). Writes are those of objects; Events, of which each node writes one per saved "
        "file, and renewals of the Lease, one in 2 s, are apart.\n\n"
        f"{table(HEADER, requests)}"
    )


def main() -> None:
    """Measure and write."""
    requests = request_rows()
    with cluster() as dev:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        dev.apply(namespace)
        found = asyncio.run(measure(dev))
    text = report(found, requests)
    print(text)
    write_section("A profile on its way (bench/profile_latency.py)", text)


if __name__ == "__main__":
    main()
