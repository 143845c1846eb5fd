"""Rules in force on a real onenode, as kubectl sees them."""

import json
import os
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.devcluster import KUBECTL, DevCluster, free_port, operator_objects

pytestmark = pytest.mark.root

RBAC = "rbac.authorization.k8s.io"
GROUP = "security-profiles-operator.x-k8s.io"
OPERATOR = "security-profiles-operator"
DAEMON = f"system:serviceaccount:{OPERATOR}:spod"
MANAGER = f"system:serviceaccount:{OPERATOR}:{OPERATOR}"


def run(cluster: DevCluster, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (str(KUBECTL), *arguments),
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        input=stdin,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[DevCluster]:
    """onenode with the operator's namespace and rights, without its pods."""
    folder = Path(tempfile.mkdtemp(prefix="onenode-rbac-"))
    made = DevCluster(state=folder / "state", node_root=folder / "node", port=free_port(), node_name="n1")
    made.start_api()
    try:
        rights = [item for item in operator_objects(made.node_root) if item["kind"] != "Deployment"]
        made.apply(*rights, *_fixtures())
        yield made
    finally:
        made.onenode("down", f"--state={made.state}", "--purge")
        subprocess.run(("rm", "-r", str(folder)), check=True)


def _fixtures() -> list[dict[str, Any]]:
    rule = {"apiGroups": [GROUP], "resources": ["seccompprofiles"], "verbs": ["get", "list"]}
    role = {"kind": "Role", "metadata": {"name": "r1", "namespace": "t"}, "rules": [rule]}
    binding = {
        "kind": "RoleBinding",
        "metadata": {"name": "rb1", "namespace": "t"},
        "subjects": [
            {"kind": "User", "name": "jane"},
            {"kind": "ServiceAccount", "name": "default", "namespace": "t"},
        ],
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "r1"},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "t"}}
    profile = {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "SeccompProfile",
        "metadata": {"name": "p", "namespace": "t"},
        "spec": {"defaultAction": "SCMP_ACT_LOG"},
    }
    return [namespace, {**role, "apiVersion": f"{RBAC}/v1"}, {**binding, "apiVersion": f"{RBAC}/v1"}, profile]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("create sp", "yes"),
        ("get pods --subresource=log", "yes"),
        ("get /version", "yes"),
        ("get /metrics", "yes"),
        ("list sp --as=jane", "yes"),
        ("list sp --as=jane --all-namespaces", "no"),
        ("watch sp --as=jane", "no"),
        ("create sp --as=jane", "no"),
        ("delete nodes --as=jane", "no"),
        ("get /version --as=jane", "yes"),
        ("get /metrics --as=jane", "no"),
        ("list sp --as=system:serviceaccount:t:default", "yes"),
        ("delete nodes --as=jane --as-group=system:masters", "yes"),
    ],
)
def test_can_i(cluster: DevCluster, arguments: str, answer: str) -> None:
    done = run(cluster, "-n", "t", "auth", "can-i", *arguments.split())
    assert (done.stdout.strip(), done.returncode) == (answer, 0 if answer == "yes" else 1), done.stderr


def test_can_i_list(cluster: DevCluster) -> None:
    done = run(cluster, "-n", "t", "auth", "can-i", "--list", "--as=jane")
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert rows[f"seccompprofiles.{GROUP}"].split()[1:] == ["[]", "[]", "[get", "list]"]
    assert rows["selfsubjectreviews.authentication.k8s.io"].endswith("[create]")
    assert rows["[/version]"].endswith("[get]")
    assert "pods" not in rows


def test_whoami(cluster: DevCluster) -> None:
    mine = run(cluster, "auth", "whoami", "--output=json")
    assert json.loads(mine.stdout)["status"]["userInfo"] == {
        "username": "kubernetes-admin",
        "groups": ["system:masters", "system:authenticated"],
    }
    other = run(cluster, "auth", "whoami", "--as=jane", "--as-group=a", "--as-group=b").stdout
    assert other.splitlines()[1].split() == ["Username", "jane"]
    assert "[a b system:authenticated]" in other


def test_refusals_are_worded_as_recorded(cluster: DevCluster) -> None:
    done = run(cluster, "-n", "t", "create", "-f", "-", "--as=jane", stdin=yaml.safe_dump(_fixtures()[-1]))
    assert (
        f'seccompprofiles.{GROUP} is forbidden: User "jane" cannot create resource "seccompprofiles" '
        f'in API group "{GROUP}" in the namespace "t"'
    ) in done.stderr
    assert run(cluster, "-n", "t", "get", "sp", "--as=jane").returncode == 0
    done = run(cluster, "get", "nodes", "--as=jane")
    assert done.stderr == (
        'Error from server (Forbidden): nodes is forbidden: User "jane" cannot list resource "nodes" '
        'in API group "" at the cluster scope\n'
    )


