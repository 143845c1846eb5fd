"""One node that records: the daemon's part on a real socket, a fake kernel below, a fake API server above."""

import asyncio
import itertools
import os
import selectors
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.controller.cache_sync import caches_synced
from spo.daemon.recording.followed import Followed
from spo.daemon.recording.hook_process import HookRecordings
from spo.daemon.recording.logs_process import LogRecordings
from spo.daemon.recording.pods import TRACED_PODS
from spo.daemon.recording.process import Recordings
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock
from spo.kube.config import server_config
from spo.kube.errors import NotFoundError
from spo.kube.informer import Informer
from spo.names import RECORDED_POD_LABEL, TRACE_BPF_ANNOTATION
from spo.probes.bpf_recorder.service import RecorderService
from spo.probes.bpf_recorder.session import Session
from spo.probes.bpf_recorder.state_file import StateFile
from spo.profiles.syscall_tables import syscall_names
from spo.rpc.bpf_recorder import PROTOCOL
from spo.rpc.listener import Listener
from spo.rpc.server import Server
from spo.settings import DaemonSettings
from tests.fakes.api_server import FakeApiServer
from tests.fakes.recorder import FakeKernel, FakeRecorder
from tests.fakes.rpc_server import place

NS, NODE = "team", "node-1"
DEADLINE_S = 10.0
NUMBERS = {name: number for number, name in syscall_names("SCMP_ARCH_X86_64").items()}
LABELS = {"app": "x"}


def identifier(text: str) -> str:
    """A container id for a name."""
    return text.encode().hex().ljust(64, "0")[:64]


class RecorderServer:
    """The process bpf-recorder, in the loop of the test."""

    def __init__(self, folder: Path, kernel: FakeKernel) -> None:
        self._selector = selectors.EpollSelector()
        self._listener = Listener(place(folder))
        self._listener.__enter__()
        self.service = RecorderService(
            kernel, StateFile(folder / "recorder.state"), Session(120.0), own_namespace=1
        )
        self.service.restore()
        self._server = Server(
            self._listener.socket, PROTOCOL, self.service.handle, self._selector, allowed_uids={os.getuid()}
        )
        asyncio.get_running_loop().add_reader(self._selector.fileno(), self.pump)

    def pump(self) -> None:
        """Do all that can be done now."""
        for key, events in self._selector.select(0):
            key.data(events)
        self.service.poll()
        self.service.tick()
        self.service.save()
        for event in self.service.take_news():
            self._server.publish(event)
        self._server.tick()
        self._server.flush()

    def stop(self) -> None:
        """End, as with SIGKILL: what is pinned stays."""
        asyncio.get_running_loop().remove_reader(self._selector.fileno())
        self._server.close()
        self._listener.__exit__(None, None, None)
        self._selector.close()


