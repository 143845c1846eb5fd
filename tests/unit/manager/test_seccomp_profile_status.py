"""What the manager writes, and when; each case is reconciled until nothing changes."""

import pytest

from spo.api.meta import ObjectMeta
from spo.api.node_status import NodeProfileState, ProfileState, SecurityProfileNodeStatus
from spo.api.seccomp_profile import SeccompProfile
from spo.controller import DONE, Request, Result
from spo.kube.cache import Cache, Key
from spo.manager.cluster_view import REFERENCE_INDEX, SPOD_INDEX, ClusterView, references_of, spod_node_of
from spo.manager.liveness import NodeLiveness
from spo.manager.records import NodeReport, PodProjection, PodRecord, ReportProjection
from spo.manager.seccomp_profile import PROGRESS_DELAY_S, RECHECK_S, SeccompProfileReconciler
from spo.names import IN_USE_FINALIZER, INSTALLED_FINALIZER
from spo.profiles.paths import ProfileKey
from spo.profiles.release import is_released
from tests.fakes.clock import FakeClock
from tests.fakes.profiles_objects import NS, allow, pod, profile
from tests.fakes.profiles_store import InMemoryProfiles

OPERATOR = "operator-ns"
WEB = Request(NS, "web")
KEY = f"SeccompProfile/{NS}/web"
PATH = f"operator/{NS}/web.json"
GONE_AFTER_S = 300.0


class Cluster:
    """A manager's caches around the reconciler."""

    def __init__(self, *profiles: SeccompProfile, nodes: int = 1) -> None:
        self.clock = FakeClock()
        self.store = InMemoryProfiles(*profiles)
        self.pods: Cache[PodRecord] = Cache("Pod")
        self.pods.add_index(REFERENCE_INDEX, references_of)
        self.pods.add_index(SPOD_INDEX, spod_node_of)
        self.reports: Cache[NodeReport] = Cache("SecurityProfileNodeStatus")
        self.liveness = NodeLiveness(GONE_AFTER_S)
        self.lists = 0
        self.listed: frozenset[ProfileKey] = frozenset()
        self.project_pod = PodProjection(OPERATOR)
        self.project_report = ReportProjection()
        for n in range(nodes):
            self.add_node(f"node-{n}")
        view = ClusterView(self.pods, self.reports, self.liveness, self.clock, OPERATOR)
        self.reconciler = SeccompProfileReconciler(self.store, view, self.list_references, self.clock)

    async def list_references(self) -> frozenset[ProfileKey]:
        self.lists += 1
        return self.listed

    def add_node(self, name: str) -> None:
        self.liveness.set_node(name, ready=True, now=self.clock.monotonic())
        self.pods.update([(Key(OPERATOR, f"spod-{name}"), PodRecord(f"{OPERATOR}/spod-{name}", (), name))])
        self.liveness.set_spod_nodes(self.nodes, now=self.clock.monotonic())

    @property
    def nodes(self) -> list[str]:
        return [str(node) for node in self.pods.index_values(SPOD_INDEX)]

    def say(self, node: str, state: ProfileState | None, generation: int = 1, message: str = "") -> None:
        entry = NodeProfileState(state=state or "", generation=generation, message=message)
        status = SecurityProfileNodeStatus(
            metadata=ObjectMeta(name=node), node_name=node, profiles={KEY: entry} if state else {}
        )
        self.reports.update([(Key(OPERATOR, node), self.project_report(status))])

    def use(self, name: str, *paths: str) -> None:
        self.pods.update([(Key(NS, name), self.project_pod(pod(name, *paths)))])

    def end(self, name: str) -> None:
        self.pods.update([(Key(NS, name), None)])

    async def reconcile(self, request: Request = WEB) -> Result:
        """Reconcile twice: the second time must write nothing."""
        result = await self.reconciler.reconcile(request)
        before = self.store.writes
        again = await self.reconciler.reconcile(request)
        assert self.store.writes == before
        assert (again.requeue_after is None) == (result.requeue_after is None)
        return result

    @property
    def profile(self) -> SeccompProfile:
        return self.store.stored[NS, "web"]

    @property
    def state(self) -> str | None:
        return self.profile.status.status if self.profile.status else None


