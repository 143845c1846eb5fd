"""The commands of the usage document about bindings and recordings, and what it shows of their output.

Names of images lead to local stand-ins; ``Active``, as the document has it in places, is ``Installed``.
``tools/demo_workloads.py`` shows the same commands to people.
"""

import os
import platform
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster import Cluster, Namespace, seccomp_profile
from tests.e2e.hooked import hook_on_node
from tests.e2e.recorded import enable_recorder, podman
from tools.demo_shell import DemoShell
from tools.dev_image import BUSYBOX, import_image, inspect
from tools.devcluster import KUBECTL

OPERATOR = "security-profiles-operator"
LOOP = "trap exit TERM; while :; do sleep 0.2; done"
IMAGES = {
    "docker.io/library/alpine:latest": "sh",
    "docker.io/library/nginx:1.19.1": LOOP,
    "quay.io/security-profiles-operator/test-nginx:1.19.1": f"mkdir /tmp/www; {LOOP}",
    "quay.io/security-profiles-operator/redis:6.2.1": f"ln -s /a /tmp/db; {LOOP}",
}
"""Image of the document -> what the stand-in runs by itself."""
DEADLINE_S = 30.0

BINDING = """\
apiVersion: security-profiles-operator.x-k8s.io/v1alpha1
kind: ProfileBinding
metadata:
  name: nginx-binding
spec:
  profileRef:
    kind: SeccompProfile
    name: profile-complain
  image: nginx:1.19.1
"""
TEST_POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: test-pod
spec:
  containers:
    - name: test-container
      image: nginx:1.19.1
"""
RECORDING = """\
apiVersion: security-profiles-operator.x-k8s.io/v1alpha1
kind: ProfileRecording
metadata:
  name: {name}
spec:
  kind: SeccompProfile
  recorder: {recorder}
  podSelector:
    matchLabels:
      app: {app}
"""
TWO_CONTAINERS = """\
apiVersion: v1
kind: Pod
metadata:
  name: my-pod
  labels:
    app: my-app
spec:
  containers:
  - name: nginx
    image: quay.io/security-profiles-operator/test-nginx:1.19.1
  - name: redis
    image: quay.io/security-profiles-operator/redis:6.2.1
  restartPolicy: Never
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: my-deployment
spec:
  selector:
    matchLabels:
      app: my-app
  replicas: 3
  template:
    metadata:
      labels:
        app: my-app
    spec:
      containers:
      - name: nginx
        image: quay.io/security-profiles-operator/test-nginx:1.19.1
"""
ONE_CONTAINER = """\
apiVersion: v1
kind: Pod
metadata:
  name: my-pod
  labels:
    app: my-app
spec:
  containers:
    - name: nginx
      image: quay.io/security-profiles-operator/test-nginx:1.19.1
"""


@pytest.fixture(scope="module", autouse=True)
def stand_ins() -> Iterator[None]:
    """The images of the document, as long as its commands run."""
    before = {name: inspect(name, "{{.Id}}") for name in IMAGES}
    for number, (name, script) in enumerate(IMAGES.items()):
        local = f"localhost/e2e-document-{number}:dev"
        links = {"bin/sh": "busybox", **{f"bin/{one}": "busybox" for one in ("ln", "mkdir", "sleep")}}
        command = '["sh"]' if script == "sh" else f'["sh", "-c", "{script}"]'
        import_image(local, {"bin/busybox": BUSYBOX}, links, ["ENV PATH=/bin", f"CMD {command}"])
        podman("tag", local, name)
    yield
    for number, (name, image) in enumerate(before.items()):
        podman("untag", f"localhost/e2e-document-{number}:dev", name)
        if image:
            podman("tag", image, name)


class Shell(DemoShell):
    """Runs commands as the document has them, in the namespace of the test."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self.namespace = namespace
        config = folder / "kubeconfig"
        config.write_text(namespace.cluster.run("config", "view", "--raw", "--flatten").stdout)
        tools = f"{KUBECTL.parent}:{os.environ['PATH']}"
        super().__init__({**os.environ, "KUBECONFIG": str(config), "PATH": tools})
        self.quiet(f"kubectl config set-context --current --namespace={namespace.name}")

    def apply(self, manifest: str) -> None:
        self.shell("kubectl apply -f -", stdin=manifest)

    def shows(self, command: str, *lines: str) -> None:
        """Wait until the output of a command has these lines, each a pattern, in this order."""
        try:
            self.namespace.eventually("these lines", lambda: has_lines(self.quiet(command), lines))
        finally:
            self.shell(command)  # pytest shows it if they are not there


