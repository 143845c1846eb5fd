"""How long after the end of a pod its recorded profile is Installed; what 100 recorded pods cost the daemon.

Starts a cluster of its own, measures, writes its section of ``bench/RESULTS.md``.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.profile_latency import NAMESPACE, cluster, memory_mb, process_of  # noqa: E402
from bench.results import table, write_section  # noqa: E402

from spo.api.core import PODS  # noqa: E402
from spo.api.resource import Resource  # noqa: E402
from spo.api.seccomp_profile import SECCOMP_PROFILES  # noqa: E402
from spo.kube.client import KubeClient  # noqa: E402
from spo.kube.wire import Added, Modified  # noqa: E402
from tools.dev_image import BUSYBOX_IMAGE  # noqa: E402
from tools.devcluster import OPERATOR_NAMESPACE, DevCluster  # noqa: E402

SINGLES = 20
AT_ONCE = 100
LIMIT_S = 600.0
STEP_S = 0.2
PROMISED_END_S = 2.0
PROMISED_MB = 20


def pod(name: str, command: str) -> dict[str, Any]:
    """A recorded pod."""
    container = {"name": name, "image": BUSYBOX_IMAGE, "command": ["sh", "-c", command]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": "bench"}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]},
    }


def recording() -> dict[str, Any]:
    """Of all pods of the namespace."""
    return {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1alpha1",
        "kind": "ProfileRecording",
        "metadata": {"name": "rec", "namespace": NAMESPACE},
        "spec": {
            "kind": "SeccompProfile",
            "recorder": "bpf",
            "podSelector": {"matchLabels": {"app": "bench"}},
        },
    }


class Observer:
    """Notes when each pod is over, and when its profile is Installed."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self.over_at: dict[str, float] = {}
        self.installed_at: dict[str, float] = {}

    async def pods(self, since: str) -> None:
        """Watch pods from a resource version on."""
        async for event in self._watch(PODS, since):
            if isinstance(event, Added | Modified) and event.object.status.phase == "Succeeded":
                self.over_at.setdefault(event.object.metadata.name, time.perf_counter())

    async def profiles(self, since: str) -> None:
        """Watch profiles from a resource version on."""
        async for event in self._watch(SECCOMP_PROFILES, since):
            if isinstance(event, Added | Modified):
                status, name = event.object.status, event.object.metadata.name
                if status and status.status == "Installed":
                    self.installed_at.setdefault(name.removeprefix("rec-"), time.perf_counter())

    def _watch(self, resource: Resource[Any], since: str) -> Any:
        return self._client.watch(resource, NAMESPACE, resource_version=since, timeout_s=3000)


async def until(condition: Any) -> None:
    """Wait until a condition holds."""
    deadline = time.perf_counter() + LIMIT_S
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not within {LIMIT_S} s")
        await asyncio.sleep(STEP_S)


async def ends(client: KubeClient) -> list[float]:
    """Seconds from the end of a pod, as the API tells it, to the profile being Installed."""
    observer = Observer(client)
    since = (await client.list_page(PODS, NAMESPACE)).resource_version
    async with asyncio.TaskGroup() as group:
        watching = [group.create_task(one(since)) for one in (observer.pods, observer.profiles)]
        names = [f"single-{number}" for number in range(SINGLES)]
        for name in names:
            await client.create(PODS, pod(name, "mkdir /tmp/x"), NAMESPACE)
            await until(lambda name=name: name in observer.installed_at and name in observer.over_at)
        for task in watching:
            task.cancel()
    return [observer.installed_at[name] - observer.over_at[name] for name in names]


async def many(client: KubeClient, process: Path) -> tuple[float, float, float]:
    """Memory of the daemon: idle, highest while 100 pods are recorded, after all are collected; MB."""
    before = memory_mb(process)
    names = [f"many-{number}" for number in range(AT_ONCE)]
    highest = before
    for name in names:
        await client.create(PODS, pod(name, "while :; do sleep 1; done"), NAMESPACE)

    async def running() -> int:
        nonlocal highest
        highest = max(highest, memory_mb(process))
        found = (await client.list_page(PODS, NAMESPACE)).items
        return sum(one.status.phase == "Running" for one in found)

    while True:
        if await running() == AT_ONCE:
            break
        await asyncio.sleep(1.0)
    for name in names:
        await client.delete(PODS, name, NAMESPACE, grace_period_s=1)
    while True:
        await running()
        profiles = (await client.list_page(SECCOMP_PROFILES, NAMESPACE)).items
        if sum(one.metadata.name.startswith("rec-many-") for one in profiles) == AT_ONCE:
            return before, highest, memory_mb(process)
        await asyncio.sleep(1.0)


def enable(dev: DevCluster) -> None:
    """Have the recorder run, and wait for it."""
    where = f"--namespace={OPERATOR_NAMESPACE}"
    patch = json.dumps({"spec": {"enableBpfRecorder": True}})
    dev.kubectl("patch", where, "spod", "spod", "--type=merge", f"--patch={patch}")
    names = "--output=jsonpath={.spec.template.spec.containers[*].name}"
    while "bpf-recorder" not in dev.kubectl("get", where, "daemonset", "spod", names).stdout:
        time.sleep(STEP_S)
    dev.kubectl("rollout", "status", where, "daemonset/spod", "--timeout=60s")
    dev.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, recording())
    ready = ("--for=condition=ready", "profilerecording/rec", f"--namespace={NAMESPACE}", "--timeout=60s")
    dev.kubectl("wait", *ready)


async def measure(dev: DevCluster) -> str:
    """Everything; the text of the section."""
    process = process_of(dev, "spod")
    async with KubeClient.from_env({"KUBECONFIG": str(dev.kubeconfig)}) as client:
        took = sorted(await ends(client))
        idle, highest, after = await many(client, process)
    return report(took, idle, highest, after)


def report(took: Sequence[float], idle: float, highest: float, after: float) -> str:
    """The section."""
    shown = [f"{1000 * value:.0f}" for value in (statistics.median(took), took[-1])]
    times = table(
        ("what", "n", "median ms", "worst ms", "promise, ms"),
        [("pod over -> profile Installed", str(len(took)), *shown, f"p99 <= {1000 * PROMISED_END_S:.0f}")],
    )
    memory = table(
        ("daemon, RSS in MB", "idle", f"highest with {AT_ONCE} pods recorded", "after", "promise"),
        [("spod", f"{idle:.0f}", f"{highest:.0f}", f"{after:.0f}", f"<= 50 idle, +{PROMISED_MB}")],
    )
    return f"{times}\n{memory}"


def main() -> None:
    """Measure and write."""
    with cluster() as dev:
        enable(dev)
        text = asyncio.run(measure(dev))
    print(text)
    write_section("Recordings on a node (bench/recording.py)", text)


if __name__ == "__main__":
    main()
