"""What contract tests with real containers share."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.images import import_busybox, remove_image
from tests.fakes.pod_node import Node, containers_of


@pytest.fixture(scope="session")
def busybox_image() -> Iterator[str]:
    """An image with a shell, made for this run."""
    tag = f"localhost/onenode-test-{secrets.token_hex(4)}:1"
    import_busybox(tag)
    yield tag
    remove_image(tag)


@pytest.fixture(scope="session")
def podman_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment for Podman commands: a runtime and limits that work on every machine."""
    path = tmp_path_factory.mktemp("podman") / "containers.conf"
    ulimits = '["nofile=1024:1024", "nproc=4096:4096"]'
    path.write_text(f'[containers]\ndefault_ulimits = {ulimits}\n[engine]\nruntime = "runc"\n')
    return {**os.environ, "CONTAINERS_CONF": str(path)}


@pytest.fixture
async def node(tmp_path: Path, busybox_image: str) -> AsyncIterator[Node]:
    """A pod runner that leaves no container behind."""
    made = Node(tmp_path, busybox_image)
    await made.start()
    yield made
    await made.stop()
    await asyncio.to_thread(made.instance.remove_pods, os.environ)
    assert containers_of(made.settings.instance) == []