def has_lines(output: str, wanted: Sequence[str]) -> bool:
    """Whether there are such lines in this order; others may be between them."""
    rows = iter(output.splitlines())
    return all(any(re.fullmatch(line, row.rstrip()) for row in rows) for line in wanted)


@pytest.fixture
def shell(namespace: Namespace, tmp_path: Path) -> Shell:
    return Shell(namespace, tmp_path)


@pytest.fixture
def hook(cluster: Cluster) -> Iterator[Path]:
    """The node has the hook."""
    with hook_on_node(cluster) as directory:
        yield directory


def begin(shell: Shell, name: str, app: str, recorder: str = "hook") -> None:
    shell.apply(RECORDING.format(name=name, app=app, recorder=recorder))
    shell.shell(f"kubectl wait --for=condition=ready profilerecording/{name} --timeout=30s")


def installed(name: str, path: str) -> str:
    """A line of ``kubectl get sp -o wide``."""
    return rf"{name} +Installed +\S+ +{path}"


def test_bind_workloads_to_profiles(shell: Shell) -> None:
    profile = yaml.safe_dump(seccomp_profile("profile-complain", "SCMP_ACT_LOG"))
    shell.apply(profile)
    shell.apply(BINDING)
    for one in ("seccompprofile/profile-complain", "profilebinding/nginx-binding"):
        shell.shell(f"kubectl wait --for=condition=ready {one} --timeout=30s")
    shell.apply(TEST_POD)
    path = f"operator/{shell.namespace.name}/profile-complain.json"
    shown = shell.shell(
        "kubectl get pod test-pod -o jsonpath='{.spec.containers[*].securityContext.seccompProfile}'"
    )
    assert shown == f'{{"localhostProfile":"{path}","type":"Localhost"}}'


def test_record_what_is_typed(shell: Shell, hook: Path) -> None:
    begin(shell, "test-recording", "alpine")
    # A shell as first process does not heed SIGTERM: the pod would end only with its grace period.
    overrides = '--overrides=\'{"spec":{"terminationGracePeriodSeconds":1}}\''
    run = f"kubectl run --rm -it my-pod --image=alpine --labels app=alpine {overrides} -- sh"
    shell.terminal(run, "mkdir test", "exit")
    name, namespace = "test-recording-my-pod", shell.namespace.name
    describe = f"kubectl describe seccompprofile {name}"
    shell.shows(
        describe,
        rf"Name: +{name}",
        rf"Namespace: +{namespace}",
        "Spec:",
        "  Architectures:",
        f"    SCMP_ARCH_{platform.machine().upper()}",
        "  Default Action: +SCMP_ACT_ERRNO",
        "  Syscalls:",
        "    Action: +SCMP_ACT_ALLOW",
        "    Names:",
        "      mkdir",
        "Status:",
        rf"  Localhost Profile: +operator/{namespace}/{name}\.json",
        rf"  Path: +\S*/var/lib/kubelet/seccomp/operator/{namespace}/{name}\.json",
        "  Status: +Installed",
        "Events:",
        "  Type +Reason +Age +From +Message",
        r"  Normal +SeccompProfileCreated +\S+ +profilerecorder +seccomp profile created",
    )
    saved = r"  Normal +SavedSeccompProfile +.* profile +Successfully saved profile to disk on \S+"
    shell.shows(describe, "Events:", saved)
    events = "kubectl get events | grep -i record"
    shell.shows(events, r"\S+ +Normal +SeccompProfileRecording +pod/my-pod +Recording .*")
    created = r"\S+ +Normal +SeccompProfileCreated +seccompprofile/{} +seccomp profile created"
    shell.shows(events, created.format(name))
    saved = r"\S+ +Normal +SavedSeccompProfile +seccompprofile/{} +Successfully saved profile to disk on .*"
    shell.shows(events, saved.format(name))


