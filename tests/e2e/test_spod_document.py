"""The commands of the usage document that change what runs on the nodes, and the output that it shows.

"Set logging verbosity", "Using the log enricher", "eBPF based recording", "Enable CPU and memory profiling"
and "Use a custom /proc location". A command runs as it is written there, in a shell; of a line of its output
counts what does not depend on machine and time.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.breaking import OPERATOR
from tests.e2e.cluster import Cluster, Namespace
from tools.devcluster import KUBECTL

DEADLINE_S = 30.0
SEEN_S = 2.0
"""From the last pod that is ready to RUNNING."""
PATCHED = ("securityprofilesoperatordaemon.security-profiles-operator.x-k8s.io/spod patched",)
LINE = r"[IWE]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \w+\.py:\d+\] "


class Step(NamedTuple):
    """One command of the document."""

    command: str
    output: tuple[str, ...]
    """Patterns of lines, in their order; others may lie between."""


def logged(logger: str, message: str) -> str:
    """Pattern of a line."""
    return rf'{LINE}{logger}{" " if logger else ""} ?"msg"="{message}'


PATCH = "kubectl -n security-profiles-operator patch spod spod --type=merge -p "
VERBOSITY = (
    Step(PATCH + """'{"spec":{"verbosity":1}}'""", PATCHED),
    Step(
        "k logs ds/spod security-profiles-operator | head -n1", (logged("", 'Set logging verbosity to 1"$'),)
    ),
)
LOG_ENRICHER = (
    Step(PATCH + """'{"spec":{"enableLogEnricher":true}}'""", PATCHED),
    Step(
        "kubectl -n security-profiles-operator logs -f ds/spod log-enricher",
        (
            logged("setup", 'starting component: log-enricher"  .*"version"='),
            logged("log-enricher", "Starting log-enricher on node: "),
            logged("log-enricher", 'Connecting to local GRPC server"'),
            logged("log-enricher", "Reading from "),
        ),
    ),
)
BPF_RECORDER = (
    Step(PATCH + """'{"spec":{"enableBpfRecorder":true}}'""", PATCHED),
    Step(
        "kubectl logs ds/spod -c bpf-recorder",
        (
            logged("", "Set logging verbosity to "),
            logged("setup", 'starting component: bpf-recorder"  .*"version"='),
            *(
                logged("bpf-recorder", message)
                for message in (
                    "Starting log-enricher on node: ",
                    r"Got system mount namespace: \d+",
                    "Doing BPF load/unload self-test",
                    "Loading bpf module",
                    "Using system btf file",
                    "Loading bpf object from module",
                    "Attaching bpf tracepoint",
                    "Module successfully loaded, watching for events",
                    "Unloading bpf module",
                    "Starting GRPC API server",
                )
            ),
        ),
    ),
)
PROFILING = (
    Step(PATCH + """'{"spec":{"enableProfiling":true}}'""", PATCHED),
    *(
        Step(
            f'k logs ds/spod -c {container} | grep "Starting profiling"',
            (logged("", f'Starting profiling server"  "endpoint"="localhost:{port}"$'),),
        )
        for container, port in ((OPERATOR, 6060), ("log-enricher", 6061), ("bpf-recorder", 6062))
    ),
)
OTHER_PROC = (
    Step("""kubectl patch spod spod --type=merge -p '{"spec":{"hostProcVolumePath":"/my-proc"}}'""", PATCHED),
    Step("kubectl logs ds/spod -c bpf-recorder", (logged("bpf-recorder", "Starting GRPC API server"),)),
    Step("kubectl logs ds/spod -c log-enricher", (logged("log-enricher", "Reading from "),)),
)


class Reader:
    """Somebody who types what the document says; the operator's namespace is the one of his context."""

    def __init__(self, operator: Namespace, folder: Path) -> None:
        self._operator = operator
        config = folder / "config"
        config.write_text(Path(operator.cluster.kubeconfig).read_text())
        for name in ("k", "kubectl"):
            (folder / name).symlink_to(KUBECTL)
        path = f"{folder}{os.pathsep}{os.environ['PATH']}"
        self.environment = {
            **os.environ,
            "KUBECONFIG": str(config),
            "PATH": path,
            "PPROF_TMPDIR": str(folder),
            "HOME": str(folder),
        }
        self.run("kubectl config set-context --current --namespace=security-profiles-operator", ())

    def follow(self, steps: tuple[Step, ...]) -> None:
        """Do all of it; who has changed something waits until it is there."""
        for step in steps:
            self.run(step.command, step.output)
            if " patch " in step.command:
                self._operator.kubectl("wait", "--for=condition=ready", "spod/spod", "--timeout=60s")

    def run(self, command: str, patterns: tuple[str, ...]) -> None:
        """One command, which may be one that never ends.

        Again while a probe, which nobody asks whether it is ready, has not yet logged what it will.
        """
        deadline = time.monotonic() + DEADLINE_S
        missing, seen = self._once(command, patterns)
        while missing:
            assert time.monotonic() < deadline, f"{command}: {missing[0]!r} is not in\n{seen}"
            assert "logs" in command, f"{command}: {seen}"
            time.sleep(0.2)
            missing, seen = self._once(command, patterns)

    def _once(self, command: str, patterns: tuple[str, ...]) -> tuple[list[str], str]:
        """Patterns that no line of the output has, in their order, and the output."""
        process = subprocess.Popen(
            ("bash", "-c", command),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        watchdog = threading.Timer(DEADLINE_S, process.kill)
        watchdog.start()
        wanted, seen = list(patterns), ""
        assert process.stdout is not None
        for line in process.stdout:
            seen += line
            if wanted and re.search(wanted[0], line):
                del wanted[0]
            if not wanted and "logs -f" in command:
                os.killpg(process.pid, 9)
        process.stdout.close()
        process.wait()
        watchdog.cancel()
        return wanted, seen


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> Iterator[Namespace]:
    if not cluster.own:
        pytest.skip("changes settings of a cluster that others use")
    made = Namespace(cluster, OPERATOR)
    before = made.get("spod", "spod")["spec"]
    yield made
    changed = ("verbosity", "enableLogEnricher", "enableBpfRecorder", "enableProfiling", "hostProcVolumePath")
    spec = {name: before.get(name) for name in changed}
    made.kubectl("patch", "spod", "spod", "--type=merge", "-p", json.dumps({"spec": spec}))
    made.kubectl("wait", "--for=condition=ready", "spod/spod", "--timeout=60s")


@pytest.fixture(scope="module")
def reader(operator: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(operator, tmp_path_factory.mktemp("reader"))


@pytest.fixture
def other_proc(operator: Namespace) -> Iterator[None]:
    """Where the document's node has its proc file system a second time."""
    folder = operator.cluster.node_root / "my-proc"
    folder.mkdir()
    subprocess.run(("mount", "--bind", "/proc", str(folder)), check=True)
    yield
    subprocess.run(("umount", "--lazy", str(folder)), check=True)
    folder.rmdir()


def moment(condition: dict[str, str]) -> float:
    return datetime.fromisoformat(condition["lastTransitionTime"]).timestamp()


def ready(thing: dict[str, object]) -> dict[str, str]:
    conditions = json.loads(json.dumps(thing))["status"]["conditions"]
    found: dict[str, str] = next(one for one in conditions if one["type"] == "Ready")
    return found


def test_verbosity(reader: Reader, operator: Namespace) -> None:
    reader.follow(VERBOSITY)
    (pod,) = json.loads(operator.kubectl("get", "pods", "-l", "name=spod", "--output=json"))["items"]
    assert moment(ready(operator.get("spod", "spod"))) - moment(ready(pod)) <= SEEN_S


def test_log_enricher(reader: Reader) -> None:
    reader.follow(LOG_ENRICHER)


def test_bpf_recorder(reader: Reader) -> None:
    reader.follow(BPF_RECORDER)


def test_profiling_of_all_containers(reader: Reader, operator: Namespace) -> None:
    operator.kubectl(
        "patch",
        "spod",
        "spod",
        "--type=merge",
        '--patch={"spec":{"enableLogEnricher":true,"enableBpfRecorder":true}}',
    )
    reader.follow(PROFILING)
    assert shutil.which("go"), "no go: run tools/setup.py --monitoring"
    address = operator.kubectl("get", "pods", "-l", "name=spod", "--output=jsonpath={.items[0].status.podIP}")
    reader.environment["PODIP"] = address
    for port in (6060, 6061, 6062):
        url = f"http://$PODIP:{port}/debug/pprof"
        reader.run(f"go tool pprof -top {url}/heap", ("Type: inuse_space", r"builtins\.str"))
        reader.run(f"go tool pprof -top {url}/profile?seconds=1", ("Type: cpu", "flat%"))


@pytest.mark.usefixtures("other_proc")
def test_other_proc(reader: Reader, operator: Namespace) -> None:
    reader.follow(OTHER_PROC)
    pod = operator.get("daemonset", "spod")["spec"]["template"]["spec"]
    mounting = [
        one["name"]
        for one in pod["containers"]
        if {"name": "host-proc-volume", "mountPath": "/proc", "readOnly": True} in one["volumeMounts"]
    ]
    assert mounting == ["log-enricher", "bpf-recorder"]
