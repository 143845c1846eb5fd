"""Metrics of the operator: who may read them, what they say, and a real Prometheus that scrapes them."""

import base64
import json
import re
import shutil
import ssl
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import Cluster, Namespace, seccomp_profile
from tools.dev_image import import_image, shared_libraries
from tools.devcluster import OPERATOR_NAMESPACE, free_port

ROOT = Path(__file__).parents[2]
CURL_IMAGE = "localhost/curl:dev"
CERTIFICATE_S = 120.0
"""Kubelets look again after a minute at a Secret that was not there when the pod began."""
UPDATED = 'security_profiles_operator_seccomp_profile_total{operation="update"}'
DELETED = 'security_profiles_operator_seccomp_profile_total{operation="delete"}'
HANDLED = 'promhttp_metric_handler_requests_total{code="200"}'


@dataclass(frozen=True)
class Endpoint:
    """A Service of metrics, as a client sees it that knows the name and our CA."""

    operator: Namespace
    service: str
    address: str
    port: int
    authority: str
    """PEM."""

    def get(self, path: str, token: str | None) -> tuple[int, str]:
        """Status and body; the certificate must be for the Service's name."""
        connection = Connection(self)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def values(self, path: str, token: str) -> dict[str, float]:
        """Series -> value."""
        status, body = self.get(path, token)
        assert status == 200, body
        lines = (line.rpartition(" ") for line in body.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}


class Connection(HTTPSConnection):
    """To the address of an endpoint, with the name of its Service."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._context = ssl.create_default_context(cadata=endpoint.authority)
        super().__init__(endpoint.address, endpoint.port, timeout=30, context=self._context)
        self._name = f"{endpoint.service}.{endpoint.operator.name}.svc"

    def connect(self) -> None:
        super(HTTPSConnection, self).connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> Namespace:
    return Namespace(cluster, OPERATOR_NAMESPACE)


def endpoint_of(operator: Namespace, service: str) -> Endpoint:
    (subset,) = operator.get("endpoints", service)["subsets"]
    deadline = time.monotonic() + CERTIFICATE_S
    while True:
        secret = operator.get("secret", "metrics-server-cert")
        authority = base64.b64decode(secret["data"]["ca.crt"]).decode()
        endpoint = Endpoint(
            operator, service, subset["addresses"][0]["ip"], subset["ports"][0]["port"], authority
        )
        try:
            endpoint.get("/metrics", None)
        except (ConnectionRefusedError, ssl.SSLCertVerificationError):
            # Not there yet; or another test has just replaced the CA, and the volume has the old certificate.
            assert time.monotonic() < deadline, f"{service} serves nothing under the present CA"
            time.sleep(0.5)
        else:
            return endpoint


@pytest.fixture(scope="module")
def daemon(operator: Namespace) -> Endpoint:
    return endpoint_of(operator, "metrics")


@pytest.fixture(scope="module")
def token(operator: Namespace) -> str:
    """Of the account that is bound to spo-metrics-client."""
    return operator.kubectl("create", "token", "default").strip()


def test_profiles_are_counted(namespace: Namespace, daemon: Endpoint, token: str) -> None:
    before = daemon.values("/metrics-spod", token)
    namespace.apply(seccomp_profile("counted"))
    namespace.wait_ready("counted")
    namespace.kubectl("delete", "seccompprofile", "counted", "--timeout=20s")

    after = daemon.values("/metrics-spod", token)
    assert after[UPDATED] == before[UPDATED] + 1
    assert after[DELETED] == before[DELETED] + 1
    assert after[HANDLED] == before[HANDLED] + 1
    errors = {name for name in after if "profile_error_total" in name}
    assert {name: after[name] for name in errors} == {name: before.get(name, 0) for name in errors}


def test_the_other_page_shows_the_process_and_its_queues(daemon: Endpoint, token: str) -> None:
    page = daemon.values("/metrics", token)

    assert page['workqueue_adds_total{name="seccomp-spod"}'] >= 1
    assert page['controller_runtime_reconcile_total{controller="seccomp-spod",result="success"}'] >= 1
    assert page["process_resident_memory_bytes"] > 0
    assert any(name.startswith('rest_client_requests_total{code="200"') for name in page)
    assert not any("seccomp_profile" in name for name in page)


def test_the_manager_serves_its_own(operator: Namespace, token: str) -> None:
    manager = endpoint_of(operator, "manager-metrics")

    page = manager.values("/metrics", token)

    assert page['controller_runtime_reconcile_total{controller="nodestatus",result="success"}'] >= 1
    assert manager.get("/metrics-spod", token)[0] == 404
    assert manager.get("/metrics", None)[0] == 401


@pytest.mark.parametrize("path", ["/metrics", "/metrics-spod"])
def test_nobody_else_reads_them(namespace: Namespace, daemon: Endpoint, path: str) -> None:
    stranger = namespace.kubectl("create", "token", "default").strip()
    head, _, signature = stranger.rpartition(".")

    assert daemon.get(path, None)[0] == 401
    assert daemon.get(path, "nonsense")[0] == 401
    assert daemon.get(path, f"{head}.{signature[::-1]}")[0] == 401
    status, body = daemon.get(path, stranger)
    assert status == 403
    assert "spo-metrics-client" in body
    assert "seccomp" not in body


def test_an_account_of_another_namespace_can_be_bound(namespace: Namespace, daemon: Endpoint) -> None:
    binding = f"{namespace.name}-metrics"
    namespace.kubectl("create", "serviceaccount", "reader")
    account = f"--serviceaccount={namespace.name}:reader"
    namespace.kubectl("create", "clusterrolebinding", binding, "--clusterrole=spo-metrics-client", account)
    try:
        token = namespace.kubectl("create", "token", "reader").strip()
        assert daemon.get("/metrics-spod", token)[0] == 200
    finally:
        namespace.kubectl("delete", "clusterrolebinding", binding)


def test_fifty_clients_at_once_get_the_same(daemon: Endpoint, token: str) -> None:
    before = daemon.values("/metrics-spod", token)[HANDLED]

    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(lambda _: daemon.get("/metrics-spod", token), range(100)))

    assert {status for status, _ in answers} == {200}
    assert all(UPDATED in body for _, body in answers)
    assert daemon.values("/metrics-spod", token)[HANDLED] == before + 101


@pytest.fixture(scope="module")
def curl_image() -> str:
    """What the document's image has: bash and curl."""
    programs = [Path(shutil.which(name) or name).resolve() for name in ("bash", "curl", "cat")]
    libraries = shared_libraries(*programs)
    files = {str(file.parent.resolve() / file.name).lstrip("/"): file for file in (*programs, *libraries)}
    links = {name: str(Path(f"/{name}").readlink()) for name in ("bin", "lib", "lib64")}
    import_image(CURL_IMAGE, files, links, [])
    return CURL_IMAGE


