"""The API over HTTP: what the recorded scenarios do not cover."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.onenode_api import Api, running_api

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_api() as running:
        yield running


def a_pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "busybox"}], **spec}}


def a_node(name: str = "node-1", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": spec}


def a_definition(plural: str, kind: str, **version: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}},
    }
    return {
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    **version,
                }
            ],
        },
    }


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_health_needs_no_token(api: Api, path: str) -> None:
    answer = await api.client.get(path, headers={"Authorization": ""})
    assert (answer.status_code, answer.text) == (200, "ok")


@pytest.mark.parametrize("path", ["/", "/version", "/api", "/apis", MAPS, "/openapi/v3", "/nosuch"])
async def test_everything_else_needs_one(api: Api, path: str) -> None:
    answer = await api.client.get(path, headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")


async def test_initial_namespaces_have_account_and_ca(api: Api) -> None:
    for namespace in ("default", "kube-system", "kube-public", "kube-node-lease"):
        await api.call("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        ca = await api.call("GET", f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")
        assert ca["data"] == {"ca.crt": "CA"}


async def test_lost_ca_comes_back(api: Api) -> None:
    await api.call("DELETE", f"{MAPS}/kube-root-ca.crt")
    await api.call("GET", f"{MAPS}/kube-root-ca.crt")


@pytest.mark.parametrize(
    "path",
    ["/apis/apps/v1/namespaces/default/statefulsets", "/apis/networking.k8s.io/v1/ingresses"],
)
async def test_what_is_not_served_is_not_found(api: Api, path: str) -> None:
    assert (await api.client.get(path)).status_code == 404


async def test_streams_into_pods_are_refused_honestly(api: Api) -> None:
    await api.call("POST", PODS, a_pod(), 201)
    refused = await api.call("POST", f"{PODS}/p/exec?command=ls", status=501)
    assert refused["reason"] == "NotImplemented"


async def test_hostile_field_name_cannot_end_the_warning_header(api: Api) -> None:
    body = {"metadata": {"name": "x"}, 'evil"\r\nSet-Cookie: a=b': 1}
    answer = await api.client.post(MAPS, json=body)
    assert answer.status_code == 201
    assert "set-cookie" not in answer.headers
    assert "evil" in answer.headers["warning"]


async def test_deep_and_large_bodies_are_refused(api: Api) -> None:
    deep = b'{"metadata":{"name":"x"},"data":' + b'{"a":' * 2000 + b"1" + b"}" * 2001
    answer = await api.client.post(MAPS, content=deep, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    large = await api.client.post(MAPS, content=b"x" * (4 << 20))
    assert large.status_code == 413


@pytest.mark.parametrize(
    "text", ["{}", "[]", "null", "1", '"x"', "", "{", '{"metadata": []}', '{"metadata": {"name": 1}}']
)
async def test_no_body_breaks_the_server(api: Api, text: str) -> None:
    for method, path in (("POST", MAPS), ("PUT", f"{MAPS}/x"), ("POST", CRDS), ("DELETE", f"{MAPS}/x")):
        answer = await api.client.request(
            method, path, content=text, headers={"Content-Type": "application/json"}
        )
        assert 400 <= answer.status_code < 500, (method, path, answer.text)


# Pods


async def test_pod_is_bound_to_the_node(api: Api) -> None:
    await api.call("POST", "/api/v1/nodes", a_node(), 201)
    await api.call("POST", PODS, a_pod(), 201)
    pod = await api.call("GET", f"{PODS}/p")
    assert pod["spec"]["nodeName"] == "node-1"
    assert [(c["type"], c["status"]) for c in pod["status"]["conditions"]] == [("PodScheduled", "True")]


async def test_pod_waits_for_a_node_it_accepts(api: Api) -> None:
    await api.call("POST", "/api/v1/nodes", a_node(taints=[{"key": "k", "effect": "NoSchedule"}]), 201)
    await api.call("POST", PODS, a_pod(), 201)
    (condition,) = (await api.call("GET", f"{PODS}/p"))["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    assert "untolerated taint" in condition["message"]
    await api.merge("/api/v1/nodes/node-1", {"metadata": {"labels": {"no": "news"}}})
    await api.merge("/api/v1/nodes/node-1", {"spec": {"taints": None}})
    assert (await api.call("GET", f"{PODS}/p"))["spec"]["nodeName"] == "node-1"
    events = (await api.call("GET", PODS.replace("pods", "events")))["items"]
    assert sorted((event["reason"], event["involvedObject"]["name"]) for event in events) == [
        ("FailedScheduling", "p"),
        ("Scheduled", "p"),
    ]


async def test_node_selector_and_scheduling_gates_are_respected(api: Api) -> None:
    await api.call("POST", "/api/v1/nodes", a_node(), 201)
    await api.call("POST", PODS, a_pod("selects", nodeSelector={"kubernetes.io/hostname": "other"}), 201)
    await api.call("POST", PODS, a_pod("gated", schedulingGates=[{"name": "g"}]), 201)
    for name in ("selects", "gated"):
        assert "nodeName" not in (await api.call("GET", f"{PODS}/{name}"))["spec"]


async def test_deleted_pod_stays_for_its_grace_until_the_kubelet_ends_it(api: Api) -> None:
    await api.call("POST", PODS, a_pod(nodeName="node-1", terminationGracePeriodSeconds=7), 201)
    deleted = await api.call("DELETE", f"{PODS}/p")
    assert deleted["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:12Z"
    await api.merge(f"{PODS}/p/status", {"status": {"phase": "Running"}})
    await api.call("GET", f"{PODS}/p")
    api.store.delete_now("pods", "default", "p")
    await api.call("GET", f"{PODS}/p", status=404)


async def test_account_can_refuse_the_token_volume(api: Api) -> None:
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    await api.merge(account, {"automountServiceAccountToken": False})
    assert "volumes" not in (await api.call("POST", PODS, a_pod("without"), 201))["spec"]
    pod = await api.call("POST", PODS, a_pod("with", automountServiceAccountToken=True), 201)
    assert len(pod["spec"]["volumes"]) == 1


async def test_profile_path_of_a_pod_cannot_leave_the_root(api: Api) -> None:
    for path in ("/etc/passwd", "../x.json", "a/../../x"):
        context = {"seccompProfile": {"type": "Localhost", "localhostProfile": path}}
        refused = await api.call("POST", PODS, a_pod(securityContext=context), 422)
        assert refused["details"]["causes"][0]["field"].endswith("seccompProfile.localhostProfile")


# Namespaces and garbage


async def test_namespace_takes_its_content_along(api: Api) -> None:
    await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}}, 201)
    await api.call("POST", "/api/v1/namespaces/n/configmaps", {"metadata": {"name": "c"}}, 201)
    await api.call("POST", "/api/v1/namespaces/n/pods", a_pod(nodeName="node-1"), 201)
    await api.call("DELETE", "/api/v1/namespaces/n")
    assert "conditions" not in (await api.call("GET", "/api/v1/namespaces/n"))["status"]
    api.tick(6)
    await api.merge("/api/v1/namespaces/n", {"metadata": {"labels": {"look": "again"}}})
    waiting = await api.call("GET", "/api/v1/namespaces/n")
    remaining = {c["type"]: c["message"] for c in waiting["status"]["conditions"]}
    assert "pods. has 1 resource instances" in remaining["NamespaceContentRemaining"]
    api.store.delete_now("pods", "n", "p")
    await api.merge("/api/v1/namespaces/default", {})  # the controllers have looked when a write is answered
    await api.call("GET", "/api/v1/namespaces/n", status=404)
    assert api.store.records("configmaps", "n") == []


async def test_dependents_of_a_node_go_with_it(api: Api) -> None:
    node = await api.call("POST", "/api/v1/nodes", a_node(), 201)
    owner = {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": node["metadata"]["uid"]}
    for name, owners in (("owned", [owner]), ("free", [])):
        body = {"metadata": {"name": name, "ownerReferences": owners}}
        await api.call("POST", MAPS, body, 201)
    await api.call("DELETE", "/api/v1/nodes/node-1")
    await api.call("GET", f"{MAPS}/owned", status=404)
    await api.call("GET", f"{MAPS}/free")


async def test_owner_of_a_kind_that_is_not_served_protects(api: Api) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "d", "uid": "u"}
    await api.call("POST", MAPS, {"metadata": {"name": "kept", "ownerReferences": [owner]}}, 201)
    await api.call("GET", f"{MAPS}/kept")


# Custom resources


async def test_definition_in_two_versions_serves_both(api: Api) -> None:
    definition = a_definition("things", "Thing")
    definition["spec"]["versions"].append(
        {**definition["spec"]["versions"][0], "name": "v2", "storage": False}
    )
    await api.call("POST", CRDS, definition, 201)
    body = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"a": "x"}}
    await api.call("POST", "/apis/example.com/v1/namespaces/default/things", body, 201)
    seen = await api.call("GET", "/apis/example.com/v2/namespaces/default/things/t")
    assert (seen["apiVersion"], seen["spec"]) == ("example.com/v2", {"a": "x"})
    group = await api.call("GET", "/apis/example.com")
    assert group["preferredVersion"]["version"] == "v2"


async def test_deleted_definition_takes_its_objects_along(api: Api) -> None:
    await api.call("POST", CRDS, a_definition("things", "Thing"), 201)
    path = "/apis/example.com/v1/namespaces/default/things"
    body = {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "t", "finalizers": ["x.com/y"]},
    }
    await api.call("POST", path, body, 201)
    await api.call("DELETE", f"{CRDS}/things.example.com")
    await api.call("GET", f"{CRDS}/things.example.com")
    await api.merge(f"{path}/t", {"metadata": {"finalizers": None}})
    await api.call("GET", f"{CRDS}/things.example.com", status=404)
    assert (await api.client.get(path)).status_code == 404


async def test_discovery_follows_the_definitions(api: Api) -> None:
    accept = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    first = await api.client.get("/apis", headers=accept)
    again = await api.client.get("/apis", headers={**accept, "If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    await api.call("POST", CRDS, a_definition("things", "Thing"), 201)
    changed = await api.client.get("/apis", headers={**accept, "If-None-Match": first.headers["ETag"]})
    assert "example.com" in [item["metadata"]["name"] for item in changed.json()["items"]]


async def test_openapi_index_leads_to_the_documents(api: Api) -> None:
    await api.call("POST", CRDS, a_definition("things", "Thing"), 201)
    index = (await api.client.get("/openapi/v3")).json()["paths"]
    document = (await api.client.get(index["apis/example.com/v1"]["serverRelativeURL"])).json()
    thing = document["components"]["schemas"]["com.example.v1.Thing"]
    assert thing["properties"]["spec"]["properties"] == {"a": {"type": "string"}}
    path = document["paths"]["/apis/example.com/v1/namespaces/{namespace}/things/{name}"]
    assert "fieldValidation" in [parameter["name"] for parameter in path["patch"]["parameters"]]


async def test_openapi_version_two_is_an_empty_document(api: Api) -> None:
    kind = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    answer = await api.client.get("/openapi/v2", headers={"Accept": kind})
    assert answer.content.startswith(b"\n\x032.0")
    assert (await api.client.get("/openapi/v2")).json()["paths"] == {}


async def test_events_go_an_hour_after_their_last_change(api: Api) -> None:
    events = "/api/v1/namespaces/default/events"
    for name in ("old", "repeated"):
        await api.call("POST", events, {"metadata": {"name": name}, "involvedObject": {"kind": "Node"}}, 201)
    api.tick(1800)
    await api.merge(f"{events}/repeated", {"count": 2})
    api.tick(1801)
    await api.call("POST", events, {"metadata": {"name": "new"}, "involvedObject": {"kind": "Node"}}, 201)
    left = await api.call("GET", events)
    assert [item["metadata"]["name"] for item in left["items"]] == ["new", "repeated"]


async def test_restart_serves_what_was_defined(tmp_path: Path) -> None:
    path = "/apis/example.com/v1/namespaces/default/things"
    async with running_api(tmp_path / "db") as api:
        await api.call("POST", CRDS, a_definition("things", "Thing"), 201)
        body = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}}
        before = await api.call("POST", path, body, 201)
        revision = api.store.revision
    async with running_api(tmp_path / "db") as api:
        assert await api.call("GET", f"{path}/t") == before
        assert api.store.revision == revision


# Speed that others rely on


async def test_list_of_many_objects_is_not_decoded(api: Api) -> None:
    await api.call("POST", CRDS, a_definition("things", "Thing"), 201)
    for index in range(20):
        api.store.create("things.example.com", {"metadata": {"name": f"t{index}", "namespace": "default"}})
    await api.call("GET", "/apis/example.com/v1/namespaces/default/things")
    assert all("view" not in vars(record) for record in api.store.records("things.example.com"))


async def test_unknown_error_is_a_status(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> None:
        raise RuntimeError("broken disk")

    monkeypatch.setattr(api.store, "records", broken)
    answer: httpx2.Response = await api.client.get(MAPS)
    assert (answer.status_code, answer.json()["reason"]) == (500, "InternalError")
