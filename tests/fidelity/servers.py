"""Programs that serve: the suite is their client, and makes them stop."""

import os
import pwd
import shutil
import signal
import socket
import threading
from functools import cache
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.fidelity.program import SCRIPTS, Place, Process, Program, accepts, eventually

NGINX_CONFIGURATION = """\
daemon off;
worker_processes 2;
pid {dir}/nginx.pid;
error_log stderr error;
events { worker_connections 64; }
http {
    include /etc/nginx/mime.types;
    access_log {dir}/access.log;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    sendfile on;
    gzip on;
    server {
        listen 127.0.0.1:{port};
        root {dir}/www;
        location /generation { return 200 "{generation}\\n"; }
        location /inner/ { proxy_pass http://127.0.0.1:{port}/; }
    }
}
"""
BIG = 300_000


def request(port: int, path: str) -> str:
    """Status and body of an answer; a long body is told by its length."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": "identity"})
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    return f"{response.status} {len(body) if len(body) > 100 else body.decode().strip()}\n"


def nginx_files(place: Place) -> None:
    """Configuration and content."""
    www = place.folder / "www"
    www.mkdir()
    (www / "small").write_text("small\n")
    (www / "big").write_bytes(bytes(BIG))
    for folder in (place.folder, www):
        folder.chmod(0o755)
    nginx_configuration(place, "first")


def nginx_configuration(place: Place, generation: str) -> None:
    """Write the configuration; the generation can be asked for."""
    text = place.fill(NGINX_CONFIGURATION).replace("{generation}", generation)
    (place.folder / "nginx.conf").write_text(text)


def use_nginx(nginx: Process) -> str:
    """Ask for files, reload with another configuration, ask again, stop in the friendly way."""
    port = nginx.place.port
    eventually("nginx listens", lambda: accepts(port))
    told = "".join(
        request(port, path) for path in ("/small", "/big", "/absent", "/inner/small", "/generation")
    )
    nginx_configuration(nginx.place, "second")
    os.kill(nginx.pid, signal.SIGHUP)
    # Not asked again: until the old workers have closed their sockets, each answer may come from either.
    second = "200 second\n"
    eventually("nginx reloads", lambda: request(port, "/generation") == second)
    told += second
    os.kill(nginx.pid, signal.SIGQUIT)
    return told


NGINX_TOLD = f"200 small\n200 {BIG}\n404 153\n200 small\n200 first\n200 second\n"


def redis_conversation(port: int, *commands: str) -> str:
    """Send commands in the inline form of the protocol; the first lines of the answers."""
    told = ""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        stream = connection.makefile("rwb")
        for command in commands:
            stream.write(f"{command}\r\n".encode())
            stream.flush()
            told += stream.readline().decode().replace("\r\n", "\n")
            if told.endswith("$5\n"):
                told += stream.readline().decode().replace("\r\n", "\n")
    return told


def saved(port: int) -> bool:
    """Whether no child of redis writes to disk any more."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"INFO persistence\r\n")
        answer = b""
        while b"aof_last_cow_size" not in answer:
            answer += connection.recv(65536)
    return b"rdb_bgsave_in_progress:0" in answer and b"aof_rewrite_in_progress:0" in answer


def use_redis(redis: Process) -> str:
    """Write, read, let it save and rewrite its log in child processes, stop it."""
    port = redis.place.port
    eventually("redis listens", lambda: accepts(port))
    told = redis_conversation(
        port, "PING", "SET key value", "GET key", "INCR n", "LPUSH list a b c", "EVAL return(6*7) 0", "BGSAVE"
    )
    eventually("redis saves", lambda: saved(port))
    told += redis_conversation(port, "BGREWRITEAOF")
    eventually("redis rewrites", lambda: saved(port))
    told += redis_conversation(port, "DBSIZE")
    os.kill(redis.pid, signal.SIGTERM)
    return told


REDIS_TOLD = (
    "+PONG\n+OK\n$5\nvalue\n:1\n:3\n:42\n+Background saving started\n"
    "+Background append only file rewriting started\n:3\n"
)
REDIS_OPTIONS = ("--bind", "127.0.0.1", "--appendonly", "yes", "--daemonize", "no")


def use_node(node: Process) -> str:
    """Four kinds of requests: memory, a file, the thread pool, a worker."""
    port = node.place.port
    eventually("node listens", lambda: accepts(port))
    told = "".join(request(port, path) for path in ("/", "/file", "/hash", "/worker"))
    os.kill(node.pid, signal.SIGTERM)
    return told


NODE_TOLD = "200 hello\n200 true\n200 e5c5c229e64360f5292aaf768633ce1d\n200 42\n"


class _Pages(BaseHTTPRequestHandler):
    """What curl is told."""

    def do_GET(self) -> None:  # the name is the protocol of http.server
        body = b"x" * BIG if self.path == "/big" else b"from the server\n"
        self.send_response(302 if self.path == "/moved" else 200)
        if self.path == "/moved":
            self.send_header("Location", "/small")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@cache
def web_server() -> int:
    """Port of a server in a thread of the suite; it ends with the process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def downloads(place: Place) -> None:
    """What curl is to fetch."""
    url = f"url = http://127.0.0.1:{web_server()}"
    (place.folder / "requests").write_text(f"{url}/big\noutput = big\n{url}/small\n{url}/moved\n")


def owned_by_postgres(place: Place) -> None:
    """PostgreSQL refuses to run as root."""
    user = pwd.getpwnam("postgres")
    os.chown(place.folder, user.pw_uid, user.pw_gid)
    # A copy: the folders above the original may be closed to that user.
    shutil.copy(SCRIPTS / "database.sh", place.folder)


SERVERS: tuple[Program, ...] = (
    Program(
        "nginx",
        "files, a proxy to itself, reload, stop",
        ("nginx", "-p", "{dir}", "-c", "{dir}/nginx.conf"),
        NGINX_TOLD,
        nginx_files,
        drive=use_nginx,
    ),
    Program(
        "redis",
        "commands, a script, snapshot and log rewritten by children, stop",
        ("redis-server", *REDIS_OPTIONS, "--port", "{port}", "--dir", "{dir}"),
        REDIS_TOLD,
        drive=use_redis,
    ),
    Program(
        "postgres",
        "initdb, start, queries by TCP and socket, stop",
        (
            "setpriv",
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "bash",
            "database.sh",
            "{port}",
        ),
        "12502500\n5000\n",
        owned_by_postgres,
    ),
    Program(
        "node",
        "an HTTP server with thread pool and worker, stop",
        ("node", "{scripts}/server.js", "{port}"),
        NODE_TOLD,
        drive=use_node,
    ),
    Program(
        "curl",
        "two downloads and a redirect",
        ("curl", "-sSL", "--noproxy", "*", "-w", "%{size_download}\\n", "-K", "requests"),
        f"{BIG}\nfrom the server\n16\nfrom the server\n16\n",
        downloads,
    ),
)
