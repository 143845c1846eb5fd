"""When deletion stops waiting for a node."""

from spo.manager.liveness import NodeLiveness

GONE_AFTER_S = 300.0


def living(*names: str, ready: bool = True) -> NodeLiveness:
    nodes = NodeLiveness(GONE_AFTER_S)
    for name in names:
        nodes.set_node(name, ready=ready, now=0)
    nodes.set_spod_nodes(names, now=0)
    return nodes


def test_well_node_never_counts_as_gone() -> None:
    nodes = living("a")
    assert nodes.gone_at("a") is None
    assert not nodes.is_gone("a", now=1e9)


def test_node_without_object_is_gone_at_once() -> None:
    nodes = living("a")
    assert nodes.is_gone("b", now=0)
    nodes.remove_node("a")
    assert nodes.is_gone("a", now=0)


def test_node_that_is_not_ready_is_gone_after_a_while() -> None:
    nodes = living("a")
    nodes.set_node("a", ready=False, now=10)
    nodes.set_node("a", ready=False, now=200)  # it counts from the first sign
    assert nodes.gone_at("a") == 10 + GONE_AFTER_S
    assert not nodes.is_gone("a", now=309)
    assert nodes.is_gone("a", now=310)


def test_node_without_spod_pod_is_gone_after_a_while() -> None:
    nodes = living("a", "b")
    nodes.set_spod_nodes(["b"], now=20)
    assert not nodes.is_gone("a", now=319)
    assert nodes.is_gone("a", now=320)
    assert not nodes.is_gone("b", now=320)


def test_recovery_starts_the_time_again() -> None:
    nodes = living("a")
    nodes.set_node("a", ready=False, now=0)
    nodes.set_node("a", ready=True, now=200)
    nodes.set_node("a", ready=False, now=250)
    assert nodes.gone_at("a") == 250 + GONE_AFTER_S


def test_the_earlier_trouble_counts() -> None:
    nodes = living("a")
    nodes.set_spod_nodes([], now=5)
    nodes.set_node("a", ready=False, now=50)
    assert nodes.gone_at("a") == 5 + GONE_AFTER_S
    nodes.set_spod_nodes(["a"], now=60)
    assert nodes.gone_at("a") == 50 + GONE_AFTER_S


def test_removed_node_that_comes_back_is_alive() -> None:
    nodes = living("a", ready=False)
    nodes.remove_node("a")
    nodes.set_node("a", ready=True, now=400)
    nodes.set_spod_nodes(["a"], now=400)
    assert nodes.gone_at("a") is None
