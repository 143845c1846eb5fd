"""Daemons and a manager together, against a small API server on a socket and real directories."""

import asyncio
import json
import stat
from typing import Any

import pytest

from spo.api.core import PODS
from spo.api.node_status import PROFILE_NODE_STATUSES
from spo.api.seccomp_profile import SECCOMP_PROFILES
from spo.api.spod import SPODS
from tests.fakes.profiles_cluster import (
    NODE_COUNT,
    NS,
    OPERATOR,
    Cluster,
    failed_everywhere,
    gone,
    installed,
    is_object_write,
    terminating,
)

STRICT = {"strictSyscalls": True}


async def test_new_profile_reaches_all_nodes_within_its_budget_of_writes(cluster: Cluster) -> None:
    before = cluster.object_writes()
    await cluster.add_profile("web")
    await cluster.wait_for("web", installed)

    writes = cluster.object_writes() - before - 1  # ours
    assert writes <= 2 * NODE_COUNT + 3
    for node in cluster.nodes:
        assert json.loads(cluster.file(node, "web").read_text()) == {"defaultAction": "SCMP_ACT_ERRNO"}
    assert await cluster.listed() == {
        node: {f"SeccompProfile/{NS}/web": "Installed"} for node in cluster.nodes
    }


async def test_changed_profile_costs_a_write_per_node_and_three(cluster: Cluster) -> None:
    await cluster.add_profile("web")
    await cluster.wait_for("web", installed)
    before = cluster.object_writes()
    await cluster.client.patch(SECCOMP_PROFILES, "web", NS, {"spec": {"defaultAction": "SCMP_ACT_LOG"}})
    await cluster.wait_for(
        "web", lambda one: installed(one) and bool(one and one.status and one.status.observed_generation == 2)
    )
    assert cluster.object_writes() - before - 1 <= NODE_COUNT + 3
    assert "SCMP_ACT_LOG" in cluster.file("node-0", "web").read_text()


async def test_deleted_profile_leaves_nothing(cluster: Cluster) -> None:
    await cluster.add_profile("web")
    await cluster.wait_for("web", installed)
    await cluster.client.delete(SECCOMP_PROFILES, "web", NS)
    await cluster.wait_for("web", gone)
    assert not any(cluster.file(node, "web").exists() for node in cluster.nodes)
    assert await cluster.listed() == {node: {} for node in cluster.nodes}


async def test_profile_in_use_goes_with_its_last_pod(cluster: Cluster) -> None:
    await cluster.add_profile("web")
    await cluster.wait_for("web", installed)
    await cluster.add_pod("user", NS, "node-1", path=f"operator/{NS}/web.json")
    await cluster.wait_for(
        "web", lambda one: bool(one and "in-use-by-active-pods" in one.metadata.finalizers)
    )

    await cluster.client.delete(SECCOMP_PROFILES, "web", NS)
    await cluster.wait_for("web", terminating)

    async def terminating_everywhere() -> bool:
        return all("Terminating" in states.values() for states in (await cluster.listed()).values())

    await cluster.until(terminating_everywhere)
    assert all(cluster.file(node, "web").exists() for node in cluster.nodes)

    await cluster.client.delete(PODS, "user", NS)
    await cluster.wait_for("web", gone)
    assert not any(cluster.file(node, "web").exists() for node in cluster.nodes)


async def test_many_profiles_come_and_go_together(cluster: Cluster) -> None:
    names = [f"p{n}" for n in range(80)]
    before = cluster.object_writes()
    await asyncio.gather(*(cluster.add_profile(name) for name in names))
    for name in names:
        await cluster.wait_for(name, installed)
    daemon_writes = [call for call in cluster.server.requests(is_object_write) if "nodestatuses" in call.path]
    assert len(daemon_writes) < 2 * NODE_COUNT * len(names) / 4  # claims and reports share writes
    assert cluster.object_writes() - before <= len(names) * (2 * NODE_COUNT + 4)

    await asyncio.gather(*(cluster.client.delete(SECCOMP_PROFILES, name, NS) for name in names))
    for name in names:
        await cluster.wait_for(name, gone)
    assert not list(cluster.root.glob("*/var/lib/kubelet/seccomp/operator/*/*"))
    lists = cluster.server.requests(lambda call: call.path.endswith("/pods") and "limit" in call.params)
    assert len(lists) < 40  # deletions share lists of pods


