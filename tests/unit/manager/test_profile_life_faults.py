"""What becomes of profiles when objects vanish, operators meet, nodes go, pods come at the wrong moment."""

import asyncio
from typing import Any

import pytest

from spo.api.core import NODES, PODS
from spo.api.node_status import PROFILE_NODE_STATUSES
from spo.api.seccomp_profile import SECCOMP_PROFILES
from tests.fakes.profiles_cluster import (
    NODE_COUNT,
    NS,
    OPERATOR,
    Cluster,
    gone,
    installed,
    pod_body,
    terminating,
)
from tests.fakes.profiles_race import Race


async def test_no_file_of_a_running_pod_is_lost_when_all_objects_vanish_and_return(cluster: Cluster) -> None:
    """As when the CRD is deleted by force and created again."""
    for name in ("web", "other"):
        await cluster.add_profile(name)
        await cluster.wait_for(name, installed)
    await cluster.add_pod("user", NS, "node-1", path=f"operator/{NS}/web.json")
    await cluster.wait_for(
        "web", lambda one: bool(one and one.status and one.status.active_workload_count == 1)
    )
    await cluster.stop("manager")
    for name in ("web", "other"):
        body: dict[str, Any] = {"metadata": {"finalizers": []}}
        await cluster.client.patch(SECCOMP_PROFILES, name, NS, body)
        await cluster.client.delete(SECCOMP_PROFILES, name, NS)

    async def only_the_used_one_is_left() -> bool:
        listed = await cluster.listed()
        return listed == {
            "node-0": {},
            "node-1": {f"SeccompProfile/{NS}/web": "Terminating"},
            "node-2": {},
        }

    await cluster.until(only_the_used_one_is_left)
    assert cluster.file("node-1", "web").exists()
    await cluster.stop("node-1")
    cluster.start_daemon("node-1")
    cluster.start_manager()
    await cluster.add_profile("web")
    await cluster.wait_for("web", installed)
    assert "SCMP_ACT_ERRNO" in cluster.file("node-1", "web").read_text()


async def test_object_that_cannot_be_read_keeps_no_other_from_going(cluster: Cluster) -> None:
    """As when a newer operator has stored something that this one does not understand."""
    for name in ("bad", "web"):
        await cluster.add_profile(name)
        await cluster.wait_for(name, installed)
    objects = cluster.server.objects
    path = f"/apis/{SECCOMP_PROFILES.api_version}/namespaces/{NS}/{SECCOMP_PROFILES.plural}"
    objects.merge(objects.locate(f"{path}/bad"), {"spec": {"syscalls": "unreadable"}})
    objects.create(objects.locate(path), {"metadata": {"name": "born-bad"}, "spec": {"syscalls": 5}})

    await cluster.client.delete(SECCOMP_PROFILES, "web", NS)
    await cluster.wait_for("web", gone)
    for node in cluster.nodes:
        assert not cluster.file(node, "web").exists()
        assert cluster.file(node, "bad").exists()


async def test_file_goes_though_object_and_node_status_vanish_while_the_daemon_is_down(
    cluster: Cluster,
) -> None:
    """As when everything is removed by force and the operator installed again."""
    for name in ("web", "kept"):
        await cluster.add_profile(name)
        await cluster.wait_for(name, installed)
    foreign = cluster.file("node-0", "foreign")
    foreign.write_text("{}")
    await cluster.stop()
    body: dict[str, Any] = {"metadata": {"finalizers": []}}
    await cluster.client.patch(SECCOMP_PROFILES, "web", NS, body)
    await cluster.client.delete(SECCOMP_PROFILES, "web", NS)
    for node in cluster.nodes:
        await cluster.client.delete(PROFILE_NODE_STATUSES, node, OPERATOR)
        assert cluster.file(node, "web").exists()
    for node in cluster.nodes:
        cluster.start_daemon(node)
    cluster.start_manager()

    async def forgotten() -> bool:
        wanted = {f"SeccompProfile/{NS}/kept": "Installed"}
        return await cluster.listed() == dict.fromkeys(cluster.nodes, wanted)

    await cluster.until(forgotten)
    for node in cluster.nodes:
        assert not cluster.file(node, "web").exists()
        assert cluster.file(node, "kept").exists()
    assert foreign.exists()


async def test_two_operators_on_one_node_leave_each_others_files(cluster: Cluster) -> None:
    await cluster.stop("node-0")
    cluster.start_daemon("node-0", namespaces=(NS, OPERATOR))
    second = "second-operator"
    cluster.start_daemon("node-0", operator=second, namespaces=("team-b", second))
    for namespace in (NS, "team-b"):
        body = {"metadata": {"name": "web"}, "spec": {"defaultAction": "SCMP_ACT_LOG"}}
        await cluster.client.create(SECCOMP_PROFILES, body, namespace)
    ours, theirs = cluster.file("node-0", "web"), cluster.file("node-0", "web", "team-b")

    async def claims_of(operator: str) -> set[str]:
        page = await cluster.client.list_page(PROFILE_NODE_STATUSES, operator)
        return {key for one in page.items if one.node_name == "node-0" for key in one.profiles}

    async def both_there() -> bool:
        await cluster.profile("web")
        return ours.exists() and theirs.exists()

    await cluster.until(both_there)
    assert await claims_of(OPERATOR) == {f"SeccompProfile/{NS}/web"}
    assert await claims_of(second) == {"SeccompProfile/team-b/web"}

    await cluster.client.delete(SECCOMP_PROFILES, "web", NS)
    await cluster.wait_for("web", gone)
    assert not ours.exists()
    await cluster.stop(f"node-0 of {second}")
    cluster.start_daemon("node-0", operator=second, namespaces=("team-b", second))
    await cluster.add_profile("other")
    await cluster.wait_for("other", installed)
    assert theirs.exists()


