"""A node whose containers are recorded by OCI hooks: real files, a fake API server above."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from spo.bpf.observation import Observation, Phase, SyscallClass
from spo.daemon.recording.followed import Followed
from spo.daemon.recording.hook_process import HookRecordings
from spo.host.hook_files import HookFileError, HookFiles, name_when_taken
from spo.names import HOOK_RECORDINGS_DIR, TRACE_SYSCALL_ANNOTATION
from spo.recording.hook_file import render_recording
from spo.recording.profile import spec_of
from spo.settings import DaemonSettings
from tests.fakes.clock import FakeClock
from tests.fakes.recording_node import DEADLINE_S, NUMBERS, RecordingNode

BASE = ("capset", "execve")


def trace(container: str = "c", recording: str = "rec", seconds: int = 1700000000) -> dict[str, str]:
    """The annotation that the webhook makes."""
    return {container: f"of:{HOOK_RECORDINGS_DIR}/{recording}-{container}-{seconds}.json"}


class HookNode(RecordingNode):
    """``async with HookNode(folder) as node``; its clock stands still."""

    prefix = TRACE_SYSCALL_ANNOTATION

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.clock: FakeClock = FakeClock()
        self.directory = folder / "run" / "recordings"
        self.directory.mkdir(parents=True)
        self.files = HookFiles(self.directory)

    def recordings(self, settings: DaemonSettings, followed: Followed) -> HookRecordings:
        return HookRecordings(
            self.client,
            settings,
            followed,
            root=self.root,
            directory=self.directory,
            clock=self.clock,
            writer_uid=os.getuid(),
        )

    def leave(self, name: str, container_id: str, *calls: str, base: tuple[str, ...] = BASE) -> str:
        """What our hook does at the end of a container; returns the name of the file."""
        seen = Observation({(SyscallClass.NATIVE, Phase.PROGRAM): [NUMBERS[one] for one in calls]})
        content = render_recording(spec_of(seen, "x86_64", base=base), container_id, base)
        try:
            self.files.write(name, content)
        except HookFileError:
            name = name_when_taken(name, container_id)
            self.files.write(name, content)
        return name

    def left(self) -> list[str]:
        """Names of all files."""
        return sorted(one.name for one in self.directory.iterdir())

    async def until_after(self, seconds: float, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; each look is a request, and some of the time goes by."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                await self.names()
                await self.clock.advance(seconds / 4)
                if condition():
                    return
