"""The first step: may this call be served at all, and does it bring what the feature declares?"""

from __future__ import annotations

from mainstay.core.answer import Answer
from mainstay.core.errors import BadRequest
from mainstay.core.reasons import Reason, Status
from mainstay.serve.tracing import Trace

TOLD = {
    Reason.INPUT_INVALID: "This request is not one that I can read.",
    Reason.UNSAFE_INPUT: "I can't help with that.",
    Reason.NO_EVIDENCE: "I found nothing about that in the sources that I answer from.",
    Reason.OVER_DEADLINE: "This took too long. Please try again.",
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


def admit(trace: Trace) -> Answer | None:
    """Refuse a call whose input or history the feature does not declare; None lets it in."""
    call, ready = trace.call, trace.ready
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
