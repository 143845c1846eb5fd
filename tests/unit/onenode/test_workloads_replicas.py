"""Which pods of a ReplicaSet and which ReplicaSets of a Deployment change."""

from datetime import UTC, datetime
from typing import Any

import pytest

from onenode.workloads.amounts import ready_count, share
from onenode.workloads.replicas import Limits, Size, limits_of, plan_recreate, plan_replicas, plan_rolling
from onenode.workloads.templates import format_selector, same_template, template_hash, with_labels


def pod(name: str, *, phase: str = "Running", ready: bool = True, node: str = "n", **metadata: Any) -> Any:
    condition = {
        "type": "Ready",
        "status": "True" if ready else "False",
        "lastTransitionTime": "2026-01-01T00:00:10Z",
    }
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z", **metadata},
        "spec": {"nodeName": node},
        "status": {"phase": phase, "conditions": [condition]},
    }


@pytest.mark.parametrize(
    ("value", "total", "up", "wanted"),
    [(3, 10, True, 3), ("25%", 3, True, 1), ("25%", 3, False, 0), ("100%", 7, False, 7), (None, 4, True, 0)],
)
def test_share_of_a_total(value: int | str | None, total: int, up: bool, wanted: int) -> None:
    assert share(value, total, up=up) == wanted


def test_missing_pods_are_created() -> None:
    assert plan_replicas([pod("a")], 3) == (2, [])


def test_ended_and_going_pods_do_not_count() -> None:
    pods = [pod("a", phase="Failed"), pod("b", deletionTimestamp="2026-01-01T00:00:00Z"), pod("c")]
    assert plan_replicas(pods, 2) == (1, [])


def test_least_valuable_pods_go_first() -> None:
    pods = [
        pod("ready"),
        pod("young", creationTimestamp="2026-01-02T00:00:00Z"),
        pod("unready", ready=False),
        pod("pending", phase="Pending", ready=False),
        pod("unbound", phase="Pending", ready=False, node=""),
    ]
    _, surplus = plan_replicas(pods, 1)
    assert [one["metadata"]["name"] for one in surplus] == ["unbound", "pending", "unready", "young"]


def test_pod_is_available_after_min_ready_seconds() -> None:
    now = datetime(2026, 1, 1, 0, 0, 12, tzinfo=UTC)
    assert ready_count([pod("a"), pod("b", ready=False)], 0, now) == (1, 1, None)
    assert ready_count([pod("a")], 5, now) == (1, 0, 3.0)


def roll_out(replicas: int, surge: int, unavailable: int) -> tuple[int, int, int]:
    """A whole rollout in which each pod starts before the next step: steps, fewest available, most pods."""
    limits = Limits(replicas, surge, unavailable)
    sizes = {"old": Size("old", replicas, replicas), "new": Size("new", 0)}
    fewest, most = replicas, replicas
    for count in range(100):
        changes = plan_rolling(sizes["new"], [sizes["old"]], limits)
        if not changes:
            assert (sizes["new"].wanted, sizes["old"].wanted) == (replicas, 0)
            return count, fewest, most
        for name, wanted in changes.items():
            sizes[name] = Size(name, wanted, min(sizes[name].available, wanted))
        fewest = min(fewest, sum(size.available for size in sizes.values()))
        most = max(most, sum(size.wanted for size in sizes.values()))
        sizes = {name: Size(name, size.wanted, size.wanted) for name, size in sizes.items()}
    raise AssertionError("the rollout does not end")


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable"), [(1, 1, 0), (2, 1, 0), (2, 0, 1), (10, 3, 2), (4, 4, 4)]
)
def test_rollout_keeps_its_limits_and_ends(replicas: int, surge: int, unavailable: int) -> None:
    _, fewest, most = roll_out(replicas, surge, unavailable)
    assert fewest >= replicas - unavailable
    assert most <= replicas + surge


def test_rollout_waits_for_the_new_pod() -> None:
    assert plan_rolling(Size("new", 1, 0), [Size("old", 1, 1)], Limits(1, 1, 0)) == {}


def test_unhealthy_old_pods_make_room_first() -> None:
    old = [Size("broken", 2, 0), Size("good", 2, 2)]
    assert plan_rolling(Size("new", 1, 1), old, Limits(4, 1, 1)) == {"broken": 0}


def test_scaling_down_takes_the_new_set() -> None:
    assert plan_rolling(Size("new", 5, 5), [], Limits(2, 1, 0)) == {"new": 2}


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    assert plan_recreate(Size("new", 0), [Size("old", 2, 2, 2)], 2) == {"old": 0}
    assert plan_recreate(Size("new", 0), [Size("old", 0, 0, 1)], 2) == {}
    assert plan_recreate(Size("new", 0), [Size("old", 0, 0, 0)], 2) == {"new": 2}


def test_limits_are_never_both_zero() -> None:
    rolling = {"maxSurge": 0, "maxUnavailable": "25%"}
    assert limits_of({"replicas": 2, "strategy": {"rollingUpdate": rolling}}) == Limits(2, 0, 1)


def test_template_hash_ignores_its_own_label_only() -> None:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}
    labelled = with_labels(template, {"pod-template-hash": "x"})
    assert same_template(template, labelled)
    assert template_hash(template) == template_hash(labelled)
    assert template_hash(template) != template_hash(template, 1)
    assert not same_template(template, with_labels(template, {"b": "c"}))


def test_selector_as_text() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["y", "x"]},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"app": "a"}, "matchExpressions": expressions}
    assert format_selector(selector) == "app=a,!old,tier in (x,y)"
