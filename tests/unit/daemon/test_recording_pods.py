"""What is kept of the node's pods."""

from typing import Any

import msgspec

from spo.daemon.recording.pods import PodBook, PodRecord, TracedPod, project_pod
from spo.daemon.recording.tracking import TrackedContainer, lost_since, runtime_of
from spo.rpc.bpf_recorder import Losses

TRACE = "io.containers.trace-bpf/"


def pod(**parts: Any) -> PodRecord:
    metadata = {"name": "web", "namespace": "team", "uid": "u", **parts.pop("metadata", {})}
    return project_pod(msgspec.convert({"metadata": metadata, **parts}, TracedPod))


def traced(**parts: Any) -> PodRecord:
    return pod(metadata={"annotations": {f"{TRACE}c": "rec-c-1"}}, **parts)


def test_pod_that_nobody_records_costs_its_uid() -> None:
    annotations = {"io.containers.trace-logs/c": "rec-c-1"}
    assert pod(metadata={"annotations": annotations, "labels": {"a": "b"}}) == PodRecord("u")


def test_containers_with_what_decides_about_the_runtime() -> None:
    localhost = {"seccompProfile": {"type": "Localhost", "localhostProfile": "operator/a/b.json"}}
    record = traced(
        spec={
            "securityContext": localhost,
            "initContainers": [{"name": "i", "securityContext": {"allowPrivilegeEscalation": False}}],
            "containers": [{"name": "c", "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}],
        }
    )
    assert [(one.name, one.no_new_privileges, one.profile) for one in record.containers] == [
        ("i", True, "operator/a/b.json"),
        ("c", False, ""),
    ]


def test_instances_of_all_kinds_of_containers() -> None:
    ended = {"terminated": {"containerID": "containerd://old"}}
    record = traced(
        status={
            "phase": "Running",
            "initContainerStatuses": [
                {
                    "name": "i",
                    "containerID": "cri-o://init",
                    "state": {"terminated": {"containerID": "cri-o://init"}},
                }
            ],
            "containerStatuses": [
                {"name": "c", "containerID": "containerd://new", "state": {"running": {}}, "lastState": ended}
            ],
        }
    )
    assert record.instances == (("init", "i", True), ("old", "c", True), ("new", "c", False))
    assert not record.over


def test_book_remembers_instances_that_a_status_forgets() -> None:
    seen: list[PodRecord] = []
    book = PodBook(seen.append)
    first = traced(status={"containerStatuses": [{"name": "c", "containerID": "x://one"}]})
    second = traced(status={"containerStatuses": [{"name": "c", "containerID": "x://two"}]})
    book.observed(None, first)
    book.observed(first, second)
    assert seen[-1].instances == (("one", "c", True), ("two", "c", False))
    assert book.uid_of("one") == book.uid_of("two") == "u"
    book.observed(second, None)
    assert not book.is_present("u")
    assert book.get("u") == seen[-1]
    book.forget("u")
    assert book.get("u") is None


def test_pod_made_anew_under_the_same_name_is_another() -> None:
    seen: list[PodRecord] = []
    book = PodBook(seen.append)
    old, new = traced(), msgspec.structs.replace(traced(), uid="v")
    book.observed(None, old)
    book.observed(old, new)
    assert (book.is_present("u"), book.is_present("v")) == (False, True)
    assert [one.uid for one in seen] == ["u", "u", "v"]


def test_losses_are_those_since_the_beginning() -> None:
    before = Losses(map_full=3, expired=1)
    assert lost_since(before, before) == 0
    assert lost_since(before, Losses(map_full=5, expired=2)) == 3
    assert lost_since(before, Losses(map_full=1)) == 1


def test_runtime_is_known_by_the_name_of_its_task() -> None:
    names = ("runc:[1:CHILD]", "runc", "crun", "nginx", "")
    assert [runtime_of(name) for name in names] == ["runc", "runc", "crun", "", ""]


def test_container_that_crashes_for_ever_stays_small() -> None:
    container = TrackedContainer(name="c", recording="rec")
    for number in range(1000):
        container.end(str(number))
    assert len(container.done) == 200
    assert container.done[-1] == "999"
