"""What the manager does for bindings and recordings, on a small API server and a clock moved by hand."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from spo.api.core import NAMESPACES, PODS
from spo.api.profile_binding import PROFILE_BINDINGS
from spo.api.profile_recording import PROFILE_RECORDINGS
from spo.api.resource import Resource
from spo.api.seccomp_profile import SECCOMP_PROFILES, SeccompProfile
from spo.api.secret import SECRETS
from spo.api.spod import SPODS
from spo.api.webhook_configuration import WEBHOOK_CONFIGURATIONS
from spo.kube.informer import Informer
from spo.manager.admission_controllers import AdmissionControllers
from spo.manager.certificate_process import issue_here
from spo.manager.certificates import new_authority
from spo.names import OPERATOR_NAME, WEBHOOK_CERTIFICATE, WEBHOOK_CONFIGURATION
from spo.settings import ManagerSettings
from tests.fakes.api_server_in_process import in_process_client
from tests.fakes.clock import FakeClock

Obj = dict[str, Any]
STRICT = {"seccompProfile": {"type": "Localhost", "localhostProfile": "operator/shop/strict.json"}}


class Cluster:
    """The API server and the manager's part for admission."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.client, self.transport = in_process_client()
        self.task: asyncio.Task[None] | None = None

    async def start(self, *, cert_manager: bool = False) -> None:
        settings = ManagerSettings(cert_manager=cert_manager)
        profiles: Informer[SeccompProfile] = Informer(self.client, SECCOMP_PROFILES, clock=self.clock)
        controllers = AdmissionControllers(self.client, settings, profiles, self.clock, issue_here)

        async def run() -> None:
            async with asyncio.TaskGroup() as group:
                for informer in (profiles, *controllers.informers):
                    group.create_task(informer.run())
                for informer in (profiles, *controllers.informers):
                    await informer.synced()
                await controllers.run()

        self.task = asyncio.create_task(run())
        await self.settle()

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task

    async def settle(self) -> None:
        for _ in range(4):
            await self.clock.settle()

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self.settle()

    async def create(
        self, resource: Resource[Any], name: str, namespace: str = "shop", **content: Any
    ) -> None:
        metadata: Obj = {"name": name, **content.pop("metadata", {})}
        where = namespace if resource.namespaced else None
        await self.client.create(resource, {"metadata": metadata, **content}, where)
        await self.settle()

    async def bind(self, name: str = "b", profile: str = "strict", namespace: str = "shop") -> None:
        spec = {"image": "nginx", "profileRef": {"kind": "SeccompProfile", "name": profile}}
        await self.create(PROFILE_BINDINGS, name, namespace, spec=spec)

    async def add_pod(self, name: str, context: Obj | None = None) -> None:
        container = {"name": "c", "image": "nginx", **({"securityContext": context} if context else {})}
        await self.create(PODS, name, spec={"containers": [container]}, status={"phase": "Running"})

    async def delete(self, resource: Resource[Any], name: str) -> None:
        await self.client.delete(resource, name, "shop")
        await self.settle()

    def stored(self, resource: Resource[Any], name: str, namespace: str = "shop") -> Obj:
        where = namespace if resource.namespaced else None
        objects = self.transport.objects
        return objects.get(objects.locate(resource.path(where, name)))

    def all(self, path: str) -> list[Obj]:
        objects = self.transport.objects
        items: list[Obj] = objects.list(objects.locate(path), {})["items"]
        return items

    def ready(self, resource: Resource[Any] = PROFILE_BINDINGS, name: str = "b") -> tuple[str, str, str]:
        conditions = self.stored(resource, name)["status"]["conditions"]
        (one,) = [one for one in conditions if one["type"] == "Ready"]
        return one["status"], one["reason"], one.get("message", "")

    def entries(self) -> dict[str, list[str]]:
        """Name of each webhook of the configuration -> its namespaces."""
        webhooks = self.stored(WEBHOOK_CONFIGURATIONS, WEBHOOK_CONFIGURATION)["webhooks"]
        return {
            entry["name"]: entry["namespaceSelector"]["matchExpressions"][0]["values"] for entry in webhooks
        }

    def writes(self) -> int:
        return sum(request.method != "GET" for request in self.transport.requests)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    for namespace in (OPERATOR_NAME, "shop"):
        await made.create(NAMESPACES, namespace)
    spec = {"defaultAction": "SCMP_ACT_ALLOW"}
    await made.create(SECCOMP_PROFILES, "strict", spec=spec)
    yield made
    await made.stop()


