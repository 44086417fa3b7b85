"""The climb: rung after rung, in the order of `routing.py`, until one writes a draft that passes every guard.

A rung that fails, is too slow for the time left, or whose draft the guards stop gives way to the next, as long as nothing
was shown. After the first word there is no switching: the answer ends with a clear event instead.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import aclosing

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer, Citation, Cited, Data, Retract, Step, Text
from mainstay.core.draft import Verdict
from mainstay.core.errors import (
    Busy,
    Cold,
    MainstayError,
    ModelError,
    OverLimit,
    RateLimited,
    Rejected,
    RungFailed,
    TooSlow,
    Unsupported,
)
from mainstay.core.evidence import NOTHING, Evidence
from mainstay.core.feature import MessageRung, StaleRung
from mainstay.core.model import ToolCall, Usage
from mainstay.core.reasons import Finish, Reason, Status
from mainstay.serve.asking import Ask, NotRecorded, Unusable, Whole
from mainstay.serve.citing import cite
from mainstay.serve.confidence import weigh
from mainstay.serve.flights import Flight
from mainstay.serve.guarding import Screening
from mainstay.serve.ready import Parts, ReadyRung
from mainstay.serve.refusing import WITHHELD, ending, refusal
from mainstay.serve.routing import limit_of, obstacle, order_of, usual_of
from mainstay.serve.slots import wanting
from mainstay.serve.tracing import Trace
from mainstay.serve.watch import Watch

log = logging.getLogger("mainstay.rungs")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0


class Drafted(Struct, frozen=True, kw_only=True):
    """A draft that passed every guard."""

    text: str
    data: object = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish | None = None
    model: str | None = None
    citations: tuple[Citation, ...] = ()
    confidence: float | None = None


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
    result: Result | None = None
    detail = ""
    unknown = wanting(evidence.slots, ready.feature.grounding.slots)
    order = order_of(trace, unknown)
    for i, place in enumerate(order.places):
        rung = ready.rungs[place]
        if rung.spec.needs_evidence and missing is not None:
            cause = cause or missing
            continue
        if refused := _instead(rung, cause, evidence, trace):
            return refused
        if isinstance(rung.spec, StaleRung) and cause is None:
            continue  # nothing has failed, so there is nothing to fall back from
        limit = limit_of(order.places, i, trace)
        blocked = obstacle(rung, limit, trace, unknown)
        if blocked is not None:
            trace.skipped(rung.name, *blocked[1:])
            cause = cause or blocked[0]
            continue
        watch.until(limit)
        began = time.monotonic()
        values = trace.call.input if trace.call.request is not None else ready.read_input(trace.call.input)
        ask = Ask(trace, parts, evidence, watch, limit=limit, usual=usual_of(rung), key=key, stream=trace.streams, values=values)
        if i:
            flight.emit(Step("rung", rung.name))
        result = await _try(rung, ask, flight)
        if isinstance(result, Drafted):
            if trace.call.origin == "user":
                rung.pace.add(time.monotonic() - began - ask.queued)
            if isinstance(rung.spec, MessageRung):
                cause = cause or (Reason.MODEL_UNAVAILABLE if ready.asleep else Reason.NOTHING_FITS)
            return _answer(trace, rung, result, None if place < order.start else cause, flight)
        if isinstance(result, Stopped):
            return _interrupted(trace, rung, result, flight)
        if isinstance(result, Failed):
            if result.declined and not ready.laddered:
                return _declined(trace, rung, result)
            cause, detail = cause or result.reason, detail or result.detail
    if ready.laddered:  # a guard let not even the message pass
        return refusal(trace, result.reason if isinstance(result, Failed) else Reason.UNSAFE_OUTPUT)
    return _unavailable(trace, cause or Reason.MODEL_UNAVAILABLE, detail or None)


def _unavailable(trace: Trace, reason: Reason, detail: str | None) -> Answer:
    """No rung could answer. Where a limit of ours stood in the way, it says when it no longer does."""
    short = trace.account.short
    ours = short is not None and short.reason is reason
    answer = ending(trace, Status.UNAVAILABLE, reason, detail or (short.what if ours and short is not None else None))
    return msgspec.structs.replace(answer, retry_after=short.wait(time.time()) if ours and short is not None else None)


def _instead(rung: ReadyRung, cause: Reason | None, evidence: Evidence, trace: Trace) -> Answer | None:
    """The refusal that takes this rung's place: it has nothing to rest on, or is a message where an answer was withheld."""
    nothing = evidence.searched and not evidence.passages and trace.ready.feature.grounding.required
    if rung.spec.needs_evidence and nothing:
        return refusal(trace, Reason.NO_EVIDENCE)
    if isinstance(rung.spec, MessageRung) and cause in WITHHELD:
        return refusal(trace, cause, evidence=evidence)
    return None


async def _try(rung: ReadyRung, ask: Ask, flight: Flight) -> Result:
    """One rung, asked again after an error or a guard's remark as often as its `tries` allow; steps each have theirs."""
    turn = finished = 0
    while True:
        turn += 1
        screening = Screening(
            ask.trace,
            rung=rung.name,
            guards=ask.trace.ready.output_guards,
            evidence=NOTHING if isinstance(rung.spec, MessageRung) else ask.evidence,
            author=rung.spec.author,
            early=ask.stream,
            release=lambda text: flight.emit(Text(text)),
        )
        ask.guarded = False
        error: ModelError | None = None
        try:
            result, again = await _draft(rung, ask, screening)
        except ModelError as failed:
            error, result, again = failed, _failure(failed, screening), failed.retryable
            if not rung.models:
                ask.trace.skipped(rung.name, failed.kind, str(failed))
        except Exception as crash:
            result, again = _broken(crash, rung, ask, screening), False
        if len(ask.kept) > finished:
            turn, finished = 1, len(ask.kept)
        if isinstance(result, Stopped) or not again or turn >= rung.tries:
            return result
        if error is None:
            flight.emit(Step("asked_again", rung.name))
        elif not await _pause(error, turn, ask):
            return result