async def test_new_profile_costs_three_writes() -> None:
    cluster = Cluster(profile(), nodes=3)
    await cluster.reconcile()
    assert cluster.state == "Pending"
    assert cluster.profile.metadata.finalizers == [INSTALLED_FINALIZER]
    for node in cluster.nodes:
        cluster.say(node, ProfileState.PENDING)
        await cluster.reconcile()
    for node in cluster.nodes:
        cluster.say(node, ProfileState.INSTALLED)
        await cluster.reconcile()
    assert cluster.state == "Installed"
    assert cluster.store.writes == 3


async def test_changed_profile_costs_two_writes() -> None:
    cluster = Cluster(profile(), nodes=2)
    for node in cluster.nodes:
        cluster.say(node, ProfileState.INSTALLED)
    await cluster.reconcile()
    before = cluster.store.writes
    cluster.store.put(profile(generation=2, finalizers=(INSTALLED_FINALIZER,), status=cluster.profile.status))
    await cluster.reconcile()
    for node in cluster.nodes:
        cluster.say(node, ProfileState.INSTALLED, generation=2)
        await cluster.reconcile()
    assert cluster.store.writes - before == 2
    assert cluster.state == "Installed"


async def test_progress_is_written_after_a_while() -> None:
    cluster = Cluster(profile(), nodes=3)
    await cluster.reconcile()
    cluster.say("node-0", ProfileState.INSTALLED)
    result = await cluster.reconcile()
    assert result.requeue_after == PROGRESS_DELAY_S
    await cluster.clock.advance(PROGRESS_DELAY_S)
    assert await cluster.reconcile() == DONE
    status = cluster.profile.status
    assert status is not None
    assert status.nodes is not None
    assert status.nodes.installed == 1


async def test_error_of_one_node_is_shown_at_once() -> None:
    cluster = Cluster(profile(), nodes=3)
    await cluster.reconcile()
    cluster.say("node-1", ProfileState.ERROR, message="base profile 'x' not found")
    await cluster.reconcile()
    status = cluster.profile.status
    assert status is not None
    assert status.status == "Error"
    assert [one.node_name for one in status.failing_nodes] == ["node-1"]


async def test_unknown_syscall_is_a_warning() -> None:
    cluster = Cluster(profile(syscalls=allow("no_such_syscall")))
    await cluster.reconcile()
    status = cluster.profile.status
    assert status is not None
    assert "no_such_syscall" in status.warnings[0]


async def test_pod_in_use_adds_the_finalizer_and_the_workload() -> None:
    cluster = Cluster(profile())
    cluster.use("pod-1", PATH)
    await cluster.reconcile()
    assert cluster.profile.metadata.finalizers == [INSTALLED_FINALIZER, IN_USE_FINALIZER]
    status = cluster.profile.status
    assert status is not None
    assert status.active_workloads == [f"{NS}/pod-1"]

    cluster.end("pod-1")
    await cluster.reconcile()
    assert cluster.profile.metadata.finalizers == [INSTALLED_FINALIZER]
    status = cluster.profile.status
    assert status is not None
    assert (status.active_workloads, status.active_workload_count) == ([], 0)


async def test_pod_uses_the_object_that_owns_the_file_only() -> None:
    younger = profile("web.json", created="2026-01-01T00:00:01Z")
    cluster = Cluster(profile(), younger)
    cluster.use("pod-1", PATH)
    await cluster.reconcile(Request(NS, "web.json"))
    assert cluster.store.stored[NS, "web.json"].metadata.finalizers == [INSTALLED_FINALIZER]
    await cluster.reconcile()
    assert IN_USE_FINALIZER in cluster.profile.metadata.finalizers


def in_deletion(*finalizers: str) -> SeccompProfile:
    return profile(deleted=True, generation=2, finalizers=finalizers or (INSTALLED_FINALIZER,))


async def test_unused_profile_is_released_and_goes_when_the_last_node_has_dropped_it() -> None:
    cluster = Cluster(in_deletion(), nodes=2)
    for node in cluster.nodes:
        cluster.say(node, ProfileState.INSTALLED)
    await cluster.reconcile()
    assert cluster.state == "Terminating"
    assert is_released(cluster.profile)
    assert cluster.store.writes == 1

    cluster.say("node-0", None)
    await cluster.reconcile()
    assert cluster.profile.metadata.finalizers == [INSTALLED_FINALIZER]
    cluster.say("node-1", None)
    await cluster.reconcile()
    assert WEB not in cluster.store.stored
    assert cluster.store.writes == 2


