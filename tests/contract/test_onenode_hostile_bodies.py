"""Bodies nobody should send: every one is answered, none ends in an internal error."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from onenode.app import App, create_app
from onenode.auth import Authenticator
from onenode.store import Store

TOKEN = "hostile"
CRDS = Path(__file__).parents[2] / "deploy/crds"
Obj = dict[str, Any]
Path_ = tuple[str | int, ...]

POD: Obj = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "p",
        "labels": {"a": "b"},
        "annotations": {"x": "y"},
        "finalizers": ["example.com/a"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "n", "uid": "u", "controller": True}],
    },
    "spec": {
        "restartPolicy": "Always",
        "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "operator/a/b.json"}},
        "containers": [
            {
                "name": "c",
                "image": "i",
                "env": [{"name": "A", "value": "b"}],
                "ports": [{"containerPort": 80}],
                "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
                "volumeMounts": [{"name": "v", "mountPath": "/x"}],
                "livenessProbe": {"httpGet": {"port": 80, "path": "/"}},
            }
        ],
        "initContainers": [{"name": "i", "image": "x"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"key": "x", "operator": "Exists"}],
    },
    "status": {"phase": "Pending", "conditions": [{"type": "Ready", "status": "True"}]},
}
PROFILE: Obj = {
    "apiVersion": "security-profiles-operator.x-k8s.io/v1beta1",
    "kind": "SeccompProfile",
    "metadata": {
        "name": "sp",
        "managedFields": [{"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {}}}],
    },
    "spec": {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {"action": "SCMP_ACT_ALLOW", "names": ["read"], "args": [{"index": 0, "op": "SCMP_CMP_EQ"}]}
        ],
    },
    "status": {"conditions": [{"type": "Ready", "status": "True"}], "status": "Installed"},
}
EVENT: Obj = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "e"},
    "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
    "reason": "r",
    "source": {"component": "c"},
    "lastTimestamp": "2026-01-01T00:00:00Z",
    "series": {"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"},
}
LEASE: Obj = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "l"},
    "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z"},
}
DEFINITION: Obj = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "things.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "additionalPrinterColumns": [{"name": "A", "type": "string", "jsonPath": ".spec.a"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"a": {"type": "string", "default": "x", "pattern": "^x"}},
                                "x-kubernetes-validations": [{"rule": "self.a != 'y'", "message": "no"}],
                            }
                        },
                    }
                },
            }
        ],
    },
}
TEMPLATE: Obj = {
    "metadata": {"labels": {"app": "d"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
DEPLOYMENT: Obj = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "d"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}},
        "template": TEMPLATE,
    },
    "status": {},
}
ROLE: Obj = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "r"},
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["x"]}],
}
OBJECTS: list[tuple[str, Obj]] = [
    ("/apis/apps/v1/namespaces/default/deployments", DEPLOYMENT),
    ("/apis/rbac.authorization.k8s.io/v1/clusterroles", ROLE),
    ("/api/v1/namespaces/default/pods", POD),
    ("/api/v1/namespaces/default/events", EVENT),
    ("/apis/coordination.k8s.io/v1/namespaces/default/leases", LEASE),
    ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION),
    ("/apis/security-profiles-operator.x-k8s.io/v1beta1/namespaces/default/seccompprofiles", PROFILE),
]
JUNK: list[Any] = [
    None, 0, -1, 1.5, 2**63, "", "x", "a b", "\0", "é", "2026-01-01T00:00:00Z", True, [], {}, [None], [1],
    ["x"],
    {"a": 1}, {"": ""}, {"a": None}, [[]], [{}],
]  # fmt: skip
JUNK_NAMES = ["$patch", "$retainKeys", "zz", "name", "metadata", "kind", "items"]
ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
PATCHES = ["merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml", "json-patch+json"]


def places(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


def spoilt(obj: Obj, chance: random.Random) -> Obj:
    """A copy with one to three parts replaced, removed or added."""
    obj = copy.deepcopy(obj)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        *way, last = chance.choice([path for path in places(obj) if path])
        holder: Any = obj
        for key in way:
            holder = holder[key]
        what = chance.random()
        if what < 0.7:
            holder[last] = copy.deepcopy(chance.choice(JUNK))
        elif what < 0.85 and len(obj) > 1:
            del holder[last]
        elif isinstance(holder, dict):
            holder[chance.choice(JUNK_NAMES)] = copy.deepcopy(chance.choice(JUNK))
    return obj


def operations(obj: Obj, chance: random.Random) -> list[Obj]:
    pointers = ["/" + "/".join(str(key).replace("/", "~1") for key in path) for path in places(obj) if path]
    return [
        {
            "op": chance.choice(["add", "replace", "remove", "test", "move", "copy"]),
            "path": chance.choice(pointers),
            "from": chance.choice(pointers),
            "value": chance.choice(JUNK),
        }
        for _ in range(chance.randint(1, 3))
    ]


def request(chance: random.Random) -> tuple[str, str, str, bytes]:
    """Method, path, content type and body of one hostile write."""
    path, obj = chance.choice(OBJECTS)
    part = chance.choice(["", "", "/status"]) if "status" in obj else ""
    name = f"{path}/{obj['metadata']['name']}{part}"
    method = chance.choice(["POST", "PUT", "PATCH", "PATCH", "DELETE" if chance.random() < 0.2 else "PATCH"])
    if method == "DELETE":
        options = spoilt(
            {"kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": "x"}}, chance
        )
        return method, name, "application/json", json.dumps(options).encode()
    if method != "PATCH":
        body = json.dumps(spoilt(obj, chance)).encode()
        return method, path if method == "POST" else name, "application/json", body
    kind = chance.choice(PATCHES)
    document: Any = operations(obj, chance) if kind == "json-patch+json" else spoilt(obj, chance)
    query = f"?fieldManager=f{chance.randint(0, 2)}&force=true" if kind == "apply-patch+yaml" else ""
    return method, name + query, f"application/{kind}", json.dumps(document).encode()


async def answer(app: App, method: str, path: str, media_type: str, body: bytes) -> tuple[int, bytes]:
    """Send one request to the application, without a network."""
    bare, _, query = path.partition("?")
    headers = [("authorization", f"Bearer {TOKEN}"), ("content-type", media_type)]
    scope = {
        "type": "http",
        "method": method,
        "path": bare,
        "raw_path": bare.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    status = 0
    chunks: list[bytes] = []

    async def receive() -> Obj:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        chunks.append(message.get("body", b""))

    await app(scope, receive, send)
    return status, b"".join(chunks)


@pytest.fixture
async def app() -> AsyncIterator[App]:
    store = Store(":memory:")
    made = create_app(store, CRDS, Authenticator(store, TOKEN, ec.generate_private_key(ec.SECP256R1())))
    async with made.running():
        for _ in range(1000):  # pods are refused until their service account is there
            if (await answer(made, "GET", ACCOUNT, "application/json", b""))[0] == 200:
                break
            await asyncio.sleep(0)
        yield made
    store.close()


@pytest.mark.parametrize("seed", range(4))
async def test_no_body_ends_in_an_internal_error(app: App, seed: int) -> None:
    chance = random.Random(seed)  # deterministic, so that a failure can be repeated
    accepted = 0
    for number in range(150):
        if number % 10 == 0:  # deletions hit home
            for path, obj in OBJECTS:
                await answer(app, "POST", path, "application/json", json.dumps(obj).encode())
        method, path, media_type, body = request(chance)
        status, text = await answer(app, method, path, media_type, body)
        accepted += 200 <= status < 300
        assert b"Internal error occurred" not in text, (method, path, media_type, body, text)
    assert accepted > 10, "the bodies are too broken to reach far"
