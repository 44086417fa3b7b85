"""Records: `begun` is on disk before money is spent, `sealed` before the answer is complete at the reader.

Both halves are appended to a local spool; what happens to them afterwards is the spool's affair. The feature's log policy is
applied here (`redaction.py`), before anything is written. A call that cannot be written as it is leaves a record all the same.
"""

from __future__ import annotations

import logging
import time

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.errors import StoreError
from mainstay.core.record import Attempt, Begun, GuardNote, Outcome, Record
from mainstay.serve.ready import Parts
from mainstay.serve.redaction import answer_for_log, call_for_log, slots_for_log, text_for_log, through
from mainstay.serve.tracing import Trace

log = logging.getLogger("mainstay.records")
_encode = msgspec.json.Encoder(enc_hook=str).encode
_replace = msgspec.structs.replace


def begin(trace: Trace, parts: Parts) -> None:
    """Write that the call has begun. If that cannot be written, `trace.on_disk` stays false and no model may be asked."""
    trace.begun = _begun(trace)
    try:
        parts.spool.append(_line(trace.begun))
        trace.on_disk = True
    except StoreError as error:
        log.error("call %s goes on without models: %s", trace.call.id, error)


def seal(answer: Answer, trace: Trace, parts: Parts, *, shared_with: str | None = None) -> Answer:
    """Write how the call ended, tell the observers, and give back the answer, without any secret of ours."""
    trace.step("seal")
    now = time.monotonic()
    policy = trace.log
    if answer.detail:
        answer = _replace(answer, detail=parts.without_secrets(answer.detail))
    attempts, guards = _notes(trace, parts)
    outcome = Outcome(
        id=answer.id,
        answer=answer if policy == "full" else answer_for_log(answer, policy),
        took_us=trace.since_start(now),
        provider_us=int(trace.provider_s * 1e6),
        first_word_us=None if trace.first_word is None else trace.since_start(trace.first_word),
        attempts=attempts,
        guards=guards,
        steps=trace.steps,
        cost_nano_usd=trace.cost(),
        shared_with=shared_with,
        slots=trace.slots if policy == "full" else slots_for_log(trace.slots, policy),
        passages=trace.passages,
        signals=trace.signals,
        route=trace.route,
        recalled=trace.recalled,
    )
    begun = trace.begun or _begun(trace)
    lines = [_line(outcome)] if trace.on_disk else [_line(begun), _line(outcome)]
    try:
        parts.spool.append(*lines)
    except StoreError as error:
        log.error("record %s stays in memory until it can be written: %s", answer.id, error)
        parts.spool.owe(*lines)
    _tell(Record(begun=begun, outcome=outcome), parts)
    return answer


def _begun(trace: Trace) -> Begun:
    call = trace.call
    policy = trace.log
    return Begun(
        id=call.id, at=trace.at, release=trace.ready.digest, call=call if policy == "full" else call_for_log(call, policy)
    )


def _notes(trace: Trace, parts: Parts) -> tuple[tuple[Attempt, ...], tuple[GuardNote, ...]]:
    """The attempts and guards; what they say in detail may quote the prompt, the answer, or a key."""
    policy = trace.log

    def said(detail: str) -> str:
        return text_for_log(parts.without_secrets(detail), policy)

    return (
        tuple([_replace(a, detail=said(a.detail)) if a.detail else a for a in trace.attempts]),
        tuple([_replace(g, detail=said(g.detail)) if g.detail else g for g in trace.guards]),
    )


def _line(half: Begun | Outcome) -> bytes:
    """One line of JSON, whatever a caller, a function or a model put into it."""
    try:
        line = _encode(half)
    except UnicodeEncodeError:
        line = _encode(through(half, lambda text: text.encode("utf-8", "replace").decode()))
    except Exception as error:  # nested too deep, or an object that cannot say what it is
        log.error("the record %s is kept without its texts, which cannot be written: %s", half.id, type(error).__name__)
        bare = (
            {"call": call_for_log(half.call, "none")}
            if isinstance(half, Begun)
            else {"answer": answer_for_log(half.answer, "none")}
        )
        line = _encode(_replace(half, **bare))
    if isinstance(half, Begun) and half.call.request is not None and half.call.request.extra:
        line = line.replace(b"\n", b" ")  # JSON of the caller's own, with its line breaks
    return line


def _tell(record: Record, parts: Parts) -> None:
    for observer in parts.observers:
        try:
            observer.observe(record)
        except Exception:
            log.exception("the observer %s failed on record %s", type(observer).__name__, record.id)
