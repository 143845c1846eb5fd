"""Three replicas of the webhooks: any of them may go, and a new CA waits for the last one."""

import copy
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.bound import WEBHOOK, Creating, bound_namespace, secret, trusted
from tests.e2e.breaking import OPERATOR, containers_of, kill_container
from tests.e2e.cluster import Cluster, Namespace

NAME = "security-profiles-operator-webhook"
SELECTOR = f"--selector=name={NAME}"


def on_pod_network(deployment: dict[str, Any]) -> dict[str, Any]:
    """The Deployment as it is on a cluster of many nodes: each replica with an address of its own."""
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    pod["hostNetwork"] = False
    for port in container["ports"]:
        del port["hostPort"]
    for probe in ("livenessProbe", "readinessProbe"):
        del container[probe]["httpGet"]["host"]
    for variable in container["env"]:
        if variable["name"] == "SPO_HEALTH_ADDRESS":
            variable["value"] = f":{variable['value'].rpartition(':')[2]}"
    spec = {**deployment["spec"], "replicas": 3, "strategy": {"type": "RollingUpdate"}}
    return plain(deployment) | {"spec": spec}


def plain(deployment: dict[str, Any]) -> dict[str, Any]:
    """Without what the cluster adds, so that it replaces whatever is there."""
    metadata = {key: deployment["metadata"][key] for key in ("name", "namespace", "labels")}
    return {**{key: deployment[key] for key in ("apiVersion", "kind", "spec")}, "metadata": metadata}


def roll_out(operator: Namespace, deployment: dict[str, Any]) -> None:
    operator.kubectl("replace", "-f", "-", stdin=json.dumps(deployment))
    operator.kubectl("rollout", "status", WEBHOOK, "--timeout=60s")


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> Iterator[Namespace]:
    """The operator's namespace, with three replicas in it."""
    if not cluster.own:
        pytest.skip("takes the webhooks of the cluster down")
    found = Namespace(cluster, OPERATOR)
    before = found.get("deployment", NAME)
    roll_out(found, on_pod_network(copy.deepcopy(before)))
    yield found
    # Also when a test has failed, and a replica would not stop by itself.
    found.kubectl("delete", "pods", SELECTOR, "--grace-period=1", "--wait=false")
    roll_out(found, plain(before))


def replicas(operator: Namespace) -> dict[str, dict[str, Any]]:
    """Those that nobody has deleted, by address."""
    items = json.loads(operator.kubectl("get", "pods", SELECTOR, "--output=json"))["items"]
    return {one["status"].get("podIP"): one for one in items if "deletionTimestamp" not in one["metadata"]}


def container(cluster: Cluster, pod: dict[str, Any]) -> str:
    (found,) = containers_of(cluster, pod_uid=pod["metadata"]["uid"], container_name=NAME)
    return found


def restarts(operator: Namespace, name: str) -> int:
    status = operator.get("pod", name)["status"]["containerStatuses"][0]
    return int(status["restartCount"]) if status["ready"] else 0


def addresses(operator: Namespace) -> list[str]:
    """Of the replicas that are asked, in the order in which they are."""
    subsets = operator.get("endpoints", "webhook-service").get("subsets") or []
    return [address["ip"] for subset in subsets for address in subset.get("addresses", [])]


def send(container: str, signal: str) -> None:
    subprocess.run(("podman", "kill", f"--signal={signal}", container), check=True, capture_output=True)


def kill_one_after_the_other(operator: Namespace) -> None:
    for pod in replicas(operator).values():
        kill_container(container(operator.cluster, pod))
        name = pod["metadata"]["name"]
        operator.eventually("it is back", lambda name=name: restarts(operator, name))


def replace(operator: Namespace) -> None:
    """Delete the replica that is asked."""
    first = addresses(operator)[0]
    operator.kubectl("delete", "pod", replicas(operator)[first]["metadata"]["name"], "--wait=false")
    operator.eventually("another", lambda: len(set(addresses(operator)) - {first}) == 3)


def test_replicas_go_one_by_one_while_pods_are_created(namespace: Namespace, operator: Namespace) -> None:
    bound_namespace(namespace)
    with Creating(namespace) as made:
        kill_one_after_the_other(operator)
    assert made.bound > 0
    # Those on their way to a process that is gone: they are told so, and none gets past the binding.
    assert len(made.refused) <= 6
    assert all('failed calling webhook "binding.spo.io"' in one for one in made.refused), made.refused
    with Creating(namespace) as made:
        replace(operator)
    assert made.bound > 0
    assert made.refused == []


def test_old_ca_is_trusted_until_the_last_replica_follows(namespace: Namespace, operator: Namespace) -> None:
    bound_namespace(namespace)
    old_ca, old = secret(namespace, "webhook-ca"), secret(namespace, "webhook-server-cert")
    # It hears of nothing; as the last one in the list it is asked by nobody.
    deaf = container(operator.cluster, replicas(operator)[addresses(operator)[-1]])
    with Creating(namespace) as made:
        send(deaf, "STOP")
        operator.kubectl("delete", "secret", "webhook-ca")
        operator.eventually(
            "a new certificate",
            lambda: secret(namespace, "webhook-server-cert")["tls.crt"] != old["tls.crt"],
        )
        both = secret(namespace, "webhook-ca")["tls.crt"] + old_ca["tls.crt"]
        assert trusted(namespace) == both
        before = made.bound
        operator.eventually("pods go on", lambda: made.bound > before + 20)
        assert trusted(namespace) == both
        send(deaf, "CONT")
        operator.eventually("the old CA goes", lambda: len(trusted(namespace)) < len(both))
    assert made.refused == []
