"""Secrets with tokens of accounts, as Prometheus uses them."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.onenode_api import Api, running_api

SECRETS = "/api/v1/namespaces/default/secrets"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_api() as running:
        yield running


def a_secret(account: str = "default", name: str = "metrics-token") -> dict[str, Any]:
    annotations = {"kubernetes.io/service-account.name": account}
    return {
        "metadata": {"name": name, "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
    }


async def made(api: Api, **options: str) -> dict[str, str]:
    """A Secret's contents, once it is filled."""
    await api.call("POST", SECRETS, a_secret(**options), 201)
    secret = await api.call("GET", f"{SECRETS}/{options.get('name', 'metrics-token')}")
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


async def reviewed(api: Api, token: str, **spec: Any) -> dict[str, Any]:
    review = await api.call("POST", REVIEWS, {"spec": {"token": token, **spec}}, 201)
    status: dict[str, Any] = review["status"]
    return status


async def test_secret_is_filled(api: Api) -> None:
    data = await made(api)
    account = await api.call("GET", f"{ACCOUNTS}/default")
    secret = await api.call("GET", f"{SECRETS}/metrics-token")
    assert (data["namespace"], data["ca.crt"]) == ("default", "CA")
    uid = secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"]
    assert uid == account["metadata"]["uid"]


async def test_its_token_names_the_account_and_has_no_end(api: Api) -> None:
    data = await made(api)
    api.tick(10 * 365 * 86400)
    status = await reviewed(api, data["token"])
    assert status["authenticated"] is True
    assert status["user"]["username"] == "system:serviceaccount:default:default"
    assert "system:serviceaccounts:default" in status["user"]["groups"]


async def test_its_token_is_for_the_api_server_only(api: Api) -> None:
    data = await made(api)
    status = await reviewed(api, data["token"], audiences=["vault"])
    assert not status.get("authenticated")


async def test_token_ends_with_its_secret(api: Api) -> None:
    token = (await made(api))["token"]
    await api.call("DELETE", f"{SECRETS}/metrics-token")
    assert not (await reviewed(api, token)).get("authenticated")
    assert (await made(api))["token"] != token
    assert not (await reviewed(api, token)).get("authenticated")


async def test_emptied_secret_gets_another_token_and_the_old_one_ends(api: Api) -> None:
    token = (await made(api))["token"]
    await api.merge(f"{SECRETS}/metrics-token", {"data": {"token": None}})
    secret = await api.call("GET", f"{SECRETS}/metrics-token")
    new = base64.b64decode(secret["data"]["token"]).decode()
    assert new != token
    assert (await reviewed(api, new))["authenticated"] is True
    assert not (await reviewed(api, token)).get("authenticated")


async def test_secret_goes_with_its_account(api: Api) -> None:
    await api.call("POST", ACCOUNTS, {"metadata": {"name": "reader"}}, 201)
    token = (await made(api, account="reader"))["token"]
    await api.call("DELETE", f"{ACCOUNTS}/reader")
    await api.call("GET", f"{SECRETS}/metrics-token", status=404)
    assert not (await reviewed(api, token)).get("authenticated")


async def test_secret_of_nobody_goes(api: Api) -> None:
    await api.call("POST", SECRETS, a_secret(account="nobody"), 201)
    await api.call("GET", f"{SECRETS}/metrics-token", status=404)


async def test_secret_must_name_its_account(api: Api) -> None:
    body = {"metadata": {"name": "x"}, "type": "kubernetes.io/service-account-token"}
    refused = await api.call("POST", SECRETS, body, 422)
    assert "metadata.annotations[kubernetes.io/service-account.name]: Required value" in refused["message"]


async def test_other_secrets_are_left_alone(api: Api) -> None:
    body = {**a_secret(), "type": "Opaque"}
    await api.call("POST", SECRETS, body, 201)
    assert "data" not in await api.call("GET", f"{SECRETS}/metrics-token")
