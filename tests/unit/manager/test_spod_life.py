"""The life of the spod object on a small API server, with a clock moved by hand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from spo.api.core import EVENTS
from spo.api.spod import SPODS
from spo.kube.errors import ForbiddenError, InvalidError, UnreadableObjectError
from spo.kube.transport import HttpRequest
from spo.manager.spod.controllers import SpodControllers
from spo.manager.spod.objects import DAEMON_SETS, DEPLOYMENTS
from spo.names import OPERATOR_NAME
from spo.settings import ManagerSettings
from tests.fakes.api_server_in_process import in_process_client
from tests.fakes.clock import FakeClock

Obj = dict[str, Any]
NODES = 3


def deployment(image: str = "spo:1") -> Obj:
    container = {"name": OPERATOR_NAME, "image": image, "imagePullPolicy": "Always"}
    template = {"spec": {"containers": [container]}}
    return {"metadata": {"name": OPERATOR_NAME}, "spec": {"template": template}}


class Cluster:
    """The API server and the manager's part for the spod; a test plays the DaemonSet controller."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.client, self.transport = in_process_client()
        self.task: asyncio.Task[None] | None = None

    async def start(self, **settings: Any) -> None:
        controllers = SpodControllers(self.client, ManagerSettings(**settings), self.clock)

        async def run() -> None:
            async with asyncio.TaskGroup() as group:
                for informer in controllers.informers:
                    group.create_task(informer.run())
                for informer in controllers.informers:
                    await informer.synced()
                await controllers.run()

        self.task = asyncio.create_task(run())
        await self.settle()

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
            self.task = None

    async def settle(self) -> None:
        for _ in range(4):
            await self.clock.settle()

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self.settle()

    async def patch_spod(self, name: str = "spod", **spec: Any) -> None:
        await self.client.patch(SPODS, name, OPERATOR_NAME, {"spec": spec})
        await self.settle()

    async def patch_daemon_set(self, **body: Any) -> None:
        await self.client.patch(DAEMON_SETS, "spod", OPERATOR_NAME, body)
        await self.settle()

    async def roll(self, *, updated: int = NODES, ready: int = NODES) -> None:
        """What the DaemonSet controller reports."""
        status = {
            "observedGeneration": self.daemon_set()["metadata"]["generation"],
            "desiredNumberScheduled": NODES,
            "updatedNumberScheduled": updated,
            "numberReady": ready,
        }
        await self.client.patch(DAEMON_SETS, "spod", OPERATOR_NAME, {"status": status}, subresource="status")
        await self.settle()

    def daemon_set(self) -> Obj:
        objects = self.transport.objects
        return objects.get(objects.locate(DAEMON_SETS.path(OPERATOR_NAME, "spod")))

    def template(self) -> Obj:
        found: Obj = self.daemon_set()["spec"]["template"]
        return found

    def containers(self) -> list[str]:
        return [one["name"] for one in self.template()["spec"]["containers"]]

    def spod(self, name: str = "spod") -> Obj:
        objects = self.transport.objects
        return objects.get(objects.locate(SPODS.path(OPERATOR_NAME, name)))

    def said(self, name: str = "spod") -> tuple[str | None, str, str]:
        """State, status and reason of the condition."""
        status = self.spod(name)["status"]
        (one,) = status["conditions"]
        assert one["type"] == "Ready"
        return status.get("state"), one["status"], one["reason"]

    def message(self) -> str:
        found: str = self.spod()["status"]["conditions"][0]["message"]
        return found

    def stored_events(self) -> list[Obj]:
        objects = self.transport.objects
        items: list[Obj] = objects.list(objects.locate(EVENTS.path(OPERATOR_NAME)), {})["items"]
        return items

    def events(self) -> list[tuple[str, str]]:
        return [(one["type"], one["reason"]) for one in self.stored_events()]

    def writes(self) -> int:
        return sum(request.method != "GET" for request in self.transport.requests)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    await made.client.create(DEPLOYMENTS, deployment(), OPERATOR_NAME)
    yield made
    await made.stop()


@pytest.fixture
async def running(cluster: Cluster) -> Cluster:
    """With a DaemonSet that is ready on all nodes."""
    await cluster.start()
    await cluster.roll()
    assert cluster.said() == ("RUNNING", "True", "Available")
    return cluster


async def test_default_object_and_daemon_set_appear(cluster: Cluster) -> None:
    await cluster.start()
    assert cluster.spod()["spec"]["hostProcVolumePath"] == "/proc"
    assert cluster.spod()["spec"]["enableSelinux"] is False
    assert cluster.containers() == [OPERATOR_NAME]
    container = cluster.template()["spec"]["containers"][0]
    assert (container["image"], container["imagePullPolicy"]) == ("spo:1", "Always")
    (owner,) = cluster.daemon_set()["metadata"]["ownerReferences"]
    assert owner["uid"] == cluster.spod()["metadata"]["uid"]
    assert owner["controller"] is True
    assert cluster.said() == ("CREATING", "False", "Creating")
    assert ("Normal", "CreatedSPOD") in cluster.events()


