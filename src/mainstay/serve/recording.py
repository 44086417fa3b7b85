"""Records: `begun` is on disk before money is spent, `sealed` before the answer is complete at the reader.

Both halves are appended to a local spool; what happens to them afterwards is the spool's affair. The feature's log policy is
applied here, before anything is written: `full`, `redacted` (personal data masked) or `none` (no texts at all).
"""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.errors import StoreError
from mainstay.core.personal_data import mask
from mainstay.core.record import Begun, LogPolicy, Outcome, Record
from mainstay.serve.ready import Parts
from mainstay.serve.tracing import Trace

log = logging.getLogger("mainstay.records")
_encode = msgspec.json.Encoder(enc_hook=str).encode
_replace = msgspec.structs.replace


def _line(value: Begun | Outcome) -> bytes:
    """The half of a record as its line. A lone surrogate, which UTF-8 cannot hold, is kept as `?`."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_storable(msgspec.to_builtins(value, enc_hook=str)))


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(inner) for key, inner in value.items()}
    return [_storable(inner) for inner in value] if isinstance(value, list | tuple) else value


def begin(trace: Trace, parts: Parts) -> None:
    """Write that the call has begun. If that cannot be written, `trace.on_disk` stays false and no model may be asked."""
    try:
        parts.spool.append(_line(_begun(trace)))
        trace.on_disk = True
    except StoreError as error:
        log.error("call %s goes on without models: %s", trace.call.id, error)


def seal(answer: Answer, trace: Trace, parts: Parts, *, shared_with: str | None = None) -> Answer:
    """Write how the call ended, tell the observers, and give the answer back."""
    trace.step("seal")
    now = time.monotonic()
    policy = trace.ready.feature.log
    outcome = Outcome(
        id=answer.id,
        answer=answer if policy == "full" else _without_texts(answer, policy),
        took_us=trace.since_start(now),
        provider_us=int(trace.provider_s * 1e6),
        first_word_us=None if trace.first_word is None else trace.since_start(trace.first_word),
        attempts=tuple(trace.attempts),
        guards=tuple(trace.guards) if policy == "full" else tuple([_replace(g, detail="") for g in trace.guards]),
        steps=trace.steps,
        cost_nano_usd=trace.cost(),
        shared_with=shared_with,
    )
    begun = _begun(trace)
    lines = [_line(outcome)] if trace.on_disk else [_line(begun), _line(outcome)]
    try:
        parts.spool.append(*lines)
    except StoreError as error:
        log.error("record %s stays in memory until it can be written: %s", answer.id, error)
        parts.spool.owe(*lines)
    _tell(Record(begun=begun, outcome=outcome), parts)
    return answer


def _begun(trace: Trace) -> Begun:
    call = trace.call
    policy = trace.ready.feature.log
    return Begun(
        id=call.id, at=trace.at, release=trace.ready.digest, call=call if policy == "full" else _without_texts(call, policy)
    )


def _without_texts(value: Any, policy: LogPolicy) -> Any:
    """The same call or answer, with its texts masked or gone."""
    hide = mask if policy == "redacted" else _gone
    if isinstance(value, Call):
        return _replace(
            value,
            input=_through(value.input, hide),
            history=tuple([_replace(t, text=hide(t.text)) for t in value.history]),
            request=None if value.request is None else _replace(value.request, messages=(), tools=(), output=None, extra={}),
        )
    citations = tuple([_replace(c, quote=hide(c.quote)) for c in value.citations])
    return _replace(
        value, text=hide(value.text), data=_through(value.data, hide), citations=citations, detail=None, tool_calls=()
    )


def _gone(text: str) -> str:
    return ""


def _through(value: Any, hide: Any) -> Any:
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {key: _through(inner, hide) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_through(inner, hide) for inner in value]
    return value


def _tell(record: Record, parts: Parts) -> None:
    for observer in parts.observers:
        try:
            observer.observe(record)
        except Exception:
            log.exception("the observer %s failed on record %s", type(observer).__name__, record.id)
