"""Which rungs may be tried, and how long each of them may take.

Deadlines are shared out from below: a rung gets the time left minus what the rungs under it need, and never less than its
part of it. A rung's need is what the file declares, else the 95th percentile of what was measured, never more than its equal
share of the time that nobody has declared.
"""

from __future__ import annotations

import time

from mainstay.core.evidence import Slot
from mainstay.core.feature import CallRung, MessageRung, SearchRung
from mainstay.core.reasons import Reason
from mainstay.serve.lanes import Shed
from mainstay.serve.ready import ReadyRung
from mainstay.serve.spending import Short
from mainstay.serve.tracing import Trace

LITTLE = 0.02  # seconds for a rung that asks nobody
ASIDE = 0.25  # seconds for a search or a function that was never measured
ENOUGH = 0.8  # of the time that a rung needs, with which it is still tried: the rung above it ends a little late


def need(rung: ReadyRung, share: float) -> float:
    """Seconds that have to be kept for this rung while others above it are tried; `share` is what each rung may have at most."""
    if rung.spec.needs is not None:
        return rung.spec.needs
    if isinstance(rung.spec, MessageRung):
        return 0.0
    if rung.pace.p95 is not None:
        return min(share, rung.pace.p95)
    if rung.spec.needs_model:
        return share
    return min(share, ASIDE if _timed(rung) else LITTLE)


def usual_of(rung: ReadyRung) -> float | None:
    """Seconds that the rung usually takes, without what it waits for a place; None where that is not known."""
    return rung.spec.needs if rung.spec.needs is not None else rung.pace.p50


def share_of(trace: Trace) -> float:
    """The equal share of the call's time, without what the file declares, of each rung that may take long."""
    rungs = trace.ready.rungs
    declared = sum(rung.spec.needs or 0.0 for rung in rungs)
    timed = sum(1 for rung in rungs if rung.spec.needs is None and _timed(rung))
    return max(LITTLE, (trace.budget - declared) / max(1, timed))


def _timed(rung: ReadyRung) -> bool:
    return rung.spec.needs_model or isinstance(rung.spec, CallRung | SearchRung)


def limit_of(place: int, trace: Trace) -> float:
    """The moment by which the rung at that place has to be done.

    Where the rungs below need more than there is, it gets its part of what is left all the same. One that asks nobody takes
    nothing from those below it, and has whatever time its guards need; the message a little even where no time is left.
    """
    rungs, now = trace.ready.rungs, time.monotonic()
    if place == len(rungs) - 1 and not isinstance(rungs[place].spec, MessageRung):
        return trace.deadline
    if not _timed(rungs[place]):
        return max(trace.deadline, now + LITTLE) if isinstance(rungs[place].spec, MessageRung) else trace.deadline
    left, share = trace.deadline - now, share_of(trace)
    own, below = max(LITTLE, need(rungs[place], share)), sum([need(rung, share) for rung in rungs[place + 1 :]])
    return now + max(left - below, left * own / (own + below))


def obstacle(
    rung: ReadyRung, limit: float, *, off: bool, short: Short | Shed | None, unknown: Slot | None
) -> tuple[Reason, str, str] | None:
    """Why this rung is not even tried now; None lets it go.

    `off` says that what needs a model is switched off, `short` says why the call may ask none, and `unknown`
    is a fact that a model would have to be told and nobody knows.
    """
    if isinstance(rung.spec, MessageRung):
        return None
    if off and rung.spec.needs_model:
        return Reason.SWITCHED_OFF, "switched_off", ""
    if short is not None and rung.spec.needs_model:
        return short.reason, short.reason.value, short.what
    if unknown is not None and rung.spec.needs_model:
        return Reason.RUNG_FAILED, "no_slot", f"the slot {unknown.name}: {unknown.missing}"
    available = limit - time.monotonic()
    usual = usual_of(rung)
    if available <= 0 or (usual is not None and usual * ENOUGH > available):
        return Reason.OVER_DEADLINE, "too_slow_for_the_time_left", ""
    return None
