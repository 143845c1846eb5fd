"""Fixtures of the manager's tests."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.api_server import FakeApiServer
from tests.fakes.profiles_cluster import NODE_COUNT, Cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with FakeApiServer() as server, AsyncExitStack() as clients:
        made = Cluster(server, tmp_path, clients)
        await made.start()

        async def everybody_reports() -> bool:
            return len(await made.listed()) == NODE_COUNT

        await made.until(everybody_reports)
        yield made
        await made.stop()
