"""`grounded`: every sentence that states something is borne by the evidence: by the passages it cites, or by all that were found.

A small classifier says how probably that is so (docs/cards/alignment.md), without asking a model. A sentence below `at_least`
has the model asked again, with a remark that names it, before the first word is shown; later the draft is refused. The reason is
`ungrounded`. Questions, greetings, headings, code, and what the answer says of the evidence itself state nothing; what a team
wrote (rules, functions, the fixed message) and what is quoted is not looked at, and where nothing was found there is nothing
to hold an answer to. In structured data every text is looked at. Facts fetched for the call (slots) bear
sentences in the sentences' own words (`parts/stated.py`).

With `judge`, another feature is asked of the sentences that the classifier is unsure of: their probability lies in `unsure`.
It is given `sentence` and `evidence`, texts, and answers with the data `{"supported": true}`. If it cannot answer `within`
that time, what the classifier says stands, and the record says so.

Limits: the classifier compares spellings. A free paraphrase may fail it, and it does not see who did what to whom.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from mainstay.core.draft import ALLOW, Draft, Verdict
from mainstay.core.errors import MainstayError
from mainstay.core.evidence import Evidence
from mainstay.core.reasons import Reason, Status
from mainstay.core.seams import Aligner, Hold
from mainstay.core.sentences import Sentence, may_end, sentences, settled
from mainstay.core.texts import texts_in
from mainstay.core.units import Seconds
from mainstay.parts.alignment import shared
from mainstay.parts.known import Known
from mainstay.parts.stated import claims
from mainstay.parts.statements import MARK, states

AT_LEAST = 0.45
TOLD, LONGEST = 3, 160  # sentences that a remark names, and the characters of one
JUDGED = 1_000  # verdicts of a judge that are remembered
Probability = Annotated[float, Meta(ge=0, le=1)]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    at_least: Annotated[
        Probability, Meta(description="The least probability, for each sentence, that the evidence bears it.")
    ] = AT_LEAST
    judge: Annotated[str, Meta(description="A feature that is asked of the sentences that the classifier is unsure of.")] = ""
    unsure: Annotated[tuple[Probability, Probability], Meta(description="Between which probabilities the judge is asked.")] = (
        0.15,
        0.65,
    )
    within: Annotated[Seconds, Meta(description="The most time that the judge has for a sentence.")] = Seconds(2.0)


class Ruling(Struct, frozen=True):
    """What a judge has to answer with."""

    supported: bool


class _Borne(NamedTuple):
    """A sentence, how far the evidence bears it, and what there is to say of how that is known."""

    text: str
    score: float
    note: str = ""


class Grounded:
    """The guard. It keeps nothing of a call but what a judge said of a sentence beside its evidence."""

    options = Options
    hold = Hold.SENTENCE

    def __init__(
        self,
        *,
        at_least: float = AT_LEAST,
        judge: str = "",
        unsure: tuple[float, float] = (0.2, 0.7),
        within: float = 2.0,
        aligner: Aligner | None = None,
    ) -> None:
        if unsure[0] > unsure[1]:
            raise ValueError(f"`unsure` goes from the lower to the higher probability, not from {unsure[0]:g} to {unsure[1]:g}")
        self._at_least, self._judge, self._unsure, self._within = at_least, judge, unsure, within
        self._aligner = aligner or shared()
        self._rulings: dict[tuple[str, str], bool] = {}

    async def check(self, draft: Draft) -> Verdict:
        """Hold the sentences that are whole, and were not shown yet, to the evidence."""
        evidence = draft.evidence
        if draft.stage == "input" or draft.author != "model" or not (evidence.passages or evidence.slots):
            return ALLOW
        if draft.data is not None:
            found = [sentence for text in texts_in(draft.data) for sentence in sentences(text)]
        else:
            found = _whole(draft)
        found = [sentence for sentence in found if states(sentence)]
        if not found:
            return ALLOW
        borne = await self._borne(found, draft)
        least = min(one.score for one in borne)
        faults = [one.text for one in borne if one.score < self._at_least]
        notes = "; ".join(dict.fromkeys([one.note for one in borne if one.note]))
        if not faults:
            return Verdict(action="allow", support=least, detail=notes)
        remark = _remark(faults)
        if draft.shown:
            return Verdict(action="refuse", reason=Reason.UNGROUNDED, detail=_joined(remark, notes), support=least)
        return Verdict(action="retry", reason=Reason.UNGROUNDED, remark=remark, detail=_joined(remark, notes), support=least)

    async def _borne(self, found: Iterable[Sentence], draft: Draft) -> list[_Borne]:
        borne = []
        known = Known(draft.call, draft.evidence) if any(slot.value for slot in draft.evidence.slots) else None
        for sentence in found:
            text = MARK.sub("", sentence.text).strip()
            evidence = _cited(sentence.text, draft.evidence)
            said = [(text, evidence)] if known is None else claims(text, evidence, known)
            one = _Borne(text, min(self._aligner.support([claim], bearing)[0].score for claim, bearing in said))
            if self._judge and draft.ask is not None and self._unsure[0] <= one.score < self._unsure[1]:
                one = await self._asked(one, evidence, draft)
            borne.append(one)
        return borne

    async def _asked(self, one: _Borne, evidence: Evidence, draft: Draft) -> _Borne:
        """What the judge says of a sentence; what the classifier says, where it cannot."""
        assert draft.ask is not None  # noqa: S101
        shown = _shown(evidence)
        ruling = self._rulings.get((one.text, shown))
        if ruling is None:
            try:
                async with asyncio.timeout(self._within):
                    answer = await draft.ask(self._judge, {"sentence": one.text, "evidence": shown})
                if answer.status not in (Status.ANSWERED, Status.CACHED):
                    return one._replace(note=f"the judge {self._judge} could not say: it was {answer.status}")
                ruling = msgspec.convert(answer.data, Ruling).supported
            except (MainstayError, msgspec.ValidationError, TimeoutError) as error:
                said = str(error) or f"it took longer than {self._within:g} s"
                return one._replace(note=f"the judge {self._judge} could not say: {said}")
            if len(self._rulings) >= JUDGED:
                self._rulings.clear()
            self._rulings[one.text, shown] = ruling
        return one._replace(score=max(one.score, self._at_least) if ruling else min(one.score, self._at_least / 2))


def _whole(draft: Draft) -> list[Sentence]:
    """The sentences that are whole; of a growing text those that were not shown yet.

    Whatever more is coming, they stay what they are. Where nothing behind what was shown can end a sentence, none is looked for.
    """
    text = draft.text
    if draft.complete:
        return sentences(text)
    if not may_end(text, draft.shown):
        return []
    start = _paragraph(text, draft.shown)
    end = settled(text, start)
    return [sentence for sentence in sentences(text, start) if draft.shown < sentence.end <= end]


def _paragraph(text: str, shown: int) -> int:
    """The last empty line before what was not shown, where a sentence ended for certain."""
    at = text.rfind("\n\n", 0, shown) + 1
    inside = text.count("```", 0, at) % 2 or text.count("~~~", 0, at) % 2
    return 0 if inside else at


def _cited(sentence: str, evidence: Evidence) -> Evidence:
    """The passages that a sentence cites, with all slots; everything, where it cites none that is there."""
    numbers = {int(mark) for mark in MARK.findall(sentence)}
    passages = tuple([passage for number, passage in enumerate(evidence.passages, 1) if number in numbers])
    return msgspec.structs.replace(evidence, passages=passages) if passages else evidence


def _shown(evidence: Evidence) -> str:
    """The evidence as a judge reads it."""
    slots = [f"{slot.name}: {slot.value} {slot.unit}".strip() for slot in evidence.slots if slot.value]
    return "\n\n".join([*(passage.text for passage in evidence.passages), *slots])


def _remark(faults: list[str]) -> str:
    named = [
        json.dumps(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…", ensure_ascii=False) for text in faults[:TOLD]
    ]
    more = f" and {len(faults) - TOLD} more" if len(faults) > TOLD else ""
    what = "This is" if len(faults) == 1 else "These are"
    return f"{what} not supported by the passages: {', '.join(named)}{more}. Say only what they say, or leave it out."


def _joined(remark: str, notes: str) -> str:
    return f"{remark} ({notes})" if notes else remark
