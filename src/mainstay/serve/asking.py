"""One attempt at one model: bounded in time, counted, priced, and on the record whatever becomes of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any

from mainstay.core.answer import Citation
from mainstay.core.call import Call
from mainstay.core.errors import Busy, Cold, Empty, ModelError, OverLimit, RateLimited, TooSlow, Tripped, Unsupported
from mainstay.core.evidence import Evidence
from mainstay.core.model import Chunk, ModelRequest, ToolCall, Usage
from mainstay.core.reasons import Finish, Reason
from mainstay.core.record import Attempt
from mainstay.serve.pricing import cost, may_cost, most_read, unpriced, worst
from mainstay.serve.ready import Parts, ServingModel
from mainstay.serve.redaction import text_for_log
from mainstay.serve.spending import Held, Reserved, Short
from mainstay.serve.tracing import AttemptNotes, Trace
from mainstay.serve.watch import Watch

log = logging.getLogger("mainstay.models")
FAIR, SLACK = 0.5, 0.005  # seconds that a model must have had before its silence counts against it; how early a timer may ring
LETTING_GO = 0.1  # seconds that a provider has to close what is given up
EXPLAINED = (Finish.LENGTH, Finish.CONTENT_FILTER)  # finish reasons that say why nothing was written
ANSWERED = ("ok", "guarded")  # outcomes whose times say how fast the model is
HEALTHY = {"ok", "guarded", "rejected", "unsupported"}  # outcomes that say nothing against the model
OVERTAKEN = "overtaken"  # the outcome of an attempt beside which another spoke first
UNSAID = {"ok", "guarded", "abandoned", OVERTAKEN, "not_recorded"}  # outcomes that the log does not mention


class NotRecorded(ModelError):
    """The record cannot be written, so nothing was asked."""

    kind = "not_recorded"


class Unusable(ModelError):
    """The model answered, but with nothing to go on with: cut short, or declined."""

    kind = "unusable"

    def __init__(self, reason: Reason, what: str) -> None:
        super().__init__(what)
        self.reason = reason


class Whole:
    """What all chunks of a draft amount to, beside the text."""

    __slots__ = ("finish", "model", "nothing", "refusal", "tool_calls")

    def __init__(self) -> None:
        self.nothing = True
        self.refusal = ""
        self.tool_calls: tuple[ToolCall, ...] = ()
        self.finish: Finish | None = None
        self.model: str | None = None

    def add(self, chunk: Chunk) -> None:
        """More was written."""
        if chunk.text or chunk.tool_calls or chunk.refusal:
            self.nothing = False
        self.refusal += chunk.refusal
        self.tool_calls += chunk.tool_calls
        self.finish = chunk.finish or self.finish
        self.model = chunk.model or self.model

    def unusable(self, *, laddered: bool) -> Reason | None:
        """Why a draft that was written to its end is no answer, before any guard looks at it.

        A plain model's caller may have a text that was cut short: its finish reason says so.
        """
        if self.refusal or self.finish is Finish.CONTENT_FILTER:
            return Reason.MODEL_REFUSED
        if self.finish is Finish.ERROR:
            return Reason.MODEL_UNAVAILABLE
        return Reason.CUT_SHORT if laddered and self.finish is Finish.LENGTH else None


class Ask:
    """What a rung's writer is given: the call, the evidence, the time, and what became of the drafts before.

    `remark` is the guard's remark on the last draft and `rejected` that draft. `kept` is the writer's own memory between
    two tries of one rung. `guarded` says that a guard stopped the draft while it was written. A writer that knows its
    citations puts them in `citations`, and one that knows how probably its draft is right says so in `confidence`. `sure` is how
    probable the model thought its own words, where its provider says so. `usual` is how long the rung usually takes, and `queued`
    how long its attempts have waited for a place; `began` is when the last one was let in. `overtaken` says that another attempt
    spoke first.
    """

    __slots__ = (
        "began",
        "call",
        "citations",
        "confidence",
        "evidence",
        "guarded",
        "kept",
        "key",
        "limit",
        "overtaken",
        "parts",
        "queued",
        "rejected",
        "remark",
        "stream",
        "sure",
        "trace",
        "usual",
        "values",
        "watch",
    )

    def __init__(
        self,
        trace: Trace,
        parts: Parts,
        evidence: Evidence,
        watch: Watch,
        *,
        limit: float,
        usual: float | None,
        key: bytes | None,
        stream: bool,
        values: dict[str, Any],
    ) -> None:
        self.call: Call = trace.call
        self.trace, self.parts, self.evidence, self.watch = trace, parts, evidence, watch
        self.limit, self.usual, self.key, self.stream, self.values = limit, usual, key, stream, values
        self.queued = 0.0
        self.began: float | None = None
        self.overtaken = False
        self.remark = ""
        self.rejected = ""
        self.guarded = False
        self.kept: dict[str, Any] = {}
        self.citations: tuple[Citation, ...] | None = None
        self.confidence: float | None = None
        self.sure: float | None = None


async def attempt(
    model: ServingModel,
    request: ModelRequest,
    ask: Ask,
    *,
    rung: str,
    stream: bool,
    timeout: float | None = None,
    first_word: float | None = None,
) -> AsyncGenerator[Chunk, None]:
    """Ask once; yields what comes. Raises `ModelError` and nothing else."""
    let_in = await _let_in(model, request, ask, rung, timeout)
    now = ask.began = let_in.at
    notes = AttemptNotes(rung, model.name, now)
    ask.trace.running.append(notes)
    notes.queued = let_in.queued
    end = ask.limit if timeout is None else min(ask.limit, now + timeout)
    ask.watch.until(end if first_word is None else min(end, now + first_word))
    outcome, status, detail, spent = "abandoned", None, "", True
    try:
        chunks = _asked(model, request, ask, stream)
        try:
            while (chunk := await _next(chunks, ask, notes)) is not None:
                if chunk.quota is not None:
                    let_in.told = model.lanes.told(chunk.quota)
                    continue
                if notes.first is None and (chunk.text or chunk.tool_calls or chunk.reasoning or chunk.refusal):
                    notes.first = time.monotonic()
                    ask.watch.until(end)
                notes.add(chunk)
                yield chunk
        finally:
            if not notes.over:
                await _let_go(chunks, ask, notes)
        ask.watch.until(ask.limit)
        if not notes.wrote and notes.finish not in EXPLAINED:
            raise Empty("the model wrote nothing", where=model.name)
        outcome = "ok"
    except ModelError as error:
        outcome, status, detail = error.kind, error.status, str(error)
        spent = may_cost(error) and not isinstance(error, NotRecorded)  # before which nothing was asked
        model.lanes.close(error.retry_after if isinstance(error, RateLimited) else None)
        raise
    finally:
        if outcome == "abandoned" and (ask.guarded or ask.overtaken):
            outcome = "guarded" if ask.guarded else OVERTAKEN
        let_in.over(notes, outcome)
        done = _close(notes, model, ask.trace, request, outcome=outcome, status=status, detail=detail, spent=spent)
        let_in.reserved.settle(cost=done.cost_nano_usd or 0, tokens=_tokens(done.usage))
        if outcome not in UNSAID and ask.call.origin != "drill":
            said = text_for_log(ask.parts.without_secrets(detail), ask.trace.ready.feature.log)
            ask.parts.complaints.about(model.name, outcome, said)
        if let_in.ticket is not None:
            slow = outcome in ANSWERED and _was_slow(model, notes, ask, outcome, stream=stream)
            _report(model, let_in.ticket, notes, outcome, own=min(timeout or FAIR, first_word or FAIR), slow=slow)


class LetIn:
    """What an attempt has when it begins: a place in its model's lanes, what it may cost, and the breaker's ticket.

    `told` is whether the head of the answer said what the provider still allows.
    """

    __slots__ = ("_cold", "_model", "at", "queued", "reserved", "ticket", "told")

    def __init__(self, model: ServingModel, queued: float, reserved: Reserved, ticket: int | None) -> None:
        self._model, self.queued, self.reserved, self.ticket = model, queued, reserved, ticket
        self.at = time.monotonic()
        self._cold, self.told = model.warmth.cold(self.at), False

    def over(self, notes: AttemptNotes, outcome: str) -> None:
        """The attempt has ended: its place is free, and the model knows how long it took."""
        warmth, now = self._model.warmth, time.monotonic()
        if notes.first is not None:
            warmth.answered(notes.first, first=notes.first - self.at, was_cold=self._cold)
        elif self._cold and outcome == TooSlow.kind:
            warmth.gave_up(now - self.at)
        self._model.lanes.leave(now - self.at, tokens=_tokens(notes.usage), told=self.told)


async def _let_in(model: ServingModel, request: ModelRequest, ask: Ask, rung: str, timeout: float | None) -> LetIn:
    """Let the attempt in, or raise why not. Money is held when it can be spent, and not while a place is waited for."""
    if model.breaker.open_for(time.monotonic()) and ask.call.origin == "user":
        _ticket(model, ask, rung, time.monotonic())  # which raises: nobody queues for a model that is not asked
    now = time.monotonic()
    if not model.warmth.starts_within(ask.limit - now, now):
        ask.trace.skipped(rung, Cold.kind, f"{model.name} is cold, and takes about {model.warmth.start:.2g} s to start")
        raise Cold(f"{model.name} is cold, and would not have started in time")
    queued = 0.0
    if not model.lanes.enter(anyway=ask.call.parent is not None):
        queued = await _queued(model, ask, rung, timeout)
    try:
        reserved = await _reserved(model, request, ask, rung)
        try:
            return LetIn(model, queued, reserved, _ticket(model, ask, rung, time.monotonic()))
        except Tripped:
            reserved.settle(cost=0, tokens=0)
            raise
    except BaseException:
        model.lanes.leave()
        raise


async def _queued(model: ServingModel, ask: Ask, rung: str, timeout: float | None) -> float:
    """Wait for a place as long as the rung then still has its usual time; the seconds that it took. Raises `Busy`."""
    usual = model.lanes.usual or 0.0 if ask.usual is None else ask.usual
    began = time.monotonic()
    try:
        until = ask.limit - (usual if timeout is None else min(usual, timeout))
        await model.lanes.wait(ask.trace.priority, ask.call.tenant, until=until, watch=ask.watch)
        ask.watch.until(ask.limit)
    except Busy as busy:
        ask.trace.skipped(rung, Busy.kind, f"{model.name}: {busy.what}")
        raise
    finally:
        waited = time.monotonic() - began
        ask.queued += waited
        ask.trace.queued(waited)
    return waited


def _asked(model: ServingModel, request: ModelRequest, ask: Ask, stream: bool) -> AsyncGenerator[Chunk, None]:
    """The provider's chunks. Nothing is asked where the record could not be written before."""
    if not ask.trace.on_disk:
        raise NotRecorded("the record cannot be written; nothing was asked", next="mainstay doctor")
    try:
        return model.provider.generate(request, stream=stream)
    except ModelError:
        raise
    except Exception as error:
        raise _translated(error, model.name, ask) from error