def test_kubectl_creates_roles_and_shows_them(cluster: DevCluster) -> None:
    create = ("create", "clusterrole", "node-reader", "--verb=get,list", "--resource=nodes")
    assert run(cluster, *create).returncode == 0
    bind = ("create", "clusterrolebinding", "eve-reads", "--clusterrole=node-reader", "--user=eve")
    assert run(cluster, *bind).returncode == 0
    assert run(cluster, "get", "nodes", "--as=eve").returncode == 0
    header, row = run(cluster, "get", "clusterrolebinding", "eve-reads", "-o", "wide").stdout.splitlines()
    assert header.split() == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]
    assert row.split()[:2] == ["eve-reads", "ClusterRole/node-reader"]
    assert row.split()[3] == "eve"
    assert "nodes" in run(cluster, "describe", "clusterrole", "node-reader").stdout
    assert run(cluster, "delete", "clusterrolebinding", "eve-reads").returncode == 0
    assert run(cluster, "get", "nodes", "--as=eve").returncode == 1


def test_right_to_read_is_no_right_to_run_commands(cluster: DevCluster) -> None:
    # kubectl reads the pod first; exec itself begins as a GET of a WebSocket.
    read = ("create", "role", "peek", "--verb=get", "--resource=pods,pods/exec", "-n", "t")
    assert run(cluster, *read).returncode == 0
    bind = ("create", "rolebinding", "peek", "--role=peek", "--user=peeker", "-n", "t")
    assert run(cluster, *bind).returncode == 0
    spec = {"containers": [{"name": "c", "image": "none"}], "nodeSelector": {"no": "node"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "idle", "namespace": "t"}, "spec": spec}
    cluster.apply(pod)
    command = ("-n", "t", "exec", "idle", "--", "ls")
    assert 'cannot create resource "pods/exec"' in run(cluster, "--as=peeker", *command).stderr
    assert "cannot" not in run(cluster, *command).stderr


def test_aggregated_role(cluster: DevCluster) -> None:
    create = ("create", "clusterrole", "all-of-it", "--aggregation-rule=part=yes")
    assert run(cluster, *create).returncode == 0
    part = ("create", "clusterrole", "part", "--verb=get", "--resource=secrets")
    assert run(cluster, *part).returncode == 0
    assert run(cluster, "label", "clusterrole", "part", "part=yes").returncode == 0
    rules = json.loads(run(cluster, "get", "clusterrole", "all-of-it", "--output=json").stdout)["rules"]
    assert rules == [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]


def post(cluster: DevCluster, path: str, body: dict[str, Any], *flags: str) -> Any:
    done = run(cluster, "create", "--raw", path, "-f", "-", *flags, stdin=json.dumps(body))
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def test_reviews(cluster: DevCluster) -> None:
    wanted = {"verb": "get", "group": GROUP, "resource": "seccompprofiles", "namespace": "t"}
    reason = 'RBAC: allowed by RoleBinding "rb1/t" of Role "r1" to User "jane"'
    spec = {"user": "jane", "resourceAttributes": wanted}
    path = "/apis/authorization.k8s.io/v1"
    answer = post(cluster, f"{path}/subjectaccessreviews", {"spec": spec})
    assert answer["status"] == {"allowed": True, "reason": reason}
    assert list(answer["spec"]["resourceAttributes"]) == ["namespace", "verb", "group", "resource"]
    answer = post(cluster, f"{path}/namespaces/t/localsubjectaccessreviews", {"spec": spec})
    assert (answer["metadata"], answer["status"]) == ({"namespace": "t"}, {"allowed": True, "reason": reason})
    foreign = {**spec, "resourceAttributes": {**wanted, "namespace": "default"}}
    assert "must match metadata.namespace" in post(
        cluster, f"{path}/namespaces/t/localsubjectaccessreviews", {"spec": foreign}
    )
    refused = post(cluster, f"{path}/subjectaccessreviews", {"spec": {"user": "x"}})
    assert "exactly one of nonResourceAttributes or resourceAttributes must be specified" in refused
    refused = post(cluster, f"{path}/subjectaccessreviews", {"spec": {"resourceAttributes": wanted}})
    assert "at least one of user or group must be specified" in refused
    refused = post(cluster, f"{path}/subjectaccessreviews", {"spec": spec}, "--as=jane")
    assert 'cannot create resource "subjectaccessreviews"' in refused


