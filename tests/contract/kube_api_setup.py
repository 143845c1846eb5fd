"""What the recorded scenarios assume: requests that set their scenes were not recorded."""

from __future__ import annotations

import asyncio
import base64
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

from onenode.app import App
from onenode.certificates import ensure_certificates
from tests.fakes.webhook_server import WebhookServer

Obj = dict[str, Any]

GROUP = "security-profiles-operator.x-k8s.io"
PROFILES = f"/apis/{GROUP}/v1beta1/namespaces/transcripts/seccompprofiles"
CORE = "/api/v1/namespaces/transcripts"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
WEBHOOK_SCENARIOS = frozenset({"46", "47", "48", "49"})
RECORDED_HOOK = "127.0.0.1:19443"
"""Where the recorded webhook listened."""
_REFUSED = "https://127.0.0.1:19444/x"
"""Where nobody listened; nobody does here either."""
_CRDS = Path(__file__).parents[1] / "data/kube-api/crds"
_CRD_FILES = ("seccompprofiles", "profilerecordings", "profilebindings", "securityprofilesoperatordaemons")

RAW_BODIES: dict[tuple[str, int], str] = {
    (
        "08",
        7,
    ): '{"apiVersion": "security-profiles-operator.x-k8s.io/v1beta1", "kind": "SeccompProfile", "metadata": '
    '{"name": "fv3"}, "spec": {"defaultAction": "SCMP_ACT_LOG", "defaultAction": "SCMP_ACT_ERRNO"}}',
    (
        "08",
        8,
    ): '{"apiVersion": "security-profiles-operator.x-k8s.io/v1beta1", "kind": "SeccompProfile", "metadata": '
    '{"name": "fv3"}, "spec": {"defaultAction": "SCMP_ACT_LOG", "defaultAction": "SCMP_ACT_ERRNO"}}',
    ("11", 9): '"str"',
    (
        "56",
        33,
    ): '{"metadata": {"name": "kdep", "labels": {"app": "kdep"}}, "spec": {"replicas": 0, "selector": '
    '{"matchLabels": {"app": "kdep"}}, "template": {"metadata": {"labels": {"app": "kdep"}}, "spec": '
    '{"containers": [{"name": "busybox", "image": "busybox"}]}}}}',
    ("56", 46): '{"spec": {}}',
    ("56", 47): '{"metadata": {"name": "kc"}, "data": {"a": "b"}}',
}
"""Bodies that the files cannot show: duplicate keys, a JSON text; and in JSON what was sent as protobuf."""


@dataclass(frozen=True)
class Setup:
    """Makes objects through the API."""

    app: App
    client: httpx2.AsyncClient
    base: str
    token: str
    hook: WebhookServer | None = None

    async def call(self, method: str, path: str, body: Obj | None = None, **headers: str) -> Obj:
        """One request that must succeed."""
        answer = await self.client.request(
            method,
            self.base + path,
            json=body,
            headers={"Authorization": f"Bearer {self.token}", "User-Agent": "conformance/1.0", **headers},
        )
        assert answer.status_code < 300, f"set-up {method} {path}: {answer.status_code} {answer.text[:300]}"
        found: Obj = answer.json()
        return found

    async def profile(self, name: str, **metadata: Any) -> Obj:
        """A SeccompProfile."""
        return await self.call(
            "POST",
            PROFILES,
            {
                "apiVersion": f"{GROUP}/v1beta1",
                "kind": "SeccompProfile",
                "metadata": {"name": name, **metadata},
                "spec": {"defaultAction": "SCMP_ACT_ERRNO"},
            },
        )

    async def merge(self, path: str, body: Obj) -> Obj:
        """A merge patch."""
        return await self.call("PATCH", path, body, **{"Content-Type": "application/merge-patch+json"})

    async def pod(self, name: str, **spec: Any) -> Obj:
        """A pod."""
        container = {"name": "c", "image": "busybox"}
        body = {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}
        return await self.call("POST", f"{CORE}/pods", body)

    async def webhook(self, name: str, *, path: str = "", url: str = "", **more: Any) -> None:
        """A configuration with one webhook ``NAME.example.com``, in place of every other."""
        assert self.hook is not None
        webhook = {
            "name": f"{name}.example.com",
            "clientConfig": {
                "url": url or self.hook.url(path),
                "caBundle": more.pop("ca", self.hook.ca_bundle),
            },
            "rules": [
                {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
            ],
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 5,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "transcripts"}},
            **more,
        }
        await self.no_webhooks()
        body = {"kind": "MutatingWebhookConfiguration", "apiVersion": "admissionregistration.k8s.io/v1"}
        await self.call("POST", WEBHOOKS, {**body, "metadata": {"name": name}, "webhooks": [webhook]})

    async def no_webhooks(self) -> None:
        """Remove every configuration."""
        await self.call("DELETE", WEBHOOKS)

    async def config_map(self, name: str, **metadata: Any) -> Obj:
        """A ConfigMap."""
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, **metadata},
            "data": {"a": "1"},
        }
        return await self.call("POST", f"{CORE}/configmaps", body)


