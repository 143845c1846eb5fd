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


@pytest.fixture
async def node(tmp_path: Path, busybox_image: str) -> AsyncIterator[Node]:
    """A pod runner that leaves no container behind."""
    made = Node(tmp_path, busybox_image)
    await made.start()
    yield made
    await made.stop()
    await asyncio.to_thread(made.instance.remove_pods, os.environ)
    assert containers_of(made.settings.instance) == []
