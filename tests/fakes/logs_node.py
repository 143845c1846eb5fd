"""One node that records from the audit log: the daemon's part, between a fake API server and enricher."""

from pathlib import Path

from spo.daemon.recording.followed import Followed
from spo.daemon.recording.logs_process import LogRecordings
from spo.daemon.recording.pods import TRACED_PODS
from spo.names import TRACE_LOGS_ANNOTATION
from spo.rpc.log_enricher import Count, Losses, SeenCalls
from spo.settings import DaemonSettings
from tests.fakes.recording_node import NS, NUMBERS, RecordingNode


class FakeEnricher:
    """Remembers what containers did; tells news, all after a connection, and when it is asked."""

    def __init__(self, session: str = "one") -> None:
        self.session = session
        self.began_ms = 0
        self.lost = 0
        self.first_serial, self.last_serial = 1, 10
        self.known: dict[tuple[str, bool], set[int]] = {}
        self.told: dict[tuple[str, bool], set[int]] = {}
        self.running = True
        self.node: LogRecordings | None = None

    def calls(self, container_id: str, *names: str, by_runtime: bool = False) -> None:
        """The kernel logs; nothing is told yet."""
        known = self.known.setdefault((container_id, by_runtime), set())
        known |= {NUMBERS[name] for name in names}
        self.last_serial += len(names)

    def connect(self, node: LogRecordings) -> None:
        self.node = node
        node.drain_by(self.drain)
        self.told.clear()
        self.tell()

    def tell(self) -> None:
        """What is due once a second."""
        assert self.node is not None
        seen = []
        for (container_id, by_runtime), numbers in self.known.items():
            told = self.told.setdefault((container_id, by_runtime), set())
            if news := numbers - told:
                seen.append(SeenCalls(container_id, "SCMP_ARCH_X86_64", sorted(news), by_runtime))
                told |= news
        batch = Count(
            self.session,
            1,
            [],
            Losses(gaps=self.lost),
            seen,
            self.first_serial,
            self.began_ms,
            self.last_serial,
        )
        for container_id in self.node.observe(batch):
            self.known = {key: calls for key, calls in self.known.items() if key[0] != container_id}

    async def drain(self) -> bool:
        if self.running:
            self.tell()
        return self.running


class LogsNode(RecordingNode):
    """``async with LogsNode(folder) as node``; ``folder`` must have a short path."""

    prefix = TRACE_LOGS_ANNOTATION

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.enricher: FakeEnricher | None = FakeEnricher()
        self.daemon: LogRecordings

    async def start_daemon(self) -> None:
        await super().start_daemon()
        if self.enricher is not None:
            self.enricher.connect(self.daemon)

    def recordings(self, settings: DaemonSettings, followed: Followed) -> LogRecordings:
        self.daemon = LogRecordings(self.client, settings, followed, root=self.root)
        return self.daemon

    def replace_enricher(self, enricher: FakeEnricher) -> None:
        """Another run of the process."""
        self.enricher = enricher
        enricher.connect(self.daemon)

    async def add_logged(self, name: str, *containers: str, **annotations: str) -> str:
        """A pod of this node as the webhook leaves it; returns its uid."""
        traces = {one: f"rec-{one}-1700000000" for one in containers}
        every = {f"{self.prefix}{one}": value for one, value in traces.items()}
        uid = await self.add_pod(name, traces, annotations={**every, **annotations})
        path = "operator/security-profiles-operator/log-enricher-trace.json"
        context = {"seccompProfile": {"type": "Localhost", "localhostProfile": path}}
        spec = {"containers": [{"name": one, "securityContext": context} for one in containers or ("c",)]}
        await self.client.patch(TRACED_PODS, name, NS, {"spec": spec})
        return uid

    def stored(self) -> str:
        """What a new process would find."""
        try:
            return (self.root / ".recordings/logs-security-profiles-operator.json").read_text()
        except FileNotFoundError:
            return ""
