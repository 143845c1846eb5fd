"""Which pods of a DaemonSet come and go."""

from typing import Any

from onenode.workloads.daemons import Place, daemon_tolerations, place_of, plan_daemons

RUN = Place(run=True, keep=True)
NOT = Place(run=False, keep=False)


def pod(name: str, node: str, *, phase: str = "Running", **metadata: Any) -> Any:
    return {
        "metadata": {"name": name, **metadata},
        "spec": {"nodeName": node},
        "status": {"phase": phase},
    }


def plan(
    places: dict[str, Place],
    pods: list[Any],
    updated: set[str],
    available: set[str],
    limit: int | str | None = 1,
) -> tuple[list[str], list[str]]:
    made = plan_daemons(places, pods, frozenset(updated), frozenset(available), limit)
    return made.create, [one["metadata"]["name"] for one in made.delete]


def test_each_node_gets_one_pod() -> None:
    pods = [pod("a", "n1")]
    assert plan({"n1": RUN, "n2": RUN, "n3": NOT}, pods, {"a"}, {"a"}) == (["n2"], [])


def test_pod_leaves_a_node_that_does_not_want_it() -> None:
    assert plan({"n1": NOT}, [pod("a", "n1")], {"a"}, {"a"}) == ([], ["a"])
    assert plan({}, [pod("a", "gone")], {"a"}, {"a"}) == ([], ["a"])


def test_pod_may_stay_where_none_would_start() -> None:
    assert plan({"n1": Place(run=False, keep=True)}, [pod("a", "n1")], {"a"}, {"a"}) == ([], [])


def test_node_waits_until_the_old_pod_is_gone() -> None:
    pods = [pod("a", "n1", deletionTimestamp="2026-01-01T00:00:00Z")]
    assert plan({"n1": RUN}, pods, set(), set()) == ([], [])


def test_ended_pod_is_replaced_when_it_is_gone() -> None:
    assert plan({"n1": RUN}, [pod("a", "n1", phase="Failed")], {"a"}, set()) == ([], ["a"])


def test_second_pod_of_a_node_goes() -> None:
    old = pod("old", "n1", creationTimestamp="2026-01-01T00:00:00Z")
    new = pod("new", "n1", creationTimestamp="2026-01-02T00:00:00Z")
    assert plan({"n1": RUN}, [new, old], {"old", "new"}, {"old", "new"}) == ([], ["new"])


def test_update_replaces_as_many_as_may_be_missing() -> None:
    places = dict.fromkeys(("n1", "n2", "n3", "n4"), RUN)
    pods = [pod(f"p{number}", f"n{number}") for number in range(1, 5)]
    names = {one["metadata"]["name"] for one in pods}
    assert plan(places, pods, set(), names, 1) == ([], ["p1"])
    assert plan(places, pods, set(), names, "50%") == ([], ["p1", "p2"])
    assert plan(places, pods, set(), names, "100%") == ([], ["p1", "p2", "p3", "p4"])
    assert plan(places, pods, set(), names, None) == ([], [])


def test_update_waits_for_the_pod_that_is_missing() -> None:
    places = dict.fromkeys(("n1", "n2"), RUN)
    pods = [pod("new", "n1"), pod("old", "n2")]
    assert plan(places, pods, {"new"}, {"old"}, 1) == ([], [])


def test_broken_old_pods_go_at_once() -> None:
    places = dict.fromkeys(("n1", "n2"), RUN)
    pods = [pod("broken", "n1"), pod("good", "n2")]
    assert plan(places, pods, set(), {"good"}, 1) == ([], ["broken"])


def node(taints: list[Any] | None = None, **labels: str) -> Any:
    return {"metadata": {"labels": labels}, "spec": {"taints": taints or []}}


def test_place_follows_selector_and_taints() -> None:
    taint = {"key": "dedicated", "value": "x", "effect": "NoSchedule"}
    toleration = {"key": "dedicated", "operator": "Exists"}
    assert place_of({}, node()) == RUN
    assert place_of({"nodeSelector": {"disk": "ssd"}}, node()) == NOT
    assert place_of({"nodeSelector": {"disk": "ssd"}}, node(disk="ssd")) == RUN
    assert place_of({}, node([taint])) == Place(run=False, keep=True)
    assert place_of({"tolerations": [toleration]}, node([taint])) == RUN
    assert place_of({}, node([{**taint, "effect": "NoExecute"}])) == NOT
    assert place_of({}, node([{**taint, "effect": "PreferNoSchedule"}])) == RUN


def test_daemons_run_on_nodes_in_trouble() -> None:
    taints = [
        {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
        {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
    ]
    assert place_of({}, node(taints)) == RUN
    keys = {one["key"] for one in daemon_tolerations({"hostNetwork": True})}
    assert "node.kubernetes.io/network-unavailable" in keys