async def test_object_that_vanishes_while_its_daemon_is_down_leaves_no_file(cluster: Cluster) -> None:
    await cluster.add_profile("web")
    await cluster.wait_for("web", installed)
    await cluster.stop("node-2", "manager")
    body: dict[str, Any] = {"metadata": {"finalizers": []}}
    await cluster.client.patch(SECCOMP_PROFILES, "web", NS, body)
    await cluster.client.delete(SECCOMP_PROFILES, "web", NS)
    assert cluster.file("node-2", "web").exists()

    cluster.start_daemon("node-2")

    async def forgotten() -> bool:
        return not (await cluster.listed())["node-2"]

    await cluster.until(forgotten)
    assert not cluster.file("node-2", "web").exists()


async def test_deleted_node_status_comes_back(cluster: Cluster) -> None:
    await cluster.add_profile("web")
    await cluster.wait_for("web", installed)
    await cluster.client.delete(PROFILE_NODE_STATUSES, "node-0", OPERATOR)

    async def restored() -> bool:
        return (await cluster.listed()).get("node-0") == {f"SeccompProfile/{NS}/web": "Installed"}

    await cluster.until(restored)


async def test_strict_syscalls_can_be_turned_on_and_off(cluster: Cluster) -> None:
    rules = [{"action": "SCMP_ACT_ALLOW", "names": ["read", "no_such_call"]}]
    await cluster.add_profile("odd", syscalls=rules)
    await cluster.add_profile("fine")
    await cluster.wait_for("odd", installed)
    await cluster.wait_for("fine", installed)
    await cluster.client.create(SPODS, {"metadata": {"name": "other"}, "spec": STRICT}, OPERATOR)
    await cluster.client.create(SPODS, {"metadata": {"name": "spod"}, "spec": STRICT}, NS)
    await cluster.until(cluster.has_spod)
    file = cluster.file("node-0", "odd")
    good = file.read_bytes()

    await cluster.client.patch(SPODS, "spod", OPERATOR, {"spec": STRICT})
    await cluster.wait_for("odd", failed_everywhere)
    found = await cluster.profile("odd")
    assert found is not None
    assert found.status is not None
    assert found.status.status == "Error"
    assert "no_such_call" in found.status.failing_nodes[0].message
    assert file.read_bytes() == good
    assert installed(await cluster.profile("fine"))
    await cluster.add_profile("new", syscalls=rules)
    await cluster.wait_for("new", failed_everywhere)
    assert not cluster.file("node-0", "new").exists()

    await cluster.client.delete(SPODS, "spod", OPERATOR)  # the manager makes a new one, which is not strict
    for name in ("odd", "new"):
        await cluster.wait_for(name, installed)


async def test_work_goes_on_after_the_api_server_was_gone(cluster: Cluster) -> None:
    await cluster.add_profile("web")
    await cluster.wait_for("web", installed)
    await cluster.server.stop()
    await cluster.server.start()
    await cluster.client.delete(SECCOMP_PROFILES, "web", NS)
    await cluster.wait_for("web", gone)
    await cluster.add_profile("other")
    await cluster.wait_for("other", installed)
    assert not any(cluster.file(node, "web").exists() for node in cluster.nodes)


@pytest.mark.parametrize("change", ["content", "removal", "mode", "directory-moved", "replaced-by-link"])
async def test_file_changed_by_hand_is_restored(cluster: Cluster, change: str) -> None:
    await cluster.add_profile("web")
    await cluster.wait_for("web", installed)
    file = cluster.file("node-1", "web")
    good = file.read_bytes()
    before = cluster.object_writes()
    match change:
        case "content":
            file.write_text("{}")
        case "removal":
            file.unlink()
        case "mode":
            file.chmod(0o600)
        case "directory-moved":
            file.parent.rename(file.parent.parent / "elsewhere")
        case "replaced-by-link":
            file.unlink()
            file.symlink_to("/etc/passwd")

    async def restored() -> bool:
        await cluster.profile("web")  # a request: the others get their turn
        return (
            file.is_file()
            and not file.is_symlink()
            and stat.S_IMODE(file.stat().st_mode) == 0o644
            and file.read_bytes() == good
        )

    await cluster.until(restored)
    assert cluster.object_writes() == before  # nobody else needs to hear of it