async def test_states_follow_the_daemon_set(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.roll(updated=1, ready=0)
    assert cluster.said() == ("CREATING", "False", "Creating")
    await cluster.roll(updated=3, ready=2)
    await cluster.advance(5)
    assert cluster.message() == "ready on 2 of 3 nodes"
    await cluster.roll()
    assert cluster.said() == ("RUNNING", "True", "Available")
    assert cluster.message() == "ready on 3 nodes"


async def test_setting_rolls_the_daemon_set(running: Cluster) -> None:
    await running.patch_spod(enableBpfRecorder=True, verbosity=1)
    assert running.containers() == [OPERATOR_NAME, "bpf-recorder"]
    assert running.said() == ("UPDATING", "False", "Updating")
    assert running.spod()["status"]["conditions"][0]["observedGeneration"] == 2
    await running.roll(updated=3, ready=1)
    assert running.said()[0] == "UPDATING"
    await running.roll()
    assert running.said() == ("RUNNING", "True", "Available")
    assert ("Normal", "UpdatedSPOD") in running.events()


async def test_setting_that_the_pods_do_not_have_changes_no_pod(running: Cluster) -> None:
    before = running.daemon_set()["metadata"]["resourceVersion"]
    await running.patch_spod(strictSyscalls=True)
    assert running.daemon_set()["metadata"]["resourceVersion"] == before
    assert running.said() == ("RUNNING", "True", "Available")
    assert running.spod()["status"]["conditions"][0]["observedGeneration"] == 2


async def test_new_image_of_the_manager_rolls_the_daemon_set(running: Cluster) -> None:
    await running.client.patch(DEPLOYMENTS, OPERATOR_NAME, OPERATOR_NAME, deployment("spo:2"))
    await running.settle()
    pod = running.template()["spec"]
    assert {one["image"] for one in (*pod["initContainers"], *pod["containers"])} == {"spo:2"}
    assert running.said()[0] == "UPDATING"


async def test_without_the_managers_deployment_it_waits_and_says_so() -> None:
    cluster = Cluster()
    await cluster.start()
    assert cluster.said() == ("PENDING", "False", "Pending")
    assert f"Deployment {OPERATOR_NAME}" in cluster.message()
    await cluster.client.create(DEPLOYMENTS, deployment(), OPERATOR_NAME)
    await cluster.settle()
    assert cluster.said()[0] == "CREATING"
    await cluster.stop()


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"spec": {"template": {"spec": {"containers": []}}}}, id="containers"),
        pytest.param({"spec": {"template": {"spec": {"hostIPC": True}}}}, id="added-field"),
        pytest.param({"spec": {"updateStrategy": {"type": "OnDelete"}}}, id="strategy"),
        pytest.param({"metadata": {"labels": {"app": "other"}}}, id="label"),
        pytest.param({"metadata": {"ownerReferences": []}}, id="owner"),
    ],
)
async def test_daemon_set_that_was_edited_is_put_back(running: Cluster, edit: Obj) -> None:
    await running.advance(60)
    before = running.daemon_set()
    await running.patch_daemon_set(**edit)
    after = running.daemon_set()
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]


async def test_somebody_who_edits_all_the_time_is_answered_now_and_then(running: Cluster) -> None:
    await running.advance(60)
    edit = {"spec": {"template": {"spec": {"hostIPC": True}}}}
    await running.patch_daemon_set(**edit)
    assert "hostIPC" not in running.template()["spec"]
    await running.patch_daemon_set(**edit)
    assert "hostIPC" in running.template()["spec"]
    await running.advance(6)
    assert "hostIPC" not in running.template()["spec"]


async def test_daemon_set_that_was_deleted_is_created_again(running: Cluster) -> None:
    await running.client.delete(DAEMON_SETS, "spod", OPERATOR_NAME)
    await running.settle()
    assert running.containers() == [OPERATOR_NAME]


async def test_rollout_restart_is_no_edit(running: Cluster) -> None:
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    await running.advance(60)
    await running.patch_daemon_set(spec={"template": {"metadata": {"annotations": restarted}}})
    assert restarted.items() <= running.template()["metadata"]["annotations"].items()
    await running.patch_spod(verbosity=1)
    assert restarted.items() <= running.template()["metadata"]["annotations"].items()


async def test_nothing_is_written_while_nothing_changes(running: Cluster) -> None:
    await running.advance(10)
    before = running.writes()
    await running.patch_daemon_set(metadata={"annotations": {"note": "by somebody"}})
    await running.advance(600)
    assert running.writes() == before + 1


async def test_next_leader_changes_nothing(running: Cluster) -> None:
    await running.stop()
    generation = running.daemon_set()["metadata"]["generation"]
    await running.start()
    assert running.daemon_set()["metadata"]["generation"] == generation
    assert running.said() == ("RUNNING", "True", "Available")


