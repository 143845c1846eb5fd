"""What the manager reports about a profile of any kind."""

from typing import Annotated

import msgspec

from spo.api.constraints import MAX_MESSAGE, MAX_NAME, listed, schema, words
from spo.api.meta import Conditions
from spo.api.node_status import ProfileState

Workloads = Annotated[list[Annotated[str, schema(maxLength=MAX_NAME + 64)]], listed(50)]
"""Capped: a count beside it tells how many there are."""


class NodeCounts(msgspec.Struct, rename="camel", kw_only=True):
    """How many nodes have the profile."""

    desired: Annotated[int, schema(format="int32", minimum=0)] = 0
    """Nodes that should have it: those with a pod of the spod DaemonSet."""
    installed: Annotated[int, schema(format="int32", minimum=0)] = 0
    """Nodes on which its present generation is installed."""
    failed: Annotated[int, schema(format="int32", minimum=0)] = 0
    """Nodes that report an error."""


class FailingNode(msgspec.Struct, rename="camel", kw_only=True):
    """A node that could not install the profile."""

    node_name: Annotated[str, schema(maxLength=MAX_NAME)]
    """Name of the node."""
    message: Annotated[str, schema(maxLength=MAX_MESSAGE)] = ""
    """What went wrong there."""


class ProfileStatus(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """State of a profile over all nodes; written by the manager only."""

    conditions: Conditions = []
    """``Ready`` is True while every node that should have the profile has it."""
    status: Annotated[str, words(ProfileState)] | None = None
    """State on the node where things are worst."""
    active_workloads: Workloads = []
    """Pods that use the profile, as ``<namespace>/<pod>``; the first 50."""
    active_workload_count: Annotated[int, schema(format="int32", minimum=0)] = 0
    """How many pods use the profile."""
    nodes: NodeCounts | None = None
    """How many nodes have the profile."""
    failing_nodes: Annotated[list[FailingNode], listed(10)] = []
    """Nodes that report an error; the first 10."""
    warnings: Annotated[list[Annotated[str, schema(maxLength=MAX_MESSAGE)]], listed(64)] = []
    """What is doubtful about the profile although it is installed."""
    observed_generation: Annotated[int, schema(format="int64", minimum=0)] = 0
    """Generation of the profile that this was said about."""
