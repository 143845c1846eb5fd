"""Finds what OCI hooks have left of containers, and takes it."""

import asyncio
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from spo.errors import SpoError
from spo.host.hook_files import HookFileError, HookFiles, is_file_name, name_when_taken
from spo.names import HOOK_RECORDINGS_DIR
from spo.recording.hook_file import HookContentError, Recorded, parse_recording
from spo.recording.profile import Machine

_PREFIX: Final = f"of:{HOOK_RECORDINGS_DIR}/"
_SHOWN: Final = 300


class HookRecordingError(SpoError):
    """There is no recording of a container that can be taken."""

    def __init__(self, name: str, problem: str, cure: str) -> None:
        super().__init__(name, problem, cure)
        self.name = name
        self.problem = problem
        self.cure = cure

    def __str__(self) -> str:
        return f"{HOOK_RECORDINGS_DIR}/{self.name}: {self.problem[:_SHOWN]}; {self.cure}"


class NoRecordingError(HookRecordingError):
    """Nothing is there."""


class Taken(NamedTuple):
    """A recording of one container; its file is still there."""

    name: str
    """Of the file."""
    recorded: Recorded


class HookSource:
    """One directory of recordings."""

    def __init__(self, files: HookFiles, machine: Machine) -> None:
        self._files = files
        self._machine = machine

    async def has(self, traces: Iterable[str], container_ids: Iterable[str]) -> bool:
        """Whether there is a file of one of these annotations, and of these containers."""
        ids = tuple(container_ids)
        plain = [name for value in traces if (name := file_of(value))]
        names = [*plain, *(name_when_taken(name, one) for name in plain for one in ids)]
        return await asyncio.to_thread(lambda: any(map(self._files.has, names)))

    async def find(self, value: str, container_id: str, others: frozenset[str]) -> Taken:
        """The recording of a container.

        Args:
            value: of the annotation.
            container_id: of the container; empty: nobody has told of one, any will do but ``others``.
            others: ids of containers of which this cannot be the recording.

        Raises:
            HookRecordingError: there is none yet, or what is there cannot be taken.
        """
        return await asyncio.to_thread(self._find, value, container_id, others)

    async def remove(self, name: str) -> None:
        """Take the file of a recording away.

        Raises:
            HookFileError: it may not be removed.
        """
        await asyncio.to_thread(self._files.remove, name)

    async def remove_leftovers(self, now_s: float) -> list[str]:
        """Remove what nobody came for; ``now_s`` is the time of day in seconds. Returns the names."""
        return await asyncio.to_thread(self._files.remove_leftovers, now_s)

    def _find(self, value: str, container_id: str, others: frozenset[str]) -> Taken:
        plain = file_of(value)
        if plain is None:
            raise HookRecordingError(
                PurePosixPath(value).name[:_SHOWN],
                "no recording can have this name",
                "shorten the name of the recording",
            )
        problem: HookRecordingError | None = None
        names = (name_when_taken(plain, container_id), plain) if container_id else (plain,)
        for name in names:
            try:
                found = self._read(name)
            except (HookFileError, HookContentError) as error:
                problem = problem or HookRecordingError(
                    name, error.problem, "remove what is there and run the pod again"
                )
                continue
            if found is None:
                continue
            told = found.container_id
            if (told == container_id or not container_id or not told) and told not in others:
                return Taken(name, found)
        raise problem or NoRecordingError(
            plain,
            "no OCI hook has left a recording there",
            "see that the container engine of the node calls one: docs/recording.md",
        )

    def _read(self, name: str) -> Recorded | None:
        content = self._files.read(name)
        return None if content is None else parse_recording(content, self._machine)


def file_of(value: str) -> str | None:
    """Base name of the file that an annotation asks for; ``None`` if it is not one in our directory."""
    name = value.removeprefix(_PREFIX)
    return name if name != value and is_file_name(name) else None
