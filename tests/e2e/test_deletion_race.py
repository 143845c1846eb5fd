"""Pods that are created in the very moment in which their profile is deleted."""

import asyncio

from spo.api.core import PODS
from spo.kube.client import KubeClient
from tests.e2e.cluster import Namespace, pod, refusing, seccomp_profile
from tests.fakes.profiles_race import Race

ROUNDS = 12


def test_file_stays_until_the_pod_ends_and_no_finalizer_is_left(namespace: Namespace) -> None:
    names = [f"web-{number}" for number in range(ROUNDS)]
    namespace.apply(*(seccomp_profile(name, syscalls=refusing("mkdir")) for name in names))
    for name in names:
        namespace.wait_ready(name)
    race = asyncio.run(deletions_and_creations(namespace, names))
    pod_first = [name for name in names if race.pod_was_first(name)]
    assert pod_first, "no pod was ever first: nothing is tested"

    for name in pod_first:
        namespace.kubectl("wait", "--for=condition=ready", f"pod/{name}", "--timeout=60s")
        namespace.refused("exec", name, "--", "mkdir", "/tmp/x")
    for name in pod_first:
        assert namespace.file(name).exists()
        assert namespace.status(name)["status"] == "Terminating"
    assert not set(pod_first) & race.released

    namespace.kubectl("delete", "pods", "--all", "--grace-period=1", "--timeout=60s")
    namespace.kubectl("wait", "--for=delete", "seccompprofiles", "--all", "--timeout=30s")
    assert not any(namespace.file(name).exists() for name in names)


async def deletions_and_creations(namespace: Namespace, names: list[str]) -> Race:
    """All rounds, one after the other, by two clients."""
    env = {"KUBECONFIG": namespace.cluster.kubeconfig}
    async with KubeClient.from_env(env) as one, KubeClient.from_env(env) as other:
        race = Race(one, other, namespace.name)

        async def one_round(name: str) -> None:
            path = f"operator/{namespace.name}/{name}.json"
            context = {"seccompProfile": {"type": "Localhost", "localhostProfile": path}}
            body = pod(name, "sleep", "600", securityContext=context)
            await race.round(name, lambda client: client.create(PODS, body, namespace.name))

        async with race.watched():
            for name in names:
                await one_round(name)
            async with asyncio.timeout(30):
                while not race.all_deletions_seen(names):
                    await one.list_page(PODS, namespace.name)
    return race
