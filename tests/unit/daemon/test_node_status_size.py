"""The messages of one node fit into one object, however many profiles are wrong."""

from spo.api.node_status import NodeProfileState, ProfileState
from spo.daemon.node_status import MAX_MESSAGE, MAX_MESSAGES, within_budget


def failing(count: int) -> dict[str, NodeProfileState]:
    message = "x" * MAX_MESSAGE
    entry = NodeProfileState(state=ProfileState.ERROR, generation=1, message=message)
    return {f"SeccompProfile/ns/p{number}": entry for number in range(count)}


def test_few_messages_stay_whole() -> None:
    entries = failing(MAX_MESSAGES // MAX_MESSAGE)
    assert within_budget(entries) == entries


def test_many_messages_share_the_room() -> None:
    entries = failing(3000) | {"SeccompProfile/ns/good": NodeProfileState(state="Installed", generation=1)}
    fitted = within_budget(entries)
    assert fitted.keys() == entries.keys()
    assert sum(len(entry.message) for entry in fitted.values()) <= MAX_MESSAGES
    assert fitted["SeccompProfile/ns/p0"].message.endswith("x…")
    assert fitted["SeccompProfile/ns/good"].message == ""
    assert within_budget(fitted) == fitted
