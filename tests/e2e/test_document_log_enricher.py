"""The commands of the usage document about metrics and the log enricher, and what it shows of their output.

Names of images lead to local stand-ins. What the document does on OpenShift only is left out.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster import Cluster, Namespace, seccomp_profile
from tests.e2e.recorded import SERVERS, podman, servers_image
from tests.fakes.log_daemons import printk_without_limit
from tools.demo_shell import DemoShell
from tools.dev_image import import_image, inspect, shared_libraries
from tools.devcluster import KUBECTL

OPERATOR = "security-profiles-operator"
FEDORA = "registry.fedoraproject.org/fedora-minimal:latest"
NGINX = "docker.io/library/nginx:latest"
NGINX_STAND_IN, FEDORA_STAND_IN = "localhost/e2e-enricher-nginx:dev", "localhost/e2e-enricher-curl:dev"
SERVE = """\
mkdir -p /tmp/n && cat > /tmp/n/conf <<END
daemon off; worker_processes 1; pid /tmp/n/pid; error_log stderr error;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path /tmp/n/a; proxy_temp_path /tmp/n/b;
  fastcgi_temp_path /tmp/n/c; uwsgi_temp_path /tmp/n/d; scgi_temp_path /tmp/n/e;
  server { listen 127.0.0.1:8080; listen 127.0.0.1:8081; }
}
END
exec nginx -p /tmp/n -c /tmp/n/conf
"""
LOG_PROFILE = """\
apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata:
  name: log
  namespace: default
spec:
  defaultAction: SCMP_ACT_LOG
"""
LOG_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: log-pod
spec:
  securityContext:
    seccompProfile:
      type: Localhost
      localhostProfile: operator/default/log.json
  containers:
    - name: log-container
      image: nginx
"""
CURL_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: test-pod
spec:
  containers:
    - name: test-container
      image: registry.fedoraproject.org/fedora-minimal:latest
      command:
        - bash
        - -c
        - |
          curl -s --cacert /var/run/secrets/metrics/ca.crt \\
            -H "Authorization: Bearer $(cat /var/run/secrets/kubernetes.io/serviceaccount/token)" \\
            https://metrics.security-profiles-operator/metrics-spod
      volumeMounts:
        - mountPath: /var/run/secrets/metrics
          name: metrics-cert-volume
          readOnly: true
  restartPolicy: Never
  volumes:
    - name: metrics-cert-volume
      secret:
        defaultMode: 420
        secretName: metrics-server-cert
"""
READ_METRICS = (
    f"kubectl run --rm -i --restart=Never --image={FEDORA} \\\n"
    "    -n security-profiles-operator metrics-test -- bash -c \\\n"
    '    \'curl -ks -H "Authorization: Bearer $(cat /var/run/secrets/kubernetes.io/serviceaccount/token)" '
    "https://metrics.security-profiles-operator/metrics-spod'"
)
LOGS = "kubectl -n security-profiles-operator logs ds/spod log-enricher"
"""As in the document, but for -f: that has no end."""
SERVICE_MONITOR = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "scope": "Namespaced",
        "names": {"kind": "ServiceMonitor", "plural": "servicemonitors", "singular": "servicemonitor"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}
KEYS = ("container", "executable", "namespace", "node", "pid", "pod", "syscallID", "syscallName")


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> Namespace:
    return Namespace(cluster, OPERATOR)


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Namespace:
    """The document's."""
    return Namespace(cluster, "default")


