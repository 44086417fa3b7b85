"""Who is let in: is the feature switched off for this call, has the same failed too often, does the call bring what the feature
declares, and is there a place?

A switch takes away the rungs that need a model, and what a model said earlier (cache, `stale`); or, where it says so, everything
but the fixed message. So does a full house: a call that would not get a place in time asks no model.
"""

from __future__ import annotations

import time

from mainstay.core.answer import Answer
from mainstay.core.errors import BadRequest, Busy
from mainstay.core.reasons import Reason
from mainstay.serve.lanes import Lanes, Shed
from mainstay.serve.ready import Parts
from mainstay.serve.refusing import last_resort, refusal
from mainstay.serve.tracing import Trace
from mainstay.serve.watch import Watch


class Working:
    """A production's place among all of the process, for as long as it works.

    Where none comes free in time it works without one, and asks no model. What is done for another call shares the place of that.
    """

    __slots__ = ("_began", "_lanes", "_trace", "_watch")

    def __init__(self, trace: Trace, lanes: Lanes, watch: Watch) -> None:
        self._trace, self._lanes, self._watch = trace, lanes, watch
        self._began: float | None = None

    async def __aenter__(self) -> None:
        trace, lanes = self._trace, self._lanes
        asks_no_model = trace.off or trace.short is not None
        if lanes.at_once is None or asks_no_model or trace.call.parent is not None or trace.call.origin == "drill":
            return
        if not lanes.enter():
            began = time.monotonic()
            try:
                until = trace.deadline - (lanes.usual or 0.0)
                await lanes.wait(trace.priority, trace.call.tenant, until=until, watch=self._watch)
            except Busy as busy:
                trace.short = Shed(f"the process works on as much as it may: {busy.what}")
                return
            finally:
                trace.queued(time.monotonic() - began)
        self._began = time.monotonic()

    async def __aexit__(self, *_: object) -> None:
        if self._began is not None:
            self._lanes.leave(time.monotonic() - self._began)


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
