"""Evidence: every source of the release is searched for what the call asks, and its facts are fetched at the same time. What no
model may read is left out.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time

import msgspec

from mainstay.core.call import Call
from mainstay.core.errors import MainstayError
from mainstay.core.evidence import NOTHING, Evidence, Passage
from mainstay.core.reasons import Reason
from mainstay.serve import caching, slots
from mainstay.serve.guarding import screen_passages
from mainstay.serve.inputs import spoken
from mainstay.serve.tracing import Trace
from mainstay.serve.watch import Watch
from mainstay.serve.wholeness import whole

log = logging.getLogger("mainstay.grounding")
SHARE_OF_TIME = 0.5  # of what is left, at most, may be spent on searching


async def ground(trace: Trace, watch: Watch) -> tuple[Evidence, Reason | None]:
    """What the sources hold for this call, and why they could not be asked if they could not."""
    if not trace.ready.sources and trace.ready.slots is None:
        return NOTHING, None
    now = time.monotonic()
    until = now + (trace.deadline - now) * SHARE_OF_TIME
    watch.until(until)
    facts = None if caching.shares(trace) else asyncio.ensure_future(slots.fetch(trace))  # else they were fetched for the key
    try:
        evidence, missing = await _searched(trace, watch, until)
        watch.until(trace.deadline)  # facts keep to their share of the time by themselves
        fetched = trace.slots if facts is None else await facts
    except asyncio.CancelledError:
        if not watch.fired():
            raise
        return NOTHING, Reason.OVER_DEADLINE
    finally:
        if facts is not None:
            facts.cancel()
    return msgspec.structs.replace(evidence, slots=fetched), missing


async def _searched(trace: Trace, watch: Watch, until: float) -> tuple[Evidence, Reason | None]:
    ready, call = trace.ready, spoken(trace.call, trace.ready.feature)
    if not ready.sources:
        return NOTHING, None
    try:
        passages = await _search(trace, whole(query_of(call), call.history), until)
        passages = await screen_passages(passages, call, trace)
    except asyncio.CancelledError:
        try:
            watch.settle("searching the sources")
        except MainstayError as error:
            trace.skipped("grounding", "too_slow", str(error))
            return NOTHING, Reason.OVER_DEADLINE
        raise
    except Exception as error:
        trace.failed(log, f"a source of {call.feature} failed", error)
        trace.skipped("grounding", "failed", f"{type(error).__name__}: {error}")
        return NOTHING, Reason.RUNG_FAILED
    return Evidence(passages=tuple(passages), searched=True), None


def query_of(call: Call) -> str:
    """What is searched for: the call's texts, without what was said before."""
    return "\n".join(text for path, text in call.texts() if not path.startswith("history"))


async def _search(trace: Trace, query: str, until: float) -> list[Passage]:
    """The best passages of all sources together; those of one source stay in its order."""
    wanted, viewer = trace.ready.feature.grounding.passages, trace.call.viewer
    found: list[tuple[float, Passage]] = []
    for source in trace.ready.sources.values():
        timely = getattr(source, "search_until", None)
        if timely is None:
            passages = await source.search(query, limit=wanted, viewer=viewer)
        else:
            passages, remarks = await timely(query, limit=wanted, viewer=viewer, until=until)
            for remark in remarks:
                trace.skipped("grounding", "partly", remark)
        least = itertools.accumulate((passage.score for passage in passages), min)
        found += zip(least, passages, strict=True)
    return [passage for _, passage in sorted(found, key=lambda entry: -entry[0])[:wanted]]
