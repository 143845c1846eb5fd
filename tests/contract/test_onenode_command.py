"""The ``onenode`` command as a user runs it, with real Podman and a client that checks the certificate."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.pod_node import free_port

pytestmark = pytest.mark.root

DEADLINE_S = 20.0
READY_S = 3.0
SLEEP_FOREVER = ["sh", "-c", 'trap "exit 0" TERM; while :; do sleep 0.1; done']


@dataclass
class Command:
    """One onenode with a state folder of its own."""

    state: Path
    port: int
    image: str

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "onenode", *arguments, f"--state={self.state}"]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    def up(self) -> subprocess.CompletedProcess[str]:
        return self.run("up", f"--port={self.port}", "--node-name=n1", f"--node-root={self.state}/root")

    def pid(self) -> int:
        return int((self.state / "lock").read_text())

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        config = yaml.safe_load((self.state / "kubeconfig").read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        request = urllib.request.Request(
            cluster["server"] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {user['token']}", "Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        with urllib.request.urlopen(request, context=context, timeout=DEADLINE_S) as answer:
            content = answer.read()
        return json.loads(content) if content.startswith(b"{") else content.decode()

    def start_pod(self, name: str = "p") -> dict[str, Any]:
        container = {"name": "c", "image": self.image, "command": SLEEP_FOREVER}
        pod = {"metadata": {"name": name}, "spec": {"containers": [container]}}
        self.request("POST", "/api/v1/namespaces/default/pods", pod)
        return self.running_pod(name)

    def running_pod(self, name: str = "p") -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            pod: dict[str, Any] = self.request("GET", f"/api/v1/namespaces/default/pods/{name}")
            statuses = pod["status"].get("containerStatuses") or [{"state": {}}]
            if "running" in statuses[0]["state"]:
                return pod
            assert time.monotonic() < deadline, pod["status"]
            time.sleep(0.02)

    def container_ids(self) -> set[str]:
        label = f"--filter=label=onenode.instance={(self.state / 'instance-id').read_text().strip()}"
        command = ["podman", "ps", "--all", "--quiet", "--no-trunc", label]
        return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.fixture
def onenode(tmp_path: Path, busybox_image: str) -> Iterator[Command]:
    command = Command(tmp_path / "state", free_port(), busybox_image)
    yield command
    done = command.run("down", "--purge")
    assert done.returncode == 0, done.stderr
    assert not command.state.exists()


def container_id(pod: dict[str, Any]) -> str:
    identifier: str = pod["status"]["containerStatuses"][0]["containerID"]
    return identifier


def test_up_answers(onenode: Command) -> None:
    done = onenode.up()
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"export KUBECONFIG={onenode.state}/kubeconfig\n"
    assert onenode.request("GET", "/readyz") == "ok"
    node = onenode.request("GET", "/api/v1/nodes/n1")
    assert {"type": "Ready", "status": "True"}.items() <= node["status"]["conditions"][-1].items()


def test_up_is_quick(onenode: Command) -> None:
    fastest_s = READY_S
    for _ in range(3):  # the machine may be busy with something else
        began = time.monotonic()
        assert onenode.up().returncode == 0
        fastest_s = min(fastest_s, time.monotonic() - began)
        onenode.run("down")
    assert fastest_s < READY_S


def test_up_twice_leaves_the_running_one_alone(onenode: Command) -> None:
    onenode.up()
    pid = onenode.pid()
    assert onenode.up().returncode == 0
    assert onenode.pid() == pid
    assert onenode.run("status").returncode == 0


def test_up_with_other_options_says_what_runs(onenode: Command) -> None:
    onenode.up()
    port, onenode.port = onenode.port, free_port()
    done = onenode.up()
    assert done.returncode == 1
    assert "runs already with other options" in done.stderr
    assert f"--port={port}" in done.stderr


def test_unusable_definition_is_named(onenode: Command, tmp_path: Path) -> None:
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds/bad.yaml").write_text(
        "kind: CustomResourceDefinition\nmetadata: {name: x.example.com}\nspec: {}\n"
    )
    done = onenode.run("up", f"--crds={tmp_path}/crds", f"--port={onenode.port}")
    assert done.returncode == 1
    assert "bad.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_objects_and_processes_survive_sigkill(onenode: Command) -> None:
    onenode.up()
    before = onenode.start_pod()
    os.kill(onenode.pid(), signal.SIGKILL)
    while onenode.run("status").returncode == 0:
        pass
    assert onenode.up().returncode == 0
    after = onenode.running_pod()
    assert (after["metadata"]["uid"], container_id(after)) == (
        before["metadata"]["uid"],
        container_id(before),
    )


def test_down_leaves_nothing_and_up_brings_the_pods_back(onenode: Command) -> None:
    onenode.up()
    before = onenode.start_pod()
    assert len(onenode.container_ids()) == 2
    assert onenode.run("down").returncode == 0
    assert onenode.container_ids() == set()
    assert str(onenode.state) not in Path("/proc/self/mounts").read_text()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/kubepods/*/pod{before['metadata']['uid']}"))
    status = onenode.run("status")
    assert (status.returncode, status.stdout) == (3, "not running\n")
    onenode.up()
    after = onenode.running_pod()
    assert container_id(after) != container_id(before)


def test_down_where_nothing_is_does_nothing(onenode: Command) -> None:
    done = onenode.run("down")
    assert (done.returncode, done.stdout) == (0, "was not running; 0 containers removed\n")


def test_purge_leaves_foreign_folders_alone(tmp_path: Path, busybox_image: str) -> None:
    (tmp_path / "letters").write_text("dear")
    done = Command(tmp_path, free_port(), busybox_image).run("down", "--purge")
    assert done.returncode == 1
    assert "is not a state folder of onenode" in done.stderr
    assert (tmp_path / "letters").exists()


def test_taken_port_is_named(onenode: Command) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        onenode.port = other.getsockname()[1]
        done = onenode.up()
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{onenode.port}: address already in use" in done.stderr


def test_missing_podman_is_named(onenode: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = onenode.up()
    assert done.returncode == 1
    assert "podman is missing" in done.stderr


def test_secrets_of_the_state_folder_are_private(onenode: Command) -> None:
    onenode.up()
    assert onenode.state.stat().st_mode & 0o777 == 0o700
    for name in ("kubeconfig", "admin-token", "pki/ca.key", "pki/server.key", "pki/token.key"):
        assert (onenode.state / name).stat().st_mode & 0o777 == 0o600, name


def kubectl(onenode: Command, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("kubectl"), f"--kubeconfig={onenode.state}/kubeconfig", *arguments],
        input=stdin,
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


def test_kubectl_exec(onenode: Command) -> None:
    onenode.up()
    onenode.start_pod()
    done = kubectl(
        onenode, "exec", "--stdin", "p", "--", "sh", "-c", "cat; echo e >&2; exit 4", stdin="typed"
    )
    assert (done.returncode, done.stdout) == (4, "typed")
    assert done.stderr == "e\ncommand terminated with exit code 4\n"
    absent = kubectl(onenode, "exec", "nosuch", "--", "true")
    assert absent.stderr == 'Error from server (NotFound): pods "nosuch" not found\n'


def test_kubectl_run_attached(onenode: Command) -> None:
    onenode.up()
    script = 'read line; echo "got $line"'
    done = kubectl(
        onenode,
        "run",
        "x",
        "--rm",
        "--stdin",
        f"--image={onenode.image}",
        "--restart=Never",
        "--command",
        "--",
        "sh",
        "-c",
        script,
        stdin="typed\n",
    )
    assert done.returncode == 0, done.stderr
    assert "got typed" in done.stdout
    assert "x" not in kubectl(onenode, "get", "pods", "--output=name").stdout


def test_requests_without_the_token_are_refused(onenode: Command) -> None:
    onenode.up()
    config = onenode.state / "kubeconfig"
    config.write_text(config.read_text().replace("token: ", "token: x"))
    with pytest.raises(urllib.error.HTTPError) as error:
        onenode.request("GET", "/api/v1/pods")
    error.value.close()
    assert error.value.code == 401


def test_two_of_them_keep_apart(onenode: Command, tmp_path: Path, busybox_image: str) -> None:
    other = Command(tmp_path / "other", free_port(), busybox_image)
    try:
        onenode.up()
        assert other.up().returncode == 0
        first = onenode.start_pod()
        other.start_pod()
    finally:
        assert other.run("down", "--purge").returncode == 0
    assert container_id(onenode.running_pod()) == container_id(first)
    assert container_id(first).removeprefix("podman://") in onenode.container_ids()
