"""Admission webhooks under faults, against a real HTTPS server; what the recorded scenarios do not show."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.onenode_api import Api, running_api
from tests.fakes.webhook_configuration import (
    GROUP,
    MERGE,
    MUTATING,
    POD,
    PODS,
    configure,
    create,
    rule,
    webhook,
)
from tests.fakes.webhook_server import (
    Call,
    Reply,
    WebhookServer,
    allow,
    deny,
    patch,
    review_of,
    webhook_server,
)

Obj = dict[str, Any]


@pytest.fixture
async def hook(tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(tmp_path, names=("h.default.svc",)) as server:
        yield server


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_api() as running:
        yield running


# Faults


async def raw(body: bytes | Obj, **more: Any) -> Any:
    async def handler(call: Call) -> Reply:
        return Reply(body, **more)

    return handler


FAULTS = {
    "html": (
        b"<html>",
        {"content_type": "text/html"},
        "invalid character '<' looking for beginning of value",
    ),
    "empty": (b"", {}, "unexpected end of JSON input"),
    "half": (b'{"kind": "AdmissionRev', {}, "unexpected end of JSON input"),
    "list": (b"[]", {}, "json: cannot unmarshal array into Go value of type struct"),
    "null": (b"null", {}, "Object 'Kind' is missing"),
    "other kind": (
        b'{"kind": "Pod", "apiVersion": "v1"}',
        {},
        'no kind "Pod" is registered for version "v1"',
    ),
    "no response": (
        b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}',
        {},
        "webhook response was absent",
    ),
    "not found": (b"nothing here", {"status": 404}, "the server could not find the requested resource"),
    "overloaded": (b"busy", {"status": 503}, "the server is currently unable to handle the request"),
    "broken": (
        b"went wrong",
        {"status": 500, "content_type": "text/plain"},
        'an error on the server ("went wrong") has prevented the request from succeeding',
    ),
    "teapot": (b"", {"status": 418}, "the server responded with the status code 418"),
    "moved": (b"", {"status": 302}, "the server responded with the status code 302"),
    "huge": (b" " * (3 * 1024 * 1024 + 1), {}, "the answer is larger than"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_unusable_answer_refuses_or_lets_through(fault: str, api: Api, hook: WebhookServer) -> None:
    body, more, wanted = FAULTS[fault]
    hook.handler = await raw(body, **more)
    await configure(api, webhook(hook))
    answer = await create(api)
    assert answer.status_code == 500
    message = answer.json()["message"]
    assert message.startswith('Internal error occurred: failed calling webhook "w.example.com": ')
    assert wanted in message

    ignoring = {"webhooks": [webhook(hook, failurePolicy="Ignore")]}
    await api.merge(f"{MUTATING}/w", ignoring)
    assert (await create(api)).status_code == 201


RESPONSES: dict[str, tuple[Obj, str]] = {
    "wrong uid": ({"uid": "x"}, "expected response.uid="),
    "patch type without patch": (
        {"patchType": "JSONPatch"},
        "webhook returned response.patchType but not response.patch",
    ),
    "unknown patch type": ({"patchType": "Magic", "patch": "W10="}, 'unsupported patch type "Magic"'),
    "patch is no base64": ({"patchType": "JSONPatch", "patch": "%"}, "illegal base64 data"),
    "patch is an object": ({"patchType": "JSONPatch", "patch": "e30="}, "cannot unmarshal object"),
    "allowed is a text": ({"allowed": "yes"}, "response.allowed is not a boolean"),
}


@pytest.mark.parametrize("case", RESPONSES)
async def test_odd_response_is_named(case: str, api: Api, hook: WebhookServer) -> None:
    response, wanted = RESPONSES[case]

    async def handler(call: Call) -> Reply:
        return Reply(review_of(**{"uid": call.uid, "allowed": True, **response}))

    hook.handler = handler
    await configure(api, webhook(hook))
    answer = await create(api)
    assert answer.status_code == 500
    assert wanted in answer.json()["message"]


async def test_connection_that_ends_without_an_answer_is_eof(api: Api, hook: WebhookServer) -> None:
    async def hang_up(call: Call) -> None:
        return None

    hook.handler = hang_up
    await configure(api, webhook(hook))
    assert (await create(api)).json()["message"].endswith('?timeout=1s": EOF')


async def test_server_without_tls_is_named(api: Api, tmp_path: Path) -> None:
    async with webhook_server(tmp_path, plain=True) as plain:
        await configure(api, webhook(plain))
        message = (await create(api)).json()["message"]
    assert message.endswith("http: server gave HTTP response to HTTPS client")


async def test_bundle_that_is_no_certificate_is_named(api: Api, hook: WebhookServer) -> None:
    config = {**hook.client_config(), "caBundle": base64.b64encode(b"nothing").decode()}
    await configure(api, webhook(hook, clientConfig=config))
    assert "unable to load root certificates" in (await create(api)).json()["message"]


async def test_certificate_for_another_name_is_refused(api: Api, hook: WebhookServer) -> None:
    await serve_by_service(api, hook.port, name="other")
    config = {"service": {"namespace": "default", "name": "other"}, "caBundle": hook.ca_bundle}
    await configure(api, webhook(hook, clientConfig=config))
    message = (await create(api)).json()["message"]
    assert "tls: failed to verify certificate: x509:" in message
    assert "other.default.svc" in message


async def test_closed_idle_connection_is_replaced(api: Api, hook: WebhookServer) -> None:
    async def once(call: Call) -> Reply:
        return Reply(review_of(call.uid, allowed=True), close=True)

    hook.handler = once
    await configure(api, webhook(hook))
    for number in range(3):
        body = {**POD, "metadata": {"name": f"p{number}"}}
        assert (await create(api, body)).status_code == 201


async def test_connection_stays_open_and_a_new_bundle_gets_a_new_one(api: Api, hook: WebhookServer) -> None:
    await configure(api, webhook(hook))
    for number in range(3):
        await create(api, {**POD, "metadata": {"name": f"p{number}"}})
    assert hook.connections == 1
    both = base64.b64encode(base64.b64decode(hook.ca_bundle) * 2).decode()
    config = {**hook.client_config(), "caBundle": both}
    await api.merge(f"{MUTATING}/w", {"webhooks": [webhook(hook, clientConfig=config)]})
    await create(api)
    assert hook.connections == 2


async def test_slow_webhook_holds_nothing_else_up(api: Api, hook: WebhookServer) -> None:
    released = asyncio.Event()

    async def slow(call: Call) -> Reply:
        await released.wait()
        return Reply(review_of(call.uid, allowed=True))

    hook.handler = slow
    await configure(api, webhook(hook, timeoutSeconds=30))
    waiting = asyncio.create_task(create(api))
    for _ in range(1000):
        if hook.calls:
            break
        await asyncio.sleep(0.001)
    await api.call("GET", PODS)
    await api.call("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}}, 201)
    assert not waiting.done()
    released.set()
    assert (await waiting).status_code == 201


# What is asked


async def test_patch_is_defaulted_and_new_containers_get_the_token(api: Api, hook: WebhookServer) -> None:
    sidecar = {"name": "side", "image": "side:1"}
    hook.handler = patch({"op": "add", "path": "/spec/containers/-", "value": sidecar}, warnings=["added"])
    await configure(api, webhook(hook))
    answer = await create(api)
    assert answer.headers["Warning"] == '299 - "added"'
    first, second = answer.json()["spec"]["containers"]
    assert second["imagePullPolicy"] == "IfNotPresent"
    assert second["volumeMounts"] == first["volumeMounts"]
    assert len(answer.json()["spec"]["volumes"]) == 1


async def test_patch_that_makes_no_pod_is_an_internal_error(api: Api, hook: WebhookServer) -> None:
    hook.handler = patch({"op": "replace", "path": "/spec/containers", "value": "none"})
    await configure(api, webhook(hook))
    answer = await create(api)
    assert (answer.status_code, answer.json()["reason"]) == (500, "InternalError")
    assert "cannot unmarshal string" in answer.json()["message"]


async def test_webhook_is_asked_again_after_a_later_change(api: Api, hook: WebhookServer) -> None:
    async def by_path(call: Call) -> Reply:
        if "second" in call.path:
            operation = {"op": "add", "path": "/metadata/labels", "value": {"second": "yes"}}
            return await patch(operation)(call)
        return await allow(call)

    hook.handler = by_path
    first = webhook(hook, "first.example.com", reinvocationPolicy="IfNeeded")
    await configure(api, first, webhook(hook, "second.example.com"))
    assert (await create(api)).json()["metadata"]["labels"] == {"second": "yes"}
    paths = [call.path.partition("?")[0] for call in hook.calls]
    assert paths == ["/first.example.com", "/second.example.com", "/first.example.com"]
    assert hook.calls[-1].request["object"]["metadata"]["labels"] == {"second": "yes"}


async def test_validating_webhook_sees_the_final_object_and_may_not_patch(
    api: Api, hook: WebhookServer
) -> None:
    async def by_path(call: Call) -> Reply:
        operation = {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}
        return await (patch(operation) if "mutate" in call.path else allow)(call)

    hook.handler = by_path
    await configure(api, webhook(hook, "mutate.example.com"))
    await configure(api, webhook(hook, "validate.example.com"), kind="Validating")
    body = {**POD, "metadata": {"generateName": "p-"}}
    name = (await create(api, body)).json()["metadata"]["name"]
    assert hook.calls[1].request["object"]["metadata"]["labels"] == {"a": "b"}
    assert hook.calls[0].request.get("name") is None
    assert hook.calls[1].request["name"] == name

    hook.handler = patch({"op": "remove", "path": "/metadata/labels"})
    await api.call("DELETE", f"{MUTATING}/w")
    assert "validating webhook may not return response.patch" in (await create(api)).json()["message"]


async def test_denied_deletion_and_update_change_nothing(api: Api, hook: WebhookServer) -> None:
    await create(api)
    hook.handler = deny(message="keep it", code=403, reason="Forbidden")
    await configure(api, webhook(hook), kind="Validating")
    for answer in (
        await api.client.delete(f"{PODS}/p"),
        await api.client.delete(PODS),
        await api.client.patch(f"{PODS}/p", content=b'{"metadata":{"labels":{"a":"b"}}}', headers=MERGE),
    ):
        assert answer.status_code == 403
        assert answer.json()["message"] == 'admission webhook "w.example.com" denied the request: keep it'
    assert "labels" not in (await api.call("GET", f"{PODS}/p"))["metadata"]


async def test_dry_run_is_told(api: Api, hook: WebhookServer) -> None:
    await configure(api, webhook(hook))
    await create(api, path=f"{PODS}?dryRun=All")
    assert hook.calls[0].request["dryRun"] is True
    await api.call("GET", f"{PODS}/p", status=404)


async def test_subresources_need_their_own_rule(api: Api, hook: WebhookServer) -> None:
    await create(api)
    await configure(api, webhook(hook, rules=[rule("pods")]))
    status = {"status": {"message": "m"}}
    await api.merge(f"{PODS}/p/status", status)
    assert not hook.calls
    await api.merge(f"{MUTATING}/w", {"webhooks": [webhook(hook, rules=[rule("pods/status")])]})
    await api.merge(f"{PODS}/p/status", {"status": {"message": "n"}})
    (call,) = hook.calls
    assert (call.request["subResource"], call.request["requestSubResource"]) == ("status", "status")
    assert call.request["oldObject"]["status"]["message"] == "m"


async def test_configurations_are_not_sent_to_webhooks(api: Api, hook: WebhookServer) -> None:
    hook.handler = deny()
    everything = {**rule("*/*"), "apiGroups": ["*"]}
    await configure(api, webhook(hook, rules=[everything]))
    await configure(api, webhook(hook, rules=[everything]), kind="Validating")
    for kind in ("mutating", "validating"):
        await api.call("DELETE", f"{GROUP}/{kind}webhookconfigurations/w")
    assert not hook.calls


async def test_namespace_is_selected_by_its_own_labels(api: Api, hook: WebhookServer) -> None:
    selector = {"matchLabels": {"watched": "yes"}}
    await configure(api, webhook(hook, rules=[rule("namespaces")], namespaceSelector=selector))
    for name, labels in (("a", {}), ("b", {"watched": "yes"})):
        await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}}, 201)
    (call,) = hook.calls
    assert call.request["name"] == "b"
    assert "namespace" not in call.request


async def test_equivalent_version_is_converted(api: Api, hook: WebhookServer) -> None:
    core = {**rule("events"), "apiVersions": ["v1"]}
    await configure(api, webhook(hook, rules=[core]))
    event = {
        "metadata": {"name": "e"},
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "eventTime": "2026-01-02T03:04:05.000000Z",
        "action": "a",
        "reason": "r",
        "type": "Normal",
        "reportingController": "c",
        "reportingInstance": "i",
    }
    await api.call("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event, 201)
    (call,) = hook.calls
    assert call.request["object"]["apiVersion"] == "v1"
    assert call.request["object"]["involvedObject"]["name"] == "p"
    assert call.request["requestKind"]["group"] == "events.k8s.io"
    assert call.request["kind"]["group"] == ""

    exact = webhook(hook, rules=[core], matchPolicy="Exact")
    await api.merge(f"{MUTATING}/w", {"webhooks": [exact]})
    body = {**event, "metadata": {"name": "f"}}
    await api.call("POST", "/apis/events.k8s.io/v1/namespaces/default/events", body, 201)
    assert len(hook.calls) == 1


# Where it is


async def serve_by_service(api: Api, port: int, name: str = "h") -> None:
    base = "/api/v1/namespaces/default"
    spec = {"ports": [{"port": 443, "targetPort": port}]}
    await api.call("POST", f"{base}/services", {"metadata": {"name": name}, "spec": spec}, 201)
    subsets = [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": port}]}]
    await api.call("POST", f"{base}/endpoints", {"metadata": {"name": name}, "subsets": subsets}, 201)


async def test_service_leads_to_its_endpoint(api: Api, hook: WebhookServer) -> None:
    await serve_by_service(api, hook.port)
    config = {"service": {"namespace": "default", "name": "h", "path": "/m"}, "caBundle": hook.ca_bundle}
    await configure(api, webhook(hook, clientConfig=config))
    assert (await create(api)).status_code == 201
    (call,) = hook.calls
    assert (call.path, call.headers["host"]) == ("/m?timeout=1s", "h.default.svc")


async def test_service_without_endpoints_and_port_is_named(api: Api, hook: WebhookServer) -> None:
    base = "/api/v1/namespaces/default/services"
    spec = {"ports": [{"port": 443}], "selector": {"a": "b"}}
    await api.call("POST", base, {"metadata": {"name": "h"}, "spec": spec}, 201)
    config = {"service": {"namespace": "default", "name": "h"}, "caBundle": hook.ca_bundle}
    await configure(api, webhook(hook, clientConfig=config))
    assert 'no endpoints available for service "h"' in (await create(api)).json()["message"]
    config["service"] = {"namespace": "default", "name": "h", "port": 8443}
    await api.merge(f"{MUTATING}/w", {"webhooks": [webhook(hook, clientConfig=config)]})
    assert 'no service port 8443 found for service "h"' in (await create(api)).json()["message"]


async def test_patches_at_the_same_time_are_all_kept(api: Api, hook: WebhookServer) -> None:
    await create(api)
    await configure(api, webhook(hook))
    patches = [json.dumps({"metadata": {"labels": {f"l{n}": "x"}}}).encode() for n in range(4)]
    answers = await asyncio.gather(
        *(api.client.patch(f"{PODS}/p", content=body, headers=MERGE) for body in patches)
    )
    assert [answer.status_code for answer in answers] == [200] * 4
    labels = (await api.call("GET", f"{PODS}/p"))["metadata"]["labels"]
    assert sorted(labels) == ["l0", "l1", "l2", "l3"]


async def test_namespace_that_goes_meanwhile_gets_no_pod(api: Api, hook: WebhookServer) -> None:
    await api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "going"}}, 201)

    async def handler(call: Call) -> Reply:
        await api.call("DELETE", "/api/v1/namespaces/going")
        return Reply(review_of(call.uid, allowed=True))

    hook.handler = handler
    await configure(api, webhook(hook))
    answer = await create(api, path="/api/v1/namespaces/going/pods")
    assert answer.status_code in (403, 404)


async def test_ephemeral_containers_are_an_update_of_their_subresource(api: Api, hook: WebhookServer) -> None:
    await create(api)
    field = "/spec/ephemeralContainers/0/env"
    hook.handler = patch({"op": "add", "path": field, "value": [{"name": "A", "value": "b"}]})
    await configure(api, webhook(hook, rules=[rule("pods/ephemeralcontainers", operations=("UPDATE",))]))
    body = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "i"}]}}
    headers = {"Content-Type": "application/strategic-merge-patch+json"}
    pod = await api.call("PATCH", f"{PODS}/p/ephemeralcontainers", body, **headers)
    assert pod["spec"]["ephemeralContainers"][0]["env"] == [{"name": "A", "value": "b"}]
    (call,) = hook.calls
    assert call.request["subResource"] == "ephemeralcontainers"
    assert "ephemeralContainers" not in call.request["oldObject"]["spec"]
