"""Waiting for the first lists."""

import pytest

from spo.api.core import PODS
from spo.controller.cache_sync import CacheSyncError, caches_synced
from spo.kube.client import KubeClient
from spo.kube.config import server_config
from spo.kube.informer import Informer


async def test_list_that_never_comes_is_an_error_that_says_what_to_check() -> None:
    async with KubeClient(server_config("http://127.0.0.1:1")) as client:
        with pytest.raises(CacheSyncError, match="is the API server reachable"):
            await caches_synced([Informer(client, PODS)], timeout_s=0.01)