def test_token_reviews(cluster: DevCluster) -> None:
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    token = run(cluster, "-n", "t", "create", "token", "default").stdout.strip()
    status = post(cluster, path, {"spec": {"token": token}})["status"]
    assert status["authenticated"] is True
    assert status["user"]["username"] == "system:serviceaccount:t:default"
    assert status["audiences"] == ["https://kubernetes.default.svc.cluster.local"]
    bad = post(cluster, path, {"spec": {"token": "bad-token"}})["status"]
    assert bad == {"user": {}, "error": "invalid bearer token"}
    other = post(cluster, path, {"spec": {"token": token, "audiences": ["other"]}})["status"]
    assert other == {
        "user": {},
        "error": '[invalid bearer token, token audiences ["https://kubernetes.default.svc.cluster.local"] '
        'is invalid for the target audiences ["other"]]',
    }
    assert "token is required" in post(cluster, path, {"spec": {"token": ""}})


PROFILES = f"seccompprofiles.{GROUP}"
RECORDINGS = f"profilerecordings.{GROUP}"
STATUSES = f"securityprofilenodestatuses.{GROUP}"
RIGHTS = {
    DAEMON: {
        # It writes the profiles that it recorded, never their status.
        ("t", PROFILES): "get list watch create patch",
        ("t", RECORDINGS): "list watch",
        ("t", "pods"): "list watch",
        ("", "nodes"): "get",
        (OPERATOR, STATUSES): "get list watch create patch",
        (OPERATOR, f"securityprofilesoperatordaemons.{GROUP}"): "list watch",
        ("t", "events"): "create patch",
    },
    MANAGER: {
        ("t", PROFILES): "get list watch create patch delete",
        ("t", f"{PROFILES}/status"): "patch",
        ("t", RECORDINGS): "get list watch patch",
        ("t", f"{RECORDINGS}/status"): "patch",
        ("t", "pods"): "list watch",
        ("", "nodes"): "list watch",
        (OPERATOR, STATUSES): "list watch",
        # Read and change the one of its name only.
        (OPERATOR, "leases.coordination.k8s.io"): "create",
    },
}
VERBS = "get list watch create update patch delete deletecollection"
RESOURCES = (
    f"{PROFILES}/status",
    f"{RECORDINGS}/status",
    "secrets",
    "configmaps",
    "serviceaccounts",
    f"clusterroles.{RBAC}",
)


@pytest.mark.parametrize("account", [DAEMON, MANAGER])
def test_operator_has_exactly_the_rights_it_needs(cluster: DevCluster, account: str) -> None:
    rights = RIGHTS[account]
    places = {
        *rights,
        *(("t", resource) for resource in RESOURCES),
        ("t", STATUSES),
        ("t", "leases.coordination.k8s.io"),
    }
    for namespace, resource in sorted(places):
        found = [verb for verb in VERBS.split() if _may(cluster, account, verb, namespace, resource)]
        assert found == rights.get((namespace, resource), "").split(), f"{namespace}/{resource}"


def _may(cluster: DevCluster, account: str, verb: str, namespace: str, resource: str) -> bool:
    name, _, subresource = resource.partition("/")
    plural, _, group = name.partition(".")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
    body = {"spec": {"user": account, "resourceAttributes": {**attributes, "namespace": namespace}}}
    answer = request(cluster, "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    allowed: bool = answer["status"]["allowed"]
    return allowed


def request(
    cluster: DevCluster, method: str, path: str, body: dict[str, Any], token: str = "", media: str = "json"
) -> Any:
    """One request without kubectl, which reads an object before it changes it; the answer, also a refusal."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    asked = urllib.request.Request(
        server["server"] + path,
        method=method,
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token or user['token']}", "Content-Type": f"application/{media}"},
    )
    context = ssl.create_default_context(cafile=server["certificate-authority"])
    try:
        with urllib.request.urlopen(asked, context=context, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


@pytest.mark.parametrize(
    ("subresource", "methods"),
    [("", {"PUT": "json"}), ("/status", {"PATCH": "merge-patch+json", "PUT": "json"})],
)
def test_daemon_token_may_not_replace_profiles_nor_write_their_status(
    cluster: DevCluster, subresource: str, methods: dict[str, str]
) -> None:
    token = run(cluster, "-n", OPERATOR, "create", "token", "spod").stdout.strip()
    url = f"/apis/{GROUP}/v1beta1/namespaces/t/seccompprofiles"
    assert run(cluster, f"--token={token}", "get", "--raw", url).returncode == 0
    body = (
        {"status": {"status": "Installed"}} if subresource else {"spec": {"defaultAction": "SCMP_ACT_KILL"}}
    )
    for method, media in methods.items():
        refused = request(cluster, method, f"{url}/p{subresource}", body, token, media)
        verb = {"PATCH": "patch", "PUT": "update"}[method]
        assert refused["code"] == 403
        assert refused["message"] == (
            f'seccompprofiles.{GROUP} "p" is forbidden: User "{DAEMON}" cannot {verb} resource '
            f'"seccompprofiles{subresource}" in API group "{GROUP}" in the namespace "t"'
        )
    allowed = request(cluster, "PATCH", f"{url}/p{subresource}", body, media="merge-patch+json")
    assert allowed["kind"] == "SeccompProfile"