async def test_settings_that_cannot_be_carried_out_leave_the_last_good_daemon_set(running: Cluster) -> None:
    good = running.daemon_set()["spec"]
    await running.patch_spod(hostProcVolumePath="my-proc", enableLogEnricher=True)
    assert running.said() == ("ERROR", "False", "Invalid")
    assert "spec.hostProcVolumePath: 'my-proc' is not an absolute path" in running.message()
    assert running.daemon_set()["spec"] == good
    await running.roll(ready=2)  # another look at the object
    assert running.events().count(("Warning", "InvalidSPOD")) == 1
    (event,) = [one for one in running.stored_events() if one["reason"] == "InvalidSPOD"]
    assert event["count"] == 1
    await running.roll()

    await running.patch_spod(hostProcVolumePath="/proc", enableLogEnricher=False)
    assert running.said() == ("RUNNING", "True", "Available")


async def test_what_the_api_server_refuses_is_said_in_the_status(running: Cluster) -> None:
    problem = 'DaemonSet.apps "spod" is invalid: spec.template.spec.affinity: Required value'

    def refuse(request: HttpRequest) -> None:
        if request.method == "PUT" and b"affinity" in (request.body or b""):
            raise InvalidError(422, "Invalid", problem)

    running.transport.before = refuse
    await running.patch_spod(affinity={"nodeAffinity": {}})
    assert running.said() == ("ERROR", "False", "Invalid")
    assert problem in running.message()
    assert "affinity" not in running.template()["spec"]


@pytest.mark.parametrize(("method", "reason"), [("POST", "CannotCreateSPOD"), ("PUT", "CannotUpdateSPOD")])
async def test_refused_write_is_an_event_and_tried_again(cluster: Cluster, method: str, reason: str) -> None:
    def refuse(request: HttpRequest) -> None:
        if request.method == method and "/daemonsets" in request.path:
            raise ForbiddenError(403, "Forbidden", "no right")

    if method == "PUT":
        await cluster.start()
        await cluster.roll()
    cluster.transport.before = refuse
    if method == "POST":
        await cluster.start()
    else:
        await cluster.patch_spod(enableBpfRecorder=True)
    assert ("Warning", reason) in cluster.events()
    cluster.transport.before = lambda _: None
    await cluster.advance(60)
    assert cluster.containers() == [OPERATOR_NAME, "bpf-recorder"][: 2 if method == "PUT" else 1]


async def test_unreadable_object_leaves_the_daemon_set(running: Cluster) -> None:
    good = running.daemon_set()["spec"]
    with pytest.raises(UnreadableObjectError):
        await running.patch_spod(verbosity="very")
    await running.settle()
    assert running.daemon_set()["spec"] == good
    assert running.said() == ("ERROR", "False", "Invalid")
    assert "Expected `int`" in running.message()
    await running.patch_spod(verbosity=1)
    assert running.daemon_set()["spec"] != good


async def test_only_the_named_object_counts(running: Cluster) -> None:
    other = {"metadata": {"name": "other"}, "spec": {"enableBpfRecorder": True}}
    await running.client.create(SPODS, other, OPERATOR_NAME)
    await running.settle()
    assert running.containers() == [OPERATOR_NAME]
    assert running.said("other") == (None, "False", "Ignored")
    assert "only the object spod" in running.spod("other")["status"]["conditions"][0]["message"]


async def test_object_that_was_deleted_comes_back_with_the_next_leader_only(running: Cluster) -> None:
    await running.client.delete(SPODS, "spod", OPERATOR_NAME)
    await running.client.delete(DAEMON_SETS, "spod", OPERATOR_NAME)  # as the garbage collector does
    await running.settle()
    with pytest.raises(Exception, match="not found"):
        running.spod()
    with pytest.raises(Exception, match="not found"):
        running.daemon_set()
    await running.stop()
    await running.start()
    assert running.containers() == [OPERATOR_NAME]


async def test_object_of_the_user_is_kept(cluster: Cluster) -> None:
    mine = {"metadata": {"name": "spod"}, "spec": {"enableBpfRecorder": True}}
    await cluster.client.create(SPODS, mine, OPERATOR_NAME)
    await cluster.start()
    assert cluster.spod()["spec"] == {"enableBpfRecorder": True}
    assert cluster.containers() == [OPERATOR_NAME, "bpf-recorder"]


async def test_pod_that_is_replaced_does_not_begin_a_roll_out(running: Cluster) -> None:
    await running.roll(ready=2)
    assert running.said() == ("RUNNING", "False", "Unavailable")
    await running.roll()
    assert running.said() == ("RUNNING", "True", "Available")


async def test_progress_is_told_every_two_seconds_at_most(running: Cluster) -> None:
    await running.patch_spod(verbosity=1)
    await running.roll(updated=1, ready=1)
    before = running.spod()["metadata"]["resourceVersion"]
    await running.roll(updated=2, ready=2)
    assert running.spod()["metadata"]["resourceVersion"] == before
    await running.advance(3)
    assert running.message() == "ready on 2 of 3 nodes"


async def test_default_object_can_enable_selinux(cluster: Cluster) -> None:
    await cluster.start(default_enable_selinux=True, selinuxd_image="selinuxd:1")
    assert cluster.spod()["spec"]["enableSelinux"] is True
    assert "selinuxd" in cluster.containers()