async def _next(chunks: AsyncGenerator[Chunk, None], ask: Ask, notes: AttemptNotes) -> Chunk | None:
    """The next chunk, awaited under the watchdog; None at the end. Whatever comes after the limit is too late to count."""
    before = time.monotonic()
    try:
        chunk = await anext(chunks)
    except StopAsyncIteration:
        chunk, notes.over = None, True
    except asyncio.CancelledError:
        notes.over = True
        ask.watch.settle(_too_slow(notes))
        raise
    except ModelError:
        notes.over = True
        ask.watch.settle(_too_slow(notes))
        raise
    except Exception as error:
        notes.over = True
        ask.watch.settle(_too_slow(notes))
        raise _translated(error, notes.model, ask) from error
    finally:
        notes.waited += time.monotonic() - before
    if ask.watch.fired():
        raise TooSlow(_too_slow(notes))
    return chunk


def _too_slow(notes: AttemptNotes) -> str:
    limit = "first word" if notes.first is None else "whole answer"
    return f"{notes.model} passed the time for its {limit}"


def _translated(error: Exception, model: str, ask: Ask) -> ModelError:
    ask.trace.failed(log, f"the provider of {model} broke its promise to raise ModelError only", error)
    return ModelError(f"{type(error).__name__}: {error}", where=model)