class RecordingNode:
    """``async with RecordingNode(folder) as node``; ``folder`` must have a short path."""

    prefix = TRACE_BPF_ANNOTATION
    """Of the annotations of pods."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock: Clock = SYSTEM_CLOCK
        self.kernel = FakeKernel()
        self.root = folder / "operator"
        self.root.mkdir()
        self._stack = AsyncExitStack()
        self._keys = itertools.count(1)
        self._daemon: asyncio.Task[None] | None = None
        self.recorder: RecorderServer | None = None

    async def __aenter__(self) -> Self:
        self.api = await self._stack.enter_async_context(FakeApiServer())
        self.client = KubeClient(server_config(self.api.url))
        self._stack.push_async_callback(self.client.aclose)
        self.recorder = RecorderServer(self.folder, self.kernel)
        await self.start_daemon()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_daemon()
        if self.recorder is not None:
            self.recorder.stop()
        await self._stack.aclose()

    async def start_daemon(self) -> None:
        profiles: Informer[SeccompProfile] = Informer(self.client, SECCOMP_PROFILES)
        settings = DaemonSettings(node_name=NODE)
        followed = Followed(self.client, settings, profiles.cache, self.clock)
        recordings = self.recordings(settings, followed)

        async def run() -> None:
            informers = (profiles, *followed.informers)
            async with asyncio.TaskGroup() as group:
                for informer in informers:
                    group.create_task(informer.run())
                await caches_synced(informers, DEADLINE_S)
                await recordings.run()

        self._daemon = asyncio.create_task(run())

    async def stop_daemon(self) -> None:
        if self._daemon is not None:
            self._daemon.cancel()
            await asyncio.gather(self._daemon, return_exceptions=True)
            self._daemon = None

    def recordings(
        self, settings: DaemonSettings, followed: Followed
    ) -> Recordings | HookRecordings | LogRecordings:
        """The part of the daemon."""
        return Recordings(
            self.client,
            settings,
            followed,
            root=self.root,
            socket=place(self.folder).path,
            clock=self.clock,
            server_uids=frozenset({os.getuid()}),
        )

    # What users and kubelets do.

    async def record(self, name: str = "rec", **spec: Any) -> None:
        """Make a ProfileRecording, and wait until the recorder is attached."""
        selector = {"matchLabels": LABELS}
        body = {
            "metadata": {"name": name, "namespace": NS},
            "spec": {"kind": "SeccompProfile", "recorder": "bpf", "podSelector": selector, **spec},
        }
        await self.client.create(PROFILE_RECORDINGS, body, NS)
        if spec.get("recorder", "bpf") == "bpf":
            await self.until(lambda: self._attached() is not None)

    def _attached(self) -> FakeRecorder | None:
        assert self.recorder is not None
        found = self.recorder.service.recorder
        return found if isinstance(found, FakeRecorder) else None

    async def add_pod(self, name: str, traces: dict[str, str], **metadata: Any) -> str:
        """A pod of this node with these annotations; returns its uid."""
        body = {
            "metadata": {
                "name": name,
                "labels": LABELS,
                "namespace": NS,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {f"{self.prefix}{key}": value for key, value in traces.items()},
                **metadata,
            },
            "spec": {"nodeName": NODE, "containers": [{"name": one} for one in traces or ("c",)]},
        }
        return (await self.client.create(TRACED_PODS, body, NS)).metadata.uid

    async def report(self, pod: str, phase: str = "Running", *, ended: bool = False, **ids: str) -> None:
        """What a kubelet says: ids of containers, whether they have ended."""
        statuses = []
        for name, container_id in ids.items():
            identity = f"containerd://{container_id}"
            state = {"terminated": {"containerID": identity}} if ended else {"running": {}}
            statuses.append({"name": name, "containerID": identity, "state": state})
        status = {"phase": phase, "containerStatuses": statuses}
        await self.client.patch(TRACED_PODS, pod, NS, {"status": status}, subresource="status")

    async def remove_pod(self, name: str) -> None:
        await self.client.delete(TRACED_PODS, name, NS)

    def run(self, pod_uid: str, container_id: str, *calls: str, late: bool = False) -> int:
        """A container makes syscalls; returns the key of its namespace."""
        key = next(self._keys)
        self.call(key, pod_uid, container_id, *calls, late=late)
        return key

    def hold_network(self, pod_uid: str) -> None:
        """The process that every pod has and no status names."""
        recorder = self._attached()
        assert recorder is not None, "nothing is recorded"
        cgroups = (f"cri-containerd-{identifier('sandbox')}.scope", f"pod{pod_uid}", "kubepods")
        key = next(self._keys)
        for name, first_exec in (("runc:[1:CHILD]", False), ("pause", True)):
            recorder.container_calls(key, [NUMBERS["pause"]], cgroups=cgroups, first_exec=first_exec)
            recorder.queue[-1] = recorder.queue[-1]._replace(comm=name)
            assert self.recorder is not None
            self.recorder.pump()

    def call(self, key: int, pod_uid: str, container_id: str, *calls: str, late: bool = False) -> None:
        """More of them."""
        recorder = self._attached()
        assert recorder is not None, "nothing is recorded"
        cgroups = (f"cri-containerd-{container_id}.scope", f"pod{pod_uid}", "kubepods")
        recorder.container_calls(key, [NUMBERS[call] for call in calls], cgroups=cgroups, late=late)
        assert self.recorder is not None
        self.recorder.pump()

    # What tests look at.

    async def profile(self, name: str) -> SeccompProfile | None:
        try:
            return await self.client.get(SECCOMP_PROFILES, name, NS)
        except NotFoundError:
            return None

    async def profile_when(
        self, name: str, condition: Callable[[SeccompProfile], bool] = lambda _: True
    ) -> SeccompProfile:
        """The profile as soon as it is there, and as wanted."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                found = await self.profile(name)
                if found is not None and condition(found):
                    return found

    async def collected(self, pod_uid: str) -> None:
        """Wait until there is a profile of a pod."""
        async with asyncio.timeout(DEADLINE_S):
            selector = f"{RECORDED_POD_LABEL}={pod_uid}"
            while not (await self.client.list_page(SECCOMP_PROFILES, NS, label_selector=selector)).items:
                pass

    async def names(self) -> list[str]:
        page = await self.client.list_page(SECCOMP_PROFILES, NS)
        return sorted(one.metadata.name for one in page.items)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; each look is a request: the others get their turn."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await self.names()

    def ignored(self) -> set[int]:
        """Keys of the namespaces that were rejected."""
        recorder = self._attached()
        return {one.key for one in recorder.namespaces() if one.ignored} if recorder else set()

    async def settled(self) -> None:
        """The daemon has seen and done everything: nothing is tracked any more."""
        await self.until(lambda: not (self.root / ".recordings").exists())

    def messages(self, reason: str) -> list[str]:
        """Messages of the events with this reason."""
        return [one["message"] for one in self._events() if one["reason"] == reason]

    def reasons(self) -> list[str]:
        """Reasons of all events that were written."""
        return [one["reason"] for one in self._events()]

    def _events(self) -> list[dict[str, Any]]:
        posts = [call for call in self.api.calls if call.method == "POST" and call.path.endswith("/events")]
        return [call.json() for call in posts]


def allowed(profile: SeccompProfile) -> set[str]:
    return {name for rule in profile.spec.syscalls for name in rule.names}
