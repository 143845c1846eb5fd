"""What the daemon knows and counts for the log enricher."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from spo.daemon.audit_metrics import AuditMetrics
from spo.daemon.enricher_pods import MAX_GONE, ContainerDirectory, EnricherPod, PodContainers, project_pod
from spo.daemon.enricher_service import EnricherService
from spo.rpc.log_enricher import (
    AppArmorCount,
    Count,
    Counted,
    Find,
    Found,
    KnownContainer,
    Losses,
    SeccompCount,
    SelinuxCount,
    Wanted,
)

A, B, C = "a" * 64, "b" * 64, "c" * 64


def pod(name: str = "log-pod", uid: str = "uid-1", **status: Any) -> PodContainers:
    manifest = {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": uid,
            "annotations": {
                "io.containers.trace-logs/nginx": "rec-nginx-1",
                "kubernetes.io/config.hash": "f" * 32,
            },
        },
        "status": status,
    }
    return project_pod(msgspec.convert(manifest, EnricherPod))


def running(name: str, container_id: str) -> dict[str, Any]:
    return {"name": name, "containerID": f"containerd://{container_id}", "state": {"running": {}}}


STARTING = {"name": "late", "state": {"waiting": {"reason": "ContainerCreating"}}}


@pytest.fixture
def directory() -> ContainerDirectory:
    made = ContainerDirectory()
    made.observed(
        None,
        pod(
            containerStatuses=[running("nginx", A), STARTING],
            initContainerStatuses=[running("init", B)],
            ephemeralContainerStatuses=[running("debug", C)],
        ),
    )
    return made


def test_init_regular_and_ephemeral_containers_are_known(directory: ContainerDirectory) -> None:
    found = directory.find([Wanted(A), Wanted(B, "uid-1"), Wanted(C), Wanted("d" * 64)])
    assert found == Found(
        [
            KnownContainer(A, "default", "log-pod", "nginx", "rec-nginx-1"),
            KnownContainer(B, "default", "log-pod", "init"),
            KnownContainer(C, "default", "log-pod", "debug"),
        ]
    )


def test_container_without_id_is_named(directory: ContainerDirectory) -> None:
    assert directory.find([Wanted("d" * 64, "uid-1")]) == Found([], ["late"])


def test_cgroup_that_names_another_pod_is_not_believed(directory: ContainerDirectory) -> None:
    assert directory.find([Wanted(A, "uid-2")]).containers == []


def test_static_pod_is_known_by_the_uid_that_its_cgroup_has(directory: ContainerDirectory) -> None:
    assert len(directory.find([Wanted(A, "f" * 32)]).containers) == 1


def test_restarted_container_is_known_by_both_ids() -> None:
    directory = ContainerDirectory()
    status = running("nginx", A) | {"lastState": {"terminated": {"containerID": f"cri-o://{B}"}}}
    directory.observed(None, pod(containerStatuses=[status]))
    assert len(directory.find([Wanted(A), Wanted(B)]).containers) == 2


@pytest.mark.parametrize("text", ["", "containerd://", "containerd://xyz", f"{A}", f"docker://{A}0"])
def test_ids_of_another_form_are_left_out(text: str) -> None:
    assert pod(containerStatuses=[{"name": "c", "containerID": text}]).containers == ()


def test_containers_of_a_pod_that_is_gone_are_known_for_a_while(directory: ContainerDirectory) -> None:
    gone = pod(containerStatuses=[running("nginx", A)])
    directory.observed(gone, None)
    assert not directory.has_pod("default", "log-pod")
    assert len(directory.find([Wanted(A)]).containers) == 1
    for number in range(MAX_GONE):
        other = pod("other", f"uid-{number}", containerStatuses=[running("c", f"{number:064x}")])
        directory.observed(None, other)
        directory.observed(other, None)
    assert directory.find([Wanted(A)]).containers == []


class Side:
    """Service, metrics and what an observer is told."""

    def __init__(self, directory: ContainerDirectory, max_series: int = 10_000) -> None:
        self.registry = CollectorRegistry()
        metrics = AuditMetrics(self.registry, "node-1", directory.has_pod, max_series=max_series)
        self.observed: list[Count] = []
        self.done: list[str] = []
        self.service = EnricherService(directory, metrics, self._observe)

    def _observe(self, batch: Count) -> list[str]:
        self.observed.append(batch)
        return self.done

    def send(self, number: int, *entries: Any, session: str = "s", losses: Losses = Losses()) -> None:  # noqa: B008 - frozen
        peer: Any = SimpleNamespace(subscribed=False)
        assert self.service.handle(peer, Count(session, number, list(entries), losses)) == Counted()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"security_profiles_operator_{name}", labels)

    def seccomp(self, **labels: str) -> float | None:
        every = {
            "node": "node-1",
            "namespace": "default",
            "pod": "log-pod",
            "container": "nginx",
            "executable": "/usr/sbin/nginx",
            "syscall": "listen",
        }
        return self.value("seccomp_profile_audit_total", **(every | labels))


def listen(count: int = 1, executable: str = "/usr/sbin/nginx", pod_name: str = "log-pod") -> SeccompCount:
    return SeccompCount(A, "default", pod_name, "nginx", executable, count, "listen", "SCMP_ARCH_X86_64")


@pytest.fixture
def side(directory: ContainerDirectory) -> Side:
    return Side(directory)


def test_batches_add_up_and_count_once(side: Side) -> None:
    side.send(1, listen(2))
    side.send(1, listen(2))
    side.send(2, listen(3))
    assert side.seccomp() == 5
    assert [batch.number for batch in side.observed] == [1, 2]
    side.send(1, listen(1), session="of the next process")
    assert side.seccomp() == 6


def test_metrics_have_their_documented_names(side: Side) -> None:
    side.send(
        1,
        listen(),
        SelinuxCount(A, "default", "log-pod", "nginx", "sh", 2, "read", "s", "t", "file"),
        AppArmorCount(A, "default", "log-pod", "nginx", "cat", 3, "DENIED", "open", "p", "/etc/x"),
    )
    text = generate_latest(side.registry).decode()
    prefix = "security_profiles_operator_seccomp_profile_audit_total"
    assert (
        f"# HELP {prefix} Counter about seccomp profile audits, requires the log enricher to be enabled.\n"
        f"# TYPE {prefix} counter\n"
        f'{prefix}{{container="nginx",executable="/usr/sbin/nginx",namespace="default",node="node-1",'
        'pod="log-pod",syscall="listen"} 1.0\n'
    ) in text
    assert "security_profiles_operator_selinux_profile_audit_total{" in text
    assert "security_profiles_operator_apparmor_profile_audit_total{" in text


def test_executables_without_end_end_in_one_series(directory: ContainerDirectory) -> None:
    side = Side(directory, max_series=10)
    side.send(1, *(listen(executable=f"/x{number}") for number in range(100)))
    other = dict.fromkeys(("namespace", "pod", "container", "executable", "syscall"), "other")
    assert side.seccomp(**other) == 90
    assert side.value("metric_series_merged_total") == 90
    side.send(2, listen(executable="/x1"))
    assert side.seccomp(executable="/x1") == 2


def test_series_of_pods_that_are_gone_make_room(directory: ContainerDirectory) -> None:
    side = Side(directory, max_series=10)
    side.send(1, *(listen(executable=f"/x{number}", pod_name="gone") for number in range(10)))
    side.send(2, listen())
    assert side.seccomp() == 1
    assert side.seccomp(pod="gone", executable="/x1") is None
    assert side.value("metric_series_merged_total") == 0


def test_losses_are_exported_without_counting_twice(side: Side) -> None:
    side.send(1, losses=Losses(gaps=3, process_gone=1))
    side.send(2, losses=Losses(gaps=5, process_gone=1))
    side.send(1, session="t", losses=Losses(gaps=1))
    assert side.value("log_enricher_lost_total", reason="gaps") == 6
    assert side.value("log_enricher_lost_total", reason="process_gone") == 1


def test_what_the_kernel_dropped_is_exported_from_zero_on(side: Side) -> None:
    assert side.value("log_enricher_lost_total", reason="kernel_dropped") == 0
    side.send(1, losses=Losses(kernel_dropped=2))
    assert side.value("log_enricher_lost_total", reason="kernel_dropped") == 2


def test_find_is_answered(side: Side) -> None:
    peer: Any = SimpleNamespace(subscribed=False)
    assert side.service.handle(peer, Find([Wanted("d" * 64)])) == Found([])
