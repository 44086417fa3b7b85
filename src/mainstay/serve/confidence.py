"""How sure an answer is: measured from what was found, what the guards made of the draft, and what it took to get it.

Signals are numbers between 0 and 1, and stand in the record; one that nobody measured is absent. A logistic makes one number of
them, with the feature's own weights once `mainstay learn confidence` has fitted them. An answer that rests on no evidence, and of
which the model said nothing, has no confidence: whether it was repaired is no measure of it. Nor have rules, functions and the
fixed message; a classifier knows its own.

What it does not know: whether the answer is right. It knows what right answers of this feature usually look like.
"""

from __future__ import annotations

import re

from mainstay.core import learned
from mainstay.core.confidence import FORMAT, USUAL, Calibration
from mainstay.core.draft import Verdict, refuse
from mainstay.core.errors import ConfigError
from mainstay.core.evidence import Evidence
from mainstay.core.feature import ModelRung, Rung, SearchRung, StepsRung
from mainstay.core.reasons import Reason
from mainstay.core.record import GuardNote
from mainstay.serve.asking import Ask
from mainstay.serve.grounding import query_of
from mainstay.serve.guarding import Screening
from mainstay.serve.inputs import spoken
from mainstay.serve.quoting import quote

QUOTED = 3  # passages that the answer is compared with
THIRD = 1 / 3
GUARD = "confidence"  # what the record calls the floor
_LETTERS = re.compile(r"\w+")


def read(data: bytes, *, where: str, next: str) -> Calibration:
    """A calibration's file, checked. Raises `ConfigError`; `next` is what to type then."""
    found = learned.read(data, Calibration, what="a calibration", format=FORMAT, where=where, next=next)
    unknown = sorted(set(found.weights) - set(USUAL))
    if unknown:
        raise ConfigError(f"a calibration with an unknown signal, {unknown[0]}", where=where, next=next)
    return found


def weigh(rung: Rung, name: str, screening: Screening, ask: Ask) -> Verdict | None:
    """Measure a draft that passed its guards; the verdict that stops it where it is below the feature's floor."""
    trace, feature = ask.trace, ask.trace.ready.feature
    measured = ask.evidence.searched or screening.support is not None or ask.sure is not None
    if measured and ask.confidence is None and isinstance(rung, ModelRung | StepsRung | SearchRung):
        signals = _signals(rung, name, screening, ask)
        trace.signals = {signal: round(value, 4) for signal, value in signals.items()}
        ask.confidence = trace.ready.calibration.confidence(trace.signals)
    if ask.confidence is None or ask.confidence >= feature.confidence.floor:
        return None
    low = refuse(Reason.LOW_CONFIDENCE, f"{ask.confidence:.2f} is below the floor of {feature.confidence.floor:g}")
    trace.guard(GUARD, "output", low, name)
    return low


def _signals(rung: Rung, name: str, screening: Screening, ask: Ask) -> dict[str, float]:
    """What is known of this draft."""
    found = _retrieval(ask.evidence, ask.trace.ready.feature.grounding.passages)
    if screening.support is not None:
        found["support"] = screening.support
    if ask.evidence.passages and not isinstance(rung, SearchRung):
        found["agreement"] = _agreement(screening.text, ask)
    if ask.sure is not None:
        found["sure"] = ask.sure
    found["repairs"] = min(1.0, THIRD * _repairs(name, ask))
    return found


def _retrieval(evidence: Evidence, wanted: int) -> dict[str, float]:
    if not evidence.searched:
        return {}
    scores = sorted((passage.score for passage in evidence.passages), reverse=True)
    first, second = [*scores, 0.0, 0.0][:2]
    return {"retrieval": first, "margin": first - second, "passages": min(1.0, len(scores) / wanted)}


def _agreement(text: str, ask: Ask) -> float:
    """How much of the draft stands in what the `search` rung would quote: runs of three letters, in any script."""
    query = query_of(spoken(ask.call, ask.trace.ready.feature))
    quoted, _ = quote(query, ask.evidence.passages[:QUOTED])
    said = _runs(text)
    return len(said & _runs(quoted)) / len(said) if said else 0.0


def _runs(text: str) -> set[str]:
    plain = " ".join(_LETTERS.findall(text.casefold()))
    return {plain[i : i + 3] for i in range(len(plain) - 2)}


def _repairs(name: str, ask: Ask) -> int:
    """Tries beyond the first one, and drafts that a guard mended."""
    trace = ask.trace
    tries = sum(attempt.rung == name and attempt.outcome != "ok" for attempt in trace.attempts)
    return tries + sum(note.rung == name and _mended(note) for note in trace.guards)


def _mended(note: GuardNote) -> bool:
    """Asked again, or made readable; a text in which something was masked is none the worse for it."""
    return note.action == "retry" or (note.guard == "schema" and bool(note.detail))