async def test_deletion_does_not_wait_for_a_node_that_was_removed(cluster: Cluster) -> None:
    await cluster.add_profile("web")
    await cluster.wait_for("web", installed)
    await cluster.stop("node-2")
    await cluster.client.delete(SECCOMP_PROFILES, "web", NS)

    async def only_the_dead_node_lists_it() -> bool:
        return [node for node, states in (await cluster.listed()).items() if states] == ["node-2"]

    await cluster.until(only_the_dead_node_lists_it)
    assert await cluster.profile("web") is not None
    await cluster.client.delete(NODES, "node-2")
    await cluster.wait_for("web", gone)

    cluster.start_daemon("node-2")  # the machine comes back

    async def cleaned_up() -> bool:
        return not any((await cluster.listed()).values())

    await cluster.until(cleaned_up)
    assert not cluster.file("node-2", "web").exists()


@pytest.mark.parametrize("node", ["node-1", ""], ids=["scheduled", "not-scheduled-yet"])
async def test_pod_created_just_before_the_deletion_keeps_its_file(cluster: Cluster, node: str) -> None:
    names = [f"web-{n}" for n in range(5)]
    for name in names:
        await cluster.add_profile(name)
        await cluster.wait_for(name, installed)
    for name in names:  # nobody waits for a watch to show the pod
        await cluster.add_pod(f"user-of-{name}", NS, node, path=f"operator/{NS}/{name}.json")
        await cluster.client.delete(SECCOMP_PROFILES, name, NS)
    for name in names:
        await cluster.wait_for(name, terminating)

    async def terminating_everywhere() -> bool:
        wanted = {f"SeccompProfile/{NS}/{name}": "Terminating" for name in names}
        return all(states == wanted for states in (await cluster.listed()).values())

    await cluster.until(terminating_everywhere)
    assert all(cluster.file(one, name).exists() for name in names for one in cluster.nodes)
    for name in names:
        await cluster.client.delete(PODS, f"user-of-{name}", NS)
    for name in names:
        await cluster.wait_for(name, gone)
    assert not list(cluster.root.glob("*/var/lib/kubelet/seccomp/operator/*/*"))


async def test_oddities_of_a_profile_are_warnings_in_its_status(cluster: Cluster) -> None:
    spec = {"syscalls": [{"action": "SCMP_ACT_ALLOW", "names": ["read", "no_such_call"]}]}
    await cluster.add_profile("web", **spec)
    await cluster.wait_for("web", installed)
    found = await cluster.profile("web")
    assert found is not None
    assert found.status is not None
    assert found.status.warnings == ["unknown syscalls, ignored by container runtimes: no_such_call"]


async def test_pod_created_in_the_moment_of_the_deletion(cluster: Cluster) -> None:
    names = [f"web-{n}" for n in range(48)]
    await asyncio.gather(*(cluster.add_profile(name) for name in names))
    for name in names:
        await cluster.wait_for(name, installed)
    race = Race(cluster.connect("a"), cluster.connect("b"), NS)

    async def one_round(number: int, name: str) -> None:
        node = cluster.nodes[number % NODE_COUNT] if number % 4 else ""
        body = pod_body(f"user-of-{name}", NS, node, path=f"operator/{NS}/{name}.json")
        await race.round(name, lambda client: client.create(PODS, body, NS))

    async with race.watched():
        await asyncio.gather(*(one_round(number, name) for number, name in enumerate(names)))

        async def all_seen() -> bool:
            await cluster.profile("web-0")
            return race.all_deletions_seen(names)

        await cluster.until(all_seen)
        pod_first = [name for name in names if race.pod_was_first(name)]
        assert 0 < len(pod_first) < len(names), "one of them always wins: nothing is tested"
        wanted = {f"SeccompProfile/{NS}/{name}" for name in pod_first}

        async def decided() -> bool:
            listed = await cluster.listed()
            ending = [
                {key for key, state in one.items() if state == "Terminating"} for one in listed.values()
            ]
            return all(states >= wanted for states in ending)

        await cluster.until(decided)
        assert not set(pod_first) & (race.released | race.gone)
        assert all(cluster.file(node, name).exists() for name in pod_first for node in cluster.nodes)

        for name in names:
            await cluster.client.delete(PODS, f"user-of-{name}", NS)
        for name in names:
            await cluster.wait_for(name, gone)
    assert not list(cluster.root.glob("*/var/lib/kubelet/seccomp/operator/*/*.json"))
    assert await cluster.listed() == {node: {} for node in cluster.nodes}
