"""The exact cache: the same call to the same release, answered again from what passed the guards before.

The key holds everything that the answer may depend on: release, tenant, roles, locale, input, history, the version of every
source, the facts that were fetched for it (and its user, where they are asked with that), and the trial that the call takes part
in. Where a fact could not be had as fresh as it should be, there is no key: nothing is kept, and nothing that was kept is
shown. Only plain `answered` answers are kept: never a refusal, an error, or an answer from a rung further down, which would
outlive the trouble that caused it. What is found goes through the guards again before it is shown. What a feature does not
want in its records in full lies in memory only, and is gone with the process.
"""

from __future__ import annotations

import hashlib
import logging
import time

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.draft import Draft
from mainstay.core.errors import StoreError
from mainstay.core.evidence import Evidence, Passage
from mainstay.core.reasons import Status
from mainstay.core.seams import Cache
from mainstay.serve.guarding import check
from mainstay.serve.ready import Found, Parts, Ready
from mainstay.serve.tracing import Trace

log = logging.getLogger("mainstay.cache")
_encode = msgspec.json.Encoder().encode


class Stored(msgspec.Struct, frozen=True):
    """What is kept of an answer: with the passages that it was given, because guards are shown what it rests on."""

    answer: Answer
    passages: tuple[Passage, ...]


_decode = msgspec.json.Decoder(Stored).decode


def stored_in(value: bytes) -> Stored | None:
    """What a value of the cache holds; None for one that an older version wrote."""
    try:
        return _decode(value)
    except msgspec.DecodeError:
        return None


def shares(trace: Trace) -> bool:
    """Whether the call may be given what was made for another one: its feature keeps answers, and it is a user's."""
    return trace.ready.keeps > 0 and trace.call.origin == "user" and not trace.off


def key_of(trace: Trace) -> bytes | None:
    """The call's cache key; None where its feature keeps nothing or is off, the call is not a user's, or its input is no JSON."""
    call, ready = trace.call, trace.ready
    if not shares(trace) or any(slot.stale for slot in trace.slots):
        return None
    parts = (
        ready.digest,
        call.tenant,
        call.roles,
        call.locale,
        call.input,
        call.history,
        call.request,
        call.cohort,
        [source.version for source in ready.sources.values()],
        [(slot.name, slot.value, slot.unit) for slot in trace.slots],
        call.user if ready.slots is not None and ready.slots.private else None,
    )
    try:
        return hashlib.blake2b(_encode(parts), digest_size=20).digest()
    except (TypeError, ValueError, RecursionError):
        return None


def find(key: bytes, ready: Ready, parts: Parts) -> Found | None:
    """What is stored under the key, whatever its age."""
    try:
        stored = _cache(ready, parts).get(key)
        if stored is None:
            return None
        kept = _decode(stored[1])
        return Found(kept.answer, max(0.0, time.time() - stored[0]), kept.passages)
    except (StoreError, msgspec.DecodeError) as error:
        log.error("answered without the cache: %s", error)
        return None


async def recall(key: bytes, trace: Trace, parts: Parts) -> Answer | None:
    """A stored answer that is fresh and still passes the guards, under this call's id."""
    keep = trace.ready.feature.cache.keep
    found = find(key, trace.ready, parts) if keep else None
    if found is None or found.age > (keep or 0):
        return None
    old = found.answer
    draft = Draft(
        call=trace.call,
        text=old.text,
        author=next((rung.spec.author for rung in trace.ready.rungs if rung.name == old.rung), "model"),
        data=old.data,
        tool_calls=old.tool_calls,
        evidence=evidence_of(found, trace),
        ask=trace.ask,
    )
    checked = await check(draft, trace.ready.output_guards, trace, old.rung)
    if checked.stop is not None:
        return None
    trace.found(evidence_of(found, trace))
    return msgspec.structs.replace(old, id=trace.call.id, status=Status.CACHED, text=checked.text, data=checked.data, usage=None)


def evidence_of(found: Found, trace: Trace) -> Evidence:
    """What a stored answer rests on: the passages that it was given, and the facts as they are now, which the key says are the
    same.
    """
    return Evidence(passages=found.passages, slots=trace.slots, searched=bool(trace.ready.sources))


def store(key: bytes | None, answer: Answer, evidence: Evidence, ready: Ready, parts: Parts) -> None:
    """Keep an answer for those who ask the same."""
    if key is None or answer.status is not Status.ANSWERED:
        return
    try:
        _cache(ready, parts).put(key, _encode(Stored(answer, evidence.passages)), keep=ready.keeps)
    except (StoreError, TypeError, ValueError, RecursionError) as error:
        log.error("an answer was not cached: %s", error)


def _cache(ready: Ready, parts: Parts) -> Cache:
    return parts.cache if ready.feature.log == "full" else parts.unwritten
