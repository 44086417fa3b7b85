"""The climb: rung after rung, until one writes a draft that passes every guard.

A rung that fails, is too slow for the time left, or whose draft the guards stop gives way to the next, as long as nothing
was shown. After the first word there is no switching: the answer ends with a clear event instead.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer, Citation, Cited, Data, Retract, Step, Text
from mainstay.core.draft import Verdict
from mainstay.core.errors import ModelError, RateLimited, Rejected, TooSlow, Tripped, Unsupported
from mainstay.core.evidence import Evidence
from mainstay.core.feature import MessageRung, StaleRung
from mainstay.core.model import Chunk, ToolCall, Usage
from mainstay.core.reasons import Finish, Reason, Status
from mainstay.serve.admission import ending, refusal
from mainstay.serve.asking import Ask, NotRecorded
from mainstay.serve.citing import cite
from mainstay.serve.flights import Flight
from mainstay.serve.guarding import Screening
from mainstay.serve.ready import Parts, ReadyRung
from mainstay.serve.routing import limit_of, obstacle
from mainstay.serve.tracing import Trace
from mainstay.serve.watch import Watch

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0


class Drafted(Struct, frozen=True, kw_only=True):
    """A draft that passed every guard."""

    text: str
    data: object = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish | None = None
    model: str | None = None
    citations: tuple[Citation, ...] = ()


class Passed(Struct, frozen=True):
    """The rung has nothing to say; that is no failure."""


class Failed(Struct, frozen=True):
    """The rung failed before anything was shown; `declined` if the model itself, or its provider, would not answer."""

    reason: Reason
    detail: str = ""
    declined: bool = False


class Stopped(Struct, frozen=True):
    """The rung failed after `text` was shown; `retracted` if a guard said so, `declined` if the model itself did."""

    reason: Reason
    text: str
    retracted: bool
    detail: str = ""
    declined: bool = False


Result = Drafted | Passed | Failed | Stopped


async def climb(
    flight: Flight, parts: Parts, evidence: Evidence, missing: Reason | None, watch: Watch, key: bytes | None
) -> Answer:
    """Try the rungs in order. `missing` says why the evidence could not be had, if it could not."""
    trace, ready = flight.trace, flight.trace.ready
    cause: Reason | None = None
    detail = ""
    for place, rung in enumerate(ready.rungs):
        if rung.spec.needs_evidence and missing is not None:
            cause = cause or missing
            continue
        if rung.spec.needs_evidence and evidence.searched and not evidence.passages and ready.feature.grounding.required:
            return refusal(trace, Reason.NO_EVIDENCE)
        if isinstance(rung.spec, StaleRung) and cause is None:
            continue  # nothing has failed, so there is nothing to fall back from
        limit = limit_of(place, trace)
        blocked = obstacle(rung, limit)
        if blocked is not None:
            trace.skipped(rung.name, blocked[1])
            cause = cause or blocked[0]
            continue
        watch.until(limit)
        began = time.monotonic()
        values = trace.call.input if trace.call.request is not None else ready.read_input(trace.call.input)
        ask = Ask(trace, parts, evidence, watch, limit=limit, key=key, stream=_streams(trace), values=values)
        if place:
            flight.emit(Step("rung", rung.name))
        result = await _try(rung, ask, flight)
        if isinstance(result, Drafted):
            rung.pace.add(time.monotonic() - began)
            if isinstance(rung.spec, MessageRung):
                cause = cause or (Reason.MODEL_UNAVAILABLE if ready.asleep else Reason.NOTHING_FITS)
            return _answer(trace, rung, result, cause, flight)
        if isinstance(result, Stopped):
            return _interrupted(trace, rung, result, flight)
        if isinstance(result, Failed):
            if result.declined and not ready.laddered:
                return _declined(trace, rung, result)
            cause, detail = cause or result.reason, detail or result.detail
    return ending(trace, Status.UNAVAILABLE, cause or Reason.MODEL_UNAVAILABLE, detail or None)


def _streams(trace: Trace) -> bool:
    return trace.call.stream and trace.ready.feature.shows_early


async def _try(rung: ReadyRung, ask: Ask, flight: Flight) -> Result:
    """One rung, asked again after an error or a guard's remark as often as its `tries` allow."""
    result: Result = Failed(Reason.RUNG_FAILED)
    for turn in range(1, rung.tries + 1):
        screening = Screening(
            ask.trace,
            rung=rung.name,
            guards=ask.trace.ready.output_guards,
            evidence=ask.evidence,
            early=_streams(ask.trace),
            release=lambda text: flight.emit(Text(text)),
        )
        ask.guarded = False
        try:
            result, again = await _draft(rung, ask, screening)
        except ModelError as error:
            result = _failure(error, screening)
            if isinstance(result, Stopped) or turn == rung.tries or not error.retryable:
                return result
            if not await _pause(error, turn, ask):
                return result
            continue
        if not again or turn == rung.tries:
            return result
        flight.emit(Step("asked_again", ask.remark))
    return result


async def _draft(rung: ReadyRung, ask: Ask, screening: Screening) -> tuple[Result, bool]:
    """Write one draft through the guards; the flag says whether the rung may be asked again with the remark."""
    whole = _Whole()
    verdict: Verdict | None = None
    try:
        async with aclosing(rung.writer(ask)) as chunks:
            async for chunk in chunks:
                whole.add(chunk)
                if chunk.text:
                    verdict = await screening.add(chunk.text)
                    if verdict is not None:
                        ask.guarded = True
                        break
        failure = None if verdict is not None else whole.failure(ask, screening)
        if failure is not None:
            return failure, False
        if whole.nothing:
            return Passed(), False
        verdict = verdict or await screening.complete(whole.tool_calls)
    except asyncio.CancelledError:
        ask.watch.settle(f"{rung.name} passed its time")
        raise
    if verdict is not None:
        return _stopped_by(verdict, ask, screening)
    citations = cite(screening.text, ask.evidence) if ask.citations is None else ask.citations
    drafted = Drafted(
        text="" if screening.data is not None else screening.text,
        data=screening.data,
        tool_calls=whole.tool_calls,
        finish=whole.finish,
        model=whole.model,
        citations=citations,
    )
    return drafted, False


