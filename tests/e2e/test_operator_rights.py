"""The operator works with the rights of its manifest, and not with one of them less."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, Namespace, seccomp_profile

OPERATOR = "security-profiles-operator"
PROFILES = "seccompprofiles"
SETTLED_S = 3


@contextmanager
def without(cluster: Cluster, kind: str, name: str, resource: str, verb: str) -> Iterator[None]:
    """A role that lacks one verb on one resource for a while."""
    where = ("--namespace", OPERATOR)
    role = json.loads(cluster.run(*where, "get", kind, name, "--output=json").stdout)
    fewer = [_less(rule, resource, verb) for rule in role["rules"]]
    assert fewer != role["rules"], f"{kind} {name} has no right to {verb} {resource}"
    _set_rules(cluster, kind, name, [rule for rule in fewer if rule["verbs"]])
    try:
        yield
    finally:
        _set_rules(cluster, kind, name, role["rules"])


def _less(rule: dict[str, Any], resource: str, verb: str) -> dict[str, Any]:
    if resource not in rule["resources"]:
        return rule
    return {**rule, "verbs": [one for one in rule["verbs"] if one != verb]}


def _set_rules(cluster: Cluster, kind: str, name: str, rules: list[dict[str, Any]]) -> None:
    patch = f"--patch={json.dumps({'rules': rules})}"
    done = cluster.run("--namespace", OPERATOR, "patch", kind, name, "--type=merge", patch)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("kind", "name", "resource", "verb"),
    [
        pytest.param("clusterrole", OPERATOR, f"{PROFILES}/status", "patch", id="manager-writes-status"),
        pytest.param("clusterrole", OPERATOR, PROFILES, "patch", id="manager-writes-finalizers"),
        pytest.param("role", "spod", "securityprofilenodestatuses", "patch", id="daemon-writes-report"),
    ],
)
def test_profile_is_not_ready_while_a_right_is_missing(
    namespace: Namespace, kind: str, name: str, resource: str, verb: str
) -> None:
    cluster = namespace.cluster
    if not cluster.own:
        pytest.skip("takes rights away from the operator of the cluster")
    workload = "daemonset/spod" if name == "spod" else f"deployment/{OPERATOR}"
    refusal = f'cannot {verb} resource "{resource}"'
    logs = ("--namespace", OPERATOR, "logs", workload, "--tail=200")
    with without(cluster, kind, name, resource, verb):
        namespace.apply(seccomp_profile("p"))
        namespace.eventually(
            f"the log of {workload} says: {refusal}",
            lambda: refusal in cluster.run(*logs).stdout.replace('\\"', '"'),
        )
        waited = ("wait", "--for=condition=ready", f"--timeout={SETTLED_S}s", f"{PROFILES}/p")
        namespace.refused(*waited)
    namespace.wait_ready("p")
