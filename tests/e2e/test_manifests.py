"""The manifests as users apply them, on a cluster that has nothing yet."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from spo.manager.default_profile_data import DEFAULT_PROFILES
from tests.e2e.cluster import BUSYBOX, Cluster, Namespace, pod, seccomp_profile
from tools.devcluster import OPERATOR_NAMESPACE, DevCluster, free_port, installed_objects


@pytest.fixture
def empty() -> Iterator[DevCluster]:
    """onenode without a CRD, and with the image at hand."""
    folder = Path(tempfile.mkdtemp(prefix="spo-manifests-", dir="/var/tmp"))
    folder.chmod(0o755)
    (folder / "node/var/lib").mkdir(parents=True)
    dev = DevCluster(
        state=folder / "state", node_root=folder / "node", port=free_port(), node_name="e2e-node"
    )
    dev.build_image()
    try:
        dev.start_empty_api()
        yield dev
    finally:
        dev.down()
    left = [path for path in (folder / "node").rglob("*") if not path.is_dir()]
    assert not left, f"left on the node: {left}"
    shutil.rmtree(folder)


def wait_running(dev: DevCluster, namespace: str = OPERATOR_NAMESPACE) -> None:
    where = (f"--namespace={OPERATOR_NAMESPACE}", "--timeout=60s")
    dev.kubectl("wait", "--for=create", "spod/spod", *where)
    dev.kubectl("wait", "--for=jsonpath={.status.state}=RUNNING", "spod/spod", *where)
    for profile in DEFAULT_PROFILES:
        at = (f"--namespace={namespace}", "--timeout=60s", f"seccompprofile/{profile}")
        dev.kubectl("wait", "--for=jsonpath={.status.status}=Installed", *at)


def manifest(dev: DevCluster) -> str:
    return yaml.safe_dump_all(installed_objects("operator.yaml", dev.node_root))


def test_one_file_makes_a_running_operator(empty: DevCluster) -> None:
    empty.kubectl("apply", "-f", "-", stdin=manifest(empty))
    wait_running(empty)
    again = empty.kubectl("apply", "-f", "-", stdin=manifest(empty)).stdout
    changed = [line for line in again.splitlines() if not line.endswith(" unchanged")]
    assert changed == []
    webhooks = f"deployment/{OPERATOR_NAMESPACE}-webhook"
    empty.kubectl("rollout", "status", webhooks, f"--namespace={OPERATOR_NAMESPACE}", "--timeout=60s")
    kinds = "profilebindings,profilerecordings,seccompprofiles"
    empty.kubectl("delete", kinds, "--all", "--all-namespaces", "--timeout=60s")
    # The Namespace comes first, and takes with it what is in it.
    empty.kubectl("delete", "--ignore-not-found", "-f", "-", "--timeout=60s", stdin=manifest(empty))
    selector = "--selector=app=security-profiles-operator"
    kinds = "crd,ns,clusterrole,clusterrolebinding,mutatingwebhookconfiguration,validatingadmissionpolicy"
    assert empty.kubectl("get", kinds, selector, "--ignore-not-found", "--output=name").stdout == ""


WATCHED, ELSEWHERE = "watched", "elsewhere"


def test_one_namespace_is_looked_after_and_no_other(empty: DevCluster) -> None:
    for name in (WATCHED, ELSEWHERE):
        empty.kubectl("create", "namespace", name)
    empty.apply(*installed_objects("namespace-operator.yaml", empty.node_root, WATCHED))
    wait_running(empty, WATCHED)
    cluster = Cluster(str(empty.kubeconfig), empty.node_root, own=True)
    watched, elsewhere = Namespace(cluster, WATCHED), Namespace(cluster, ELSEWHERE)
    elsewhere.apply(seccomp_profile("p"))
    watched.apply(seccomp_profile("p"))
    watched.wait_ready("p")
    assert watched.file("p").exists()
    assert elsewhere.status("p") == {}
    assert not elsewhere.file("p").exists()

    _bind_and_check(watched)
    watched.kubectl("delete", "profilebinding,pods", "--all", "--timeout=30s")
    watched.kubectl("delete", "seccompprofile", "p", "--timeout=30s")
    assert not watched.file("p").exists()
    _check_rights(cluster)
    for part in ("deployment/security-profiles-operator", "daemonset/spod"):
        log = cluster.run("-n", OPERATOR_NAMESPACE, "logs", part, "--tail=-1").stdout
        assert "is forbidden" not in log, [line for line in log.splitlines() if "is forbidden" in line][:3]


def _bind_and_check(namespace: Namespace) -> None:
    """The webhooks work: their configuration was filled in, with no right to make one."""
    binding = {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1alpha1",
        "kind": "ProfileBinding",
        "metadata": {"name": "b"},
        "spec": {"profileRef": {"kind": "SeccompProfile", "name": "p"}, "image": BUSYBOX},
    }
    namespace.apply(binding)
    namespace.kubectl("wait", "--for=condition=ready", "--timeout=30s", "profilebinding/b")
    namespace.apply(pod("bound", "sleep", "600"))
    profile = namespace.get("pod", "bound")["spec"]["containers"][0]["securityContext"]["seccompProfile"]
    assert profile == {"type": "Localhost", "localhostProfile": f"operator/{WATCHED}/p.json"}


def _check_rights(cluster: Cluster) -> None:
    """No account may do anything elsewhere, nor more than the few things that have no namespace."""
    for account in ("security-profiles-operator", "spod", "security-profiles-operator-webhook"):
        who = f"--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{account}"
        listed = cluster.run("auth", "can-i", "--list", who, "-n", ELSEWHERE, "--no-headers").stdout
        found = {line.split()[0] for line in listed.splitlines()}
        allowed = {
            "nodes",
            "tokenreviews.authentication.k8s.io",
            "subjectaccessreviews.authorization.k8s.io",
            "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        }
        own = {name for name in found if name.startswith(("selfsubject", "[", "/"))}
        assert found - own <= allowed, f"{account}: {sorted(found - own - allowed)}"
        for verb, resource in (
            ("list", "nodes"),
            ("list", "seccompprofiles"),
            ("list", "pods"),
            ("get", "secrets"),
        ):
            answer = cluster.run("auth", "can-i", verb, resource, who, "-n", ELSEWHERE).stdout.strip()
            assert answer == "no", f"{account} may {verb} {resource}"