class _Whole:
    """What all chunks of a draft amount to, beside the text."""

    __slots__ = ("finish", "model", "nothing", "refusal", "tool_calls")

    def __init__(self) -> None:
        self.nothing = True
        self.refusal = ""
        self.tool_calls: tuple[ToolCall, ...] = ()
        self.finish: Finish | None = None
        self.model: str | None = None

    def add(self, chunk: Chunk) -> None:
        if chunk.text or chunk.tool_calls or chunk.refusal:
            self.nothing = False
        self.refusal += chunk.refusal
        self.tool_calls += chunk.tool_calls
        self.finish = chunk.finish or self.finish
        self.model = chunk.model or self.model

    def failure(self, ask: Ask, screening: Screening) -> Failed | Stopped | None:
        """What is wrong with a draft that was written to its end, before any guard looks at the whole."""
        reason = None
        if self.refusal or self.finish is Finish.CONTENT_FILTER:
            reason = Reason.MODEL_REFUSED
        elif self.finish is Finish.LENGTH and ask.trace.ready.laddered:
            reason = Reason.CUT_SHORT
        if reason is None:
            return None
        declined = reason is Reason.MODEL_REFUSED
        if screening.shown:
            return Stopped(reason, screening.text[: screening.shown], retracted=False, declined=declined)
        return Failed(reason, self.refusal, declined)


def _stopped_by(verdict: Verdict, ask: Ask, screening: Screening) -> tuple[Result, bool]:
    reason = verdict.reason or Reason.UNSAFE_OUTPUT
    if screening.shown:
        return Stopped(reason, "", retracted=True, detail=verdict.detail), False
    ask.remark, ask.rejected = verdict.remark, screening.text
    return Failed(reason, verdict.detail), verdict.action == "retry"


def _failure(error: ModelError, screening: Screening) -> Failed | Stopped:
    reason = _reason_of(error)
    if screening.shown:
        return Stopped(reason, screening.text[: screening.shown], retracted=False, detail=str(error))
    return Failed(reason, str(error))


def _reason_of(error: ModelError) -> Reason:
    if isinstance(error, RateLimited):
        return Reason.RATE_LIMITED
    if isinstance(error, TooSlow):
        return Reason.OVER_DEADLINE
    if isinstance(error, Rejected | Unsupported):
        return Reason.MODEL_REFUSED
    if isinstance(error, NotRecorded):
        return Reason.NOT_RECORDED
    return Reason.MODEL_UNAVAILABLE


async def _pause(error: ModelError, turn: int, ask: Ask) -> bool:
    """Wait before the next try: what the provider asks for, else a random share of a doubling pause (full jitter).

    False, at once, if the wait would outlive the rung's time: then the next rung is the better use of it.
    """
    pause = random.random() * min(LONGEST_PAUSE, FIRST_PAUSE * 2**turn)
    wait = pause if error.retry_after is None else max(pause, error.retry_after)
    if time.monotonic() + wait >= ask.limit or isinstance(error, Tripped):
        return False
    ask.watch.until(ask.limit)
    await asyncio.sleep(wait)
    return True


def _answer(trace: Trace, rung: ReadyRung, drafted: Drafted, cause: Reason | None, flight: Flight) -> Answer:
    """The answer of a rung that succeeded: `degraded` if anything above it failed, or nothing but a message was left."""
    if drafted.data is not None or drafted.tool_calls:
        flight.emit(Data(drafted.data, drafted.tool_calls))
    for citation in drafted.citations:
        flight.emit(Cited(citation))
    return Answer(
        id=trace.call.id,
        feature=trace.call.feature,
        release=trace.ready.digest,
        status=Status.ANSWERED if cause is None else Status.DEGRADED,
        reason=cause,
        text=drafted.text,
        data=drafted.data,
        citations=drafted.citations,
        rung=rung.name,
        model=drafted.model,
        tool_calls=drafted.tool_calls,
        finish=drafted.finish,
        usage=_used(trace),
    )


def _declined(trace: Trace, rung: ReadyRung, failed: Failed) -> Answer:
    """A plain model's own refusal is its answer, in its own words where it has any."""
    refused = ending(trace, Status.REFUSED, failed.reason, text=failed.detail or None)
    return msgspec.structs.replace(refused, rung=rung.name, finish=Finish.CONTENT_FILTER, usage=_used(trace))


def _interrupted(trace: Trace, rung: ReadyRung, stopped: Stopped, flight: Flight) -> Answer:
    if stopped.retracted:
        flight.emit(Retract(stopped.reason))
    return Answer(
        id=trace.call.id,
        feature=trace.call.feature,
        release=trace.ready.digest,
        status=Status.INTERRUPTED,
        reason=stopped.reason,
        detail=stopped.detail or None,
        text=stopped.text,
        rung=rung.name,
        finish=Finish.CONTENT_FILTER if stopped.declined else None,
        usage=_used(trace),
    )


def _used(trace: Trace) -> Usage | None:
    """The tokens of all attempts together; None where no model was asked."""
    used = list(trace.usages())
    if len(used) <= 1:
        return used[0] if used else None
    return sum(used, Usage())
