"""Bindings: new pods get the profile without naming it, or are refused, and nobody else is held up."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests.e2e.bound import (
    WEBHOOK,
    Creating,
    binding,
    bound_namespace,
    only_own,
    path,
    profiles_of,
    secret,
    trusted,
    wait_active,
)
from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import BUSYBOX, Namespace, pod, seccomp_profile
from tools.devcluster import KUBECTL

TRY_MKDIR = ("sh", "-c", "mkdir /tmp/x && echo made; grep Seccomp: /proc/self/status; exec sleep 600")


def test_pod_with_the_image_runs_under_the_profile(namespace: Namespace) -> None:
    bound_namespace(namespace)
    namespace.apply(pod("user", *TRY_MKDIR))
    namespace.kubectl("wait", "--for=condition=ready", "pod/user", "--timeout=30s")
    namespace.eventually("the output", lambda: "Seccomp:" in namespace.kubectl("logs", "user"))
    output = namespace.kubectl("logs", "user")
    assert "Operation not permitted" in output
    assert "Seccomp:\t2\n" in output
    jsonpath = "-o=jsonpath={.spec.containers[*].securityContext.seccompProfile}"
    shown = json.loads(namespace.kubectl("get", "pod", "user", jsonpath))
    assert shown == {"localhostProfile": path(namespace), "type": "Localhost"}

    workload = [f"{namespace.name}/user"]
    namespace.eventually(
        "the workload in the binding",
        lambda: namespace.get("profilebinding", "strict")["status"].get("activeWorkloads") == workload,
    )
    assert namespace.get("profilebinding", "strict")["metadata"]["finalizers"] == ["active-workload-lock"]
    namespace.eventually(
        "the workload in the profile",
        lambda: namespace.status("no-mkdir").get("activeWorkloads") == workload,
    )
    assert "in-use-by-active-pods" in namespace.get("seccompprofile", "no-mkdir")["metadata"]["finalizers"]

    namespace.kubectl("delete", "profilebinding", "strict", "--wait=false")
    namespace.kubectl("run", "later", f"--image={BUSYBOX}", "--restart=Never", "--", "true")
    assert namespace.get("profilebinding", "strict")["metadata"]["deletionTimestamp"]
    namespace.kubectl("delete", "pod", "user", "--grace-period=1", "--timeout=30s")
    namespace.kubectl("wait", "--for=delete", "profilebinding/strict", "--timeout=20s")


def test_binding_reaches_init_containers_and_pods_of_a_deployment(namespace: Namespace) -> None:
    bound_namespace(namespace, image="*")
    init = {"name": "i", "image": BUSYBOX, "command": ["true"]}
    template = pod("x", "sleep", "600", initContainers=[init])
    labels = {"app": "web"}
    namespace.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
            },
        }
    )
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    pods = json.loads(namespace.kubectl("get", "pods", "--output=json"))["items"]
    assert len(pods) == 2
    for one in pods:
        assert profiles_of(one) == profiles_of(one, "initContainers") == [path(namespace)]
    stored = namespace.get("deployment", "web")["spec"]["template"]
    assert profiles_of(stored) == [None]
    namespace.eventually(
        "both pods in the binding",
        lambda: namespace.get("profilebinding", "strict")["status"].get("activeWorkloadCount") == 2,
    )
    namespace.kubectl("delete", "deployment", "web", "--timeout=30s")
    namespace.eventually(
        "the binding is free",
        lambda: "finalizers" not in namespace.get("profilebinding", "strict")["metadata"],
    )


def test_container_added_for_debugging_is_bound(namespace: Namespace) -> None:
    bound_namespace(namespace)
    own = pod("user", "sleep", "600")
    own["spec"]["containers"][0]["securityContext"] = {"seccompProfile": {"type": "RuntimeDefault"}}
    namespace.apply(own)
    namespace.kubectl("wait", "--for=condition=ready", "pod/user", "--timeout=30s")
    for name in ("first", "second"):
        namespace.kubectl("debug", "user", f"--image={BUSYBOX}", f"--container={name}", "--", "true")
    stored = namespace.get("pod", "user")
    assert profiles_of(stored, "ephemeralContainers") == [path(namespace)] * 2
    assert profiles_of(stored) == [None]


def test_choice_of_the_user_wins_and_unknown_fields_survive(namespace: Namespace) -> None:
    bound_namespace(namespace)
    own = pod("own", "sleep", "600", securityContext={"seccompProfile": {"type": "RuntimeDefault"}})
    namespace.apply(own)
    assert profiles_of(namespace.get("pod", "own")) == [None]

    odd = pod("odd", "sleep", "600", schedulingGates=[{"name": "example.com/wait"}])
    odd["spec"]["containers"][0]["securityContext"] = {"runAsUser": 1000, "procMount": "Default"}
    odd["metadata"]["annotations"] = {"a/b": "~1"}
    namespace.apply(odd)
    stored = namespace.get("pod", "odd")
    context = stored["spec"]["containers"][0]["securityContext"]
    assert profiles_of(stored) == [path(namespace)]
    assert (context["runAsUser"], context["procMount"]) == (1000, "Default")
    assert stored["metadata"]["annotations"]["a/b"] == "~1"


def test_dry_run_and_generated_names_are_bound_and_nothing_is_written(namespace: Namespace) -> None:
    bound_namespace(namespace)
    generated = pod("x", "sleep", "600")
    generated["metadata"] = {"generateName": "web-"}
    command = ("create", "--dry-run=server", "--output=json", "-f", "-")
    made = json.loads(namespace.kubectl(*command, stdin=yaml.safe_dump(generated)))
    assert profiles_of(made) == [path(namespace)]
    assert json.loads(namespace.kubectl("get", "pods", "--output=json"))["items"] == []
    assert "finalizers" not in namespace.get("profilebinding", "strict")["metadata"]

    made = json.loads(
        namespace.kubectl("create", "--output=json", "-f", "-", stdin=yaml.safe_dump(generated))
    )
    assert profiles_of(made) == [path(namespace)]

    large = pod("large", "sleep", "600")
    large["spec"]["containers"][0]["env"] = [{"name": "MEBIBYTE", "value": "x" * (1 << 20)}]
    made = json.loads(namespace.kubectl(*command, stdin=yaml.safe_dump(large)))
    assert profiles_of(made) == [path(namespace)]


def test_missing_profile_refuses_the_pod_and_names_both(namespace: Namespace) -> None:
    namespace.apply(binding("strict", "absent"))
    wait_active(namespace, "strict")
    ready = namespace.get("profilebinding", "strict")["status"]["conditions"][0]
    assert "'absent' does not exist" in ready["message"]
    error = namespace.refused("apply", "-f", "-", stdin=yaml.safe_dump(pod("user", "true")))
    assert 'admission webhook "binding.spo.io" denied the request' in error
    assert f"ProfileBinding {namespace.name}/strict" in error
    assert "SeccompProfile 'absent', which does not exist" in error

    namespace.apply(seccomp_profile("absent"))
    namespace.apply(pod("user", "sleep", "600"))  # at once: nobody waits for a cache
    assert profiles_of(namespace.get("pod", "user")) == [path(namespace, "absent")]


def test_profile_deleted_while_bound_stays_for_its_pods_and_takes_no_new_ones(namespace: Namespace) -> None:
    bound_namespace(namespace)
    namespace.apply(pod("user", "sleep", "600"))
    namespace.kubectl("wait", "--for=condition=ready", "pod/user", "--timeout=30s")
    namespace.eventually("in use", lambda: namespace.status("no-mkdir").get("activeWorkloads"))
    namespace.kubectl("delete", "seccompprofile", "no-mkdir", "--wait=false")
    manifest = yaml.safe_dump(pod("second", "sleep", "600"))
    namespace.eventually(
        "a refusal",
        lambda: (
            "which is being deleted"
            in namespace.cluster.run(
                "--namespace", namespace.name, "create", "--dry-run=server", "-f", "-", stdin=manifest
            ).stderr
        ),
    )
    assert namespace.file("no-mkdir").exists()
    namespace.kubectl("delete", "pod", "user", "--grace-period=1", "--timeout=30s")
    namespace.kubectl("wait", "--for=delete", "seccompprofile/no-mkdir", "--timeout=20s")
    assert "does not exist" in namespace.refused("create", "-f", "-", stdin=manifest)


@contextmanager
def webhook_scaled_to_zero(namespace: Namespace) -> Iterator[None]:
    operator = Namespace(namespace.cluster, OPERATOR)
    operator.kubectl("scale", WEBHOOK, "--replicas=0")
    selector = "--selector=name=security-profiles-operator-webhook"
    operator.kubectl("wait", "--for=delete", "pod", selector, "--timeout=40s")
    try:
        yield
    finally:
        operator.kubectl("scale", WEBHOOK, "--replicas=1")
        operator.kubectl("rollout", "status", WEBHOOK, "--timeout=60s")


def test_without_webhook_only_new_pods_of_bound_namespaces_wait(namespace: Namespace) -> None:
    only_own(namespace)
    bound_namespace(namespace)
    namespace.apply(pod("user", "sleep", "600"))
    default = Namespace(namespace.cluster, "default")
    elsewhere = pod("elsewhere", "sleep", "600")
    with webhook_scaled_to_zero(namespace):
        default.apply(elsewhere)
        default.kubectl("delete", "pod", "elsewhere", "--grace-period=1", "--timeout=30s")
        namespace.kubectl("label", "pod", "user", "more=labels")
        namespace.kubectl("annotate", "pod", "user", "more=annotations")
        error = namespace.refused("apply", "-f", "-", stdin=yaml.safe_dump(pod("second", "sleep", "600")))
        assert 'failed calling webhook "binding.spo.io"' in error
        # What others wait for goes on: the pod ends, the binding lets go.
        namespace.kubectl("delete", "pod", "user", "--grace-period=1", "--timeout=30s")
    namespace.apply(pod("second", "sleep", "600"))
    assert profiles_of(namespace.get("pod", "second")) == [path(namespace)]


def gated_pods(count: int) -> str:
    """Pods that are stored and never start."""
    one = pod("x", "sleep", "600", schedulingGates=[{"name": "example.com/wait"}])
    one["metadata"] = {"generateName": "many-"}
    return yaml.safe_dump_all([one] * count)


def test_restart_of_the_webhook_among_500_new_pods_loses_no_binding(namespace: Namespace) -> None:
    only_own(namespace)
    bound_namespace(namespace)
    operator = Namespace(namespace.cluster, OPERATOR)
    creating = [
        subprocess.Popen(
            (str(KUBECTL), f"--kubeconfig={namespace.cluster.kubeconfig}", "create", "-f", "-"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    manifest = gated_pods(250).replace("generateName", f"namespace: {namespace.name}\n  generateName")
    for process in creating:
        assert process.stdin is not None
        process.stdin.write(manifest)
        process.stdin.close()
        process.stdin = None
    # In the middle: some are there, many are to come.
    namespace.eventually("the first pods", lambda: namespace.kubectl("get", "pods", "--output=name"))
    operator.kubectl("rollout", "restart", WEBHOOK)
    told = [process.communicate(timeout=120) for process in creating]
    operator.kubectl("rollout", "status", WEBHOOK, "--timeout=60s")

    created = sum(out.count(" created") for out, _ in told)
    refusals = [line for _, error in told for line in error.splitlines() if line]
    assert created + len(refusals) == 500
    assert all('failed calling webhook "binding.spo.io"' in line for line in refusals), refusals[:3]
    pods = json.loads(namespace.kubectl("get", "pods", "--output=json"))["items"]
    assert len(pods) == created > 0
    assert {tuple(profiles_of(one)) for one in pods} == {(path(namespace),)}


def test_lost_certificate_is_issued_again_without_a_refused_pod(namespace: Namespace) -> None:
    """A new CA is another matter: see the tests of the replicas."""
    only_own(namespace)
    bound_namespace(namespace)
    operator = Namespace(namespace.cluster, OPERATOR)
    before = secret(namespace, "webhook-server-cert")["tls.crt"]

    def reissued() -> bool:
        found = operator.cluster.run("--namespace", OPERATOR, "get", "secret", "webhook-server-cert")
        return found.returncode == 0 and secret(namespace, "webhook-server-cert")["tls.crt"] != before

    with Creating(namespace) as made:
        operator.kubectl("delete", "secret", "webhook-server-cert")
        namespace.eventually("the certificate is issued again", reissued)
        so_far = made.bound
        namespace.eventually("pods go on", lambda: made.bound > so_far + 5)
    assert made.refused == []
    assert trusted(namespace) == secret(namespace, "webhook-ca")["tls.crt"]


def recording(name: str, recorder: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1alpha1",
        "kind": "ProfileRecording",
        "metadata": {"name": name},
        "spec": {
            "kind": "SeccompProfile",
            "recorder": recorder,
            "podSelector": {"matchLabels": {"app": "alpine"}},
            **spec,
        },
    }


def test_recordings_mark_pods_and_warn_of_what_cannot_work(namespace: Namespace) -> None:
    namespace.apply(recording("by-bpf", "bpf", containers=["c"]), recording("by-logs", "logs"))
    namespace.apply(recording("odd", "hook", kind="SelinuxProfile"))
    for name in ("by-bpf", "by-logs"):
        wait_active(namespace, name, "profilerecording")
    namespace.eventually("a status", lambda: namespace.get("profilerecording", "odd").get("status"))
    odd = namespace.get("profilerecording", "odd")["status"]["conditions"][0]
    assert (odd["status"], odd["reason"]) == ("False", "Unsupported")

    privileged = pod("user", "sleep", "600", schedulingGates=[{"name": "example.com/wait"}])
    privileged["metadata"]["labels"] = {"app": "alpine"}
    privileged["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    done = namespace.cluster.run(
        "--namespace", namespace.name, "create", "-f", "-", stdin=yaml.safe_dump(privileged)
    )
    assert done.returncode == 0, done.stderr
    assert "Warning: ProfileRecording by-logs: container 'c' is privileged" in done.stderr
    assert "recorder 'hook' cannot record a SelinuxProfile" in done.stderr
    stored = namespace.get("pod", "user")
    annotations = stored["metadata"]["annotations"]
    values = {key: value.rpartition("-")[0] for key, value in annotations.items() if "trace" in key}
    assert values == {"io.containers.trace-bpf/c": "by-bpf-c", "io.containers.trace-logs/c": "by-logs-c"}
    assert profiles_of(stored) == [f"operator/{OPERATOR}/log-enricher-trace.json"]
