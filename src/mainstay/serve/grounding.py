"""Evidence: every source of the release is searched for what the call asks, and its facts are fetched at the same time."""

from __future__ import annotations

import asyncio
import logging
import time

import msgspec

from mainstay.core.call import Call
from mainstay.core.errors import MainstayError
from mainstay.core.evidence import NOTHING, Evidence, Passage, Viewer
from mainstay.core.reasons import Reason
from mainstay.serve import caching, slots
from mainstay.serve.inputs import spoken
from mainstay.serve.ready import Ready
from mainstay.serve.tracing import Trace
from mainstay.serve.watch import Watch

log = logging.getLogger("mainstay.grounding")
SHARE_OF_TIME = 0.5  # of what is left, at most, may be spent on searching


async def ground(trace: Trace, watch: Watch) -> tuple[Evidence, Reason | None]:
    """What the sources hold for this call, and why they could not be asked if they could not."""
    now = time.monotonic()
    watch.until(now + (trace.deadline - now) * SHARE_OF_TIME)
    facts = None if caching.shares(trace) else asyncio.ensure_future(slots.fetch(trace))  # else they were fetched for the key
    try:
        evidence, missing = await _searched(trace, watch)
        fetched = trace.slots if facts is None else await facts
    finally:
        if facts is not None:
            facts.cancel()
    return msgspec.structs.replace(evidence, slots=fetched), missing


async def _searched(trace: Trace, watch: Watch) -> tuple[Evidence, Reason | None]:
    ready, call = trace.ready, spoken(trace.call, trace.ready.feature)
    if not ready.sources:
        return NOTHING, None
    try:
        passages = await _search(ready, query_of(call), call.viewer)
        if not passages and call.history:
            passages = await _search(ready, f"{_last_question(call)}\n{query_of(call)}", call.viewer)
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


def _last_question(call: Call) -> str:
    return next((turn.text for turn in reversed(call.history) if turn.role == "user"), "")


async def _search(ready: Ready, query: str, viewer: Viewer) -> list[Passage]:
    wanted = ready.feature.grounding.passages
    found = [p for source in ready.sources.values() for p in await source.search(query, limit=wanted, viewer=viewer)]
    return sorted(found, key=lambda p: -p.score)[:wanted]
