"""What a refusal says: a sentence for its reason in the user's language, what to do instead, and what may be read meanwhile.

The sentences are in `refusals.toml`. The language is the call's locale, else the one that the input seems to be written in, else
the feature's `[refusal] language`, else English. What to do instead is the guard's word for it (a helpline, say) and the
feature's `[refusal] next`. Where evidence was found and the answer did not hold against it, the passages are cited, without a
quotation: the user can read the source, and nothing is said that was not checked.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources

import msgspec

from mainstay.core.answer import Answer, Citation
from mainstay.core.evidence import NOTHING, Evidence
from mainstay.core.feature import MessageRung
from mainstay.core.reasons import Reason, Status
from mainstay.serve import languages
from mainstay.serve.inputs import spoken
from mainstay.serve.tracing import Trace

ENGLISH, OTHERWISE = "en", "otherwise"
WITHHELD = frozenset({Reason.UNGROUNDED, Reason.SLOT_MISMATCH, Reason.HIGH_RISK_UNVALIDATED, Reason.LOW_CONFIDENCE})
"""An answer was there and is not given: no fixed message stands in for it, and what was found is cited."""


@functools.cache
def sentences() -> Mapping[str, Mapping[str, str]]:
    """All sentences, by language and reason."""
    return tomllib.loads((resources.files("mainstay.serve") / "refusals.toml").read_text(encoding="utf-8"))


def sentence(reason: Reason, language: str = ENGLISH) -> str:
    """What a refusal for this reason says in that language; in English, where it is not one that Mainstay speaks."""
    own = sentences().get(languages.base(language), sentences()[ENGLISH])
    return own.get(reason, own[OTHERWISE])


def language_of(trace: Trace) -> str:
    """The language that a refusal of this call speaks."""
    call, feature, known = trace.call, trace.ready.feature, sentences()
    if call.locale and (language := languages.base(call.locale)) in known:
        return language
    written = " ".join(text for path, text in spoken(call, feature).texts() if not path.startswith("history"))
    found = None if call.locale else languages.guessed(written)
    wanted = found or languages.base(feature.refusal.language or ENGLISH)
    return wanted if wanted in known else ENGLISH


def refusal(trace: Trace, reason: Reason, detail: str | None = None, *, evidence: Evidence = NOTHING) -> Answer:
    """The answer of a call that is not going to be answered."""
    language, own = language_of(trace), trace.ready.feature.refusal
    otherwise = languages.base(own.language or ENGLISH)
    said = [sentence(reason, language), *[chosen(step, language, otherwise) for step in (trace.next, own.next)]]
    answer = ending(trace, Status.REFUSED, reason, detail, text=_joined(said))
    return msgspec.structs.replace(answer, citations=_citable(reason, evidence))


def chosen(texts: str | Mapping[str, str], language: str, otherwise: str = ENGLISH) -> str:
    """The text in that language, else in the other one, else in English, else any; empty where there is none."""
    if isinstance(texts, str):
        return texts
    by_language = {languages.base(name): text for name, text in texts.items()}
    for name in (language, otherwise, ENGLISH):
        if by_language.get(name):
            return by_language[name]
    return next(iter(by_language.values()), "")


def _joined(said: Iterable[str]) -> str:
    """The sentences one after the other, as their script does it."""
    text = ""
    for one in filter(None, said):
        text += one if not text or text.endswith("。") else f" {one}"
    return text


def _citable(reason: Reason, evidence: Evidence) -> tuple[Citation, ...]:
    """What was found, where the user may read it: never to an input that was stopped."""
    if reason not in WITHHELD:
        return ()
    return tuple([Citation.of(passage, start=0, end=0) for passage in evidence.passages])


def ending(trace: Trace, status: Status, reason: Reason, detail: str | None = None, *, text: str | None = None) -> Answer:
    """An answer that brings nothing but its status, its reason and a sentence for the user."""
    return Answer(
        id=trace.call.id,
        feature=trace.call.feature,
        release=trace.ready.digest,
        status=status,
        reason=reason,
        detail=detail,
        text=sentence(reason, language_of(trace)) if text is None else text,
    )


def last_resort(trace: Trace, reason: Reason) -> Answer:
    """The ladder's fixed message, which needs nothing: when everything is off, or even the climb did not end as it should."""
    last = trace.ready.rungs[-1]
    if not isinstance(last.spec, MessageRung):
        return ending(trace, Status.UNAVAILABLE, reason)
    message = last.spec.message
    fixed = ending(trace, Status.DEGRADED, reason, text=message if isinstance(message, str) else "")
    return msgspec.structs.replace(fixed, rung=last.name, data=None if isinstance(message, str) else message)
