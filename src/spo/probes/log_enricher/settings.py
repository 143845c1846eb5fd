"""What ``log-enricher`` must know."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from spo.names import ROOTLESS_UID
from spo.probes.log_enricher.enricher import Printing
from spo.rpc.log_enricher import DAEMON_SOCKET
from spo.settings import InvalidSettingError, MissingSettingError

AUDIT_LOG: Final = Path("/var/log/audit/audit.log")
SYSLOG: Final = Path("/var/log/syslog")
OWN_NAMESPACE: Final = "own"


class Source(StrEnum):
    """Where records are read; the same words as ``spec.logEnricherSource`` of the spod object."""

    NETLINK = "netlink"
    AUDIT_LOG = "auditd"
    SYSLOG = "syslog"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnricherSettings:
    """Read from the environment and the flags once, by ``__main__``."""

    node_name: str
    """Kubernetes name of this node; the pod gets it from ``spec.nodeName``."""
    sources: tuple[Source, ...] = ()
    """Read all of these; empty: the best one that works, in the order of :class:`Source`."""
    proc: Path = Path("/proc")
    """Proc file system of the initial pid namespace."""
    network_namespace: Path | None = Path("/proc/1/ns/net")
    """Where the kernel multicasts its records; ``None``: we are in it."""
    audit_log: Path = AUDIT_LOG
    syslog: Path = SYSLOG
    daemon_socket: Path = Path(DAEMON_SOCKET)
    """Where the daemon knows pods and takes counts."""
    daemon_uids: frozenset[int] = frozenset({0, ROOTLESS_UID})
    """Who may be the daemon."""
    printing: Printing = Printing.ALL
    count_pause_s: float = 1.0
    """How long counts are collected before they are sent."""
    print_pause_s: float = 0.05
    """How long lines are collected before they are written."""

    @classmethod
    def from_env(
        cls,
        env: Mapping[str, str],
        *,
        sources: tuple[str, ...] = (),
        proc: Path | None = None,
        network_namespace: str | None = None,
        audit_log: Path | None = None,
        syslog: Path | None = None,
        daemon_socket: Path | None = None,
        printing: str = Printing.ALL,
    ) -> Self:
        """Read ``NODE_NAME``. What is ``None`` has its default.

        Raises:
            MissingSettingError: it is not set.
            InvalidSettingError: the network namespace is no absolute path.
        """
        node_name = env.get("NODE_NAME", "")
        if not node_name:
            raise MissingSettingError("NODE_NAME")
        proc = proc or Path("/proc")
        network = network_namespace or str(proc / "1/ns/net")
        if network != OWN_NAMESPACE and not network.startswith("/"):
            raise InvalidSettingError("SPO_HOST_NETNS", network, f"an absolute path or {OWN_NAMESPACE!r}")
        return cls(
            node_name=node_name,
            sources=tuple(map(Source, sources)),
            proc=proc,
            network_namespace=None if network == OWN_NAMESPACE else Path(network),
            audit_log=audit_log or AUDIT_LOG,
            syslog=syslog or SYSLOG,
            daemon_socket=daemon_socket or Path(DAEMON_SOCKET),
            printing=Printing(printing),
        )
