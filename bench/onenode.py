"""How fast onenode creates, lists and tells its watchers: the server alone, over HTTPS."""

import asyncio
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.results import table, write_section  # noqa: E402

from tools.devcluster import DevCluster, free_port  # noqa: E402

MAPS = "/api/v1/namespaces/bench/configmaps"
CREATED, LISTED, WATCHERS, TOLD, AT_ONCE = 1000, 5000, 50, 100, 8
LISTS = 7
PROMISED_CREATE_S, PROMISED_LIST_S = 5.0, 0.5


def config_map(number: int) -> dict[str, Any]:
    """An object of a usual size."""
    return {"metadata": {"name": f"m{number}", "labels": {"app": "bench"}}, "data": {"text": "x" * 300}}


@asynccontextmanager
async def client_of(cluster: DevCluster) -> AsyncIterator[httpx2.AsyncClient]:
    """The administrator, by the kubeconfig."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    token = config["users"][0]["user"]["token"]
    trust = ssl.create_default_context(cafile=str(cluster.state / "pki/ca.crt"))
    limits = httpx2.Limits(max_connections=WATCHERS + AT_ONCE)
    async with httpx2.AsyncClient(
        base_url=config["clusters"][0]["cluster"]["server"],
        headers={"Authorization": f"Bearer {token}"},
        verify=trust,
        limits=limits,
        timeout=60,
    ) as client:
        yield client


async def create(client: httpx2.AsyncClient, numbers: range) -> float:
    """Seconds that it takes to create these, some at a time."""
    waiting = iter(numbers)

    async def worker() -> None:
        for number in waiting:
            (await client.post(MAPS, json=config_map(number))).raise_for_status()

    begin = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return time.perf_counter() - begin


async def list_all(client: httpx2.AsyncClient) -> float:
    """Seconds for one list of everything, received to its end."""
    begin = time.perf_counter()
    answer = await client.get(MAPS)
    took = time.perf_counter() - begin
    assert len(answer.json()["items"]) == LISTED
    return took


async def fan_out(client: httpx2.AsyncClient) -> float:
    """Seconds from the first change until every watcher has heard of the last one."""
    version = (await client.get(MAPS, params={"limit": 1})).json()["metadata"]["resourceVersion"]
    watching = asyncio.Barrier(WATCHERS + 1)

    async def watch() -> None:
        params = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "60"}
        async with client.stream("GET", MAPS, params=params) as answer:
            await watching.wait()
            heard = 0
            async for line in answer.aiter_lines():
                heard += bool(line)
                if heard == TOLD:
                    return

    async with asyncio.TaskGroup() as group:
        for _ in range(WATCHERS):
            group.create_task(watch())
        await watching.wait()
        begin = time.perf_counter()
        await create(client, range(LISTED, LISTED + TOLD))
    return time.perf_counter() - begin


async def measure(cluster: DevCluster) -> list[tuple[str, ...]]:
    """All rows of the table."""
    async with client_of(cluster) as client:
        made = await client.post("/api/v1/namespaces", json={"metadata": {"name": "bench"}})
        made.raise_for_status()
        created = await create(client, range(CREATED))
        await create(client, range(CREATED, LISTED - 1))
        lists = [await list_all(client) for _ in range(LISTS)]
        told = await fan_out(client)
    promise = f"<= {PROMISED_CREATE_S * 1000:.0f}", f"<= {PROMISED_LIST_S * 1000:.0f}"
    return [
        (f"{CREATED} objects created, {AT_ONCE} at a time", f"{created * 1000:.0f}", "", promise[0]),
        (
            f"list of {LISTED} objects",
            f"{statistics.median(lists) * 1000:.0f}",
            f"{max(lists) * 1000:.0f}",
            promise[1],
        ),
        (f"{TOLD} changes told to {WATCHERS} watchers", f"{told * 1000:.0f}", "", "-"),
    ]


def main() -> None:
    """Start a server, measure, write the section."""
    with tempfile.TemporaryDirectory(prefix="spo-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        (folder / "node").mkdir()
        cluster = DevCluster(
            state=folder / "state", node_root=folder / "node", port=free_port(), node_name="bench-node"
        )
        try:
            cluster.start_api()
            rows = asyncio.run(measure(cluster))
        finally:
            cluster.onenode("down", f"--state={cluster.state}", "--purge")
    shown = table(("what", "ms", "worst ms", "promise, ms"), rows)
    print(shown)
    write_section("onenode (bench/onenode.py)", shown)


if __name__ == "__main__":
    main()
