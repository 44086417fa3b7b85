"""While a call runs: notices a client that goes away, and one that stops reading."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from types import TracebackType

from mainstay.core.errors import TooSlow
from mainstay.doors.http.wire import Gone, Request
from mainstay.serve.watch import Watch

log = logging.getLogger("mainstay.http")


class Listener:
    """`with Listener(request, stalled=20.0) as listener:` raises `Gone` where the door waits, once nobody reads any more.

    A client that goes away is noticed from `PATIENCE` seconds after the start on, because most calls are over before that; one
    that takes nothing of a stream for `stalled` seconds is given up.
    """

    PATIENCE = 0.1

    __slots__ = ("_gone", "_listening", "_request", "_stalled", "_task", "_timer", "_watch")

    def __init__(self, request: Request, *, stalled: float) -> None:
        self._request, self._stalled = request, stalled
        self._watch: Watch | None = None  # of what is written: whoever sends one whole answer needs none
        self._gone = False
        self._listening: asyncio.Task[None] | None = None

    def __enter__(self) -> Listener:
        self._task: asyncio.Task[object] | None = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(self.PATIENCE, self._listen)
        return self

    def _listen(self) -> None:
        self._listening = asyncio.get_running_loop().create_task(self._hear())

    async def _hear(self) -> None:
        try:
            await self._request.until_gone()
        except Exception as error:
            log.debug("the server lost the client: %s", error)
        if self._task is not None:  # else the call was over before this was heard
            self._gone = True
            self._task.cancel()

    async def write(self, data: bytes) -> None:
        """Send a piece of a stream."""
        if self._watch is None:
            self._watch = Watch().__enter__()
        self._watch.until(time.monotonic() + self._stalled)
        try:
            await self._request.write(data)
        except asyncio.CancelledError:
            try:
                self._watch.settle("the client took nothing")
            except TooSlow:
                raise Gone from None
            raise
        self._watch.until(math.inf)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._watch is not None:
            self._watch.__exit__(kind, error, trace)
        self._timer.cancel()
        if self._listening is not None:
            self._listening.cancel()
        task, self._task = self._task, None
        if self._gone and task is not None and task.uncancel() == 0 and isinstance(error, asyncio.CancelledError):
            raise Gone from None
