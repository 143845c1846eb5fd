"""A daemon that dies at any step leaves a state that the next start repairs."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from spo.api.seccomp_profile import SeccompProfile
from spo.controller import Request
from spo.daemon.node_status import Entries, NodeStatusReporter
from spo.daemon.seccomp_profile import SeccompProfileReconciler, profile_key
from spo.host.seccomp_dir import SeccompDir
from spo.kube.cache import Cache
from tests.fakes.clock import FakeClock
from tests.fakes.profiles_node_status import InMemoryClaims, InMemoryNodeStatus
from tests.fakes.profiles_node_view import FakeNodeView
from tests.fakes.profiles_objects import NS, drop, profile, put, released

WEB = Request(NS, "web")
KEY = profile_key(NS, "web")
MOST_STEPS = 30


class DiedError(Exception):
    """The process ends here."""


class Steps:
    """Counts the moments at which something has, or has not yet, happened outside the process."""

    def __init__(self, die_at: int) -> None:
        self.left = die_at
        self.died = asyncio.Event()

    def pass_by(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.died.set()
            raise DiedError


class MortalDir(SeccompDir):
    steps: Steps

    def write(self, path: str, content: bytes) -> bool:
        self.steps.pass_by()
        changed = super().write(path, content)
        self.steps.pass_by()
        return changed

    def remove(self, path: str) -> bool:
        self.steps.pass_by()
        removed = super().remove(path)
        self.steps.pass_by()
        return removed


class MortalApi:
    """The API server outlives the process; only the calls of the process end."""

    def __init__(self, api: InMemoryNodeStatus, steps: Steps) -> None:
        self.read, self.node_uid, self._api, self._steps = api.read, api.node_uid, api, steps

    async def apply(self, profiles: Entries, node_uid: str | None) -> str:
        self._steps.pass_by()
        version = await self._api.apply(profiles, node_uid)
        self._steps.pass_by()
        return version


class MortalClaims:
    """The file outlives the process as well."""

    def __init__(self, claims: InMemoryClaims, steps: Steps) -> None:
        self.read, self._claims, self._steps = claims.read, claims, steps

    async def write(self, claims: Iterable[str]) -> None:
        self._steps.pass_by()
        await self._claims.write(claims)
        self._steps.pass_by()


class Silent:
    def saved(self, profile: SeccompProfile) -> None: ...
    def removed(self) -> None: ...
    def failed(self, profile: SeccompProfile | None, reason: str, message: str) -> None: ...


class World:
    """What survives the process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.api = InMemoryNodeStatus()
        self.local = InMemoryClaims()
        self.profiles: Cache[SeccompProfile] = Cache("SeccompProfile")

    async def run(self, die_at: int = MOST_STEPS) -> bool:
        """Run a process that reconciles once and reports, or dies on the way; whether it came to the end."""
        steps = Steps(die_at)
        directory = MortalDir(self.root)
        directory.steps = steps
        clock = FakeClock()
        reporter = NodeStatusReporter(
            MortalApi(self.api, steps), MortalClaims(self.local, steps), clock, report_delay_s=0
        )
        await reporter.load()
        reconciler = SeccompProfileReconciler(self.profiles, FakeNodeView(), reporter, directory, Silent())
        writing = asyncio.create_task(reporter.run())
        work = asyncio.create_task(self._work(reconciler, clock))
        death = asyncio.create_task(steps.died.wait())
        await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
        alive = not steps.died.is_set()
        steps.left = -1  # nothing more reaches the outside
        for task in (writing, work, death):
            task.cancel()
        results = await asyncio.gather(writing, work, death, return_exceptions=True)
        assert all(
            one is None or isinstance(one, DiedError | asyncio.CancelledError | bool) for one in results
        )
        self.check()
        return alive

    async def _work(self, reconciler: SeccompProfileReconciler, clock: FakeClock) -> None:
        await reconciler.reconcile(WEB)
        await clock.advance(1)

    @property
    def file(self) -> Path:
        return self.root / NS / "web.json"

    @property
    def claims(self) -> set[str]:
        return set(self.api.stored.profiles) if self.api.stored else set()

    def check(self) -> None:
        """What holds at any moment: no file without a claim, none half-written."""
        if self.file.exists():
            assert KEY in self.claims
            json.loads(self.file.read_text())


async def die_at_every_step(world: World, prepare: "list[SeccompProfile | None]") -> int:
    """Go through states of the object; before each one is reached, die at step 0, 1, 2 ..."""
    deaths = 0
    for state in prepare:
        if state is None:
            drop(world.profiles, "web")
        else:
            put(world.profiles, state)
        for step in range(MOST_STEPS):
            if await world.run(die_at=step):
                break
            deaths += 1
        else:
            pytest.fail("the process never came to the end")
    return deaths


async def test_install_update_and_deletion_survive_death_at_every_step(tmp_path: Path) -> None:
    world = World(tmp_path)
    deaths = await die_at_every_step(world, [profile(), profile(action="SCMP_ACT_LOG", generation=2)])
    assert json.loads(world.file.read_text()) == {"defaultAction": "SCMP_ACT_LOG"}
    deaths += await die_at_every_step(world, [released(profile(generation=3)), None])
    assert not world.file.exists()
    assert world.claims == set()
    assert deaths > 10


async def test_orphan_is_removed_despite_death_at_every_step(tmp_path: Path) -> None:
    world = World(tmp_path)
    await die_at_every_step(world, [profile(), None])
    assert not world.file.exists()
    assert world.claims == set()
