"""The exact cache: the same call to the same release, answered again from what passed the guards before.

The key holds everything that the answer may depend on: release, tenant, roles, locale, input, history, the version of every
source, and the trial that the call takes part in. Only plain `answered` answers are kept: never a refusal, an error, or an answer
from a rung further down, which would outlive the trouble that caused it. What is found goes through the guards again before it is
shown. What a feature does not want in its records in full lies in memory only, and is gone with the process.
"""

from __future__ import annotations

import hashlib
import logging
import time

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.draft import Draft
from mainstay.core.errors import StoreError
from mainstay.core.reasons import Status
from mainstay.core.seams import Cache
from mainstay.serve.guarding import check
from mainstay.serve.ready import Found, Parts, Ready
from mainstay.serve.tracing import Trace

log = logging.getLogger("mainstay.cache")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Answer).decode


def key_of(trace: Trace) -> bytes | None:
    """The call's cache key; None where its feature keeps nothing or is off, the call is not a user's, or its input is no JSON."""
    call, ready = trace.call, trace.ready
    if ready.keeps == 0 or call.origin != "user" or trace.off:
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
        return Found(_decode(stored[1]), max(0.0, time.time() - stored[0]))
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
        data=old.data,
        tool_calls=old.tool_calls,
        by_model=old.model is not None,
        ask=trace.ask,
    )
    checked = await check(draft, trace.ready.output_guards, trace, old.rung)
    if checked.stop is not None:
        return None
    return msgspec.structs.replace(old, id=trace.call.id, status=Status.CACHED, text=checked.text, data=checked.data, usage=None)


def store(key: bytes | None, answer: Answer, ready: Ready, parts: Parts) -> None:
    """Keep an answer for those who ask the same."""
    if key is None or answer.status is not Status.ANSWERED:
        return
    try:
        _cache(ready, parts).put(key, _encode(answer), keep=ready.keeps)
    except (StoreError, TypeError, ValueError, RecursionError) as error:
        log.error("an answer was not cached: %s", error)


def _cache(ready: Ready, parts: Parts) -> Cache:
    return parts.cache if ready.feature.log == "full" else parts.unwritten
