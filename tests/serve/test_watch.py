"""The watchdog: whose cancellation is it, and what becomes of code that will not be cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from mainstay.core.errors import TooSlow
from mainstay.serve.watch import Watch


async def test_what_is_late_becomes_too_slow():
    """An await that outlasts the limit ends in `TooSlow`, and the task is not left marked as cancelled."""
    with Watch() as watch:
        watch.until(time.monotonic() + 0.02)
        with pytest.raises(TooSlow):
            await _settled(watch, asyncio.sleep(10))
    assert asyncio.current_task().cancelling() == 0


async def test_a_moved_limit_holds():
    """A limit that moves out is not kept to the old moment; one that moves in is kept to the new."""
    with Watch() as watch:
        watch.until(time.monotonic() + 0.02)
        watch.until(time.monotonic() + 10)
        await _settled(watch, asyncio.sleep(0.05))
        watch.until(time.monotonic() + 0.02)
        with pytest.raises(TooSlow):
            await _settled(watch, asyncio.sleep(10))


async def test_somebody_elses_cancellation_stays_theirs():
    """A task that is really cancelled ends cancelled, with a watch around it or not."""

    async def watched() -> None:
        with Watch() as watch:
            watch.until(time.monotonic() + 10)
            await _settled(watch, asyncio.sleep(10))

    task = asyncio.create_task(watched())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_task_may_still_use_a_watch():
    """Code that cleans up after its own cancellation still gets `TooSlow`, not a second cancellation out of nowhere."""
    seen: list[str] = []

    async def cleans_up() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            with Watch() as watch:
                watch.until(time.monotonic() + 0.02)
                try:
                    await _settled(watch, asyncio.sleep(10))
                except TooSlow:
                    seen.append("too slow")
            raise

    task = asyncio.create_task(cleans_up())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["too slow"]


async def test_what_swallows_a_cancellation_is_cancelled_again():
    """Code that catches the cancellation and goes on waiting is not waited for."""

    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        await asyncio.sleep(10)

    began = time.monotonic()
    with Watch() as watch:
        watch.until(time.monotonic() + 0.02)
        with pytest.raises(TooSlow):
            await _settled(watch, stubborn())
    assert time.monotonic() - began < 2
    assert asyncio.current_task().cancelling() == 0


async def test_a_swallowed_cancellation_is_not_held_against_what_comes_next():
    """After code that swallowed its cancellation and returned, the next await has its own time."""

    async def swallows() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)

    with Watch() as watch:
        watch.until(time.monotonic() + 0.02)
        await swallows()
        watch.until(time.monotonic() + 10)
        await _settled(watch, asyncio.sleep(0.2))
    assert asyncio.current_task().cancelling() == 0


async def _settled(watch: Watch, awaitable) -> None:
    try:
        await awaitable
    except asyncio.CancelledError:
        watch.settle()
        raise