async def _draft(rung: ReadyRung, ask: Ask, screening: Screening) -> tuple[Result, bool]:
    """Write one draft through the guards; the flag says whether the rung may be asked again with the remark."""
    whole = Whole()
    verdict: Verdict | None = None
    try:
        async with aclosing(rung.writer(ask)) as chunks:
            async for chunk in chunks:
                whole.add(chunk)
                screening.evidence = ask.evidence  # an older answer brings the evidence that it was given
                if chunk.text:
                    verdict = await screening.add(chunk.text)
                    if verdict is not None:
                        ask.guarded = True
                        break
        if verdict is None:
            ask.watch.settle(f"{rung.name} passed its time")  # and its writer swallowed the cancellation
        failure = None if verdict is not None else _unusable(whole, ask, screening)
        if failure is not None:
            return failure, False
        if whole.nothing and not rung.models:
            return Passed(), False
        verdict = verdict or await screening.complete(whole.tool_calls, weigh=lambda: weigh(rung.spec, rung.name, screening, ask))
    except asyncio.CancelledError:
        ask.watch.settle(f"{rung.name} passed its time")
        raise
    if verdict is not None:
        return _stopped_by(verdict, ask, screening)
    aligner = ask.parts.aligner if rung.models and screening.data is None else None
    citations = cite(screening.text, ask.evidence, aligner) if ask.citations is None else ask.citations
    drafted = Drafted(
        text="" if screening.data is not None else screening.text,
        data=screening.data,
        tool_calls=whole.tool_calls,
        finish=whole.finish,
        model=whole.model,
        citations=citations,
        confidence=ask.confidence,
    )
    return drafted, False


def _unusable(whole: Whole, ask: Ask, screening: Screening) -> Failed | Stopped | None:
    """What is wrong with a draft that was written to its end, before any guard looks at the whole."""
    reason = whole.unusable(laddered=ask.trace.ready.laddered)
    if reason is None:
        return None
    declined = reason is Reason.MODEL_REFUSED
    if screening.shown:
        return Stopped(reason, screening.text[: screening.shown], retracted=False, declined=declined)
    return Failed(reason, whole.refusal, declined)


def _stopped_by(verdict: Verdict, ask: Ask, screening: Screening) -> tuple[Result, bool]:
    """What becomes of a draft that a guard stopped. The guard's detail, which may quote it, is for the record alone."""
    reason = verdict.reason or Reason.UNSAFE_OUTPUT
    if screening.shown:
        return Stopped(reason, "", retracted=True), False
    ask.remark, ask.rejected = verdict.remark, screening.text
    return Failed(reason), verdict.action == "retry"


def _failure(error: ModelError, screening: Screening) -> Failed | Stopped:
    reason = _reason_of(error)
    if screening.shown:
        return Stopped(reason, screening.text[: screening.shown], retracted=False, detail=str(error))
    return Failed(reason, str(error))


def _broken(error: Exception, rung: ReadyRung, ask: Ask, screening: Screening) -> Failed | Stopped:
    """A rung's template or function failed, or something that nobody expected did: the record says how, and the next is tried."""
    raised = error.__cause__ if isinstance(error, RungFailed) else error  # what the team's function raised, or nothing
    if raised is not None:
        ask.trace.failed(log, f"the rung {rung.name} of {ask.call.feature} failed", raised)
    detail = str(error) if isinstance(error, MainstayError) else f"{type(error).__name__}: {error}"
    ask.trace.skipped(rung.name, RungFailed.kind, detail[:500])
    if screening.shown:
        return Stopped(Reason.RUNG_FAILED, screening.text[: screening.shown], retracted=False, detail=detail)
    return Failed(Reason.RUNG_FAILED, detail)


def _reason_of(error: ModelError) -> Reason:
    if isinstance(error, RateLimited):
        return Reason.RATE_LIMITED
    if isinstance(error, Busy):
        return Reason.BUSY
    if isinstance(error, TooSlow | Cold):
        return Reason.OVER_DEADLINE
    if isinstance(error, Rejected | Unsupported):
        return Reason.MODEL_REFUSED
    if isinstance(error, NotRecorded):
        return Reason.NOT_RECORDED
    if isinstance(error, Unusable | OverLimit):
        return error.reason
    return Reason.MODEL_UNAVAILABLE


async def _pause(error: ModelError, turn: int, ask: Ask) -> bool:
    """Wait before the next try: what the provider asks for, else a random share of a doubling pause (full jitter).

    False, at once, if the wait would outlive the rung's time: then the next rung is the better use of it.
    """
    pause = random.random() * min(LONGEST_PAUSE, FIRST_PAUSE * 2**turn)
    wait = pause if error.retry_after is None else max(pause, error.retry_after)
    if time.monotonic() + wait >= ask.limit:
        return False
    ask.watch.until(ask.limit)
    try:
        await asyncio.sleep(wait)
    except asyncio.CancelledError:
        if ask.watch.fired():  # the event loop was held up until the rung's time was over
            return False
        raise
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
        confidence=drafted.confidence,
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
