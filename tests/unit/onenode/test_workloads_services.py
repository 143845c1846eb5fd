"""Endpoints of a Service, and Services as they are stored."""

from typing import Any

import pytest

from onenode.workloads.services import default_service, prepare_service, subsets_of, validate_service
from tests.fakes.onenode_api import running_api

SERVICES = "/api/v1/namespaces/default/services"
ENDPOINTS = "/api/v1/namespaces/default/endpoints/web"


def service(**spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec},
    }


def pod(name: str, *, ready: bool, ip: str = "10.0.0.1", ports: list[Any] | None = None) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"nodeName": "n", "containers": [{"ports": ports or []}]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [condition]},
    }


def test_ready_pods_and_others_are_listed_apart() -> None:
    made = service()
    default_service(made)
    (subset,) = subsets_of(made, [pod("a", ready=True), pod("b", ready=False), pod("c", ready=True, ip="")])
    assert [one["targetRef"]["name"] for one in subset["addresses"]] == ["a"]
    assert [one["targetRef"]["name"] for one in subset["notReadyAddresses"]] == ["b"]
    assert subset["ports"] == [{"port": 80, "protocol": "TCP"}]


def test_named_port_is_the_number_of_the_pod() -> None:
    made = service(ports=[{"port": 80, "targetPort": "http"}])
    default_service(made)
    container_port = {"name": "http", "containerPort": 8080, "protocol": "TCP"}
    (subset,) = subsets_of(made, [pod("a", ready=True, ports=[container_port])])
    assert subset["ports"] == [{"port": 8080, "protocol": "TCP"}]


def test_headless_service_has_no_address() -> None:
    made = service(clusterIP="None")
    default_service(made)
    prepare_service(made)
    assert (made["spec"]["clusterIP"], made["spec"]["clusterIPs"]) == ("None", ["None"])


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"type": "LoadBalancer"}, "spec.type"),
        ({"ports": []}, "spec.ports"),
        ({"ports": [{"port": 70000}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 1}, {"port": 2, "name": "b"}]}, "spec.ports[0].name"),
    ],
)
def test_refused_services(spec: dict[str, Any], field: str) -> None:
    made = service(**spec)
    default_service(made)
    assert [cause.field for cause in validate_service(made, None)] == [field]


async def test_endpoints_come_and_go_with_the_service() -> None:
    async with running_api() as api:
        made = await api.call("POST", SERVICES, service(), 201)
        assert made["spec"]["clusterIP"].startswith("10.")
        assert "subsets" not in await api.call("GET", ENDPOINTS)
        container = {"name": "c", "image": "i"}
        body = {"metadata": {"name": "p", "labels": {"app": "web"}}, "spec": {"containers": [container]}}
        await api.call("POST", "/api/v1/namespaces/default/pods", body, 201)
        status = {"podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]}
        await api.merge("/api/v1/namespaces/default/pods/p/status", {"status": status})
        (subset,) = (await api.call("GET", ENDPOINTS))["subsets"]
        assert subset["addresses"][0]["ip"] == "10.0.0.7"
        await api.merge(f"{SERVICES}/web", {"metadata": {"labels": {"a": "b"}}})
        await api.call("DELETE", f"{SERVICES}/web")
        await api.call("GET", ENDPOINTS, status=404)
