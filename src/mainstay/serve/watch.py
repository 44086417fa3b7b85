"""One watchdog for one production: it cancels the await that outlasts the limit in force.

`asyncio.timeout` costs a timer per use, and a stream would need one per chunk. A `Watch` keeps one timer and moves a number:
when the timer rings early it re-arms itself for what is left. It lives in a task of its own that yields to no reader, so no
cancellation can land in anybody else's code.
"""

from __future__ import annotations

import asyncio
import math
import time
from types import TracebackType

from mainstay.core.errors import TooSlow

AGAIN = 0.05  # seconds after which an await that has swallowed its cancellation is cancelled once more


class Watch:
    """`with Watch() as watch: watch.until(moment); await something` raises `TooSlow` where `something` is late.

    Moments are `time.monotonic()` seconds. The awaiting code catches `asyncio.CancelledError` and calls `settle()`, which
    raises `TooSlow` if the watchdog did it and does nothing if somebody else really cancelled the task. Code that catches the
    cancellation and goes on waiting is cancelled again, until somebody settles.
    """

    __slots__ = ("_before", "_due", "_fired", "_limit", "_loop", "_task", "_timer")

    def __init__(self) -> None:
        self._limit = self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._fired = self._before = 0

    def __enter__(self) -> Watch:
        task = asyncio.current_task()
        assert task is not None, "a Watch belongs to a task"  # noqa: S101
        self._task, self._loop = task, asyncio.get_running_loop()
        self._before = task.cancelling()  # code that cleans up after its own cancellation may use a watch too
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.fired()

    @property
    def limit(self) -> float:
        """The moment in force."""
        return self._limit

    def until(self, moment: float) -> None:
        """Whatever is awaited from now on has to return by then."""
        if self._fired:
            self.fired()  # what was awaited before swallowed its cancellation; that is not held against what comes next
        self._limit = moment
        if moment < self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._arm(moment)

    def _arm(self, moment: float) -> None:
        self._due = moment
        self._timer = self._loop.call_later(max(0.0, moment - time.monotonic()), self._ring)

    def _ring(self) -> None:
        self._timer, self._due = None, math.inf
        if time.monotonic() < self._limit - 0.0005:
            if self._limit != math.inf:
                self._arm(self._limit)
            return
        self._fired += 1
        self._task.cancel()
        self._arm(time.monotonic() + AGAIN)

    def fired(self) -> bool:
        """Whether the cancellation that was just caught is this watchdog's, and nobody else's too. Asked once, it is over."""
        if not self._fired:
            return False
        self._limit = math.inf
        left = 0
        for _ in range(self._fired):
            left = self._task.uncancel()
        self._fired = 0
        return left <= self._before

    def settle(self, what: str = "the time for it is over") -> None:
        """Turn a cancellation that this watchdog caused into `TooSlow`."""
        if self.fired():
            raise TooSlow(what) from None
