"""Each thing that ``spoc cluster status`` can say, from facts alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from spo.api.core import Lease
from spo.api.node_status import SecurityProfileNodeStatus
from spo.api.profile_binding import ProfileBinding
from spo.api.profile_recording import ProfileRecording
from spo.api.seccomp_profile import SeccompProfile
from spo.api.spod import SecurityProfilesOperatorDaemon
from spo.api.webhook_configuration import MutatingWebhookConfiguration
from spo.cli.cluster_status.facts import CertificateFact, Facts
from spo.cli.cluster_status.findings import report_of
from spo.cli.cluster_status.objects import DaemonPod, StatusNode, Workload
from spo.cli.cluster_status.report import MAX_LISTED, Finding, as_json, as_lines
from spo.names import NODE_GATE_TAINT

NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
LONG_AGO = "2026-06-01T11:00:00Z"
JUST_NOW = "2026-06-01T11:59:50Z"
NS = "security-profiles-operator"
SERVING, AUTHORITY, METRICS = "webhook-server-cert", "webhook-ca", "metrics-server-cert"


def read(kind: type[Any], **fields: Any) -> Any:
    return msgspec.convert(fields, kind)


def ready(status: str = "True", reason: str = "Available", message: str = "", **more: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "reason": reason, "message": message}
    return {**condition, "observedGeneration": 1, "lastTransitionTime": LONG_AGO, **more}


def spod(condition: dict[str, Any] | None = None, *, state: str = "RUNNING", **spec: Any) -> Any:
    status = {"state": state, "conditions": [condition or ready(message="ready on 1 node")]}
    metadata = {"name": "spod", "namespace": NS, "generation": 1}
    return read(SecurityProfilesOperatorDaemon, metadata=metadata, spec=spec, status=status)


def workload(name: str, replicas: int, ready_count: int) -> Workload:
    status = {"readyReplicas": ready_count, "desiredNumberScheduled": replicas, "numberReady": ready_count}
    found: Workload = read(Workload, metadata={"name": name}, spec={"replicas": replicas}, status=status)
    return found


def node(name: str, status: str = "True", *taints: str, since: str = LONG_AGO) -> Any:
    return read(
        StatusNode,
        metadata={"name": name, "creationTimestamp": since},
        spec={"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]},
        status={"conditions": [{"type": "Ready", "status": status}]},
    )


def pod(node_name: str, *, is_ready: bool = True, containers: Any = (), **metadata: Any) -> Any:
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": str(is_ready)}],
        "containerStatuses": list(containers),
    }
    name = f"spod-{node_name}"
    meta = {"name": name, "creationTimestamp": LONG_AGO, **metadata}
    return read(DaemonPod, metadata=meta, spec={"nodeName": node_name}, status=status)


def node_status(node_name: str, **profiles: dict[str, Any]) -> Any:
    entries = {f"SeccompProfile/team/{name}": entry for name, entry in profiles.items()}
    return read(SecurityProfileNodeStatus, metadata={"name": node_name}, nodeName=node_name, profiles=entries)


def profile(name: str, status: dict[str, Any] | None = None, **metadata: Any) -> Any:
    meta = {"name": name, "namespace": "team", "generation": 1, "creationTimestamp": LONG_AGO, **metadata}
    told = {"status": {"observedGeneration": 1, **status}} if status else {}
    return read(SeccompProfile, metadata=meta, spec={"defaultAction": "SCMP_ACT_ALLOW"}, **told)


def binding(condition: dict[str, Any]) -> Any:
    spec = {"profileRef": {"kind": "SeccompProfile", "name": "web"}, "image": "*"}
    metadata = {"name": "b", "namespace": "team", "creationTimestamp": LONG_AGO}
    return read(ProfileBinding, metadata=metadata, spec=spec, status={"conditions": [condition]})


def recording(condition: dict[str, Any], recorder: str = "hook", **metadata: Any) -> Any:
    spec = {"kind": "SeccompProfile", "recorder": recorder, "podSelector": {}}
    meta = {"name": "r", "namespace": "team", "creationTimestamp": LONG_AGO, **metadata}
    return read(ProfileRecording, metadata=meta, spec=spec, status={"conditions": [condition]})


def configuration(policy: str = "Fail") -> Any:
    selector = {"matchExpressions": [{"key": "n", "operator": "In", "values": ["team"]}]}
    entry = {"name": "binding.spo.io", "failurePolicy": policy, "namespaceSelector": selector}
    return read(MutatingWebhookConfiguration, metadata={"name": "spo"}, webhooks=[entry])


def certificate(secret: str, days_left: float = 80, days: int = 90) -> CertificateFact:
    end = NOW + timedelta(days=days_left)
    return CertificateFact(secret=secret, not_before=end - timedelta(days=days), not_after=end, ours=True)


HEALTHY = Facts(
    now=NOW,
    namespace=NS,
    spods=[spod()],
    manager=workload(NS, 1, 1),
    lease=read(Lease, metadata={"name": "l"}, spec={"holderIdentity": "manager-1", "renewTime": JUST_NOW}),
    daemon_set=workload("spod", 1, 1),
    pods=[pod("node-1")],
    nodes=[node("node-1")],
    node_statuses=[node_status("node-1")],
    webhook=workload("webhook", 1, 1),
    configuration=configuration(),
    endpoints=1,
    trusted={"binding.spo.io": True},
    certificates=[certificate(AUTHORITY, 1800, 1825), certificate(SERVING), certificate(METRICS)],
    bindings=[binding(ready(reason="AdmissionActive"))],
    profiles=[profile("web", {"status": "Installed"})],
)


def findings(**changed: Any) -> tuple[Finding, ...]:
    report = report_of(replace(HEALTHY, **changed))
    assert report.healthy == (not report.findings)
    return tuple(report.findings)


def only(**changed: Any) -> Finding:
    (finding,) = findings(**changed)
    return finding


def test_healthy_cluster_has_no_findings() -> None:
    report = report_of(HEALTHY)
    assert not report.findings
    assert list(as_lines(report)) == [
        "Operator in namespace security-profiles-operator: healthy",
        "  ok     spod          RUNNING, ready on 1 node",
        "  ok     manager       1 of 1 ready, manager-1 leads",
        "  ok     daemons       1 of 1 ready on 1 nodes",
        "  ok     webhooks      1 of 1 replicas ready, 1 entries",
        (
            "  ok     certificates  webhook-ca until 2031-05-06, webhook-server-cert until 2026-08-20, "
            "metrics-server-cert until 2026-08-20"
        ),
        "  ok     profiles      1 Installed",
        "  ok     recordings    0, 0 pods being recorded, 0 partial profiles, 0 observations lost",
    ]


CRASHING = {
    "name": "bpf-recorder",
    "restartCount": 5,
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
    "lastState": {"terminated": {"exitCode": 3, "finishedAt": JUST_NOW}},
}
CRASHED = {
    "name": NS,
    "ready": True,
    "restartCount": 3,
    "lastState": {"terminated": {"exitCode": 137, "finishedAt": JUST_NOW}},
}
OLD_CRASH = {**CRASHED, "lastState": {"terminated": {"exitCode": 137, "finishedAt": LONG_AGO}}}


@pytest.mark.parametrize(
    ("changed", "component", "problem", "action"),
    [
        pytest.param({"spods": []}, "spod", "there is no spod object", "rollout restart", id="spod-absent"),
        pytest.param(
            {"spods": [spod(ready("False", "Invalid", "spec.x: bad"), state="ERROR")]},
            "spod",
            "Invalid: spec.x: bad",
            "edit spod spod",
            id="spod-invalid",
        ),
        pytest.param(
            {"spods": [spod(ready(observedGeneration=0))]},
            "spod",
            "has not looked at",
            "logs deployment/",
            id="spod-not-looked-at",
        ),
        pytest.param({"manager": None}, "manager", "no manager", "uninstall --force", id="manager-absent"),
        pytest.param(
            {"manager": workload(NS, 0, 0)}, "manager", "scaled to 0", "--replicas=1", id="manager-scaled"
        ),
        pytest.param(
            {"manager": workload(NS, 1, 0)}, "manager", "no replica is ready", "describe", id="manager-down"
        ),
        pytest.param(
            {"manager": workload(NS, 2, 1)}, "manager", "1 of 2 replicas", "describe", id="manager-half"
        ),
        pytest.param({"lease": None}, "manager", "no replica renews", "logs", id="nobody-leads"),
        pytest.param(
            {"daemon_set": None, "pods": [], "node_statuses": []},
            "daemons",
            "the DaemonSet is absent",
            "logs",
            id="daemon-set-absent",
        ),
        pytest.param(
            {"daemon_set": workload("spod", 2, 1), "nodes": [node("node-1"), node("node-2")]},
            "daemons",
            "1 node has no daemon; without one: node-2",
            "describe daemonset",
            id="daemon-missing",
        ),
        pytest.param(
            {"pods": [pod("node-1", is_ready=False, containers=[CRASHING])]},
            "daemons",
            "node node-1: container bpf-recorder waits: CrashLoopBackOff, after exit code 3: back-off",
            "logs spod-node-1 -c bpf-recorder --previous",
            id="daemon-crashing",
        ),
        pytest.param(
            {"pods": [pod("node-1", containers=[CRASHED])]},
            "daemons",
            "has crashed 3 times, with exit code 137",
            "--previous",
            id="daemon-crashed-often",
        ),
        pytest.param(
            {"pods": [pod("node-1", is_ready=False)], "nodes": [node("node-1", "Unknown")]},
            "daemons",
            "the node is not ready",
            "",
            id="node-not-ready",
        ),
        pytest.param(
            {"pods": [pod("node-1", is_ready=False, containers=[{"name": "x"}])]},
            "daemons",
            "not ready: x",
            "describe pod",
            id="daemon-not-ready",
        ),
        pytest.param(
            {"pods": [pod("node-1", is_ready=False), pod("", is_ready=False)], "nodes": [node("node-1")]},
            "daemons",
            "has no node",
            "describe",
            id="daemon-unscheduled",
        ),
        pytest.param({"node_statuses": []}, "daemons", "has not reported", "logs", id="status-absent"),
        pytest.param(
            {"node_statuses": [node_status("node-1"), node_status("gone")]},
            "daemons",
            "there is no such node any more",
            "delete",
            id="status-of-no-node",
        ),
        pytest.param(
            {
                "nodes": [node("node-1"), node("node-2")],
                "node_statuses": [node_status("node-1"), node_status("node-2")],
            },
            "daemons",
            "it is stale",
            "",
            id="status-stale",
        ),
        pytest.param(
            {"nodes": [node("node-1", "True", "other", NODE_GATE_TAINT)]},
            "daemons",
            "it takes no pods",
            f"kubectl taint node node-1 {NODE_GATE_TAINT}-",
            id="gate-never-opened",
        ),
        pytest.param({"webhook": None}, "webhooks", "absent; new pods of team", "apply", id="no-webhook"),
        pytest.param(
            {"webhook": workload("w", 0, 0), "endpoints": 0},
            "webhooks",
            "scaled to 0; new pods of team are refused meanwhile",
            "--replicas=3",
            id="webhook-scaled",
        ),
        pytest.param(
            {"endpoints": 0},
            "webhooks",
            "no ready replica; new pods of team are refused",
            "describe",
            id="no-endpoint",
        ),
        pytest.param(
            {"webhook": workload("w", 3, 2), "endpoints": 2}, "webhooks", "2 of 3", "describe", id="one-less"
        ),
        pytest.param(
            {"configuration": None, "trusted": {}},
            "webhooks",
            "nothing is bound or recorded in team",
            "logs",
            id="no-configuration",
        ),
        pytest.param(
            {"trusted": {"binding.spo.io": False}}, "webhooks", "caBundle", "repairs", id="not-trusted"
        ),
        pytest.param(
            {"bindings": [binding(ready("False", "AdmissionPending", "waiting"))]},
            "webhooks",
            "new pods are not bound: waiting",
            "",
            id="binding-not-active",
        ),
        pytest.param(
            {"certificates": [CertificateFact(secret=SERVING, present=False)]},
            "certificates",
            "the Secret is absent; admission stops",
            "the manager makes it anew",
            id="certificate-absent",
        ),
        pytest.param(
            {"certificates": [CertificateFact(secret=SERVING, problem="tls.crt holds no certificate")]},
            "certificates",
            "holds no certificate",
            "cert-manager",
            id="certificate-unreadable",
        ),
        pytest.param(
            {"certificates": [certificate(SERVING, -1)]},
            "certificates",
            "has expired",
            "delete",
            id="expired",
        ),
        pytest.param(
            {"certificates": [certificate(SERVING, 5.5)]},
            "certificates",
            "expires in 5 days",
            "delete secret webhook-server-cert",
            id="expiring",
        ),
        pytest.param(
            {"certificates": [certificate(AUTHORITY, 100, 1825)]},
            "certificates",
            "expires in 100 days",
            "delete",
            id="authority-expiring",
        ),
        pytest.param(
            {"certificates": [certificate(SERVING, 91)]}, "certificates", "not valid before", "", id="future"
        ),
        pytest.param(
            {
                "profiles": [profile("web", {"status": "Error", "conditions": [ready("False")]})],
                "node_statuses": [
                    node_status("node-1", web={"state": "Error", "generation": 1, "message": "no"})
                ],
            },
            "profiles",
            "Error - node-1: no",
            "describe seccompprofile web",
            id="profile-error",
        ),
        pytest.param(
            {"profiles": [profile("web")]}, "profiles", "Pending - node-1: not taken up", "logs", id="pending"
        ),
        pytest.param(
            {
                "profiles": [
                    profile(
                        "web",
                        {"status": "Terminating", "activeWorkloads": ["team/p"]},
                        deletionTimestamp=LONG_AGO,
                    )
                ]
            },
            "profiles",
            "Terminating",
            "delete them first: team/p",
            id="profile-in-use",
        ),
        pytest.param(
            {
                "profiles": [
                    profile("web", {"status": "Installed"}, annotations={"spo.x-k8s.io/recording-lost": "7"})
                ]
            },
            "recordings",
            "7 observations were lost",
            "record it again",
            id="lost",
        ),
        pytest.param(
            {"recordings": [recording(ready(), "bpf")]},
            "recordings",
            "its recorder bpf does not run",
            "enableBpfRecorder",
            id="recorder-disabled",
        ),
        pytest.param(
            {"recordings": [recording(ready("False", "Unsupported", "use logs"))]},
            "recordings",
            "new pods are not recorded: use logs",
            "",
            id="recording-not-active",
        ),
        pytest.param(
            {"recordings": [recording(ready(), deletionTimestamp=LONG_AGO)]},
            "recordings",
            "waits for its pods",
            "",
            id="recording-hangs",
        ),
    ],
)
def test_finding(changed: dict[str, Any], component: str, problem: str, action: str) -> None:
    found = [one for one in findings(**changed) if problem in one.problem]
    assert [one.component for one in found] == [component]
    assert action in found[0].action
    assert all(one.component == component for one in findings(**changed))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"pods": [pod("node-1", containers=[OLD_CRASH])]}, id="crashed-an-hour-ago"),
        pytest.param({"nodes": [node("node-1"), node("control-plane")]}, id="node-that-needs-no-daemon"),
        pytest.param({"nodes": [node("node-1", "True", NODE_GATE_TAINT, since=JUST_NOW)]}, id="gate"),
        pytest.param({"configuration": None, "trusted": {}, "bindings": []}, id="nothing-to-admit"),
        pytest.param({"profiles": [profile("new", creationTimestamp=JUST_NOW)]}, id="profile-just-made"),
        pytest.param({"profiles": [profile("off", {"status": "Disabled"})]}, id="disabled"),
        pytest.param({"profiles": [profile("half", {"status": "Partial"})]}, id="partial"),
        pytest.param(
            {"profiles": [profile("old", {"status": "Terminating"}, deletionTimestamp=JUST_NOW)]},
            id="deleted",
        ),
        pytest.param(
            {"recordings": [recording(ready(), "bpf")], "spods": [spod(enableBpfRecorder=True)]},
            id="recorder-enabled",
        ),
        pytest.param({"notes": ["certificates: no right"], "certificates": []}, id="not-looked-at"),
    ],
)
def test_no_finding(changed: dict[str, Any]) -> None:
    assert findings(**changed) == ()


def test_webhook_that_may_be_passed_by_refuses_nothing() -> None:
    assert "refused" not in only(endpoints=0, configuration=configuration("Ignore")).problem


def test_many_findings_are_counted_and_the_first_shown() -> None:
    many = [profile(f"p{index:03}", {"status": "Error"}) for index in range(40)]
    report = report_of(replace(HEALTHY, profiles=many))
    assert [one.finding_count for one in report.components if one.name == "profiles"] == [40]
    assert len(report.findings) == MAX_LISTED
    assert report.profiles.not_installed_count == 40
    lines = list(as_lines(report))
    assert lines[-1] == "profiles: and 30 more"
    assert lines[0].endswith("40 problems")


def test_updated_profile_waits_for_the_nodes_of_the_old_generation() -> None:
    conditions = [ready(lastTransitionTime=LONG_AGO)]
    changed = profile("web", {"status": "Installed", "conditions": conditions}, generation=2)
    reports = [node_status("node-1", web={"state": "Installed", "generation": 1})]
    assert only(profiles=[changed], node_statuses=reports).problem == "Pending - node-1: Installed"


def test_nodes_of_a_profile_are_counted_and_the_first_shown() -> None:
    names = [f"node-{index:02}" for index in range(15)]
    report = report_of(
        replace(
            HEALTHY,
            daemon_set=workload("spod", 15, 15),
            nodes=[node(name) for name in names],
            pods=[pod(name) for name in names],
            node_statuses=[node_status(name) for name in names],
            profiles=[profile("web")],
        )
    )
    (trouble,) = report.profiles.not_installed
    assert (len(trouble.nodes), trouble.node_count) == (MAX_LISTED, 15)
    (finding,) = report.findings
    assert finding.problem.endswith("node-09: not taken up; and 5 more nodes")


def test_json_has_the_documented_fields() -> None:
    report = msgspec.json.decode(as_json(report_of(replace(HEALTHY, manager=None))))
    assert set(report) == {
        "version", "healthy", "namespace", "components", "findings", "notes", "nodes", "certificates",
        "profiles", "recordings",
    }  # fmt: skip
    assert report["version"] == 1
    assert set(report["components"][0]) == {"name", "healthy", "summary", "findingCount"}
    assert set(report["findings"][0]) == {"component", "object", "problem", "action"}
    assert report["nodes"] == [
        {"name": "node-1", "daemon": "Ready", "reported": True, "installed": 0, "failed": 0}
    ]
    assert report["certificates"][0] == {"secret": AUTHORITY, "notAfter": "2031-05-06T12:00:00+00:00"}