Scene = Callable[[Setup], Awaitable[object]]


async def set_up(number: str, setup: Setup) -> None:
    """Make what a scenario assumes."""
    if number != "04":
        for name in _CRD_FILES:
            definition = yaml.safe_load((_CRDS / f"{name}.yaml").read_text())
            await setup.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    await setup.call("POST", "/api/v1/namespaces", {"metadata": {"name": "transcripts"}})
    await asyncio.sleep(0.01)


async def _selectors(setup: Setup) -> None:
    await setup.profile("s1", labels={"app": "a", "tier": "x"})
    await setup.profile("s2", labels={"app": "b"})
    await setup.profile("s3")


async def _selected_pods(setup: Setup) -> None:
    await setup.pod("f1", nodeName="node-x")
    await setup.pod("f2")


async def _pages(setup: Setup) -> None:
    await setup.profile("p-c")
    await setup.profile("p-a")
    await setup.profile("p-e")
    await setup.profile("p-b", labels={"even": "y"})
    await setup.profile("p-d", labels={"even": "y"})


async def _between_pages(setup: Setup) -> None:
    await setup.profile("p-aa")
    await setup.call("DELETE", f"{PROFILES}/p-e")


async def _collections(setup: Setup) -> None:
    for name, group in (("dc-a", "1"), ("dc-b", "1"), ("dc-c", "2")):
        await setup.profile(name, labels={"g": group})
        await setup.config_map(name, labels={"g": group})


async def _status_of_t1(setup: Setup) -> None:
    status = {"status": "Installed", "localhostProfile": "operator/transcripts/t1.json"}
    await setup.merge(f"{PROFILES}/t1/status", {"status": status})


async def _deletions(setup: Setup) -> None:
    for name in ("x1", "x2"):
        await setup.profile(name)


def _profiles(*names: str) -> Scene:
    async def scene(setup: Setup) -> None:
        for name in names:
            await setup.profile(name)

    return scene


def _pods(*names: str) -> Scene:
    async def scene(setup: Setup) -> None:
        for name in names:
            await setup.pod(name)

    return scene


async def _end_of_fin(setup: Setup) -> None:
    await setup.merge(f"{PROFILES}/fin", {"metadata": {"finalizers": None}})
    await setup.call("DELETE", f"{PROFILES}/fin")


async def _bound_pod(setup: Setup) -> dict[str, str]:
    return {"<uid-2>": (await setup.pod("tok"))["metadata"]["uid"]}


async def _touch(setup: Setup, path: str) -> None:
    """Give an object a later version."""
    await setup.merge(path, {"metadata": {"annotations": {"touched": "yes"}}})
    await setup.merge(path, {"metadata": {"annotations": None}})


