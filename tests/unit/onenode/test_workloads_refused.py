"""Pods that are refused."""

from typing import Any

from tests.fakes.onenode_api import Api, running_api

NAMESPACE = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"


def deployment(account: str) -> dict[str, Any]:
    spec = {"serviceAccountName": account, "containers": [{"name": "c", "image": "i"}]}
    template = {"metadata": {"labels": {"app": "a"}}, "spec": spec}
    return {
        "metadata": {"name": "a"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template},
    }


async def condition(api: Api, kind: str) -> dict[str, Any] | None:
    status = (await api.call("GET", f"{APPS}/deployments/a"))["status"]
    return next((one for one in status["conditions"] if one["type"] == kind), None)


async def test_refused_pod_is_told_once_and_made_when_it_can_be() -> None:
    async with running_api() as api:
        body = {"apiVersion": "apps/v1", "kind": "Deployment", **deployment("late")}
        await api.call("POST", f"{APPS}/deployments", body, 201)
        failure = await condition(api, "ReplicaFailure")
        assert failure is not None
        assert 'serviceaccount "late" not found' in failure["message"]
        revision = api.store.revision
        await api.call("GET", f"{APPS}/deployments/a")
        assert api.store.revision == revision, "the controllers go on writing"

        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "late"}}
        await api.call("POST", f"{NAMESPACE}/serviceaccounts", account, 201)
        assert len((await api.call("GET", f"{NAMESPACE}/pods"))["items"]) == 1
        assert await condition(api, "ReplicaFailure") is None
