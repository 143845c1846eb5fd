"""nginx and redis: recorded while they serve, and serving again under what was recorded."""

import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.breaking import containers_of
from tests.e2e.cluster import Namespace
from tests.e2e.recorded import (
    SERVERS,
    allowed,
    annotation,
    begin,
    delete_pods,
    made_by_program,
    podman,
    profiles,
    recorded_pod,
    servers_image,
    under,
    wait_installed,
    wait_running,
)
from tools.devcluster import free_port

NGINX = """\
mkdir -p /tmp/n/www && echo hello > /tmp/n/www/index.html && chmod -R 755 /tmp/n && cat > /tmp/n/conf <<END
daemon off; worker_processes 1; pid /tmp/n/pid; error_log stderr error;
events {{ worker_connections 64; }}
http {{
  access_log /tmp/n/log; client_body_temp_path /tmp/n/a; proxy_temp_path /tmp/n/b;
  fastcgi_temp_path /tmp/n/c; uwsgi_temp_path /tmp/n/d; scgi_temp_path /tmp/n/e;
  server {{ listen 127.0.0.1:{port}; root /tmp/n/www; }}
}}
END
exec nginx -p /tmp/n -c /tmp/n/conf
"""
REDIS = "exec redis-server --bind 127.0.0.1 --port {port} --dir /tmp --save '' --daemonize no"
DEADLINE_S = 20.0


def server_pod(name: str, ports: dict[str, int], **spec: Any) -> dict[str, Any]:
    """nginx and redis in one pod, on the node's network."""
    scripts = {"nginx": NGINX, "redis": REDIS}
    containers = [
        {"name": kind, "image": SERVERS, "command": ["sh", "-c", script.format(port=ports[kind])]}
        for kind, script in scripts.items()
    ]
    return recorded_pod(name, containers=containers, hostNetwork=True, **spec)


def ask_nginx(port: int) -> str:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/index.html")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def ask_redis(port: int) -> str:
    told = ""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        stream = connection.makefile("rwb")
        for command in ("SET key value", "INCR n", "EVAL return(6*7) 0"):
            stream.write(f"{command}\r\n".encode())
            stream.flush()
            told += stream.readline().decode().strip()
    return told


ANSWERS: dict[str, tuple[Callable[[int], str], str]] = {
    "nginx": (ask_nginx, "hello\n"),
    "redis": (ask_redis, "+OK:1:42"),
}


def serves(kind: str, port: int) -> None:
    """The server answers, at the latest after a while."""
    ask, answer = ANSWERS[kind]
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            assert ask(port) == answer
        except OSError:
            assert time.monotonic() < deadline, f"{kind} does not serve"
            time.sleep(0.1)
        else:
            return


def is_filtered(namespace: Namespace, kind: str) -> bool:
    """Whether the kernel says that the server has a filter."""
    labels = {"pod_namespace": namespace.name, "pod_name": "again", "container_name": kind}
    (found,) = containers_of(namespace.cluster, **labels)
    pid = podman("inspect", "--format={{.State.Pid}}", found).strip()
    return "Seccomp:\t2\n" in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.parametrize("no_new_privileges", [False, True], ids=["plain", "no-new-privileges"])
def test_servers_run_again_under_their_recorded_profiles(
    namespace: Namespace, no_new_privileges: bool
) -> None:
    servers_image()
    begin(namespace)
    ports = {"nginx": free_port(), "redis": free_port()}
    context = {"allowPrivilegeEscalation": not no_new_privileges}
    recorded = server_pod("servers", ports)
    for one in recorded["spec"]["containers"]:
        one["securityContext"] = context
    namespace.apply(recorded)
    wait_running(namespace, "servers")
    for kind, port in ports.items():
        serves(kind, port)
    delete_pods(namespace, "servers")
    wait_installed(namespace, "rec-nginx", "rec-redis")
    found = profiles(namespace)
    assert {"setuid", "accept4", "close", "sendfile"} & made_by_program(found["rec-nginx"])
    assert "epoll_wait" in made_by_program(found["rec-redis"])
    for name in ("rec-nginx", "rec-redis"):
        assert not {"ptrace", "bpf", "reboot", "mount"} & allowed(found[name])
        assert annotation(found[name], "recording-lost") == "0"
        assert annotation(found[name], "recording-late") is None
    again = server_pod("again", ports)
    del again["metadata"]["labels"]
    for one in again["spec"]["containers"]:
        one["securityContext"] = {**context, **under(namespace, f"rec-{one['name']}")}
    namespace.apply(again)
    wait_running(namespace, "again")
    for kind, port in ports.items():
        serves(kind, port)
        if namespace.cluster.own:
            assert is_filtered(namespace, kind)