async def _outputs(setup: Setup) -> None:
    await _touch(setup, f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/seccompprofiles.{GROUP}")
    await _touch(setup, CORE)
    await setup.profile("g2")
    await setup.profile("g1", labels={"a": "b"})
    status = {"status": "Installed", "localhostProfile": "operator/x.json"}
    await setup.merge(f"{PROFILES}/g1/status", {"status": status})


async def _described(setup: Setup) -> None:
    await _touch(setup, CORE)
    await setup.profile("d1")
    await setup.config_map("later")


async def _ready(setup: Setup) -> None:
    status = {"status": "Installed", "conditions": [{"type": "Ready", "status": "True"}]}
    await setup.merge(f"{PROFILES}/w1/status", {"status": status})


def _seen_by_watch(status: str) -> Scene:
    async def scene(setup: Setup) -> None:
        await setup.merge(f"{PROFILES}/v1/status", {"status": {"status": status}})
        await setup.profile("v2")
        await setup.call("DELETE", f"{PROFILES}/v2")

    return scene


async def _to_delete(setup: Setup) -> None:
    for name in ("x1", "x2"):
        await setup.profile(name)
    for name in ("x3", "x4"):
        await setup.profile(name, finalizers=["example.com/h"])


def _released(name: str) -> Scene:
    return lambda setup: setup.merge(f"{PROFILES}/{name}", {"metadata": {"finalizers": None}})


async def _labelled(setup: Setup) -> None:
    for name in ("x5", "x6"):
        await setup.profile(name, labels={"g": "1"})


async def _all_profiles(setup: Setup) -> None:
    await _released("x4")(setup)
    for name in ("x7", "x8"):
        await setup.profile(name)


async def _a_token(setup: Setup) -> dict[str, str]:
    token, _ = setup.app.context.auth.issue_token("transcripts", "default")
    return {"<token>": token}


async def _restricted(setup: Setup) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await setup.call("POST", "/api/v1/namespaces", {"metadata": {"name": "restricted", "labels": labels}})


def _webhook(name: str, path: str, **more: Any) -> Scene:
    return lambda setup: setup.webhook(f"mw-{name}", path=path, **more)


_BEHAVIOURS = (
    *("deny", "deny-plain", "deny-code", "bad-uid", "bad-patch", "bad-patch2", "bad-patch3", "no-type"),
    *("http500", "garbage"),
)


async def _foreign_ca(setup: Setup) -> None:
    """A certificate that another CA signed."""
    with tempfile.TemporaryDirectory() as folder:
        other = ensure_certificates(Path(folder), []).ca.read_bytes()
    await setup.webhook("mw-ca", path="/patch", ca=base64.b64encode(other).decode())


async def _labelled_namespace(setup: Setup) -> None:
    await setup.merge(CORE, {"metadata": {"labels": {"spo": "yes"}}})


def _failing_condition(policy: str) -> Scene:
    condition = {"name": "x", "expression": "object.metadata.labels['nosuch'] == 'x'"}
    return _webhook("err", "/patch", failurePolicy=policy, matchConditions=[condition])


_BOTH = ("ClusterRoleBinding", "ClusterRole")


async def _scale_of_now(setup: Setup) -> dict[str, str]:
    """The version that the recorded client had seen: here a controller has written since."""
    scale = await setup.call("GET", "/apis/apps/v1/namespaces/transcripts/deployments/dep/scale")
    return {"<rv-5>": scale["metadata"]["resourceVersion"]}


SCENES: dict[tuple[str, int], Scene] = {
    ("21", 0): _selectors,
    ("21", 26): _selected_pods,
    ("22", 0): _pages,
    ("22", 1): _between_pages,
    ("24", 0): _profiles("w0"),
    ("26", 0): _profiles("b1", "b2"),
    ("26", 3): lambda setup: setup.config_map("unrelated"),
    ("26", 6): lambda setup: setup.config_map("unrelated-too"),
    ("11", 24): lambda setup: setup.call("DELETE", f"{PROFILES}/x"),
    ("11", 21): _end_of_fin,
    ("28", 13): _profiles("later"),
    ("29", 3): _status_of_t1,
    ("34", 7): lambda setup: setup.merge(
        f"{CORE}/configmaps/dep2", {"metadata": {"finalizers": ["x.com/y"]}}
    ),
    ("36", 0): _collections,
    ("36", 8): lambda setup: setup.profile("dc-f", finalizers=["example.com/x"]),
    ("36", 10): lambda setup: setup.merge(f"{PROFILES}/dc-f", {"metadata": {"finalizers": None}}),
    ("40", 0): _a_token,
    ("41", 3): _bound_pod,
    ("42", 0): _restricted,
    ("40", 18): lambda setup: setup.config_map("later"),
    ("45", 7): _scale_of_now,
    ("45", 11): lambda setup: setup.config_map("later"),
    **{("47", 2 * index): _webhook(name, f"/{name}") for index, name in enumerate(_BEHAVIOURS)},
    ("48", 0): _webhook("refused", "", url=_REFUSED),
    ("48", 1): _webhook("slow", "/slow", timeoutSeconds=1),
    ("48", 3): _webhook("refused", "", url=_REFUSED, failurePolicy="Ignore"),
    ("48", 4): _webhook("slow", "/slow", timeoutSeconds=1, failurePolicy="Ignore"),
    ("48", 6): _foreign_ca,
    ("48", 7): lambda setup: setup.no_webhooks(),
    ("48", 9): _webhook("dry", "/patch", sideEffects="NoneOnDryRun"),
    ("49", 13): lambda setup: setup.no_webhooks(),
    ("49", 15): _labelled_namespace,
    ("49", 17): lambda setup: setup.no_webhooks(),
    ("49", 21): _failing_condition("Fail"),
    ("49", 22): _failing_condition("Ignore"),
    ("49", 23): lambda setup: setup.no_webhooks(),
    ("50", 0): _profiles("k0"),
    ("53", 0): _outputs,
    ("54", 0): _described,
    ("56", 0): _profiles("l1"),
    ("57", 0): lambda setup: setup.profile("w1", labels={"a": "b"}),
    ("57", 4): _ready,
    ("57", 22): lambda setup: setup.call("DELETE", f"{PROFILES}/w1"),
    ("57", 28): _profiles("w2"),
    ("58", 0): _to_delete,
    ("58", 6): _released("x3"),
    ("58", 9): _labelled,
    ("58", 14): _all_profiles,
    ("58", 22): _profiles("x9"),
    ("58", 24): _profiles("y1"),
    ("58", 27): _profiles("y2"),
    ("58", 29): _profiles("y3"),
    ("58", 32): lambda setup: setup.call("POST", "/api/v1/namespaces", {"metadata": {"name": "kdel"}}),
    ("61", 0): _profiles("v1"),
    ("61", 2): _seen_by_watch("get sp -w"),
    ("61", 4): _seen_by_watch("get sp v1 -w"),
    ("61", 6): _seen_by_watch("get sp --watch-only"),
    ("61", 8): _seen_by_watch("get sp -w -o name --output-watch-events"),
}
"""What was done before a step of a scenario; may tell values of placeholders."""

UNMARKED: dict[str, tuple[tuple[str, str], ...]] = {
    **dict.fromkeys(("46", "47", "48", "49"), (('"uid": "admin-uid",', ""),)),
    "40": (
        ('"uid": "admin-uid",', ""),
        # Two bindings allow it; which one a real server names is the chance of a map's order.
        *((f'{kind} \\"system:public-info-viewer\\"', f'{kind} \\"system:discovery\\"') for kind in _BOTH),
        # Not in upstream's roles: the recorded server was a distribution's build.
        ('{"verbs": ["get"], "nonResourceURLs": ["/.well-known", "/.well-known/*"]}, ', ""),
    ),
    "41": (("10.10.0.1:16443", "<server>"), ('"RS256"', '"ES256"')),
    "56": tuple(
        (f"kdep-{hashed}", f"kdep-<suffix-{number}1><suffix-{number}2>")
        for number, hashed in enumerate(("d6488cbc4", "fbcbbd6f4", "6cd5c58998"), 561)
    ),
    "52": (('"1815"', '"<rv-6>"'),),
    "20": (("xxxbz2cm", "xxx<suffix-20>"),),
    "45": (("5c89bddd98", "<suffix-451><suffix-452>"),),
    "29": (("- 0s\\n", "- <age>\\n"),),
}
"""Values of the recorded server without a placeholder: text in the file -> what stands for it here."""

RACES: frozenset[tuple[str, int]] = frozenset(
    (number, step)
    for number, steps in {
        "04": (20,),
        "19": (1, 3, 5, 6),
        "33": (9,),
        "34": (3, 8, 9, 16),
        "35": (7, 11, 12, 13, 14, 15),
        "45": (6, 7, 10),
        "58": (25, 26, 33, 34),
    }.items()
    for step in steps
)
"""Steps whose recorded answer shows a controller at work; onenode's has finished by then. Not compared."""
