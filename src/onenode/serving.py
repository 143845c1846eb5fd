"""One running onenode: the API over HTTPS and the pod runner in one process, until SIGTERM."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import uvicorn
import yaml

from onenode.app import create_app
from onenode.auth import Authenticator, load_admin_token
from onenode.certificates import Certificates, ensure_certificates, write_secret
from onenode.definitions import DefinitionError
from onenode.instance import Instance, InstanceError, ServeOptions
from onenode.kubelet import Kubelet, KubeletSettings
from onenode.kubelet.errors import RuntimeCallError
from onenode.kubelet.pod import Pod
from onenode.pod_streams import PodStreams
from onenode.store import Store

log = logging.getLogger("onenode")

LOOPBACK: Final = "127.0.0.1"
_IP_FREEBIND: Final = 15
"""From linux/in.h: the bridge may come up only with its first container."""
_GRACEFUL_S: Final = 2
_KEEP_ALIVE_S: Final = 75


class PodTokens:
    """Tokens for pods, from the API server's authenticator."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def issue(self, *, pod: Pod, audience: str, expiration_s: int) -> str:
        """A token of the pod's service account, bound to the pod."""
        token, _ = self._authenticator.issue_token(
            pod.metadata.namespace,
            pod.spec.service_account_name,
            pod_name=pod.metadata.name,
            pod_uid=pod.metadata.uid,
            expiration_s=expiration_s,
            audiences=[audience] if audience else [],
        )
        return token


class _Server(uvicorn.Server):
    """A server that leaves signals to us and tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets=sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no handlers."""
        yield


def serve_until_stopped(instance: Instance, options: ServeOptions, environment: Mapping[str, str]) -> None:
    """Serve in this process until SIGTERM or SIGINT.

    Raises:
        InstanceError: the port is taken, Podman does not work or a definition is unusable.
    """
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        asyncio.run(_serve(instance, options, environment))
    except (DefinitionError, RuntimeCallError) as error:
        raise InstanceError(str(error)) from error


async def _serve(instance: Instance, options: ServeOptions, environment: Mapping[str, str]) -> None:
    podman = instance.podman(environment, options.node_root / "etc/containers/oci/hooks.d")
    version, gateway = await asyncio.gather(podman.version(), podman.gateway())
    sockets = _listen(options.port, gateway)
    bridge = gateway if len(sockets) > 1 else None
    host_ip = _primary_address()
    certificates = ensure_certificates(
        instance.certificates, [host_ip, socket.gethostname(), *([bridge] if bridge else [])]
    )
    instance.note_options(options)
    store = Store(instance.database)
    admin_token = load_admin_token(instance.state / "admin-token")
    authenticator = Authenticator(store, admin_token, certificates.token_signing_key())
    write_secret(instance.kubeconfig, _kubeconfig(certificates, admin_token, options.port))
    settings = KubeletSettings(
        node_name=options.node_name,
        state=instance.state,
        seccomp_root=options.node_root / "var/lib/kubelet/seccomp",
        instance=instance.identifier,
        host_ip=host_ip,
        api_port=options.port,
        api_address=LOOPBACK,
        bridge_api_address=bridge,
    )
    kubelet = Kubelet(store, podman, settings, PodTokens(authenticator), runtime_version=version)
    app = create_app(
        store,
        options.crds,
        authenticator,
        pods=kubelet,
        ca_text=certificates.ca_text(),
        access_log=options.access_log,
    )
    streams = PodStreams(
        app, store=store, auth=authenticator, authorizer=app.context.authorizer, pods=kubelet
    )
    server = _Server(_http_settings(streams, certificates))
    try:
        await _run(server, sockets, kubelet, options)
        await podman.drain()
    finally:
        store.close()


async def _run(
    server: _Server, sockets: Sequence[socket.socket], kubelet: Kubelet, options: ServeOptions
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = asyncio.create_task(server.serve(sockets=list(sockets)))
    running = asyncio.create_task(kubelet.run())
    announcing = asyncio.create_task(_announce(server, kubelet, options))
    stopping = asyncio.create_task(stop.wait())
    parts: set[asyncio.Task[Any]] = {serving, running, stopping}
    ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping")
    server.should_exit = True
    for task in (announcing, running, stopping):
        task.cancel()
    await asyncio.gather(serving, announcing, running, stopping, return_exceptions=True)
    for part in ended - {stopping}:
        part.result()  # a part that ended by itself has failed: say why


async def _announce(server: _Server, kubelet: Kubelet, options: ServeOptions) -> None:
    """Tell that requests are answered and pods are looked after."""
    await kubelet.ready.wait()
    await server.listening.wait()
    log.info("ready address=https://%s:%d node=%s", LOOPBACK, options.port, options.node_name)
    if options.ready_fd is not None:
        os.write(options.ready_fd, b"ready\n")
        os.close(options.ready_fd)


def _listen(port: int, gateway: str | None) -> list[socket.socket]:
    """Sockets on the loopback address and, for containers, on the bridge's."""
    sockets = [_bound(LOOPBACK, port)]
    if gateway is not None:
        try:
            sockets.append(_bound(gateway, port))
        except InstanceError as error:
            log.warning("pods with a network of their own cannot reach the API error=%s", error)
    return sockets


def _bound(address: str, port: int) -> socket.socket:
    # With the protocol named, asyncio sends small answers at once (TCP_NODELAY); without it each waits 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.bind((address, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        problem = (error.strerror or str(error)).lower()
        raise InstanceError(f"cannot listen on {address}:{port}: {problem}; choose another --port") from error
    return listener


def _http_settings(app: Any, certificates: Certificates) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        ws="wsproto",
        lifespan="on",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACEFUL_S,
        ssl_certfile=certificates.server,
        ssl_keyfile=certificates.server_key,
    )


def _kubeconfig(certificates: Certificates, token: str, port: int) -> bytes:
    name = "onenode"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": f"https://{LOOPBACK}:{port}",
                    "certificate-authority": str(certificates.ca),
                },
            }
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return yaml.safe_dump(document, sort_keys=False).encode()


def _primary_address() -> str:
    """The address this machine would use towards others; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return LOOPBACK
        address: str = probe.getsockname()[0]
        return address