async def _let_go(chunks: AsyncGenerator[Chunk, None], ask: Ask, notes: AttemptNotes) -> None:
    """Close what the provider still has open. One that will not let go is left behind: it may not cost anybody the answer."""
    ask.watch.until(time.monotonic() + LETTING_GO)
    try:
        await chunks.aclose()
    except asyncio.CancelledError:
        if not ask.watch.fired():
            raise
        log.error("the provider of %s did not let go of its connection", notes.model)
    except Exception as error:
        ask.trace.failed(log, f"the provider of {notes.model} could not be closed", error)
    ask.watch.until(ask.limit)


def _tokens(usage: Usage | None) -> int:
    return 0 if usage is None else usage.input + usage.output


def _close(
    notes: AttemptNotes,
    model: ServingModel,
    trace: Trace,
    request: ModelRequest,
    *,
    outcome: str,
    status: int | None,
    detail: str,
    spent: bool,
) -> Attempt:
    """Put the attempt on the record. What was cut off costs, as far as anybody knows, what it could have cost: `spent` says that
    it may have cost anything, though nothing came.
    """
    now = time.monotonic()
    trace.running.remove(notes)
    if outcome != OVERTAKEN:  # it waited beside another
        trace.provider_s += notes.waited
    usage, price = notes.usage, None
    if usage is not None:
        price = cost(model.price, usage)
    elif spent or notes.first is not None:
        most = model.max_output if request.max_output is None else request.max_output
        usage = Usage(input=most_read(request, model.image_tokens), output=most)
        price = None if model.price is None else worst(model.price, request, usage.input, most)
    done = Attempt(
        rung=notes.rung,
        outcome=outcome,
        model=model.name,
        at_us=trace.since_start(notes.at),
        took_us=int((now - notes.at) * 1e6),
        queued_us=int(notes.queued * 1e6),
        first_word_us=None if notes.first is None else int((notes.first - notes.at) * 1e6),
        usage=usage,
        cost_nano_usd=price,
        estimated=usage is not None and notes.usage is None,
        http_status=status,
        detail=detail[:500],
    )
    trace.attempts.append(done)
    return done


