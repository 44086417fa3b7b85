"""Who is let in next: so many places, and three lanes in which calls wait for one.

A model has as many places as its `at_once` says, a process as many as that of `[server]`. Who finds room goes in at once. Who
does not waits: `interactive` before `standard` before `batch`, but of sixteen places that are given while a lower lane waits it
gets one. Inside a lane tenants take turns by their weights (start-time fair queueing: Goyal, Vin and Cheng 1996), and the calls
of one tenant stand in the order in which they came. How long it will take is told from who stands before and from how long a
place was taken lately; who cannot be let in in time does not wait. `batch` always waits, as long as it may.

What the provider of a model still allows bounds it too (`allowance.py`): while it allows nothing, everybody waits.

It counts for one process. Any thread and any event loop may use it.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import ClassVar

from msgspec import Struct

from mainstay.core.call import PRIORITIES, Priority
from mainstay.core.errors import Busy
from mainstay.core.model import Quota
from mainstay.core.reasons import Reason
from mainstay.serve.allowance import Allowance
from mainstay.serve.watch import Watch

SHARE = 16  # of so many places that are given while a lower lane waits, it gets one
MANY = 1000  # tenants without a waiting call whose turn is remembered while others wait
LATELY = 0.1  # how much the newest counts in the usual time that a place is taken


class Shed(Struct, frozen=True):
    """There was no place in time, so no model is asked."""

    what: str
    reason: ClassVar[Reason] = Reason.BUSY


class Waiter:
    """A call that waits for a place. `let_in` says that it has one, whether or not it knows already."""

    __slots__ = ("future", "lane", "let_in", "line", "loop")

    def __init__(self, lane: Lane, line: Line) -> None:
        self.lane, self.line, self.let_in = lane, line, False
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()


class Line:
    """The calls of one tenant in one lane. `turn` is when it is its turn, by the lane's clock."""

    __slots__ = ("expected", "turn", "waiters", "weight")

    def __init__(self) -> None:
        self.turn, self.weight = 0.0, 1.0
        self.expected = False  # whether it stands among the lane's turns
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()


class Lane:
    """Calls of one priority. Its clock is that of fair queueing: a place moves a tenant's turn on by one part of its weight."""

    __slots__ = ("_clock", "_lines", "_numbers", "_turns", "_weight", "passed_over", "waiting")

    def __init__(self) -> None:
        self.waiting = self.passed_over = 0
        self._numbers = itertools.count()
        self._clear()

    def _clear(self) -> None:
        self._clock = self._weight = 0.0
        self._lines: dict[str, Line] = {}
        self._turns: list[tuple[float, int, Line]] = []

    def add(self, tenant: str, weight: float) -> Waiter:
        """One more call waits."""
        line = self._lines.get(tenant)
        if line is None:
            if len(self._lines) >= MANY:
                self._lines = {name: one for name, one in self._lines.items() if one.waiters or one.turn > self._clock}
            line = self._lines[tenant] = Line()
        if not line.waiters:
            line.weight = weight
            self._weight += weight
        if not line.expected:
            line.turn = max(line.turn, self._clock)
            self._expect(line)
        waiter = Waiter(self, line)
        line.waiters[waiter] = None
        self.waiting += 1
        return waiter

    def take(self) -> Waiter:
        """The call whose turn it is; there has to be one."""
        while True:
            turn, _, line = heapq.heappop(self._turns)
            line.expected = False
            if line.waiters:
                break
        self._clock = max(self._clock, turn)
        line.turn = turn + 1 / line.weight
        waiter, _ = line.waiters.popitem(last=False)
        if line.waiters:
            self._expect(line)
        self._less(line)
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """This call does not wait any more, and was not let in."""
        del waiter.line.waiters[waiter]
        self._less(waiter.line)

    def before(self, tenant: str, weight: float) -> float:
        """About how many are let in before one more call of that tenant."""
        line = self._lines.get(tenant)
        own = 0 if line is None else len(line.waiters)
        others = self._weight - (weight if own else 0.0)
        return min(self.waiting, own + (own + 1) * others / weight)

    def _expect(self, line: Line) -> None:
        line.expected = True
        heapq.heappush(self._turns, (line.turn, next(self._numbers), line))

    def _less(self, line: Line) -> None:
        self.waiting -= 1
        if not self.waiting:
            self._clear()
        elif not line.waiters:
            self._weight -= line.weight


