"""Does the scorer `citations` tell supported sentences from others, by words alone and with the trained classifier?

The claims of WiCE, each cited to the evidence that people chose for it (any of their choices may support it); the responses of
dialogue systems in Q2, cited to the knowledge that they were given; and sentences of the pages that WiCE's claims cite, as they
stand and changed (`bench/quality/alignment.py`). All rows are English. Words alone were fitted to nothing; the classifier judges
no claim whose page it was fitted on. Nobody has published figures for this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.quality.alignment import FULL, ORACLE, Q2, Claim, fit, groups, load
from bench.quality.table import Row, learned, share
from mainstay.core.answer import Answer, Citation
from mainstay.core.call import Call
from mainstay.core.case import Case
from mainstay.core.evidence import Evidence, Passage, Support
from mainstay.core.reasons import Status
from mainstay.core.record import Begun, Outcome, Record
from mainstay.core.seams import Aligner, Subject
from mainstay.parts.alignment import Alignment
from mainstay.parts.scorers.citations import Citations


class Credulous:
    """Words alone: an aligner to which everything is borne."""

    def support(self, sentences: Sequence[str], evidence: Evidence) -> list[Support]:
        return [Support(score=1.0)] * len(sentences)


class Judged(NamedTuple):
    """A claim, and whether it passes by words alone and with the classifier."""

    claim: Claim
    by_words: bool
    with_classifier: bool


async def nobody(feature: str, input: Mapping[str, Any]) -> Answer:
    raise AssertionError("nobody has to be asked")


async def nothing(citation: Citation) -> None:
    return None


async def passes(claim: Claim, aligner: Aligner) -> bool:
    """Whether the scorer accepts the claim as an answer that cites any of its pieces of evidence."""
    scorer = Citations()
    scorer.aligner = aligner
    return any([await _passes(claim.text, document, text, scorer) for document, text in claim.passages])


async def _passes(sentence: str, document: str, evidence: str, scorer: Citations) -> bool:
    passage = Passage(id="p", source="s", document=document, text=evidence)
    cited = (Citation.of(passage, start=0, end=len(sentence)),)
    answer = Answer(id="r", feature="f", release="d", status=Status.ANSWERED, text=sentence, citations=cited)
    record = Record(
        begun=Begun(id="r", at=0.0, release="d", call=Call(id="r", feature="f")),
        outcome=Outcome(id="r", answer=answer, took_us=0),
    )
    case = Case(input={}, passages=(passage,), language="en")
    opinion = await scorer.score(Subject(record=record, case=case, expected=True, look_up=nothing, ask=nobody))
    return opinion is not None and bool(opinion.passed)


async def _judged(claims: Sequence[Claim], aligner: Aligner) -> list[Judged]:
    return [Judged(c, await passes(c, Credulous()), await passes(c, aligner)) for c in claims]


def rows(fit_on: Path, data: Path) -> Iterator[Row]:
    """Balanced accuracy, and the shares of both labels that are judged rightly, before and after."""
    mine = load(fit_on)
    same = fit_on.resolve() == data.resolve()
    theirs = mine if same else load(data)
    known = sorted({*groups(mine), *groups(theirs)})
    judged: list[Judged] = []
    for training, test in learned(known, known, same=same, group=str):
        aligner = Alignment(fit(mine.only(set(training).__contains__)))
        judged += asyncio.run(_judged(theirs.only(set(test).__contains__).claims, aligner))
    for file, of in ((ORACLE, "wice"), (Q2, "q2"), (FULL, "made")):
        own = [j for j in judged if j.claim.of == of]
        yield from _rows(file, "words alone", [(j.by_words, j.claim.borne) for j in own])
        yield from _rows(file, "with the classifier", [(j.with_classifier, j.claim.borne) for j in own])


def _rows(file: str, how: str, told: Sequence[tuple[bool, bool]]) -> Iterator[Row]:
    borne = [passed for passed, label in told if label]
    others = [not passed for passed, label in told if not label]
    kept, caught = share(borne), share(others)
    for metric, ours in (("balanced accuracy", (kept + caught) / 2), ("supported that pass", kept), ("others that fail", caught)):
        yield Row(set=file, metric=f"scorer citations, {how}: {metric}", published=None, ours=ours, n=len(told))
