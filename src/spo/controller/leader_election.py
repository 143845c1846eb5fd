"""One active process among several, by a Lease: the same protocol and times as client-go.

Whoever holds the Lease renews it every 2 s. Another process takes it over when it has seen no renewal for
the lease duration, measured on its own clock, so that clocks need not agree. A leader that cannot renew
for 10 s stops working before anybody else can start.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from spo import klog
from spo.api.core import LEASES, Lease
from spo.errors import SpoError
from spo.kube.client import KubeClient
from spo.kube.clock import SYSTEM_CLOCK, Clock, format_micro_time
from spo.kube.errors import AlreadyExistsError, ConflictError, KubeConfigError, KubeError, NotFoundError

log = klog.get("leader-election")


class LeadershipLostError(SpoError):
    """The Lease could not be renewed in time, or somebody else holds it."""

    def __init__(self, lease: str, cause: str) -> None:
        super().__init__(lease, cause)
        self.lease = lease
        self.cause = cause

    def __str__(self) -> str:
        return f"leadership {self.lease} lost: {self.cause}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElectionSettings:
    """Times; the defaults are those of client-go."""

    lease_duration_s: int = 15
    """How long others wait after the last renewal they saw."""
    renew_deadline_s: float = 10.0
    """How long a leader tries to renew before it stops working; below ``lease_duration_s``."""
    retry_s: float = 2.0
    """Pause between two looks at the Lease."""
    request_timeout_s: float = 5.0
    """For one look: a hanging server must not use up the renew deadline."""


class LeaderElection:
    """Candidate for a Lease; ``identity`` must be unique among the candidates."""

    def __init__(
        self,
        client: KubeClient,
        name: str,
        namespace: str,
        identity: str,
        *,
        settings: LeaderElectionSettings | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._client = client
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._settings = settings or LeaderElectionSettings()
        self._clock = clock
        self._seen: Lease | None = None
        self._seen_at_s = 0.0
        self.is_leader: bool = False
        """Whether this process may act right now."""

    @property
    def _title(self) -> str:
        return f"{self._namespace}/{self._name}"

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, then run ``lead`` while we hold it.

        Returns when ``lead`` returns. Cancelling cancels ``lead``, waits for it and gives the Lease back,
        so that another process takes over at once.

        Raises:
            LeadershipLostError: ``lead`` was cancelled because the Lease was lost; call again to stand again.
        """
        await self._acquire()
        self.is_leader = True
        log.info("became leader", lease=self._title, identity=self._identity)
        lost = False
        work = asyncio.ensure_future(lead())
        renewal = asyncio.create_task(self._keep())
        try:
            await asyncio.wait({work, renewal}, return_when=asyncio.FIRST_COMPLETED)
            lost = renewal.done()
        finally:
            await self._end(work, renewal, lost=lost)
        if lost:
            renewal.result()
        work.result()

    async def run_always(self, lead: Callable[[], Awaitable[None]]) -> None:
        """As :meth:`run`, but stand again after the Lease was lost; ``lead`` must be able to run again."""
        while True:
            try:
                await self.run(lead)
            except LeadershipLostError as error:
                log.warning("leadership lost, standing again", lease=self._title, problem=error.cause)
            else:
                return

    async def _end(self, work: "asyncio.Future[None]", renewal: "asyncio.Task[None]", *, lost: bool) -> None:
        """Stop ``lead`` first, the renewal second: nobody else may start while it still works."""
        self.is_leader = False
        work.cancel()
        try:
            await asyncio.wait({work})
        finally:
            renewal.cancel()
            await asyncio.wait({renewal})
            if not lost:
                await self._release()

    async def _acquire(self) -> None:
        while not await self._attempt(self._settings.request_timeout_s):
            await self._clock.sleep(self._pause_s())

    async def _keep(self) -> None:
        """Renew until that fails for too long; ends by raising."""
        deadline_s = self._seen_at_s + self._settings.renew_deadline_s
        while True:
            left_s = deadline_s - self._clock.monotonic()
            await self._clock.sleep(min(self._settings.retry_s, max(left_s, 0)))
            started_s = self._clock.monotonic()
            if started_s >= deadline_s:
                late = f"not renewed for {self._settings.renew_deadline_s:g} s"
                raise LeadershipLostError(self._title, late)
            if await self._attempt(deadline_s - started_s):
                deadline_s = started_s + self._settings.renew_deadline_s
            elif self._seen is not None and self._holder(self._seen) != self._identity:
                raise LeadershipLostError(self._title, f"held by {self._holder(self._seen) or 'nobody'}")

    def _pause_s(self) -> float:
        """Until the next look: the usual pause, but not past the end of the Lease we see."""
        # Jitter only spreads the candidates.
        pause_s = self._settings.retry_s * (1 + 0.2 * random.random())  # noqa: S311
        if self._seen is None:
            return pause_s
        left_s = self._expires_at_s(self._seen) - self._clock.monotonic()
        return min(pause_s, left_s + 0.05) if left_s > 0 else pause_s

    def _expires_at_s(self, lease: Lease) -> float:
        duration_s = lease.spec.lease_duration_seconds or self._settings.lease_duration_s
        return self._seen_at_s + duration_s

    @staticmethod
    def _holder(lease: Lease) -> str:
        return lease.spec.holder_identity or ""

    async def _attempt(self, limit_s: float) -> bool:
        """Look at the Lease and take or renew it if that is ours to do; whether we hold it now."""
        try:
            async with asyncio.timeout(min(limit_s, self._settings.request_timeout_s)):
                return await self._take_or_renew()
        except (ConflictError, AlreadyExistsError):
            return False  # Somebody was faster; the next look shows who.
        except (KubeError, KubeConfigError, TimeoutError) as error:
            problem = str(error) or "timed out"
            log.warning("cannot reach the lease", lease=self._title, problem=problem)
            return False

    async def _take_or_renew(self) -> bool:
        if self.is_leader and self._seen is not None:
            # Nobody else should have written: save the look.
            try:
                await self._renew(self._seen)
                return True
            except (ConflictError, NotFoundError):
                pass
        return await self._look_and_take()

    async def _look_and_take(self) -> bool:
        try:
            lease = await self._client.get(LEASES, self._name, self._namespace)
        except NotFoundError:
            body = {
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": self._spec(transitions=0, acquire=True),
            }
            self._note(await self._client.create(LEASES, body, self._namespace))
            return True
        self._note(lease)
        holder = self._holder(lease)
        if holder not in {"", self._identity} and self._clock.monotonic() < self._expires_at_s(lease):
            return False
        if holder == self._identity:
            await self._renew(lease)
        else:
            transitions = (lease.spec.lease_transitions or 0) + 1
            self._note(await self._write(lease, self._spec(transitions=transitions, acquire=True)))
        return True

    async def _renew(self, lease: Lease) -> None:
        transitions = lease.spec.lease_transitions or 0
        self._note(await self._write(lease, self._spec(transitions=transitions, acquire=False)))

    async def _write(self, lease: Lease, spec: dict[str, Any]) -> Lease:
        body = {"metadata": {"resourceVersion": lease.metadata.resource_version}, "spec": spec}
        return await self._client.patch(LEASES, self._name, self._namespace, body)

    def _spec(self, *, transitions: int, acquire: bool) -> dict[str, Any]:
        now = format_micro_time(self._clock.now())
        spec: dict[str, Any] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._settings.lease_duration_s,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        if acquire:
            spec["acquireTime"] = now
        return spec

    def _note(self, lease: Lease) -> None:
        """Remember when we saw this state of the Lease for the first time."""
        seen = self._seen
        if seen is None or seen.metadata.resource_version != lease.metadata.resource_version:
            self._seen_at_s = self._clock.monotonic()
        self._seen = lease

    async def _release(self) -> None:
        """Give the Lease back, as client-go does: no holder, one second."""
        try:
            async with asyncio.timeout(self._settings.request_timeout_s):
                # Read again: a renewal that was cancelled on its way may have arrived.
                lease = await self._client.get(LEASES, self._name, self._namespace)
                if self._holder(lease) != self._identity:
                    return
                spec = self._spec(transitions=lease.spec.lease_transitions or 0, acquire=False)
                spec |= {"holderIdentity": "", "leaseDurationSeconds": _RELEASED_DURATION_S}
                await self._write(lease, spec)
        except (KubeError, KubeConfigError, TimeoutError) as error:
            problem = str(error) or "timed out"
            log.warning("cannot give the lease back", lease=self._title, problem=problem)
        else:
            log.info("gave the lease back", lease=self._title)


_RELEASED_DURATION_S: Final = 1  # 0 is refused by the API server
