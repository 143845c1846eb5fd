"""What the watch on the profile files tells; real directories, real inotify."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spo.host.dir_watch import DirWatch
from spo.host.seccomp_dir import SeccompDir

Told = tuple[str | None, str | None]
DEADLINE_S = 5.0


class Watched:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.told: asyncio.Queue[Told] = asyncio.Queue()
        self.watch = DirWatch(root, lambda *where: self.told.put_nowait(where))

    async def until(self, *wanted: Told) -> list[Told]:
        """What is told up to and with all of ``wanted``."""
        seen: list[Told] = []
        async with asyncio.timeout(DEADLINE_S):
            while not set(wanted) <= set(seen):
                seen.append(await self.told.get())
        return seen


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    target = tmp_path / "real"
    (target / "ns").mkdir(parents=True)
    (target / "ns/web.json").write_text("{}")
    (tmp_path / "operator").symlink_to(target)  # as the non-root-enabler makes it
    made = Watched(tmp_path / "operator")
    running = asyncio.create_task(made.watch.run())
    await made.until((None, None))
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_file_written_removed_replaced_or_given_another_mode(watched: Watched) -> None:
    file = watched.root / "ns/web.json"
    for change in (
        lambda: file.write_text("changed"),
        lambda: file.chmod(0o600),
        lambda: file.rename(watched.root / "ns/other.json"),
        file.mkdir,
        file.rmdir,
        lambda: file.symlink_to("/etc/passwd"),
        file.unlink,
    ):
        change()
        await watched.until(("ns", "web.json"))


async def test_directory_that_appears_is_watched_too(watched: Watched) -> None:
    (watched.root / "new").mkdir()
    await watched.until(("new", None))
    (watched.root / "new/web.json").write_text("{}")
    await watched.until(("new", "web.json"))


async def test_directory_moved_away_is_told_and_its_successor_watched(watched: Watched) -> None:
    (watched.root / "ns").rename(watched.root.parent / "elsewhere")
    await watched.until(("ns", None))
    (watched.root / "ns").mkdir()
    await watched.until(("ns", None))
    (watched.root / "ns/web.json").write_text("{}")
    await watched.until(("ns", "web.json"))


async def test_temporary_files_are_nobodys_business(watched: Watched) -> None:
    SeccompDir(watched.root).write("operator/ns/web.json", b"{}\n")
    seen = await watched.until(("ns", "web.json"))
    assert set(seen) == {("ns", "web.json")}


async def test_root_that_is_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        await DirWatch(tmp_path / "absent", lambda *_: None).run()
