"""One call, from the door to the record. Read this first.

`serve` is the only way a model is ever called: over HTTP, in process, by a drill or an evaluation. It yields events and ends
with exactly one `Answer`; whoever wants only the answer folds the stream.

The steps that belong to one call (1, 2, 3, 7) run in its reader's task. The production (4, 5, 6) runs in a task of its own
that any number of identical calls read, so no reader's slowness, leaving or cancellation reaches a model's connection, and no
time-out is ever open while a reader holds an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

import msgspec

from mainstay.core.answer import Answer, Cited, Data, Event, Started, Step, Text
from mainstay.core.call import Call
from mainstay.core.reasons import Reason, Status
from mainstay.serve import caching, nearing, recording, slots
from mainstay.serve.admission import Working, admit
from mainstay.serve.flights import Flight, Reader
from mainstay.serve.generation import climb
from mainstay.serve.grounding import ground
from mainstay.serve.guarding import screen
from mainstay.serve.metering import Charged
from mainstay.serve.placeholders import Restoring
from mainstay.serve.ready import Parts, Ready
from mainstay.serve.refusing import ending, last_resort
from mainstay.serve.spending import Account
from mainstay.serve.tracing import Trace
from mainstay.serve.watch import Watch

log = logging.getLogger("mainstay.serve")


async def serve(call: Call, ready: Ready, parts: Parts, account: Account | None = None) -> AsyncGenerator[Event, None]:
    """Answer one call: yields events, the last of which is its `Answer`, and leaves one record.

    Never raises for anything that a model, a source, a guard or a caller did: those are statuses and reasons. A reader that
    stops iterating, or is cancelled, ends the call as `interrupted`, `reader_left`. It spends from its own account, or from that
    of the call that it is made for.
    """
    trace = Trace(call, ready, parts.ask, account or parts.account(call, ready))
    sealing = _Sealing(trace, parts)
    try:
        yield Started(call.id, call.feature, ready.digest)

        # 1. Admit: is it switched on, and does the call bring what the feature declares?
        answer = admit(trace, parts)
        trace.step("admit")

        # 2. Screen the input, and 3. look whether the same was answered before, with the same facts.
        key = None
        if answer is None:
            answer, key = await _screen_and_recall(trace, parts)
        reader_sees = Restoring(trace.placeholders)  # what the caller gave, in the place of what stands for it from here on
        if answer is not None:
            for event in (*nearing.steps(trace), *reader_sees.events(unfolded(answer), over=True)):
                yield event

        # 4. to 6. Ground, route, climb: produce it, or join whoever produces the same now.
        else:
            recording.begin(trace, parts)
            alone = trace.looping or trace.short is not None  # what is made without the rungs that cost is for nobody who may pay
            flight = parts.flights.board(None if alone else key, trace, lambda flight: _produce(key, flight, parts))
            reader = sealing.board(flight)
            while events := await reader.more():
                for event in reader_sees.events(events):
                    if isinstance(event, Step):
                        if not call.progress:
                            continue
                    else:
                        trace.spoke()
                    yield event
            trace.resume()
            answer, rest = _landed(reader, flight, trace)
            for event in reader_sees.events(rest, over=True):
                yield event

        # 7. Seal the record; then the answer is complete.
        shown = reader_sees.answer(await sealing.seal(answer))
        nearing.doubt(shown, trace, parts)
        yield shown
    finally:
        if account is None:
            trace.account.leave()
        await sealing.reader_left()


async def _screen_and_recall(trace: Trace, parts: Parts) -> tuple[Answer | None, bytes | None]:
    """The answer that the input or the cache amounts to, if either does, and the cache key; under one watchdog."""
    key = None
    with Watch() as watch, Charged(trace):
        watch.until(trace.deadline)
        try:
            trace.short = await trace.account.enter()
            answer = await screen(trace)
            trace.step("screen")
            if answer is None and caching.shares(trace):
                trace.slots = await slots.fetch(trace)  # the facts are part of the key
                trace.step("slots")
            key = caching.key_of(trace) if answer is None else None
            answer = await caching.recall(key, trace, parts) if key is not None else answer
            if answer is None and key is not None and trace.ready.near is not None:
                answer = await nearing.recall(trace, trace.ready.near, parts)
            trace.step("cache")
        except asyncio.CancelledError:
            if not watch.fired():
                raise
            answer = last_resort(trace, Reason.OVER_DEADLINE)
        except Exception as error:
            trace.failed(log, f"a guard of {trace.call.feature} failed", error)
            trace.skipped("screen", "failed", f"{type(error).__name__}: {error}")
            answer = last_resort(trace, Reason.RUNG_FAILED)
    return answer, key


async def _produce(key: bytes | None, flight: Flight, parts: Parts) -> Answer:
    """Find a place to work in; ground, route and climb, under one watchdog."""
    trace = flight.trace
    with Watch() as watch, Charged(trace):
        async with Working(trace, parts.lanes, watch):
            evidence, missing = await ground(trace, watch)
            trace.found(evidence)
            trace.step("ground")
            answer = await climb(flight, parts, evidence, missing, watch, key)
            trace.step("climb")
    caching.store(key, answer, evidence, trace, parts)
    return answer


def _landed(reader: Reader, flight: Flight, trace: Trace) -> tuple[Answer, list[Event]]:
    """What a production amounts to for one of its readers, and the events that are still owed."""
    if flight.answer is not None:
        mine = flight.answer.id == trace.call.id
        return flight.answer if mine else msgspec.structs.replace(flight.answer, id=trace.call.id), []
    shown = "".join([event.text for event in flight.events if isinstance(event, Text)])
    reason = Reason.OVER_DEADLINE if reader.late else Reason.RUNG_FAILED
    if flight.error is not None:
        trace.failed(log, f"the production of {trace.call.id} failed", flight.error)
    if shown:
        return ending(trace, Status.INTERRUPTED, reason, text=shown), []
    answer = last_resort(trace, reason)
    return answer, unfolded(answer)


def unfolded(answer: Answer) -> list[Event]:
    """The events that amount to an answer that is there all at once. A refusal shows nothing before its answer."""
    events: list[Event] = []
    if answer.status in (Status.REFUSED, Status.UNAVAILABLE):
        return events
    if answer.text:
        events.append(Text(answer.text))
    if answer.data is not None or answer.tool_calls:
        events.append(Data(answer.data, answer.tool_calls))
    return events + [Cited(citation) for citation in answer.citations]


class _Sealing:
    """Sees to it that a call leaves exactly one record, however its reader behaves."""

    def __init__(self, trace: Trace, parts: Parts) -> None:
        self._trace, self._parts = trace, parts
        self._flight: Flight | None = None
        self._reader: Reader | None = None
        self._answer: Answer | None = None

    def board(self, flight: Flight) -> Reader:
        self._flight = flight
        self._reader = Reader(flight, deadline=self._trace.deadline, stalled=self._stalled)
        return self._reader

    async def seal(self, answer: Answer) -> Answer:
        """Write the record, unless the reader was given up in the meantime; gives the answer that the record holds."""
        if self._answer is None:
            await self._leave()
            self._write(answer)
        assert self._answer is not None  # noqa: S101
        return self._answer

    async def reader_left(self) -> None:
        """The reader is done. If it went before the answer was complete, that is what the record says."""
        if self._answer is None:
            try:
                await self._leave()
            finally:  # also when whoever cancelled the reader does so again
                self._stalled()

    def _stalled(self) -> None:
        if self._answer is None:
            self._write(ending(self._trace, Status.INTERRUPTED, Reason.READER_LEFT, text=self._shown()))

    def _shown(self) -> str:
        events = self._flight.events if self._flight is not None else []
        return "".join([event.text for event in events if isinstance(event, Text)])

    async def _leave(self) -> None:
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.leave()

    def _write(self, answer: Answer) -> None:
        """Seal. Of the calls that shared a production, the first that ends after it pays for it."""
        flight, shared = self._flight, None
        if flight is not None and flight.trace.call is not self._trace.call:
            shared = flight.trace.call.id
        if flight is not None and not flight.paid and (flight.over or not flight.readers):
            flight.paid = True
            self._trace.take_over(flight.trace)
        self._answer = recording.seal(answer, self._trace, self._parts, shared_with=shared)
        self._parts.loops.ended(self._trace, self._answer)
