"""One kubelet over a real store in memory and a runtime in memory; only the runtime is a fake."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onenode.kubelet.errors import ContainerCreateError, ContainerStartError, LogError
from onenode.kubelet.kubelet import Kubelet
from onenode.kubelet.logs import LogOptions
from onenode.kubelet.pod import Pod
from onenode.kubelet.settings import KubeletSettings
from onenode.kubelet.state import ContainerPhase
from onenode.store import Store
from tests.fakes.containers import FakeRuntime

NOW = 1_700_000_000.0
DEADLINE_S = 5.0


class FixedTokens:
    def issue(self, *, pod: Pod, audience: str, expiration_s: int) -> str:
        return f"token of {pod.spec.service_account_name} for {audience or 'the API'}"


class Node:
    """A kubelet with its surroundings."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.store = Store(":memory:")
        self.runtime = FakeRuntime(lambda: self.now)
        self.settings = KubeletSettings(
            node_name="n1",
            state=folder,
            seccomp_root=folder / "seccomp",
            instance="i1",
            start_backoff_s=0.01,
            start_backoff_max_s=0.04,
        )
        self.store.create("namespaces", {"metadata": {"name": "ns"}})
        self.cgroups_removed: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self.kubelet = self._new()

    def _new(self) -> Kubelet:
        return Kubelet(
            self.store,
            self.runtime,
            self.settings,
            FixedTokens(),
            clock=lambda: self.now,
            remove_cgroup=self.remove_cgroup,
        )

    async def remove_cgroup(self, parent: str) -> bool:
        self.cgroups_removed.append(parent)
        return True

    async def start(self) -> None:
        self.kubelet = self._new()
        self._task = asyncio.create_task(self.kubelet.run())
        await asyncio.wait_for(self.kubelet.ready.wait(), DEADLINE_S)

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def add(self, name: str = "p", *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        wanted = {"nodeName": "n1", "containers": [{"name": "c", "image": "app:1"}], **spec}
        metadata = {"name": name, "namespace": "ns", "generation": 1, "annotations": annotations or {}}
        self.store.create("pods", {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": wanted})

    def pod(self, name: str = "p") -> dict[str, Any] | None:
        return self.store.get("pods", "ns", name)

    def status(self, name: str = "p") -> dict[str, Any]:
        status: dict[str, Any] = (self.pod(name) or {}).get("status") or {}
        return status

    def state(self, container: str = "c") -> dict[str, Any]:
        statuses = [
            item
            for field in ("initContainerStatuses", "containerStatuses")
            for item in self.status().get(field) or ()
        ]
        return next((item["state"] for item in statuses if item["name"] == container), {})

    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.store.list("events")[0]]

    def delete(self, grace_s: int = 30, name: str = "p") -> None:
        pod = self.pod(name)
        assert pod is not None
        pod["metadata"] |= {
            "deletionTimestamp": "2023-11-14T22:13:50Z",
            "deletionGracePeriodSeconds": grace_s,
        }
        self.store.update("pods", pod)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until every task has had its turns and the condition holds."""

        async def poll() -> None:
            watch = self.store.watch("pods", None)
            try:
                while not condition():
                    waiting = asyncio.ensure_future(anext(watch))
                    await asyncio.wait({waiting}, timeout=0.01)
                    waiting.cancel()
            finally:
                watch.close()

        await asyncio.wait_for(poll(), DEADLINE_S)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path)
    await made.start()
    yield made
    await made.stop()


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {item["type"]: item["status"] for item in status.get("conditions") or ()}


async def test_pod_runs_and_says_so(node: Node) -> None:
    node.add()
    await node.until(lambda: node.status().get("phase") == "Running")
    status = node.status()
    assert node.runtime.started == ["POD", "c"]
    assert conditions(status) == dict.fromkeys(
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"], "True"
    )
    assert (status["podIP"], status["hostIP"], status["qosClass"]) == ("10.88.0.7", "127.0.0.1", "BestEffort")
    container = status["containerStatuses"][0]
    assert container["containerID"] == f"podman://{node.runtime.running('c').id}"
    assert (container["ready"], container["started"], container["image"]) == (True, True, "localhost/app:1")
    assert node.reasons().count("Started") == 1


async def test_pod_of_another_node_is_left_alone(node: Node) -> None:
    node.add("other", nodeName="n2")
    node.add()
    await node.until(lambda: node.status().get("phase") == "Running")
    assert "status" not in (node.pod("other") or {})


async def test_pod_in_the_nodes_network_has_no_sandbox(node: Node) -> None:
    node.add(hostNetwork=True)
    await node.until(lambda: node.status().get("phase") == "Running")
    assert node.runtime.started == ["c"]
    assert node.status()["podIP"] == node.status()["hostIP"]


@pytest.mark.parametrize(("exit_code", "phase"), [(0, "Succeeded"), (3, "Failed")])
async def test_pod_ends_with_its_container(node: Node, exit_code: int, phase: str) -> None:
    node.add(restartPolicy="Never")
    await node.until(lambda: node.status().get("phase") == "Running")
    node.runtime.end("c", exit_code)
    await node.until(lambda: node.status().get("phase") == phase)
    assert node.state()["terminated"]["exitCode"] == exit_code
    await node.until(lambda: not node.runtime.states)


async def test_init_containers_run_one_after_the_other(node: Node) -> None:
    node.add(initContainers=[{"name": "i", "image": "app:1"}, {"name": "j", "image": "app:1"}])
    await node.until(lambda: "running" in node.state("i"))
    assert node.state("c") == {"waiting": {"reason": "PodInitializing"}}
    assert conditions(node.status())["Initialized"] == "False"
    node.runtime.end("i", 0)
    await node.until(lambda: "running" in node.state("j"))
    node.runtime.end("j", 0)
    await node.until(lambda: node.status().get("phase") == "Running")
    assert node.runtime.started == ["POD", "i", "j", "c"]


async def test_crashing_container_restarts_at_once_then_waits(node: Node) -> None:
    node.add()
    await node.until(lambda: "running" in node.state())
    node.runtime.end("c", 1)
    await node.until(lambda: node.runtime.started.count("c") == 2)
    await node.until(lambda: "running" in node.state())
    node.runtime.end("c", 1)
    await node.until(lambda: "waiting" in node.state())
    waiting = node.state()["waiting"]
    assert waiting["reason"] == "CrashLoopBackOff"
    assert waiting["message"].startswith("back-off 10s restarting failed container=c pod=p_ns(")
    container = node.status()["containerStatuses"][0]
    assert container["lastState"]["terminated"]["exitCode"] == 1
    assert (container["restartCount"], node.status()["phase"]) == (1, "Running")
    assert "BackOff" in node.reasons()


async def test_container_that_cannot_be_made_waits_with_the_reason_and_is_tried_again(node: Node) -> None:
    # The test's clock stands still; the back-off is over when the test moves it.
    node.runtime.refusals.append(ContainerCreateError("failed to create container: no space"))
    node.add()
    await node.until(lambda: "waiting" in node.state() and "message" in node.state()["waiting"])
    assert node.state()["waiting"] == {
        "reason": "CreateContainerError",
        "message": "failed to create container: no space",
    }
    assert node.status()["phase"] == "Pending"
    node.now += 1
    await node.until(lambda: node.status().get("phase") == "Running")
    assert "Failed" in node.reasons()


async def test_missing_profile_is_named_and_the_pod_starts_when_it_appears(node: Node) -> None:
    profile = {"type": "Localhost", "localhostProfile": "operator/ns/p.json"}
    node.add(securityContext={"seccompProfile": profile})
    await node.until(lambda: "message" in node.state().get("waiting", {}))
    file = node.settings.seccomp_root / "operator/ns/p.json"
    assert node.state()["waiting"]["message"].startswith(f'cannot load seccomp profile "{file}"')
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    node.now += 1
    await node.until(lambda: node.status().get("phase") == "Running")


@pytest.mark.parametrize(
    ("policy", "reason"), [("IfNotPresent", "ErrImagePull"), ("Never", "ErrImageNeverPull")]
)
async def test_missing_image(node: Node, policy: str, reason: str) -> None:
    node.add(containers=[{"name": "c", "image": "nosuch:1", "imagePullPolicy": policy}])
    await node.until(lambda: node.state().get("waiting", {}).get("reason") == reason)
    assert "nosuch:1" in node.state()["waiting"]["message"]


async def test_command_that_cannot_start_counts_as_a_failed_run(node: Node) -> None:
    node.runtime.refusals.append(ContainerStartError("failed to start container: not found"))
    node.add(restartPolicy="Never")
    await node.until(lambda: node.status().get("phase") == "Failed")
    ended = node.state()["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert ended["message"] == "failed to start container: not found"


async def test_missing_config_map_key_is_named(node: Node) -> None:
    variable = {"name": "V", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "k"}}}
    node.add(containers=[{"name": "c", "image": "app:1", "env": [variable]}])
    await node.until(lambda: "message" in node.state().get("waiting", {}))
    waiting = node.state()["waiting"]
    assert waiting == {"reason": "CreateContainerConfigError", "message": 'configmap "settings" not found'}


async def test_deleted_pod_gets_sigterm_and_goes_when_it_ended(node: Node) -> None:
    node.add()
    await node.until(lambda: "running" in node.state())
    folder = node.settings.pods
    assert list(folder.iterdir())
    node.delete()
    await node.until(lambda: node.runtime.signals)
    assert node.runtime.signals == [("c", signal.SIGTERM)]
    assert node.pod() is not None
    node.runtime.end("c", 143)
    await node.until(lambda: node.pod() is None)
    assert not node.runtime.states
    await node.until(lambda: not list(folder.iterdir()))
    assert [group.rpartition("/")[0] for group in node.cgroups_removed] == ["/kubepods/besteffort"]
    assert "Killing" in node.reasons()


async def test_deleted_pod_is_killed_after_its_grace(node: Node) -> None:
    node.add()
    await node.until(lambda: "running" in node.state())
    node.delete(grace_s=30)
    await node.until(lambda: node.runtime.signals)
    node.now += 31
    node.delete(grace_s=29)  # kubectl delete again: wakes the worker
    await node.until(lambda: ("c", signal.SIGKILL) in node.runtime.signals)
    node.runtime.end("c", 137)
    await node.until(lambda: node.pod() is None)


async def test_pod_removed_by_force_leaves_nothing(node: Node) -> None:
    node.add()
    await node.until(lambda: "running" in node.state())
    node.store.delete_now("pods", "ns", "p")
    await node.until(lambda: not node.runtime.states)


async def test_finalizer_keeps_the_stopped_pod(node: Node) -> None:
    node.add()
    await node.until(lambda: "running" in node.state())
    pod = node.pod()
    assert pod is not None
    pod["metadata"]["finalizers"] = ["example.com/hold"]
    node.store.update("pods", pod)
    node.delete()
    await node.until(lambda: node.runtime.signals)
    node.runtime.end("c", 0)
    await node.until(lambda: not node.runtime.states)
    assert node.pod() is not None


async def test_lost_sandbox_is_made_again_with_the_init_containers(node: Node) -> None:
    node.add(initContainers=[{"name": "i", "image": "app:1"}])
    await node.until(lambda: "running" in node.state("i"))
    node.runtime.end("i", 0)
    await node.until(lambda: "running" in node.state())
    node.runtime.end("POD", 137)
    await node.until(lambda: node.runtime.started.count("i") == 2)
    assert node.runtime.started == ["POD", "i", "c", "POD", "i"]


async def test_restarted_kubelet_takes_over_what_runs(node: Node) -> None:
    node.add()
    await node.until(lambda: "running" in node.state())
    before = node.status()
    await node.stop()
    await node.start()
    assert node.status() == before
    assert node.runtime.started == ["POD", "c"]
    node.runtime.end("c", 1)
    await node.until(lambda: node.runtime.started.count("c") == 2)


async def test_restarted_kubelet_notices_what_ended_meanwhile(node: Node) -> None:
    node.add(restartPolicy="Never")
    await node.until(lambda: "running" in node.state())
    await node.stop()
    node.runtime.end("c", 7)
    await node.start()
    await node.until(lambda: node.status().get("phase") == "Failed")
    assert node.state()["terminated"]["exitCode"] == 7


async def test_restarted_kubelet_removes_containers_of_pods_that_are_gone(node: Node) -> None:
    node.add()
    await node.until(lambda: "running" in node.state())
    await node.stop()
    node.store.delete_now("pods", "ns", "p")
    await node.start()
    assert not node.runtime.states
    assert not list(node.settings.pods.iterdir())


async def test_pod_whose_containers_are_all_gone_starts_anew(node: Node) -> None:
    node.add()
    await node.until(lambda: "running" in node.state())
    await node.stop()
    node.runtime.states.clear()
    await node.start()
    await node.until(lambda: node.runtime.started == ["POD", "c", "POD", "c"])
    await node.until(lambda: "running" in node.state())
    container = node.status()["containerStatuses"][0]
    assert container["restartCount"] == 1
    assert container["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


async def test_container_left_half_made_is_removed(node: Node) -> None:
    node.add()
    await node.until(lambda: "running" in node.state())
    await node.stop()
    state = node.runtime.running("c")
    node.runtime.states[state.id] = replace(state, phase=ContainerPhase.CREATED)
    await node.start()
    assert state.id not in node.runtime.states


async def test_status_is_not_written_without_a_change(node: Node) -> None:
    node.add()
    await node.until(lambda: node.status().get("phase") == "Running")
    revision = node.store.revision
    pod = node.pod()
    assert pod is not None
    pod["metadata"]["labels"] = {"a": "b"}
    node.store.update("pods", pod)
    node.add("second")
    await node.until(lambda: node.status("second").get("phase") == "Running")
    changed = [r for r in node.store.records("pods") if r.revision > revision and r.name == "p"]
    assert [record.revision for record in changed] == [revision + 1]


async def test_deadline_fails_the_pod(node: Node) -> None:
    node.add(activeDeadlineSeconds=60)
    await node.until(lambda: "running" in node.state())
    node.now += 61
    pod = node.pod()
    assert pod is not None
    pod["metadata"]["labels"] = {"wake": "up"}
    node.store.update("pods", pod)
    await node.until(lambda: node.status().get("phase") == "Failed")
    assert node.status()["reason"] == "DeadlineExceeded"
    await node.until(lambda: not node.runtime.states)


async def test_node_is_reported_ready(node: Node) -> None:
    reported = node.store.get("nodes", None, "n1")
    assert reported is not None
    assert conditions(reported["status"])["Ready"] == "True"
    assert reported["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"


async def test_log_of_a_waiting_container_says_why_there_is_none(node: Node) -> None:
    node.add(containers=[{"name": "c", "image": "nosuch", "imagePullPolicy": "Never"}])
    await node.until(lambda: node.state().get("waiting", {}).get("reason") == "ErrImageNeverPull")
    pod = node.pod()
    assert pod is not None
    with pytest.raises(LogError) as error:
        await node.kubelet.read_logs(pod, "c", LogOptions())
    assert str(error.value) == 'container "c" in pod "p" is waiting to start: ErrImageNeverPull'
    with pytest.raises(LogError) as error:
        await node.kubelet.read_logs(pod, "c", LogOptions(), previous=True)
    assert str(error.value) == 'previous terminated container "c" in pod "p" not found'


async def test_pod_whose_uid_could_be_a_path_is_ignored(node: Node) -> None:
    outside = node.settings.state / "kept"
    outside.mkdir()
    metadata = {"name": "evil", "namespace": "ns", "uid": "../kept"}
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "app:1"}]}
    node.store.create("pods", {"metadata": metadata, "spec": spec})
    node.store.delete_now("pods", "ns", "evil")
    node.add()
    await node.until(lambda: node.status().get("phase") == "Running")
    assert outside.is_dir()
    assert node.runtime.started == ["POD", "c"]


async def test_changed_config_map_reaches_the_running_pod(node: Node) -> None:
    made = node.store.create("configmaps", {"metadata": {"name": "m", "namespace": "ns"}, "data": {"k": "1"}})
    node.add(volumes=[{"name": "v", "configMap": {"name": "m"}}])
    await node.until(lambda: "running" in node.state())
    (folder,) = node.settings.pods.iterdir()
    file = folder / "volumes/v/k"
    assert file.read_text() == "1"
    node.store.update("configmaps", made | {"data": {"k": "2"}})
    node.now += 61
    pod = node.pod()
    assert pod is not None
    pod["metadata"]["labels"] = {"wake": "up"}
    node.store.update("pods", pod)
    await node.until(lambda: file.read_text() == "2")
