"""Which rungs may be tried, and how long each of them may take.

Deadlines are shared out from below: a rung gets the time left minus what the rungs under it need. A rung's need is what the
file declares, else the 95th percentile of what was measured, never more than its equal share of the deadline.
"""

from __future__ import annotations

import time

from mainstay.core.feature import CallRung, MessageRung, RulesRung, SearchRung, StaleRung
from mainstay.core.reasons import Reason
from mainstay.serve.ready import Ready, ReadyRung
from mainstay.serve.tracing import Trace

LITTLE = 0.02  # seconds for a rung that asks nobody
ASIDE = 0.25  # seconds for a search or a function that was never measured


def need(rung: ReadyRung, ready: Ready) -> float:
    """Seconds that have to be kept for this rung while others above it are tried."""
    if rung.spec.needs is not None:
        return rung.spec.needs
    if isinstance(rung.spec, MessageRung):
        return 0.0
    timed = sum(1 for r in ready.rungs if r.spec.needs_model or isinstance(r.spec, CallRung | SearchRung))
    share = ready.feature.deadline / max(1, timed)
    if rung.pace.p95 is not None:
        return min(share, rung.pace.p95)
    if rung.spec.needs_model:
        return share
    return min(share, ASIDE if isinstance(rung.spec, CallRung | SearchRung) else LITTLE)


def limit_of(place: int, trace: Trace) -> float:
    """The moment by which the rung at that place has to be done. One that asks nobody takes no time from those below it."""
    ready = trace.ready
    if isinstance(ready.rungs[place].spec, RulesRung | StaleRung):
        return trace.deadline
    return trace.deadline - sum(need(rung, ready) for rung in ready.rungs[place + 1 :])


def obstacle(rung: ReadyRung, limit: float) -> tuple[Reason, str] | None:
    """Why this rung is not even tried now; None lets it go."""
    if isinstance(rung.spec, MessageRung):
        return None
    available = limit - time.monotonic()
    usual = rung.spec.needs if rung.spec.needs is not None else rung.pace.p50
    if available <= 0 or (usual is not None and usual > available):
        return Reason.OVER_DEADLINE, "too_slow_for_the_time_left"
    return None
