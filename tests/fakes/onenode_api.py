"""A whole onenode API in this process, without sockets and pods."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec

from onenode.app import App, create_app
from onenode.auth import Authenticator
from onenode.store import Store

__all__ = ["Api", "running_api"]

Obj = dict[str, Any]
_KEY = ec.generate_private_key(ec.SECP256R1())


class Api:
    """Client of the API; every answer is checked against the expected status."""

    def __init__(self, app: App, client: httpx2.AsyncClient) -> None:
        self.app = app
        self.store = app.context.store
        self.client = client
        self.now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def tick(self, seconds: float) -> None:
        """Move the server's clock."""
        self.now += timedelta(seconds=seconds)

    async def call(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Obj:
        """One request; the JSON of its answer."""
        answer = await self.client.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        found: Obj = answer.json()
        return found

    async def merge(self, path: str, body: Obj, status: int = 200) -> Obj:
        """A merge patch."""
        kind = {"Content-Type": "application/merge-patch+json"}
        return await self.call("PATCH", path, body, status, **kind)


@asynccontextmanager
async def running_api(database: Path | str = ":memory:") -> AsyncIterator[Api]:
    """An API with its controllers at work; empty unless the database holds something."""
    api: Api | None = None
    store = Store(database, lambda: api.now if api else datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    app = create_app(store, None, Authenticator(store, "secret", _KEY), ca_text="CA")
    transport = httpx2.ASGITransport(app=app)
    headers = {"Authorization": "Bearer secret", "User-Agent": "test/1"}
    async with (
        app.running(),
        httpx2.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client,
    ):
        api = Api(app, client)
        yield api
    store.close()
