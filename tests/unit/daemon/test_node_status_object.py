"""The object a node stores about itself."""

from spo.api.node_status import NodeProfileState, ProfileState
from spo.daemon.node_status_store import node_status_object

ENTRIES = {
    "SeccompProfile/ns/a": NodeProfileState(state=ProfileState.INSTALLED, generation=2),
    "SeccompProfile/ns/b": NodeProfileState(state=ProfileState.ERROR, generation=1, message="why"),
    "SeccompProfile/ns/c": NodeProfileState(state=ProfileState.PENDING, generation=1),
}


def test_entries_are_counted_and_listed() -> None:
    made = node_status_object("node-1", ENTRIES, "uid")
    assert made["nodeName"] == "node-1"
    assert (made["installed"], made["failed"]) == (1, 1)
    assert made["profiles"]["SeccompProfile/ns/b"] == {"state": "Error", "generation": 1, "message": "why"}


def test_owner_is_the_node_and_does_not_block_its_deletion() -> None:
    owner = {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "uid"}
    assert node_status_object("node-1", {}, "uid")["metadata"]["ownerReferences"] == [owner]


def test_without_a_node_object_there_is_no_owner() -> None:
    assert "ownerReferences" not in node_status_object("node-1", {}, None)["metadata"]


def test_node_name_is_a_label_only_if_it_fits() -> None:
    assert node_status_object("n" * 63, {}, None)["metadata"]["labels"] == {
        "spo.x-k8s.io/node-name": "n" * 63
    }
    assert "labels" not in node_status_object("n" * 64, {}, None)["metadata"]
