"""The log policy of a feature: what of its texts may stand in a record, be shown to observers, or lie on a disk.

`full` keeps everything. `redacted` masks personal data wherever a caller, a model, a guard or a provider's error message may
have put it, names of fields included; images are left out. `none` keeps no text at all: ids, numbers, times, and the names
that the project itself gave. `tenant` always stays as it is, because records are found by it: it is no place for a person's
name. Answers of a feature that is not `full` are cached in memory only (`caching.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.evidence import Slot
from mainstay.core.model import ModelRequest
from mainstay.core.personal_data import mask
from mainstay.core.record import LogPolicy, Score

log = logging.getLogger("mainstay.records")
_replace = msgspec.structs.replace
Change = Callable[[str], str]


def call_for_log(call: Call, policy: LogPolicy) -> Call:
    """The call as a record may hold it."""
    if policy == "full":
        return call
    people = {name: None if value is None else mask(value) for name, value in _people(call).items()}
    if policy == "redacted":
        masked = _redacted(call, "input", "history", "request")
        if masked is not None:
            return _replace(call, **masked, **people)
    request = None if call.request is None else _without_texts(call.request)
    return _replace(call, input={}, history=(), request=request, **people)


def answer_for_log(answer: Answer, policy: LogPolicy) -> Answer:
    """The answer as a record may hold it."""
    if policy == "full":
        return answer
    if policy == "redacted":
        masked = _redacted(answer, "text", "data", "citations", "detail", "tool_calls")
        if masked is not None:
            return _replace(answer, **masked)
    citations = tuple([_replace(c, quote="", heading=(), link=None) for c in answer.citations])
    return _replace(answer, text="", data=None, citations=citations, detail=None, tool_calls=())


def slots_for_log(slots: tuple[Slot, ...], policy: LogPolicy) -> tuple[Slot, ...]:
    """The facts as a record may hold them."""
    return tuple(
        [
            _replace(
                slot,
                value=None if slot.value is None else text_for_log(slot.value, policy),
                asked={name: text_for_log(value, policy) for name, value in slot.asked.items()},
                missing=text_for_log(slot.missing, policy),
            )
            for slot in slots
        ]
    )


def _redacted(value: Call | Answer, *names: str) -> dict[str, Any] | None:
    """These fields, masked; None where something in them cannot be read, because then nothing of it may be kept."""
    try:
        return {name: through(getattr(value, name), _masked) for name in names}
    except Exception as error:  # nested too deep, no JSON, or an object that cannot say what it is
        log.error("the texts of %s cannot be masked, so none is kept: %s", value.id, type(error).__name__)
        return None


def score_for_log(score: Score, policy: LogPolicy) -> Score:
    """The score as the ledger may hold it."""
    value = score.value if isinstance(score.value, float | int) else text_for_log(score.value, policy)
    reason = text_for_log(score.reason, policy)
    return score if policy == "full" else _replace(score, value=value, reason=reason, who=mask(score.who))


def text_for_log(text: str, policy: LogPolicy) -> str:
    """A sentence that may quote what somebody wrote: an error's, a guard's, a score's."""
    if policy == "full":
        return text
    return _masked(text) if policy == "redacted" else ""


def _people(call: Call) -> dict[str, str | None]:
    return {"user": call.user, "session": call.session, "locale": call.locale}


def _without_texts(request: ModelRequest) -> ModelRequest:
    return _replace(request, messages=(), tools=(), tool_choice=None, output=None, stop=(), extra={})


def _masked(text: str) -> str:
    return "[data]" if text.startswith("data:") else mask(text)


def through(value: Any, change: Change) -> Any:
    """The same value with every text in it changed. A number that reads like what is changed becomes its text."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        changed = change(str(value))
        return value if changed == str(value) else changed
    if isinstance(value, dict):
        return {through(key, change): through(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        inner = [through(item, change) for item in value]
        return tuple(inner) if isinstance(value, tuple) else inner
    if isinstance(value, msgspec.Raw):
        return msgspec.Raw(msgspec.json.encode(through(msgspec.json.decode(value), change)))
    if isinstance(value, msgspec.Struct):
        fields = [name for name in value.__struct_fields__ if not isinstance(getattr(value, name), int)]
        return _replace(value, **{name: through(getattr(value, name), change) for name in fields})
    return change(str(value))
