import asyncio
import os
import signal

import pytest

from spo.controller import run_until_stopped


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_cancels_all_parts_and_waits_for_them(number: signal.Signals) -> None:
    ended: list[str] = []
    started = asyncio.Event()

    async def tidy() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("tidy")

    async def kill() -> None:
        await started.wait()
        os.kill(os.getpid(), number)

    await run_until_stopped(tidy, kill)
    assert ended == ["tidy"]


async def test_parts_that_end_end_the_process() -> None:
    async def part() -> None:
        return

    await run_until_stopped(part, part)


async def test_error_stops_the_others_and_goes_to_the_caller() -> None:
    ended: list[str] = []

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("other")

    async def broken() -> None:
        await asyncio.sleep(0)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await run_until_stopped(other, broken)
    assert ended == ["other"]


async def test_part_that_does_not_stop_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    release = asyncio.Event()
    started = asyncio.Event()

    async def stubborn() -> None:
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async def kill() -> None:
        await started.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    await run_until_stopped(stubborn, kill, grace_s=0.01)
    release.set()
    assert "some parts did not stop in time" in caplog.text


async def test_second_signal_cuts_the_grace_short() -> None:
    release = asyncio.Event()
    started = asyncio.Event()

    async def stubborn() -> None:
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                os.kill(os.getpid(), signal.SIGTERM)

    async def kill() -> None:
        await started.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    async with asyncio.timeout(2):
        await run_until_stopped(stubborn, kill, grace_s=60)
    release.set()


async def test_cancelling_the_runner_stops_its_parts() -> None:
    ended: list[str] = []

    async def part() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("part")

    task = asyncio.create_task(run_until_stopped(part))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["part"]
