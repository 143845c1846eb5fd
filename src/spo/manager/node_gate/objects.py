"""Nodes, as far as their taints matter."""

from typing import Any, Final, NamedTuple

import msgspec

from spo.api.meta import ObjectMeta
from spo.api.resource import Resource
from spo.names import NODE_GATE_TAINT


class TaintedSpec(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """The taints, as plain JSON: those of others are written back as they are."""

    taints: list[dict[str, Any]] = []


class TaintedNode(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """A node."""

    metadata: ObjectMeta
    spec: TaintedSpec = msgspec.field(default_factory=TaintedSpec)


TAINTED_NODES: Final = Resource("", "v1", "Node", "nodes", False, TaintedNode)


class GatedNode(NamedTuple):
    """A node that waits."""

    name: str
    uid: str


def gated(node: TaintedNode) -> GatedNode | None:
    """The node, if it carries our taint; with whatever effect."""
    if any(one.get("key") == NODE_GATE_TAINT for one in node.spec.taints):
        return GatedNode(node.metadata.name, node.metadata.uid)
    return None


def other_taints(node: TaintedNode) -> list[dict[str, Any]]:
    """The taints without ours."""
    return [one for one in node.spec.taints if one.get("key") != NODE_GATE_TAINT]
