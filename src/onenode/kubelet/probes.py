"""One look at a container's health: a command in it, a request or a connection to it."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Final

from onenode.kubelet.pod import Container, ExecAction, HttpGetAction, Probe, TcpSocketAction
from onenode.kubelet.runtime import Runtime
from onenode.kubelet.state import ContainerState
from onenode.kubelet.streams import StreamRequest

_OUTPUT_BYTES: Final = 10 * 1024
_STATUS_LINE_BYTES: Final = 8 * 1024


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one look found; the message says what went wrong."""

    success: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """The run of a container that is looked at."""

    runtime: Runtime
    state: ContainerState
    container: Container
    pod_ip: str


async def run_probe(probe: Probe, target: ProbeTarget) -> ProbeResult:
    """Look once, for as long as the probe allows."""
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            if probe.exec is not None:
                return await _run_command(probe.exec, target)
            if probe.http_get is not None:
                return await _request(probe.http_get, target)
            if probe.tcp_socket is not None:
                return await _connect(probe.tcp_socket, target)
    except TimeoutError:
        what = "command" if probe.exec is not None else "probe"
        return ProbeResult(False, f"{what} timed out after {probe.timeout_seconds}s")
    except (OSError, ValueError) as error:
        return ProbeResult(False, str(error))
    return ProbeResult(False, "this node knows exec, httpGet and tcpSocket probes only")


async def _run_command(action: ExecAction, target: ProbeTarget) -> ProbeResult:
    request = StreamRequest(command=action.command)
    process = await target.runtime.open_stream(target.state, request)
    output = b""
    try:
        async for _, data in process.output():
            output = (output + data)[:_OUTPUT_BYTES]
        code = await process.wait()
    finally:
        await process.stop()
    return ProbeResult(code == 0, output.decode(errors="replace").strip())


async def _request(action: HttpGetAction, target: ProbeTarget) -> ProbeResult:
    host, port = action.host or target.pod_ip, _port(action.port, target.container)
    headers = {"host": f"{host}:{port}", "user-agent": "kube-probe/1.36", "accept": "*/*"}
    headers |= {header.name.lower(): header.value for header in action.http_headers}
    lines = [f"GET {action.path or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any(character in line for line in lines for character in "\r\n"):
        raise ValueError("a line break in the path or a header")
    context = None
    if action.scheme == "HTTPS":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # As a kubelet does: the probe asks for a sign of life, not for an identity.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_STATUS_LINE_BYTES)
    try:
        writer.write(("\r\n".join([*lines, "connection: close"]) + "\r\n\r\n").encode())
        await writer.drain()
        status_line = (await reader.readline()).decode("latin-1").split()
    finally:
        writer.close()
    if len(status_line) < 2 or not status_line[1].isdecimal():
        return ProbeResult(False, "the answer is no HTTP")
    code = int(status_line[1])
    return ProbeResult(200 <= code < 400, f"HTTP probe failed with statuscode: {code}")


async def _connect(action: TcpSocketAction, target: ProbeTarget) -> ProbeResult:
    host, port = action.host or target.pod_ip, _port(action.port, target.container)
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    return ProbeResult(True)


def _port(port: int | str, container: Container) -> int:
    if isinstance(port, int):
        return port
    for known in container.ports:
        if known.name == port:
            return known.container_port
    if port.isdecimal():
        return int(port)
    raise ValueError(f"couldn't find port: {port}")
