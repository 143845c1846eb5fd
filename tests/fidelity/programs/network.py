"""TLS over sockets between threads, SQLite, subprocesses: much of the standard library in one run."""

import asyncio
import hashlib
import json
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def served(context: ssl.SSLContext, listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with context.wrap_socket(connection, server_side=True) as secured:
        secured.sendall(secured.recv(100).upper())


def over_tls() -> str:
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key"
    subprocess.run(f"openssl req -x509 {key} -out crt -subj /CN=x".split(), check=True, capture_output=True)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain("crt", "key")
    client = ssl.create_default_context(cafile="crt")
    client.check_hostname = False
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=served, args=(server, listener))
        thread.start()
        with client.wrap_socket(socket.create_connection(listener.getsockname())) as secured:
            secured.sendall(b"hello over tls")
            answer = secured.recv(100).decode()
        thread.join()
    return answer


def in_database() -> int:
    with sqlite3.connect("data.db") as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table t(n integer)")
        database.executemany("insert into t values (?)", [(number,) for number in range(1000)])
        total: int = database.execute("select sum(n) from t").fetchone()[0]
    database.close()
    return total


async def concurrently() -> int:
    echo = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    out, _ = await echo.communicate(b"12345")
    await asyncio.sleep(0.001)
    return len(out)


print(over_tls())
print(in_database())
with ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(lambda number: len(hashlib.sha256(bytes(number)).digest()), range(64))))
print(asyncio.run(concurrently()))
with tempfile.TemporaryDirectory() as folder:
    Path(folder, "a.json").write_text(json.dumps({"a": 1}))
    print(json.loads(Path(folder, "a.json").read_text()))
