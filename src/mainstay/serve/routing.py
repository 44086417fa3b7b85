"""Which rungs are tried in which order, where a call starts, and how long each rung may take.

A call starts at the top of the ladder, unless the feature has a router: then at the cheapest rung that is expected to pass as
often as the first, but for what the team gives up. What was skipped for that is not lost: if the rung where the call started
fails, or the guards stop its draft, the better rungs above it are tried before those below. Where the better rung would do as
well, signals of the moment decide too: a rung whose breaker is open, which is too slow for the time left, too dear for the money
left, or busy, is none to start at.

Deadlines are shared out from below: a rung gets the time left minus what the rungs after it need, and never less than its
part of it. A rung's need is what the file declares, else the 95th percentile of what was measured, never more than its equal
share of the time that nobody has declared.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from msgspec import Struct

from mainstay.core.evidence import Slot
from mainstay.core.feature import CallRung, MessageRung, SearchRung
from mainstay.core.reasons import Reason
from mainstay.core.record import Route
from mainstay.serve.pricing import MILLION
from mainstay.serve.ready import ReadyRung
from mainstay.serve.router import choose
from mainstay.serve.tracing import Trace

LITTLE = 0.02  # seconds for a rung that asks nobody
ASIDE = 0.25  # seconds for a search or a function that was never measured
ENOUGH = 0.8  # of the time that a rung needs, with which it is still tried: the rung above it ends a little late


class Order(Struct, frozen=True):
    """The places of all rungs in the order in which they are tried, and the place where the call starts: what is above that is no
    step down.
    """

    places: tuple[int, ...]
    start: int = 0


def order_of(trace: Trace, unknown: Slot | None) -> Order:
    """Where a call starts, and what follows; notes it in the trace where that is not the top. `unknown` is as for `obstacle`.

    Only users' calls are routed: evaluations, shadows, judges and replays are answered from the top, whatever they ask.
    """
    rungs, router = trace.ready.rungs, trace.ready.router
    top_down = Order(tuple(range(len(rungs))))
    if router is None or trace.call.origin != "user" or trace.off:
        return top_down
    places = {rung.name: place for place, rung in enumerate(rungs)}
    awake = {i: places[choice.name] for i, choice in enumerate(router.choices) if choice.name in places}
    if 0 not in awake or len(awake) < 2:
        return top_down
    losses = router.losses(trace.ready.read_input(trace.call.input))
    held = {i for i, place in awake.items() if i and _held(top_down, place, trace, unknown)}
    chosen = choose(losses, router.alone, router.margin, [i for i in awake if i not in held])
    if chosen == 0:
        return top_down
    start = awake[chosen]
    above = [place for i, place in awake.items() if place < start]
    trace.route = Route(start=rungs[start].name, first=rungs[awake[0]].name, behind=round(losses[chosen], 4))
    before = [place for place in range(start) if place not in above]
    return Order((*before, start, *above, *range(start + 1, len(rungs))), start)


def _held(order: Order, place: int, trace: Trace, unknown: Slot | None) -> bool:
    """Whether something of this moment speaks against starting at the rung at that place."""
    rung, now = trace.ready.rungs[place], time.monotonic()
    if obstacle(rung, limit_of(order.places, place, trace), trace, unknown) is not None:
        return True
    if any(model.breaker.open_for(now) > 0 or not model.lanes.room for model in rung.models):
        return True
    left = trace.account.left
    return left is not None and dearest(rung, trace) > left


def dearest(rung: ReadyRung, trace: Trace) -> float:
    """Nano-dollars that one try of the rung may cost, as far as it is known before its prompt is written: every byte of the call
    a token, and as much output as the models may write. Infinite where a price is unknown.
    """
    size = sum([len(text.encode("utf-8", "replace")) for _, text in trace.call.texts()])
    total = 0.0
    for model in rung.models:
        if model.price is None:
            return float("inf")
        total += (size * model.price.input + model.max_output * model.price.output) / MILLION
    return total


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


def limit_of(places: Sequence[int], i: int, trace: Trace) -> float:
    """The moment by which the rung that is tried as number `i` of these places has to be done.

    Where the rungs after it need more than there is, it gets its part of what is left all the same. One that asks nobody takes
    nothing from those after it, and has whatever time its guards need; the message a little even where no time is left.
    """
    rungs, now = [trace.ready.rungs[place] for place in places[i:]], time.monotonic()
    first, *after = rungs
    if not after and not isinstance(first.spec, MessageRung):
        return trace.deadline
    if not _timed(first):
        return max(trace.deadline, now + LITTLE) if isinstance(first.spec, MessageRung) else trace.deadline
    left, share = trace.deadline - now, share_of(trace)
    own, others = max(LITTLE, need(first, share)), sum([need(rung, share) for rung in after])
    return now + max(left - others, left * own / (own + others))


def obstacle(rung: ReadyRung, limit: float, trace: Trace, unknown: Slot | None) -> tuple[Reason, str, str] | None:
    """Why this rung is not even tried now; None lets it go. `unknown` is a fact that a model needs and nobody knows."""
    short = trace.short
    if isinstance(rung.spec, MessageRung):
        return None
    if trace.off and rung.spec.needs_model:
        return Reason.SWITCHED_OFF, "switched_off", ""
    if trace.looping and rung.spec.needs_model:
        return Reason.RETRY_LOOP, "retry_loop", "the same request has failed again and again"
    if short is not None and rung.spec.needs_model:
        return short.reason, short.reason.value, short.what
    if unknown is not None and rung.spec.needs_model:
        return Reason.RUNG_FAILED, "no_slot", f"the slot {unknown.name}: {unknown.missing}"
    available = limit - time.monotonic()
    usual = usual_of(rung)
    if available <= 0 or (usual is not None and usual * ENOUGH > available):
        return Reason.OVER_DEADLINE, "too_slow_for_the_time_left", ""
    return None
