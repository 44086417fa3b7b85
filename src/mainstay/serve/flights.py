"""Single flight: one production, owned by no caller, read by whoever asked the same at the same time.

A production runs in a task of its own and appends its events to a list; each reader keeps its own place in it. So a slow
reader slows nobody, a leaving reader cancels nothing while others stay, and the deadline bounds production, not reading.
When the last reader has left, the production is cancelled. The list is bounded because an answer is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from mainstay.core.answer import Answer, Event
from mainstay.core.call import PRIORITIES
from mainstay.serve.tracing import Trace

log = logging.getLogger("mainstay.serve")
GRACE = 0.1  # seconds past its deadline after which a reader no longer waits for a production that should have ended
LETTING_GO = 0.2  # seconds that a reader, whose answer may be late already, waits for a production that is given up
STALLED = 30.0  # seconds past its deadline after which a reader that takes nothing is dropped

Produce = Callable[["Flight"], Awaitable[Answer]]


class Flight:
    """One production. `trace` holds its own notes; `paid` turns true when a record has taken them over."""

    __slots__ = ("_task", "answer", "error", "events", "given_up", "paid", "readers", "trace")

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.events: list[Event] = []
        self.answer: Answer | None = None
        self.error: BaseException | None = None
        self.readers: list[Reader] = []
        self.paid = self.given_up = False
        self._task: asyncio.Task[None] | None = None

    def start(self, produce: Produce, landed: Callable[[], None]) -> None:
        """Run the production; `landed` is called when it is over."""
        self._task = asyncio.get_running_loop().create_task(self._run(produce, landed))

    async def _run(self, produce: Produce, landed: Callable[[], None]) -> None:
        try:
            self.answer = await produce(self)
        except BaseException as error:
            self.error = error  # also when it is cancelled: whoever still reads must not wait for more
            if not isinstance(error, Exception):
                raise
        finally:
            landed()
            self._wake()

    def emit(self, event: Event) -> None:
        """Append an event for every reader."""
        self.events.append(event)
        self._wake()

    def _wake(self) -> None:
        for reader in self.readers:
            reader.wake()

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.answer is not None or self.error is not None

    def serves(self, trace: Trace) -> bool:
        """Whether this call may read along: the production goes on, with no less time than it has, and in no lower lane."""
        if PRIORITIES.index(self.trace.priority) > PRIORITIES.index(trace.priority):
            return False
        return not self.given_up and self.trace.budget >= trace.budget

    async def cancel(self) -> None:
        """Stop the production and wait a moment for it to let go of its connections, so that its record is whole."""
        self.given_up = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            try:
                await asyncio.wait([self._task], timeout=LETTING_GO)
            finally:  # also when the one who waits is cancelled again
                if not self._task.done():
                    log.error("the production of %s was cancelled and has not ended", self.trace.call.id)
                    self.trace.hung()


class Reader:
    """One call's place in a production.

    `late` turns true when the production has outlasted this reader's own deadline. `stalled` is called when the deadline is long
    past and the reader has not come to take its answer.
    """

    __slots__ = ("_flight", "_loop", "_place", "_stalled", "_timer", "_waiter", "late")

    def __init__(self, flight: Flight, *, deadline: float, stalled: Callable[[], None]) -> None:
        self._flight, self._stalled, self._place = flight, stalled, 0
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._timer = self._loop.call_later(max(0.0, deadline - time.monotonic()) + GRACE, self._ring)
        self.late = False
        flight.readers.append(self)

    def _ring(self) -> None:
        self._timer = self._loop.call_later(STALLED, self._stalled)
        if not self._flight.over:
            self.late = True
            self.wake()

    def wake(self) -> None:
        """There is news, or it is late."""
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
            self._waiter = None

    async def more(self) -> Sequence[Event]:
        """The next events: at least one, or none when the production is over or this reader's deadline is."""
        flight = self._flight
        while len(flight.events) == self._place and not flight.over and not self.late:
            self._waiter = self._loop.create_future()
            await self._waiter
        events = flight.events[self._place :]
        self._place = len(flight.events)
        return events

    async def leave(self) -> None:
        """Go. The last reader to go before the end cancels the production."""
        self._timer.cancel()
        self._flight.readers.remove(self)
        if not self._flight.readers and not self._flight.over:
            await self._flight.cancel()


class Flights:
    """The productions in the air, by event loop, delivery and cache key.

    No call joins one of another event loop, which cannot wake it. Nor does one that wants the whole join one that is shown word
    by word: after the first word that has no rung to fall back on, and who has seen no word still has.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[asyncio.AbstractEventLoop, bool, bytes], Flight] = {}

    def board(self, key: bytes | None, trace: Trace, produce: Produce) -> Flight:
        """Join the production with that key, if it serves this call too, or start one. Without a key every call has its own."""
        if key is None:
            flight = Flight(trace.fork())
            flight.start(produce, _nothing)
            return flight
        place = (asyncio.get_running_loop(), trace.streams, key)
        joined = self._open.get(place)
        if joined is not None and joined.serves(trace):
            return joined
        flight = self._open[place] = Flight(trace.fork())
        flight.start(produce, lambda: self._landed(place, flight))
        return flight

    def _landed(self, place: tuple[asyncio.AbstractEventLoop, bool, bytes], flight: Flight) -> None:
        if self._open.get(place) is flight:
            del self._open[place]


def _nothing() -> None:
    """Nobody waits for a production without a key."""