async def test_binding_is_ready_two_seconds_after_the_configuration_is_stored(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.bind()
    assert cluster.entries() == {"binding.spo.io": ["shop"]}
    assert cluster.ready()[:2] == ("False", "AdmissionPending")
    await cluster.advance(1.9)
    assert cluster.ready()[0] == "False"
    await cluster.advance(0.2)
    assert cluster.ready() == ("True", "AdmissionActive", "")
    before = cluster.writes()
    await cluster.advance(1000)
    assert cluster.writes() == before


async def test_last_binding_takes_its_entry_along(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.bind()
    await cluster.bind("other", namespace="store")
    assert cluster.entries() == {"binding.spo.io": ["shop", "store"]}
    await cluster.delete(PROFILE_BINDINGS, "b")
    assert cluster.entries() == {"binding.spo.io": ["store"]}


async def test_configuration_belongs_to_the_operators_namespace(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.bind()
    (owner,) = cluster.stored(WEBHOOK_CONFIGURATIONS, WEBHOOK_CONFIGURATION)["metadata"]["ownerReferences"]
    uid = cluster.stored(NAMESPACES, OPERATOR_NAME)["metadata"]["uid"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Namespace", OPERATOR_NAME, uid)


async def test_bound_pods_hold_the_binding(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.bind()
    await cluster.add_pod("web-1", STRICT)
    binding = cluster.stored(PROFILE_BINDINGS, "b")
    assert binding["status"]["activeWorkloads"] == ["shop/web-1"]
    assert binding["metadata"]["finalizers"] == ["active-workload-lock"]

    await cluster.delete(PROFILE_BINDINGS, "b")
    assert cluster.ready()[:2] == ("False", "Deleting")
    assert cluster.entries() == {}
    await cluster.delete(PODS, "web-1")
    assert cluster.all("/apis/security-profiles-operator.x-k8s.io/v1alpha1/profilebindings") == []


async def test_many_pods_share_writes_of_the_status(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.bind()
    await cluster.advance(5)
    before = cluster.writes()
    for number in range(60):
        await cluster.add_pod(f"web-{number:02}", STRICT)
    await cluster.advance(5)
    status = cluster.stored(PROFILE_BINDINGS, "b")["status"]
    assert status["activeWorkloadCount"] == 60
    assert len(status["activeWorkloads"]) == 50
    assert cluster.writes() - before - 60 <= 4


async def test_pod_that_the_webhook_has_not_seen_is_told_once(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.bind()
    await cluster.add_pod("bare")
    await cluster.advance(60)
    (event,) = cluster.all("/api/v1/namespaces/shop/events")
    assert (event["type"], event["reason"]) == ("Warning", "PodNotBound")
    assert event["involvedObject"]["name"] == "b"
    assert event["count"] == 1
    assert (
        "pod bare is younger than this binding, but container c runs without profile strict"
        in event["message"]
    )


async def test_missing_profile_is_told_and_no_longer_when_it_is_there(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.bind(profile="later")
    await cluster.advance(3)
    status, reason, message = cluster.ready()
    assert (status, reason) == ("True", "AdmissionActive")
    assert message.startswith("SeccompProfile 'later' does not exist in shop")
    await cluster.create(SECCOMP_PROFILES, "later", spec={"defaultAction": "SCMP_ACT_ALLOW"})
    assert cluster.ready() == ("True", "AdmissionActive", "")


async def test_recording_is_ready_when_its_webhook_is(cluster: Cluster) -> None:
    await cluster.start()
    spec = {"kind": "SeccompProfile", "recorder": "bpf", "podSelector": {}}
    await cluster.create(PROFILE_RECORDINGS, "r", spec=spec)
    assert cluster.entries() == {"recording.spo.io": ["shop"]}
    await cluster.advance(3)
    assert cluster.ready(PROFILE_RECORDINGS, "r") == ("True", "AdmissionActive", "")
    await cluster.create(PROFILE_RECORDINGS, "odd", spec={**spec, "kind": "SelinuxProfile"})
    assert cluster.ready(PROFILE_RECORDINGS, "odd") == (
        "False",
        "Unsupported",
        "recorder bpf cannot record a SelinuxProfile; use recorder logs",
    )


async def test_configuration_changed_by_hand_is_repaired_but_not_in_a_race(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.bind()

    async def break_it() -> None:
        webhooks = cluster.stored(WEBHOOK_CONFIGURATIONS, WEBHOOK_CONFIGURATION)["webhooks"]
        webhooks[0]["failurePolicy"] = "Ignore"
        await cluster.client.patch(
            WEBHOOK_CONFIGURATIONS, WEBHOOK_CONFIGURATION, None, {"webhooks": webhooks}
        )
        await cluster.settle()

    def policy() -> str:
        stored = cluster.stored(WEBHOOK_CONFIGURATIONS, WEBHOOK_CONFIGURATION)
        return str(stored["webhooks"][0]["failurePolicy"])

    await cluster.advance(60)
    await break_it()
    assert policy() == "Fail"
    await break_it()
    assert policy() == "Ignore"
    await cluster.advance(31)
    assert policy() == "Fail"
    await cluster.client.delete(WEBHOOK_CONFIGURATIONS, WEBHOOK_CONFIGURATION)
    await cluster.advance(31)
    assert cluster.entries() == {"binding.spo.io": ["shop"]}


async def test_settings_may_select_namespaces_by_label(cluster: Cluster) -> None:
    options = [{"name": "binding.spo.io", "namespaceSelector": {"matchLabels": {"bind": "yes"}}}]
    await cluster.create(SPODS, "spod", OPERATOR_NAME, spec={"webhookOptions": options})
    await cluster.start()
    await cluster.bind()
    await cluster.advance(3)
    status, reason, message = cluster.ready()
    assert (status, reason) == ("False", "NamespaceNotSelected")
    assert message.endswith("and not shop; label the namespace")
    await cluster.client.patch(NAMESPACES, "shop", None, {"metadata": {"labels": {"bind": "yes"}}})
    await cluster.advance(61)
    assert cluster.ready() == ("True", "AdmissionActive", "")


async def test_manager_that_takes_over_writes_nothing_new(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.bind()
    await cluster.add_pod("web-1", STRICT)
    await cluster.advance(10)
    await cluster.stop()
    before = cluster.writes()
    await cluster.start()
    await cluster.advance(10)
    assert cluster.writes() == before
    assert cluster.ready() == ("True", "AdmissionActive", "")


async def test_with_cert_manager_no_certificate_is_made(cluster: Cluster) -> None:
    await cluster.start(cert_manager=True)
    await cluster.bind()
    assert cluster.all(f"/api/v1/namespaces/{OPERATOR_NAME}/secrets") == []
    assert cluster.ready()[:2] == ("False", "AdmissionPending")  # nobody would be trusted
    ca = new_authority(cluster.clock.now()).certificate
    pair = {"tls.crt": ca, "tls.key": b"k", "ca.crt": ca}
    data = {key: base64.b64encode(value).decode() for key, value in pair.items()}
    await cluster.create(SECRETS, WEBHOOK_CERTIFICATE, OPERATOR_NAME, data=data)
    stored = cluster.stored(WEBHOOK_CONFIGURATIONS, WEBHOOK_CONFIGURATION)
    assert base64.b64decode(stored["webhooks"][0]["clientConfig"]["caBundle"]) == ca
    await cluster.advance(3)
    assert cluster.ready()[:2] == ("True", "AdmissionActive")
    assert len(cluster.all(f"/api/v1/namespaces/{OPERATOR_NAME}/secrets")) == 1


async def test_binding_deleted_and_made_anew_keeps_no_old_state(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.bind()
    await cluster.advance(3)
    await cluster.delete(PROFILE_BINDINGS, "b")
    await cluster.bind()
    assert cluster.ready()[:2] == ("False", "AdmissionPending")
