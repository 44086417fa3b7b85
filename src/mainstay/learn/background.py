"""Work that goes on behind answers: bounded in number, its failures told, given up at the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any


class Background:
    """Tasks of any event loop that nobody waits for. `most` run at the same time; what failed is told to `log` as `what`."""

    def __init__(self, most: int, *, log: logging.Logger, what: str) -> None:
        self._most, self._log, self._what = most, log, what
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._tasks)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it beside all else; where too much is under way, never."""
        if len(self._tasks) >= self._most:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._log.error("%s failed", self._what, exc_info=task.exception())

    async def close(self) -> None:
        """Give up what is under way. What runs on another event loop, that of `run_sync`, is only told to end."""
        here = [task for task in list(self._tasks) if task.get_loop() is asyncio.get_running_loop()]
        for task in list(self._tasks):
            if task in here:
                task.cancel()
            else:
                with contextlib.suppress(RuntimeError):  # that loop is over, and the task with it
                    task.get_loop().call_soon_threadsafe(task.cancel)
        await asyncio.gather(*here, return_exceptions=True)