async def _reserved(model: ServingModel, request: ModelRequest, ask: Ask, rung: str) -> Reserved:
    """The worst case of this attempt, held. Raises `OverLimit` where it would pass a limit, or has no price to be held by."""
    account = ask.trace.account
    if not account.bounded:
        return Reserved(account, Held([]), 0)
    if (feature := unpriced(request)) is not None:
        ask.trace.skipped(rung, Unsupported.kind, feature)
        raise Unsupported(feature, where=model.name)
    read, written = most_read(request, model.image_tokens), model.max_output if request.max_output is None else request.max_output
    held: Reserved | Short | None = None
    if model.price is not None or not account.pays:
        held = await account.reserve(cost=worst(model.price, request, read, written), tokens=read + written)
    if isinstance(held, Reserved):
        return held
    what = f"{model.name} has no price, and what it costs is limited" if held is None else held.what
    reason = Reason.OVER_BUDGET if held is None else held.reason
    ask.trace.skipped(rung, reason, what)
    raise OverLimit(what, reason)


def _ticket(model: ServingModel, ask: Ask, rung: str, now: float) -> int | None:
    """What the breaker is told the outcome by; None for a call that it does not watch. Raises `Tripped`."""
    if ask.call.origin != "user":
        return None
    ticket = model.breaker.admit(now)
    if ticket is None:
        ask.trace.skipped(rung, Tripped.kind)
        raise Tripped(f"the breaker of {model.name} is {model.breaker.state} for another {model.breaker.open_for(now):.1f} s")
    return ticket


def _was_slow(model: ServingModel, notes: AttemptNotes, ask: Ask, outcome: str, *, stream: bool) -> bool:
    """Whether it was far slower than the model usually is for this rung; what was stopped in its middle has no whole time."""
    whole = time.monotonic() - notes.at if outcome == "ok" else None
    first = notes.first - notes.at if stream and notes.first is not None else None
    alike, probe = ask.call.request is None, model.breaker.state != "closed"
    return model.tempo.is_slow(tempo_key(ask, notes.rung), first=first, whole=whole, alike=alike, probe=probe)


def tempo_key(ask: Ask, rung: str) -> str:
    """What a model's usual times are kept by."""
    return f"{ask.call.feature}/{rung}"


def _report(model: ServingModel, ticket: int, notes: AttemptNotes, outcome: str, *, own: float, slow: bool) -> None:
    """Tell the breaker. A model that was given next to no time, neither by its rung nor by the call, is not to blame."""
    now = time.monotonic()
    hurried = outcome == TooSlow.kind and now - notes.at < min(own, FAIR) - SLACK
    if hurried or outcome in ("abandoned", OVERTAKEN, NotRecorded.kind):
        model.breaker.release(ticket)
        return
    before = model.breaker.state
    model.breaker.report(ticket, outcome in HEALTHY, now, slow=slow)
    if model.breaker.state != before:
        log.warning(
            "the breaker of %s is %s, after an attempt that was %s", model.name, model.breaker.state, "slow" if slow else outcome
        )