def test_the_documented_command(operator: Namespace, daemon: Endpoint, curl_image: str) -> None:
    # The document's command. onenode has no DNS and no addresses of Services: --connect-to leads there.
    where = f"--connect-to metrics.{OPERATOR_NAMESPACE}:443:{daemon.address}:{daemon.port}"
    script = (
        f"curl -ks {where} "
        '-H "Authorization: Bearer $(cat /var/run/secrets/kubernetes.io/serviceaccount/token)" '
        f"https://metrics.{OPERATOR_NAMESPACE}/metrics-spod"
    )
    name = f"metrics-test-{time.monotonic_ns()}"
    run = ("run", "--rm", "-i", "--restart=Never", f"--image={curl_image}", name, "--", "bash", "-c", script)

    answer = operator.kubectl(*run)

    assert (
        "# HELP security_profiles_operator_seccomp_profile_total Counter about seccomp profile operations."
        in answer
    )
    assert re.search(re.escape(UPDATED) + r" \d+", answer)


def test_the_documented_pod_trusts_the_ca_of_the_secret(
    operator: Namespace, daemon: Endpoint, curl_image: str
) -> None:
    where = f"--connect-to metrics.{OPERATOR_NAMESPACE}:443:{daemon.address}:{daemon.port}"
    script = (
        f"curl -s {where} --cacert /var/run/secrets/metrics/ca.crt "
        '-H "Authorization: Bearer $(cat /var/run/secrets/kubernetes.io/serviceaccount/token)" '
        f"https://metrics.{OPERATOR_NAMESPACE}/metrics-spod"
    )
    mount = {"mountPath": "/var/run/secrets/metrics", "name": "metrics-cert-volume", "readOnly": True}
    container = {
        "name": "test-container",
        "image": curl_image,
        "command": ["bash", "-c", script],
        "volumeMounts": [mount],
    }
    secret = {"defaultMode": 420, "secretName": "metrics-server-cert"}
    spec = {
        "containers": [container],
        "restartPolicy": "Never",
        "volumes": [{"name": "metrics-cert-volume", "secret": secret}],
    }
    operator.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "test-pod"}, "spec": spec})
    try:
        operator.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/test-pod", "--timeout=60s")
        assert UPDATED in operator.kubectl("logs", "test-pod")
    finally:
        operator.kubectl("delete", "pod", "test-pod", "--grace-period=1")


CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "scope": "Namespaced",
        "names": {
            "kind": "ServiceMonitor",
            "listKind": "ServiceMonitorList",
            "plural": "servicemonitors",
            "singular": "servicemonitor",
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                        },
                    }
                },
            }
        ],
    },
}


def test_a_service_monitor_comes_with_its_kind(operator: Namespace) -> None:
    name = "security-profiles-operator-monitor"
    operator.apply(CRD)
    try:
        operator.eventually(
            "the ServiceMonitor is there",
            lambda: operator.cluster.run("-n", operator.name, "get", "servicemonitor", name).returncode == 0,
        )
        monitor = operator.get("servicemonitor", name)
    finally:
        operator.kubectl("delete", "crd", CRD["metadata"]["name"])

    assert monitor["metadata"]["labels"] == {"app": "security-profiles-operator"}
    assert monitor["spec"]["selector"] == {}
    assert [one["path"] for one in monitor["spec"]["endpoints"]] == ["/metrics", "/metrics-spod"]
    for one in monitor["spec"]["endpoints"]:
        assert {**one, "path": ""} == {
            "path": "",
            "interval": "10s",
            "port": "https",
            "scheme": "https",
            "bearerTokenSecret": {"name": "metrics-token", "key": "token"},
            "tlsConfig": {
                "serverName": "metrics.security-profiles-operator.svc",
                "ca": {"secret": {"name": "metrics-server-cert", "key": "tls.crt"}},
            },
        }
    assert '"msg"="Deploying operator service monitor"' in operator.kubectl(
        "logs", "deployment/security-profiles-operator"
    )


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus on the loopback address."""

    port: int

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def targets(self) -> dict[str, dict[str, Any]]:
        """By job."""
        return {one["labels"]["job"]: one for one in self.ask("targets")["activeTargets"]}


def scrape(endpoint: Endpoint, job: str, path: str, token: str, ca_file: Path) -> dict[str, Any]:
    """A scrape configuration as docs/metrics.md shows it."""
    return {
        "job_name": job,
        "scheme": "https",
        "metrics_path": path,
        "authorization": {"credentials": token},
        "tls_config": {
            "ca_file": str(ca_file),
            "server_name": f"{endpoint.service}.{OPERATOR_NAMESPACE}.svc",
        },
        "static_configs": [{"targets": [f"{endpoint.address}:{endpoint.port}"]}],
    }


@pytest.fixture
def prometheus(operator: Namespace, daemon: Endpoint, token: str, tmp_path: Path) -> Iterator[Prometheus]:
    secret = operator.get("secret", "metrics-server-cert")["data"]
    for key in ("ca.crt", "tls.crt"):
        (tmp_path / key).write_bytes(base64.b64decode(secret[key]))
    manager = endpoint_of(operator, "manager-metrics")
    lasting = base64.b64decode(operator.get("secret", "metrics-token")["data"]["token"]).decode()
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "deploy/monitoring/alerts.yaml")],
        "scrape_configs": [
            scrape(daemon, "security-profiles-operator", "/metrics-spod", token, tmp_path / "ca.crt"),
            # As the ServiceMonitor has it: a token without end, and the certificate is its own CA.
            scrape(daemon, "runtime", "/metrics", lasting, tmp_path / "tls.crt"),
            scrape(manager, "manager", "/metrics", token, tmp_path / "ca.crt"),
            scrape(daemon, "wrong-token", "/metrics-spod", "nonsense", tmp_path / "ca.crt"),
        ],
    }
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    port = free_port()
    command = (
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yaml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield Prometheus(port)
        finally:
            process.terminate()


def test_prometheus_scrapes_all_pages(operator: Namespace, prometheus: Prometheus) -> None:
    def scraped() -> bool:
        try:
            targets = prometheus.targets()
        except OSError:
            return False
        return len(targets) == 4 and all(one["health"] != "unknown" for one in targets.values())

    operator.eventually("Prometheus has tried every target", scraped)

    targets = prometheus.targets()
    problems = {job: one["lastError"] for job, one in targets.items()}
    assert problems.pop("wrong-token") == "server returned HTTP status 401 Unauthorized"
    assert set(problems.values()) == {""}, problems
    found = prometheus.ask("query", query=UPDATED)["result"]
    assert [one["metric"]["job"] for one in found] == ["security-profiles-operator"]
    assert prometheus.ask("query", query='workqueue_adds_total{name="nodestatus"}')["result"]


def test_prometheus_evaluates_the_alerts(operator: Namespace, prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        try:
            return [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        except OSError:
            return []

    operator.eventually("all are looked at", lambda: {one["health"] for one in rules()} == {"ok"})
    assert {one["state"] for one in rules() if one["name"] != "SecurityProfilesDaemonsAbsent"} == {"inactive"}
