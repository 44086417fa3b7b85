"""The first step: is the feature switched off for this call, has the same failed too often, and does the call bring what the
feature declares?

A switch takes away the rungs that need a model, and what a model said earlier (cache, `stale`); or, where it says so, everything
but the fixed message.
"""

from __future__ import annotations

from mainstay.core.answer import Answer
from mainstay.core.errors import BadRequest
from mainstay.core.reasons import Reason
from mainstay.serve.ready import Parts
from mainstay.serve.refusing import last_resort, refusal
from mainstay.serve.tracing import Trace


def admit(trace: Trace, parts: Parts) -> Answer | None:
    """The answer of a call that is off, or whose input or history the feature does not declare; None lets it in."""
    call, ready = trace.call, trace.ready
    switch = parts.off(call)
    if switch is not None:
        trace.off = True
        if switch.rungs == "all":
            return last_resort(trace, Reason.SWITCHED_OFF)
    trace.looping = parts.loops.stops(trace)
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