@pytest.fixture(scope="module")
def shell(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> DemoShell:
    config = tmp_path_factory.mktemp("document") / "kubeconfig"
    config.write_text(cluster.run("config", "view", "--raw", "--flatten").stdout)
    return DemoShell(
        {**os.environ, "KUBECONFIG": str(config), "PATH": f"{KUBECTL.parent}:{os.environ['PATH']}"}
    )


@pytest.fixture(scope="module")
def stand_ins(operator: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The images of the document, as long as its commands run."""
    before = {name: inspect(name, "{{.Id}}") for name in (FEDORA, NGINX)}
    servers_image()
    podman("rmi", "--ignore", "--force", NGINX_STAND_IN)
    folder = tmp_path_factory.mktemp("images")
    command = json.dumps(["sh", "-c", SERVE])
    (folder / "Containerfile").write_text(f"FROM {SERVERS}\nCMD {command}\n")
    podman("build", "--quiet", f"--tag={NGINX_STAND_IN}", str(folder))
    # Where there is neither DNS nor addresses of Services, curl is told where the name leads.
    (subset,) = operator.get("endpoints", "metrics")["subsets"]
    where = f"{subset['addresses'][0]['ip']}:{subset['ports'][0]['port']}"
    (folder / "curlrc").write_text(f'connect-to = "metrics.security-profiles-operator:443:{where}"\n')
    programs = [Path(shutil.which(name) or name).resolve() for name in ("bash", "curl", "cat")]
    files = {
        str(file.parent.resolve() / file.name).lstrip("/"): file
        for file in (*programs, *shared_libraries(*programs))
    }
    links = {name: str(Path(f"/{name}").readlink()) for name in ("bin", "lib", "lib64")}
    import_image(
        FEDORA_STAND_IN, {**files, "root/.curlrc": folder / "curlrc"}, links, ["ENV CURL_HOME=/root"]
    )
    podman("tag", NGINX_STAND_IN, NGINX)
    podman("tag", FEDORA_STAND_IN, FEDORA)
    yield
    for image, name in ((NGINX_STAND_IN, NGINX), (FEDORA_STAND_IN, FEDORA)):
        podman("untag", image, name)
        if before[name]:
            podman("tag", before[name], name)


@pytest.fixture(scope="module")
def enabled(shell: DemoShell) -> Iterator[str]:
    """With the log enricher, as the document enables it; what kubectl says to that."""
    patch = "kubectl -n security-profiles-operator patch spod spod --type=merge -p "
    said = shell.shell(patch + '\'{"spec":{"enableLogEnricher":true}}\'')
    shell.wait_until("kubectl -n security-profiles-operator get ds spod -o yaml", "name: log-enricher")
    shell.shell("kubectl -n security-profiles-operator rollout status ds/spod --timeout=60s")
    yield said
    shell.shell(patch + '\'{"spec":{"enableLogEnricher":false}}\'')
    shell.shell("kubectl -n security-profiles-operator rollout status ds/spod --timeout=60s")


def fields(line: str) -> dict[str, str]:
    """Keys and values of a line of the enricher."""
    return dict(re.findall(r'"(\w+)"=("(?:[^"\\]|\\.)*"|\d+)', line))


def audits(shell: DemoShell, pod: str, syscall: str) -> list[dict[str, str]]:
    """The enricher's lines about a pod and a syscall."""
    lines = shell.quiet(LOGS).splitlines()
    found = [fields(line) for line in lines if '"msg"="audit"' in line and f'"pod"="{pod}"' in line]
    return [one for one in found if one["syscallName"] == f'"{syscall}"']


def test_the_service_of_the_metrics(shell: DemoShell) -> None:
    shown = shell.shell("kubectl get svc/metrics -n security-profiles-operator")
    assert re.fullmatch(
        r"NAME +TYPE +CLUSTER-IP +EXTERNAL-IP +PORT\(S\) +AGE *\n"
        r"metrics +ClusterIP +[\d.]+ +<none> +443/TCP +\S+ *\n",
        shown,
    )


@pytest.mark.usefixtures("stand_ins")
def test_metrics_are_read_with_the_default_account(shell: DemoShell) -> None:
    shown = shell.shell(READ_METRICS)
    assert re.search(
        r"^# HELP security_profiles_operator_seccomp_profile_total "
        r"Counter about seccomp profile operations\.\n"
        r"# TYPE security_profiles_operator_seccomp_profile_total counter\n"
        r'security_profiles_operator_seccomp_profile_total\{operation="delete"\} \d+(?:\.0)?\n'
        r'security_profiles_operator_seccomp_profile_total\{operation="update"\} \d+(?:\.0)?\n',
        shown,
        re.MULTILINE,
    )


def test_the_binding_of_metrics_clients(shell: DemoShell) -> None:
    shown = shell.shell("kubectl get clusterrolebinding spo-metrics-client -o wide")
    assert re.fullmatch(
        r"NAME +ROLE +AGE +USERS +GROUPS +SERVICEACCOUNTS *\n"
        r"spo-metrics-client +ClusterRole/spo-metrics-client +\S+ +security-profiles-operator/default *\n",
        shown,
    )


@pytest.mark.usefixtures("stand_ins")
def test_metrics_are_read_with_their_certificate(shell: DemoShell) -> None:
    here = "kubectl -n security-profiles-operator"
    shell.shell(f"{here} apply -f -", stdin=CURL_POD)
    try:
        shell.shell(f"{here} wait --for=jsonpath={{.status.phase}}=Succeeded pod/test-pod --timeout=60s")
        assert "security_profiles_operator_seccomp_profile_total" in shell.shell(f"{here} logs test-pod")
    finally:
        shell.shell(f"{here} delete pod test-pod --grace-period=1")


def test_the_token_of_the_service_monitor_is_filled(shell: DemoShell) -> None:
    secret = "kubectl -n security-profiles-operator get secret metrics-token"
    token = f"{secret} -o jsonpath='{{.data.token}}' | base64 -d"
    account = shell.shell(
        f"kubectl --token=$({token}) auth whoami -o jsonpath='{{.status.userInfo.username}}'"
    )
    assert account.strip() == "system:serviceaccount:security-profiles-operator:default"


def test_the_service_monitor(shell: DemoShell, operator: Namespace) -> None:
    here = "kubectl -n security-profiles-operator"
    operator.apply(SERVICE_MONITOR)
    try:
        shell.wait_until(f"{here} get servicemonitor", "security-profiles-operator-monitor")
        assert re.fullmatch(
            r"NAME +AGE *\nsecurity-profiles-operator-monitor +\S+ *\n",
            shell.shell(f"{here} get servicemonitor"),
        )
        name = f"$({here} get pods -l name=security-profiles-operator -o name | head -n 1)"
        assert re.search(
            r'^I\d{4} [\d:.]+ +\d+ \S+\.py:\d+\] spod-config "msg"="Deploying operator service monitor"',
            shell.shell(f"{here} logs {name} | grep monitor"),
            re.MULTILINE,
        )
    finally:
        operator.kubectl("delete", "crd", str(SERVICE_MONITOR["metadata"]["name"]))


def test_the_settings_for_syslog(shell: DemoShell) -> None:
    with printk_without_limit():
        for name in ("printk_ratelimit", "printk_ratelimit_burst"):
            assert shell.shell(f"sysctl -w kernel.{name}=0") == f"kernel.{name} = 0\n"


def test_the_log_enricher_is_enabled(shell: DemoShell, enabled: str) -> None:
    patched = "securityprofilesoperatordaemon.security-profiles-operator.x-k8s.io/spod patched"
    assert enabled.strip() in {patched, f"{patched} (no change)"}
    shell.wait_until(LOGS, '"msg"="Reading from ')
    head = r"I\d{4} [\d:.]+ +\d+ \S+\.py:\d+\] "
    lines = (
        head + r'setup "msg"="starting component: log-enricher"  .*"version"="\S+"',
        head + r'log-enricher "msg"="Starting log-enricher on node: \S+"',
        head + r'log-enricher "msg"="Connecting to local GRPC server"',
        head + r'log-enricher "msg"="Reading from \S.*"',
    )
    assert re.search(
        "^" + ".*^".join(f"{line}\n" for line in lines), shell.shell(LOGS), re.MULTILINE | re.DOTALL
    )


@pytest.mark.usefixtures("stand_ins", "enabled")
def test_the_log_pod_is_shown_and_counted(shell: DemoShell, namespace: Namespace) -> None:
    shell.shell("kubectl apply -f -", stdin=LOG_PROFILE)
    shell.shell("kubectl wait --for=condition=ready seccompprofile/log --timeout=30s")
    try:
        shell.shell("kubectl apply -f -", stdin=LOG_POD)
        namespace.eventually("nginx listens", lambda: len(audits(shell, "log-pod", "listen")) == 4)
        found = audits(shell, "log-pod", "close")
        assert found[0]["executable"] == '"/"'  # of the runtime, before the program begins
        nginx = [one for one in found if one["executable"] == '"/usr/sbin/nginx"']
        assert nginx[0] | {"syscallID": "3", "container": '"log-container"', "type": '"seccomp"'} == nginx[0]
        assert tuple(key for key in nginx[0] if key in KEYS) == KEYS
        metric = (
            r"# HELP security_profiles_operator_seccomp_profile_audit_total Counter about seccomp profile "
            r"audits, requires the log enricher to be enabled\.\n"
            r"# TYPE security_profiles_operator_seccomp_profile_audit_total counter\n"
        )
        series = (
            r'^security_profiles_operator_seccomp_profile_audit_total\{(?=.*container="log-container")'
            r'(?=.*executable="/usr/sbin/nginx")(?=.*namespace="default")(?=.*pod="log-pod")'
            r'.*syscall="listen".*\} 4(?:\.0)?$'
        )
        namespace.eventually(
            "it is counted", lambda: re.search(series, shell.quiet(READ_METRICS), re.MULTILINE)
        )
        assert re.search(metric, shell.quiet(READ_METRICS))
    finally:
        shell.shell("kubectl delete pod log-pod --grace-period=1")
        shell.shell("kubectl delete seccompprofile log")


@pytest.mark.usefixtures("stand_ins", "enabled")
def test_listening_is_counted_exactly(shell: DemoShell, namespace: Namespace) -> None:
    rules = [{"action": "SCMP_ACT_LOG", "names": ["listen"]}]
    namespace.apply(seccomp_profile("listening", syscalls=rules))
    namespace.wait_ready("listening")
    made = yaml.safe_load(LOG_POD)
    made["metadata"]["name"] = "enricherpod"
    made["spec"]["containers"][0]["name"] = "enrichercontainer"
    made["spec"]["securityContext"]["seccompProfile"]["localhostProfile"] = "operator/default/listening.json"
    try:
        namespace.apply(made)
        namespace.eventually("four lines", lambda: len(audits(shell, "enricherpod", "listen")) >= 4)
        for one in audits(shell, "enricherpod", "listen"):
            assert one["executable"] == '"/usr/sbin/nginx"'
            assert one["container"] == '"enrichercontainer"'
            assert one["syscallID"] == "50"
        series = (
            r'audit_total\{(?=[^}]*container="enrichercontainer")(?=[^}]*pod="enricherpod")'
            r'(?=[^}]*syscall="listen")[^}]*\} (\S+)$'
        )
        namespace.eventually("all are counted", lambda: counted(shell, series) == {4.0})
        assert len(audits(shell, "enricherpod", "listen")) == 4
    finally:
        shell.shell("kubectl delete pod enricherpod --grace-period=1")
        shell.shell("kubectl delete seccompprofile listening")


def counted(shell: DemoShell, series: str) -> set[float]:
    """Values of the series of the daemon's metrics that match.

    kubectl shows the whole page twice if the pod ends between its look at the log and its attachment.
    """
    return {float(value) for value in re.findall(series, shell.quiet(READ_METRICS), re.MULTILINE)}
