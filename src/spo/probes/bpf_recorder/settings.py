"""What ``bpf-recorder`` must know."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from spo.bpf.recorder import PIN_ROOT
from spo.names import ROOTLESS_UID
from spo.rpc.bpf_recorder import SOCKET
from spo.rpc.listener import SocketPlace
from spo.settings import MissingSettingError

UNDECIDED_S: Final = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BpfRecorderSettings:
    """Read from the environment and the flags once, by ``__main__``."""

    node_name: str
    """Kubernetes name of this node; the pod gets it from ``spec.nodeName``."""
    socket: Path = Path(SOCKET)
    """Where the daemon connects; the file that survives a restart lies beside it."""
    pin_root: Path = PIN_ROOT
    """Below it, each version of the BPF object has a directory of pins."""
    btf: Path | None = None
    """Types of the kernel, a file or a BTFHub directory; ``None``: the kernel has them."""
    undecided_s: float = UNDECIDED_S
    """How long a namespace is recorded that nobody keeps or rejects."""
    client_gid: int = ROOTLESS_UID
    """The group that may connect."""
    client_uids: frozenset[int] = frozenset({0, ROOTLESS_UID})
    """The users that are served."""

    @classmethod
    def from_env(
        cls,
        env: Mapping[str, str],
        *,
        socket: Path | None = None,
        pin_root: Path | None = None,
        btf: Path | None = None,
    ) -> Self:
        """Read ``NODE_NAME``. A path that is ``None`` has its default.

        Raises:
            MissingSettingError: it is not set.
        """
        node_name = env.get("NODE_NAME", "")
        if not node_name:
            raise MissingSettingError("NODE_NAME")
        return cls(node_name=node_name, socket=socket or Path(SOCKET), pin_root=pin_root or PIN_ROOT, btf=btf)

    @property
    def place(self) -> SocketPlace:
        """Where the socket lies and who may use it."""
        return SocketPlace(path=self.socket, gid=self.client_gid)

    @property
    def state_file(self) -> Path:
        """What must survive a restart, as the pins do."""
        return self.socket.with_suffix(".state")