async def test_pods_are_listed_once_for_a_deletion() -> None:
    cluster = Cluster(in_deletion())
    cluster.say("node-0", ProfileState.INSTALLED)
    await cluster.reconcile()
    await cluster.reconcile()
    assert cluster.lists == 1


async def test_used_profile_stays_until_its_pod_is_gone() -> None:
    cluster = Cluster(in_deletion(INSTALLED_FINALIZER, IN_USE_FINALIZER))
    cluster.say("node-0", ProfileState.INSTALLED)
    cluster.use("pod-1", PATH)
    await cluster.reconcile()
    assert cluster.state == "Terminating"
    assert not is_released(cluster.profile)
    assert cluster.profile.metadata.finalizers == [INSTALLED_FINALIZER, IN_USE_FINALIZER]
    assert cluster.lists == 0

    cluster.end("pod-1")
    await cluster.reconcile()
    assert is_released(cluster.profile)
    assert cluster.profile.metadata.finalizers == [INSTALLED_FINALIZER]


async def test_pod_that_only_the_fresh_list_knows_keeps_the_profile() -> None:
    cluster = Cluster(in_deletion())
    cluster.say("node-0", ProfileState.INSTALLED)
    cluster.listed = frozenset({ProfileKey(NS, "web")})
    result = await cluster.reconcile()
    assert not is_released(cluster.profile)
    assert result.requeue_after == RECHECK_S

    cluster.listed = frozenset()
    assert await cluster.reconcile() == DONE
    assert is_released(cluster.profile)


async def test_pod_that_appears_after_the_release_takes_it_back() -> None:
    cluster = Cluster(in_deletion())
    cluster.say("node-0", ProfileState.INSTALLED)
    await cluster.reconcile()
    assert is_released(cluster.profile)
    cluster.use("late", PATH)
    await cluster.reconcile()
    assert not is_released(cluster.profile)


async def test_release_is_for_one_generation() -> None:
    cluster = Cluster(in_deletion())
    cluster.say("node-0", ProfileState.INSTALLED)
    await cluster.reconcile()
    edited = profile(
        deleted=True, generation=3, finalizers=(INSTALLED_FINALIZER,), status=cluster.profile.status
    )
    cluster.store.put(edited)
    assert not is_released(edited)
    await cluster.reconcile()
    assert is_released(cluster.profile)
    assert cluster.lists == 2


async def test_profile_on_no_node_goes_without_a_list_or_a_status() -> None:
    cluster = Cluster(in_deletion())
    await cluster.reconcile()
    assert WEB not in cluster.store.stored
    assert (cluster.lists, cluster.store.status_writes) == (0, [])


async def test_profile_with_a_finalizer_of_others_loses_only_ours() -> None:
    cluster = Cluster(in_deletion("example.com/other", INSTALLED_FINALIZER))
    await cluster.reconcile()
    assert cluster.profile.metadata.finalizers == ["example.com/other"]


async def test_deletion_does_not_wait_for_a_node_that_is_gone() -> None:
    cluster = Cluster(in_deletion(), nodes=2)
    cluster.say("node-0", None)
    cluster.say("node-1", ProfileState.INSTALLED)
    await cluster.reconcile()
    cluster.liveness.remove_node("node-1")
    await cluster.reconcile()
    assert WEB not in cluster.store.stored


async def test_deletion_waits_a_while_for_a_node_that_is_not_ready() -> None:
    cluster = Cluster(in_deletion())
    cluster.say("node-0", ProfileState.INSTALLED)
    cluster.liveness.set_node("node-0", ready=False, now=0)
    result = await cluster.reconcile()
    assert result.requeue_after == GONE_AFTER_S
    await cluster.clock.advance(GONE_AFTER_S)
    await cluster.reconcile()
    assert WEB not in cluster.store.stored


@pytest.mark.parametrize("deleted", [False, True], ids=["living", "being-deleted"])
async def test_object_that_vanishes_during_the_reconcile_is_no_error(deleted: bool) -> None:
    cluster = Cluster(in_deletion() if deleted else profile())
    cluster.store.vanished = True
    assert await cluster.reconciler.reconcile(WEB) == DONE


async def test_absent_object_needs_nothing() -> None:
    cluster = Cluster()
    assert await cluster.reconcile() == DONE
