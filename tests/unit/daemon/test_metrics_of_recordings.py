"""Counters of recordings and of profiles."""

from prometheus_client import CollectorRegistry, generate_latest

from spo.daemon.audit_metrics import MAX_SERIES as MAX_AUDIT_SERIES
from spo.daemon.audit_metrics import AuditMetrics
from spo.daemon.metrics import AppArmorProfileMetrics, SeccompProfileMetrics, SelinuxProfileMetrics
from spo.daemon.metrics_recording import MAX_SERIES, RecordingMetrics

PREFIX = "security_profiles_operator_"


def shown(registry: CollectorRegistry) -> dict[str, float]:
    lines = generate_latest(registry).decode().splitlines()
    values = dict(line.removeprefix(PREFIX).rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in values.items()}


def test_each_recorded_container_has_a_series() -> None:
    registry = CollectorRegistry()
    metrics = RecordingMetrics(registry, "n")
    metrics.recorded(4026532001, "rec-nginx", 70)
    metrics.recorded(4026532002, "rec-nginx", 71)
    metrics.recorded(4026532002, "rec-nginx", 1)

    page = shown(registry)
    assert page['seccomp_profile_bpf_total{mount_namespace="4026532001",node="n",profile="rec-nginx"}'] == 70
    assert page['seccomp_profile_bpf_total{mount_namespace="4026532002",node="n",profile="rec-nginx"}'] == 72


def test_too_many_are_counted_together() -> None:
    registry = CollectorRegistry()
    metrics = RecordingMetrics(registry, "n", max_series=2)
    for namespace in range(5):
        metrics.recorded(namespace, "p", 10)
    metrics.recorded(0, "p", 5)

    page = shown(registry)
    assert sum(name.startswith("seccomp_profile_bpf_total") for name in page) == 3
    assert page['seccomp_profile_bpf_total{mount_namespace="0",node="n",profile="p"}'] == 15
    assert page['seccomp_profile_bpf_total{mount_namespace="other",node="n",profile="other"}'] == 30
    assert page["metric_series_merged_total"] == 30


def test_audits_and_recordings_share_the_counter_of_what_is_merged() -> None:
    registry = CollectorRegistry()
    metrics = RecordingMetrics(registry, "n")
    AuditMetrics(registry, "n", lambda *_: True, merged=metrics.merged)

    assert shown(registry)["metric_series_merged_total"] == 0


def test_losses_are_added_up() -> None:
    registry = CollectorRegistry()
    metrics = RecordingMetrics(registry, "n")
    metrics.lost(0)
    metrics.lost(3)

    assert shown(registry)["profile_recording_lost_total"] == 3


def test_what_can_go_wrong_is_there_from_the_start() -> None:
    registry = CollectorRegistry()
    for kind in (SeccompProfileMetrics, SelinuxProfileMetrics, AppArmorProfileMetrics):
        kind(registry)

    page = shown(registry)
    assert {value for name, value in page.items() if "_created" not in name} == {0}
    assert 'seccomp_profile_error_total{reason="CannotSaveSeccompProfile"}' in page
    assert 'selinux_profile_error_total{reason="CannotContactSelinuxd"}' in page
    assert 'apparmor_profile_error_total{reason="CannotLoadAppArmorProfile"}' in page
    assert 'seccomp_profile_total{operation="delete"}' in page


def test_names_and_help_are_those_that_dashboards_know() -> None:
    registry = CollectorRegistry()
    RecordingMetrics(registry, "n")
    for kind in (SeccompProfileMetrics, SelinuxProfileMetrics, AppArmorProfileMetrics):
        kind(registry)

    lines = generate_latest(registry).decode().splitlines()
    helps = {
        line.split(" ", 3)[2].removeprefix(PREFIX): line.split(" ", 3)[3]
        for line in lines
        if "# HELP" in line
    }
    assert helps["seccomp_profile_bpf_total"] == (
        "Counter about seccomp profile bpf events, requires the bpf recorder to be enabled."
    )
    for kind in ("seccomp", "selinux", "apparmor"):
        assert helps[f"{kind}_profile_total"] == f"Counter about {kind} profile operations."
        assert helps[f"{kind}_profile_error_total"] == f"Counter about {kind} profile errors."


def test_all_metrics_of_pods_have_at_most_ten_thousand_series() -> None:
    assert MAX_SERIES + MAX_AUDIT_SERIES == 10_000
