"""Definitions of others, in the style of the Prometheus operator."""

from __future__ import annotations

from typing import Any

from tests.fakes.onenode_api import running_api

Obj = dict[str, Any]

GROUP = "monitoring.coreos.com"
INT_OR_STRING = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
ENDPOINT = {
    "type": "object",
    "properties": {
        "port": {"type": "string"},
        "targetPort": INT_OR_STRING,
        "interval": {"type": "string", "pattern": r"^(0|(([0-9]+)y)?(([0-9]+)w)?(([0-9]+)s)?)$"},
        "scheme": {"type": "string", "enum": ["http", "https", "HTTP", "HTTPS"]},
        "tlsConfig": {
            "type": "object",
            "properties": {"insecureSkipVerify": {"type": "boolean"}, "serverName": {"type": "string"}},
        },
        "params": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
            "x-kubernetes-map-type": "atomic",
        },
    },
}
SELECTOR = {
    "type": "object",
    "x-kubernetes-map-type": "atomic",
    "properties": {"matchLabels": {"type": "object", "additionalProperties": {"type": "string"}}},
}
SPEC = {
    "type": "object",
    "required": ["endpoints", "selector"],
    "properties": {
        "endpoints": {"type": "array", "items": ENDPOINT},
        "selector": SELECTOR,
        "namespaceSelector": {"type": "object", "properties": {"any": {"type": "boolean"}}},
    },
}
DEFINITION: Obj = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"servicemonitors.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {
            "kind": "ServiceMonitor",
            "listKind": "ServiceMonitorList",
            "plural": "servicemonitors",
            "singular": "servicemonitor",
            "shortNames": ["smon"],
            "categories": ["prometheus-operator"],
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {"spec": SPEC}}
                },
            }
        ],
    },
}


def monitor(endpoint: Obj) -> Obj:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ServiceMonitor",
        "metadata": {"name": "spod", "labels": {"app": "spod"}},
        "spec": {"endpoints": [endpoint], "selector": {"matchLabels": {"app": "spod"}}},
    }


async def test_monitors_are_stored_and_checked() -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    monitors = f"/apis/{GROUP}/v1/namespaces/default/servicemonitors"
    async with running_api() as api:
        await api.call("POST", crds, DEFINITION, 201)
        endpoint = {"port": "https", "interval": "10s", "scheme": "https", "params": {"a": ["b"]}}
        await api.call("POST", monitors, monitor({**endpoint, "targetPort": 9443}), 201)
        wrong = monitor({**endpoint, "targetPort": True, "interval": "soon"})
        answer = await api.call("POST", monitors, wrong, 422)
        assert "spec.endpoints[0].targetPort" in answer["message"]
        assert "spec.endpoints[0].interval" in answer["message"]
        apply = {"Content-Type": "application/apply-patch+yaml"}
        applied = monitor({**endpoint, "targetPort": "metrics"})
        body = await api.call("PATCH", f"{monitors}/spod?fieldManager=m&force=true", applied, **apply)
        assert body["spec"]["endpoints"][0]["targetPort"] == "metrics"