class Lanes:
    """Places, and who waits for one. Without `at_once` there is always room.

    `elsewhere` is how many seconds a call that is let in will still wait, in the queue of an inference server. `weights` are
    those of tenants; one that is not named has 1. `usual` is how many seconds a place is taken, on a moving average; None until
    one was left.
    """

    def __init__(self, at_once: int | None = None, weights: Callable[[], Mapping[str, float]] = dict) -> None:
        self.at_once, self._weights = at_once, weights
        self.running = self.waiting = 0
        self.usual: float | None = None
        self.elsewhere = 0.0
        self._unqueued: float | None = None  # as `usual`, while nobody waited elsewhere
        self._allowance = Allowance()
        self._loop: asyncio.AbstractEventLoop | None = None  # of who began to wait last
        self._alarm = 0.0  # when it is looked again whether the provider allows more
        self._lanes = {priority: Lane() for priority in PRIORITIES}
        self._lock = threading.Lock()

    @property
    def room(self) -> bool:
        """Whether a call would be let in at once."""
        return not self.waiting and not self.elsewhere and self._free(time.monotonic())

    def _free(self, now: float) -> bool:
        return (self.at_once is None or self.running < self.at_once) and not (
            self._allowance.known and self._allowance.pause(now) > 0
        )

    def _take(self) -> None:
        self.running += 1
        self._allowance.take()

    def resize(self, at_once: int | None) -> None:
        """So many places from now on. Who has one keeps it."""
        with self._lock:
            self.at_once = at_once
            let_in = self._let_in()
        self._tell(let_in)

    def depths(self) -> dict[Priority, int]:
        """How many wait in each lane."""
        return {priority: lane.waiting for priority, lane in self._lanes.items()}

    def enter(self, *, anyway: bool = False) -> bool:
        """Take a place if there is one; `anyway`, also where all are taken: whoever waits for this call may hold one."""
        with self._lock:
            if not (self.room or (anyway and not self._allowance.pause(time.monotonic()))):
                return False
            self._take()
            return True

    async def wait(self, priority: Priority, tenant: str, *, until: float, watch: Watch) -> None:
        """Take a place, at that moment (`time.monotonic()`) at the latest.

        Raises `Busy`: at once where it would take longer, unless it is `batch`, which waits and sees. Sets the watchdog.
        """
        weight = self._weights().get(tenant, 1.0)
        with self._lock:
            now = time.monotonic()
            room = not self.waiting and self._free(now)
            expected = self.elsewhere + (0.0 if room else self._expected(priority, tenant, weight, now))
            if (now >= until and not room) or (priority != "batch" and now + expected > until):
                raise Busy(f"{self.waiting} wait already, and about {expected:.2g} s is more than the time for it")
            if room:
                self._take()
                return
            waiter = self._lanes[priority].add(tenant, weight)
            self.waiting += 1
            self._loop = waiter.loop
            self._look_again(now)
        watch.until(until)
        try:
            await waiter.future
        except asyncio.CancelledError:
            self._give_up(waiter)
            if watch.fired():
                raise Busy("no place came free in time") from None
            raise

    def told(self, quota: Quota) -> bool:
        """What the head of an answer says that the provider still allows. True, for `leave` to be told."""
        with self._lock:
            self._allowance.told(quota, time.monotonic())
            return True

    def told_queue(self, queue: tuple[float, float] | None) -> None:
        """How many requests run and wait in the inference server; None where that is not known."""
        running, waiting = queue or (0.0, 0.0)
        self.elsewhere = waiting * (self._unqueued or 0.0) / max(1.0, running)

    def close(self, seconds: float | None) -> None:
        """The provider asks for so long a pause, if for any."""
        if seconds is not None:
            with self._lock:
                self._allowance.close(seconds, time.monotonic())

    def leave(self, seconds: float | None = None, *, tokens: int = 0, told: bool = False) -> None:
        """Give a place back that was taken for so many seconds; None where it was not used.

        So many `tokens` were used; `told` is that the head of the answer said what is still allowed.
        """
        with self._lock:
            self.running -= 1
            self._allowance.over(tokens, told=told)
            if seconds is not None:
                self.usual = seconds if self.usual is None else self.usual + LATELY * (seconds - self.usual)
                if not self.elsewhere:
                    self._unqueued = self.usual
            let_in = self._let_in() if self.waiting else ()
        if let_in:
            self._tell(let_in)

    def _expected(self, priority: Priority, tenant: str, weight: float, now: float) -> float:
        """Seconds until a call would be let in that has to wait."""
        pause = self._allowance.pause(now)
        if self.at_once is None or self.usual is None:
            return pause
        higher = sum(
            [lane.waiting for other, lane in self._lanes.items() if PRIORITIES.index(other) < PRIORITIES.index(priority)]
        )
        before = higher + self._lanes[priority].before(tenant, weight) - (self.at_once - self.running)
        return pause + max(0.0, before + 1) * self.usual / self.at_once

    def _let_in(self) -> tuple[Waiter, ...]:
        """Those who have a place now."""
        let_in: list[Waiter] = []
        now = time.monotonic()
        while self.waiting and self._free(now):
            waiter = self._lane().take()
            self.waiting -= 1
            self._take()
            waiter.let_in = True
            let_in.append(waiter)
        if self.waiting:
            self._look_again(now)
        return tuple(let_in)

    def _lane(self) -> Lane:
        """The lane that the next place goes to: the highest, or one below it that was passed over often enough."""
        highest, *lower = [lane for lane in self._lanes.values() if lane.waiting]
        for lane in lower:
            lane.passed_over += 1
        chosen = next((lane for lane in lower if lane.passed_over >= SHARE), highest)
        chosen.passed_over = 0
        return chosen

    def _look_again(self, now: float) -> None:
        """Where the provider allows nothing now, look again when it should."""
        pause, loop = self._allowance.pause(now), self._loop
        if pause and loop is not None and not now < self._alarm <= now + pause:
            self._alarm = now + pause
            with contextlib.suppress(
                RuntimeError
            ):  # the event loop is closed: who waits in another one looks when a place is left
                loop.call_soon_threadsafe(loop.call_later, pause, self._look)

    def _look(self) -> None:
        with self._lock:
            self._alarm = 0.0
            let_in = self._let_in()
        self._tell(let_in)

    def _tell(self, let_in: tuple[Waiter, ...]) -> None:
        for waiter in let_in:
            try:
                waiter.loop.call_soon_threadsafe(_wake, waiter.future)
            except RuntimeError:  # its event loop is closed: nobody is there to use the place
                self.leave()

    def _give_up(self, waiter: Waiter) -> None:
        """A waiting call was cancelled. If it had been let in meanwhile, the place is the next one's."""
        with self._lock:
            if not waiter.let_in:
                waiter.lane.remove(waiter)
                self.waiting -= 1
                return
        self.leave()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
