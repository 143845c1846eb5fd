"""The operator uses every right of its manifest, and needs no other one."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.bound import binding, wait_active
from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import Cluster, Namespace, pod, seccomp_profile
from tests.e2e.recorded import (
    LOOP,
    begin,
    delete_pods,
    profiles,
    recorded_pod,
    recording,
    state,
    wait_installed,
    wait_over,
    wait_running,
)
from tests.e2e.test_metrics import CRD, endpoint_of
from tests.e2e.test_recording import spoc

SETTLED_S = 10.0
ACCOUNTS = (OPERATOR, "spod", f"{OPERATOR}-webhook")


class Right(NamedTuple):
    """One verb on one resource, for one name or all."""

    account: str
    namespace: str
    """Empty: in all, and without one."""
    group: str
    resource: str
    verb: str
    name: str


ONLY_AFTER_A_CONFLICT = {
    # Finalizers are patched with the version that was seen; after a conflict the object is read again.
    (OPERATOR, "profilebindings", "get"),
    (OPERATOR, "profilerecordings", "get"),
}


def rights(cluster: Cluster) -> Iterator[Right]:
    """What the roles that are bound to our accounts give them."""
    roles: dict[tuple[str, str, str], Any] = {}
    for kind in ("Role", "ClusterRole"):
        for role in _listed(cluster, kind):
            metadata = role["metadata"]
            roles[kind, metadata.get("namespace", ""), metadata["name"]] = role["rules"]
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        for bound in _listed(cluster, kind):
            where = bound["metadata"].get("namespace", "")
            reference = bound["roleRef"]
            home = where if reference["kind"] == "Role" else ""
            for subject in bound.get("subjects", []):
                if subject["kind"] == "ServiceAccount" and subject["name"] in ACCOUNTS:
                    rules = roles[reference["kind"], home, reference["name"]]
                    yield from _of_rules(rules, subject["name"], where)


def _listed(cluster: Cluster, kind: str) -> list[Any]:
    where = ("--namespace", OPERATOR, "get", kind, "--selector=app=security-profiles-operator")
    found: list[Any] = json.loads(cluster.run(*where, "--output=json").stdout)["items"]
    return found


def _of_rules(rules: list[Any], account: str, namespace: str) -> Iterator[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    for name in rule.get("resourceNames", [""]):
                        yield Right(account, namespace, group, resource, verb, name)


def asked(log: Path, start: int = 0) -> Iterator[dict[str, Any]]:
    """What our accounts have asked for, from a position of the log on."""
    with log.open() as file:
        file.seek(start)
        for line in file:
            one = json.loads(line)
            home, _, one["account"] = one["user"].removeprefix("system:serviceaccount:").partition(":")
            if home == OPERATOR and one["account"] in ACCOUNTS and one["resource"]:
                yield one


def unused(cluster: Cluster, log: Path) -> list[Right]:
    """Rights that nobody has made use of."""
    used = {
        Right(one["account"], namespace, one["group"], one["resource"], one["verb"], name)
        for one in asked(log)
        if one["allowed"]
        for namespace in ("", one["namespace"])
        for name in ("", one["name"])
    }
    return [
        right
        for right in rights(cluster)
        if right not in used and (right.account, right.resource, right.verb) not in ONLY_AFTER_A_CONFLICT
    ]


def test_every_right_is_used_and_none_is_missing(namespace: Namespace) -> None:
    cluster = namespace.cluster
    if cluster.access_log is None:
        pytest.skip("the API server of this cluster does not tell what it was asked")
    operator = Namespace(cluster, OPERATOR)
    start = cluster.access_log.stat().st_size
    begin(namespace, recording(mergeStrategy="containers"))
    _bind(namespace)
    _record(namespace)
    _be_measured(operator)
    _be_refused_twice(operator)
    deadline = time.monotonic() + SETTLED_S
    while (left := unused(cluster, cluster.access_log)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []
    refused = [one for one in asked(cluster.access_log, start) if not one["allowed"]]
    assert refused == []


def test_a_right_that_nobody_uses_is_found(namespace: Namespace) -> None:
    cluster = namespace.cluster
    if cluster.access_log is None:
        pytest.skip("the API server of this cluster does not tell what it was asked")
    role = json.loads(cluster.run("get", "clusterrole", "spod", "--output=json").stdout)
    more = [*role["rules"], {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    _set_rules(cluster, more)
    try:
        assert Right("spod", "", "", "configmaps", "get", "") in unused(cluster, cluster.access_log)
    finally:
        _set_rules(cluster, role["rules"])


def _set_rules(cluster: Cluster, rules: list[Any]) -> None:
    patch = f"--patch={json.dumps({'rules': rules})}"
    assert cluster.run("patch", "clusterrole", "spod", "--type=merge", patch).returncode == 0


def _bind(namespace: Namespace) -> None:
    """A profile in use, a pod that is too old for its binding, a binding whose profile does not exist."""
    namespace.apply(seccomp_profile("p"), pod("old", "sleep", "600"))
    namespace.wait_ready("p")
    namespace.apply(binding("b", "p"))
    wait_active(namespace, "b")
    namespace.apply(pod("bound", "sleep", "600"))
    wait_running(namespace, "bound")
    namespace.kubectl("delete", "profilebinding", "b", "--wait=false")
    delete_pods(namespace, "bound", "old")
    namespace.apply(binding("none", "missing"))
    wait_active(namespace, "none")
    assert "missing" in namespace.refused("apply", "-f", "-", stdin=json.dumps(pod("refused", "true")))
    namespace.kubectl("delete", "profilebinding", "none", "--timeout=30s")
    namespace.kubectl("delete", "seccompprofile", "p", "--timeout=30s")


def _record(namespace: Namespace) -> None:
    """Two pods whose profiles are merged, one of them looked at while it runs."""
    namespace.apply(recorded_pod("running", "sh", "-c", f"mkdir /tmp/x; {LOOP}"))
    wait_running(namespace, "running")
    spoc(namespace, "snapshot", "rec")
    namespace.eventually("snapshot", lambda: any(name.startswith("rec-c") for name in profiles(namespace)))
    namespace.apply(recorded_pod("once", "true"))
    wait_over(namespace, "once")
    delete_pods(namespace, "running")
    wait_installed(namespace, "rec-c")
    namespace.kubectl("delete", "profilerecording/rec", "--timeout=30s")
    namespace.eventually("partial profiles are gone", lambda: list(profiles(namespace)) == ["rec-c"])
    assert state(namespace, "rec-c") == "Installed"


def _be_refused_twice(operator: Namespace) -> None:
    """Settings that cannot be carried out: the second time an event of the first one counts up."""
    for path, expected in (("/a:b", "ERROR"), ("/proc", "RUNNING"), ("/a:b", "ERROR"), ("/proc", "RUNNING")):
        patch = json.dumps({"spec": {"hostProcVolumePath": path}})
        operator.kubectl("patch", "spod", "spod", "--type=merge", f"--patch={patch}")
        operator.kubectl("wait", f"--for=jsonpath={{.status.state}}={expected}", "--timeout=30s", "spod/spod")


def _be_measured(operator: Namespace) -> None:
    """Both servers of metrics, and a Prometheus Operator that appears."""
    token = operator.kubectl("create", "token", "default").strip()
    for service, path in (("metrics", "/metrics-spod"), ("manager-metrics", "/metrics")):
        status, _ = endpoint_of(operator, service).get(path, token)
        assert status == 200
    operator.apply(CRD)
    try:
        monitor = ("-n", OPERATOR, "get", "servicemonitor", "security-profiles-operator-monitor")
        operator.eventually("the ServiceMonitor", lambda: operator.cluster.run(*monitor).returncode == 0)
    finally:
        operator.kubectl("delete", "crd", CRD["metadata"]["name"])
