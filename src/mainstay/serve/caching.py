"""The exact cache: the same call to the same release, answered again from what passed the guards before.

The key holds everything that the answer may depend on: release, tenant, roles, locale, input, history, the version of every
source, the facts that were fetched for it (and its user, where they are asked with that), and the trial that the call takes part
in. Where a fact could not be had as fresh as it should be, there is no key: nothing is kept, and nothing that was kept is shown.
Only plain `answered` answers are kept: never a refusal, an error, or an answer from a rung further down, which would outlive the
trouble that caused it. Texts are the same that differ in how their characters are composed or in white space that says nothing;
whatever else differs is another call (`nearing.py` is for those). What is found goes through the guards again before it is shown.
What a feature does not want in its records in full lies in memory only, and is gone with the process.
"""

from __future__ import annotations

import hashlib
import logging
import time
import unicodedata
from typing import Any

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.draft import Draft
from mainstay.core.errors import StoreError
from mainstay.core.evidence import Evidence, Passage
from mainstay.core.near import Question
from mainstay.core.reasons import Status
from mainstay.core.record import Recalled
from mainstay.core.seams import Cache
from mainstay.core.texts import texts_in
from mainstay.serve.guarding import check
from mainstay.serve.ready import Found, Parts, Ready
from mainstay.serve.tracing import Trace

log = logging.getLogger("mainstay.cache")
LONGEST = 600  # characters of a question that near ones are looked for
_encode = msgspec.json.Encoder().encode


class Stored(msgspec.Struct, frozen=True):
    """What is kept of an answer: with the passages that it was given, because guards are shown what it rests on.

    `cost` is what it had cost, in nano-dollars.
    """

    answer: Answer
    passages: tuple[Passage, ...]
    cost: int | None = None


_decode = msgspec.json.Decoder(Stored).decode


def stored_in(value: bytes) -> Stored | None:
    """What a value of the cache holds; None for one that an older version wrote."""
    try:
        return _decode(value)
    except msgspec.DecodeError:
        return None


def shares(trace: Trace) -> bool:
    """Whether the call may be given what was made for another one: its feature keeps answers, and it is a user's, or ahead of
    one.
    """
    return trace.ready.keeps > 0 and trace.call.origin in ("user", "ahead") and not trace.off


def key_of(trace: Trace) -> bytes | None:
    """The call's cache key; None where its feature keeps nothing or is off, the call is not a user's, or its input is no JSON."""
    return _key(trace, {name: _plain(value) for name, value in trace.call.input.items()})


def partition_of(trace: Trace, question: str) -> bytes | None:
    """As `key_of`, whatever text stands in the field `question`: calls of one partition may be given each other's answers."""
    return _key(trace, {name: None if name == question else _plain(value) for name, value in trace.call.input.items()})


def _key(trace: Trace, input: dict[str, Any]) -> bytes | None:
    call, ready = trace.call, trace.ready
    if not shares(trace) or any(slot.stale for slot in trace.slots):
        return None
    parts = (
        ready.digest,
        call.tenant,
        call.roles,
        call.locale,
        input,
        [(turn.role, _plain(turn.text)) for turn in call.history],
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


def _plain(value: Any) -> Any:
    """A text as the key knows it: characters composed, blanks at its ends gone, and in a text of one line those that follow each
    other one. Case, punctuation, digits and the white space of longer texts say something.
    """
    if not isinstance(value, str) or value.startswith("data:"):
        return value
    text = value if value.isascii() else unicodedata.normalize("NFC", value)
    lines = text.strip().splitlines()
    return " ".join(lines[0].split()) if len(lines) == 1 else "\n".join([line.rstrip() for line in lines])


def find(key: bytes, ready: Ready, parts: Parts) -> Found | None:
    """What is stored under the key, whatever its age."""
    try:
        stored = _cache(ready, parts).get(key)
        if stored is None:
            return None
        kept = _decode(stored[1])
        return Found(kept.answer, max(0.0, time.time() - stored[0]), kept.passages, kept.cost)
    except (StoreError, msgspec.DecodeError) as error:
        log.error("answered without the cache: %s", error)
        return None


async def recall(key: bytes, trace: Trace, parts: Parts, *, near: float | None = None) -> Answer | None:
    """A stored answer that is fresh and still passes the guards, under this call's id. `near` is the probability that it answers
    this call, where it was given to another question.
    """
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
    trace.recalled = Recalled(of=old.id, near=near, cost_nano_usd=found.cost)
    return msgspec.structs.replace(old, id=trace.call.id, status=Status.CACHED, text=checked.text, data=checked.data, usage=None)


def evidence_of(found: Found, trace: Trace) -> Evidence:
    """What a stored answer rests on: the passages that it was given, and the facts as they are now, which the key says are the
    same.
    """
    return Evidence(passages=found.passages, slots=trace.slots, searched=bool(trace.ready.sources))


def store(key: bytes | None, answer: Answer, evidence: Evidence, trace: Trace, parts: Parts) -> None:
    """Keep an answer for those who ask the same."""
    if key is None or answer.status is not Status.ANSWERED:
        return
    ready, asked = trace.ready, _asked(trace)
    try:
        kept = Stored(answer, evidence.passages, trace.cost())
        shown = None if ready.hides else asked  # what is hidden stands on no disk
        _cache(ready, parts).put(key, _encode(kept), keep=ready.keeps, asked=shown)
    except (StoreError, TypeError, ValueError, RecursionError) as error:
        log.error("an answer was not cached: %s", error)
        return
    if asked is not None:
        parts.nearby.put(key, asked)


def _asked(trace: Trace) -> Question | None:
    """The question of a call, where others may be given its answer who ask nearly the same."""
    found = question_of(trace) if trace.ready.near is not None else None
    partition = None if found is None else partition_of(trace, found[0])
    return None if found is None or partition is None else Question(partition=partition, text=found[1], vector=trace.vector)


def question_of(trace: Trace) -> tuple[str, str] | None:
    """The one text that a call asks, with its field; None for a call that has several, or images, or an earlier turn."""
    call, images = trace.call, trace.ready.feature.images
    if call.history or call.request is not None or any(call.input.get(name) for name in images):
        return None
    texts = [text for text in texts_in(call.input) if text]
    fields = [name for name, value in call.input.items() if isinstance(value, str) and value]
    if len(texts) != 1 or len(fields) != 1 or len(texts[0]) > LONGEST or texts[0].startswith(("data:", "https://", "http://")):
        return None
    return fields[0], texts[0]


def _cache(ready: Ready, parts: Parts) -> Cache:
    return parts.cache if ready.feature.log == "full" else parts.unwritten
