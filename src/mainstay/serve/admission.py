"""The first step: is the feature switched off for this call, and does the call bring what the feature declares?

A switch takes away the rungs that need a model, and what a model said earlier (cache, `stale`); or, where it says so, everything
but the fixed message.
"""

from __future__ import annotations

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.errors import BadRequest
from mainstay.core.feature import MessageRung
from mainstay.core.reasons import Reason, Status
from mainstay.serve.ready import Parts
from mainstay.serve.tracing import Trace

TOLD = {
    Reason.INPUT_INVALID: "This request is not one that I can read.",
    Reason.UNSAFE_INPUT: "I can't help with that.",
    Reason.NO_EVIDENCE: "I found nothing about that in the sources that I answer from.",
    Reason.OVER_DEADLINE: "This took too long. Please try again.",
    Reason.SWITCHED_OFF: "This is switched off at the moment. Please try again later.",
    Reason.MODEL_UNAVAILABLE: "The model cannot be reached right now. Please try again later.",
}


def refusal(trace: Trace, reason: Reason, detail: str | None = None) -> Answer:
    """The answer of a call that is not going to be answered."""
    return ending(trace, Status.REFUSED, reason, detail)


def ending(trace: Trace, status: Status, reason: Reason, detail: str | None = None, *, text: str | None = None) -> Answer:
    """An answer that brings nothing but its status, its reason and a sentence for the user."""
    return Answer(
        id=trace.call.id,
        feature=trace.call.feature,
        release=trace.ready.digest,
        status=status,
        reason=reason,
        detail=detail,
        text=TOLD.get(reason, "I can't answer that right now.") if text is None else text,
    )


def last_resort(trace: Trace, reason: Reason) -> Answer:
    """The ladder's fixed message, which needs nothing: when everything is off, or even the climb did not end as it should."""
    last = trace.ready.rungs[-1]
    if not isinstance(last.spec, MessageRung):
        return ending(trace, Status.UNAVAILABLE, reason)
    message = last.spec.message
    fixed = ending(trace, Status.DEGRADED, reason, text=message if isinstance(message, str) else "")
    return msgspec.structs.replace(fixed, rung=last.name, data=None if isinstance(message, str) else message)


def admit(trace: Trace, parts: Parts) -> Answer | None:
    """The answer of a call that is off, or whose input or history the feature does not declare; None lets it in."""
    call, ready = trace.call, trace.ready
    switch = parts.off(call)
    if switch is not None:
        trace.off = True
        if switch.rungs == "all":
            return last_resort(trace, Reason.SWITCHED_OFF)
    turns = len(call.history)
    if turns > ready.feature.history:
        what = (
            f"history has {turns} turns; this feature declares at most {ready.feature.history}"
            if ready.feature.history
            else "this feature declares no history; send one question"
        )
        return refusal(trace, Reason.INPUT_INVALID, what)
    if call.request is None:
        try:
            ready.read_input(call.input)
        except BadRequest as error:
            return refusal(trace, Reason.INPUT_INVALID, error.what)
    return None