def test_record_containers_and_replicas(shell: Shell, hook: Path) -> None:
    begin(shell, "recording", "my-app")
    shell.apply(TWO_CONTAINERS)
    shell.shows("kubectl get pods", r"my-pod +2/2 +Running +0 +\S+")
    shell.shell("kubectl delete pod my-pod")
    where = f"operator/{shell.namespace.name}"
    shell.shows(
        "kubectl get sp -o wide",
        "NAME +STATUS +AGE +LOCALHOSTPROFILE",
        installed("recording-nginx", f"{where}/recording-nginx.json"),
        installed("recording-redis", f"{where}/recording-redis.json"),
    )
    shell.apply(DEPLOYMENT)
    shell.shell("kubectl rollout status deployment/my-deployment --timeout=60s")
    shell.shell("kubectl delete deployment my-deployment")
    names = [f"recording-nginx-{number}" for number in range(3)]
    shell.shows("kubectl get sp -o wide", *(installed(name, f"{where}/{name}.json") for name in names))


def test_record_with_ebpf(shell: Shell) -> None:
    patch = '--type=merge -p \'{"spec":{"enableBpfRecorder":true}}\''
    shown = shell.shell(f"kubectl -n {OPERATOR} patch spod spod {patch}")
    patched = "securityprofilesoperatordaemon.security-profiles-operator.x-k8s.io/spod patched"
    assert shown.strip() in {patched, f"{patched} (no change)"}
    enable_recorder(shell.namespace.cluster)
    log = f"kubectl -n {OPERATOR} logs ds/spod -c bpf-recorder"
    shell.shows(
        log,
        r'I\d{4} [\d:.]+ +\d+ \S+\.py:\d+\] +"msg"="Set logging verbosity to 0"',
        r'.*\] setup "msg"="starting component: bpf-recorder" .*"version"="\S+"',
        r'.*\] bpf-recorder "msg"="Starting log-enricher on node: \S+"',
        r'.*\] bpf-recorder "msg"="Got system mount namespace: \d+"',
        r'.*\] bpf-recorder "msg"="Doing BPF load/unload self-test"',
        r'.*\] bpf-recorder "msg"="Loading bpf module"',
        r'.*\] bpf-recorder "msg"="Using system btf file"',
        r'.*\] bpf-recorder "msg"="Module successfully loaded, watching for events"',
        r'.*\] bpf-recorder "msg"="Unloading bpf module"',
        r'.*\] bpf-recorder "msg"="Starting GRPC API server" .*',
    )
    begin(shell, "my-recording", "my-app", "bpf")
    shell.apply(ONE_CONTAINER)
    shell.shows("kubectl get pods", r"my-pod +1/1 +Running +0 +\S+")
    shell.shows(
        f"{log} --since=1m",
        r'.*\] bpf-recorder "msg"="Found container ID in cluster" +"containerID"="[0-9a-f]{64}" '
        '"containerName"="nginx"',
        r'.*\] bpf-recorder "msg"="Saving PID for profile" +"mntns"=\d+ "pid"=\d+ '
        r'"profile"="my-recording-nginx-\d+"',
        r'.*\] bpf-recorder "msg"="Using short path via tracked mount namespace" .*',
    )
    shell.shell("kubectl delete pod my-pod")
    shell.shows("kubectl get sp", "NAME +STATUS +AGE", r"my-recording-nginx +Installed +\S+")


def test_record_with_the_log_enricher(shell: Shell) -> None:
    enable_recorder(shell.namespace.cluster, "enableLogEnricher", "log-enricher")
    begin(shell, "test-recording", "my-app", "logs")
    shell.apply(TWO_CONTAINERS)
    shell.shows("kubectl get pods", r"NAME +READY +STATUS +RESTARTS +AGE", r"my-pod +2/2 +Running +0 +\S+")
    line = (
        r'.*\] log-enricher "msg"="audit" +"container"="redis" "executable"="\S+" '
        rf'"namespace"="{shell.namespace.name}" "node"="\S+" "pid"=\d+ "pod"="my-pod" "syscallID"=\d+ '
        r'"syscallName"="\w+" "timestamp"="[\d.:]+" "type"="seccomp"'
    )
    shell.shows(f"kubectl -n {OPERATOR} logs --since=1m ds/spod log-enricher", line)
    shell.shell("kubectl delete pod my-pod")
    names = ("test-recording-nginx", "test-recording-redis")
    shell.shows("kubectl get sp", "NAME +STATUS +AGE", *(rf"{name} +Installed +\S+" for name in names))
