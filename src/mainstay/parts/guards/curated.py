"""`curated`: where the stakes are high, only what matches curated content passes.

No feature file names it: it is in force for every feature with `stakes = "high"`, and for every call whose stakes another guard
has raised. `at_least` is how far curated content has to bear every sentence, as the `aligner` sees it; the reason is
`high_risk_unvalidated`.

A passage counts where somebody approved it and the review is not overdue (UTC): content that nobody has looked at in time is no
better than content that nobody approved. Slots count too, because they come from a system of record. Passages that do not count
are named in the record. The ladder's own message passes: it states nothing of the matter. It holds everything: nothing is shown
before the whole matches.

Limits: it is as good as the comparison of sentences with passages (docs/cards/alignment.md), and knows of an approval only what
the source says. In data every text is a sentence; numbers alone are not compared.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

import msgspec

from mainstay.core.draft import ALLOW, Draft, Verdict, note, refuse
from mainstay.core.evidence import Passage
from mainstay.core.reasons import Reason
from mainstay.core.seams import Aligner, Hold
from mainstay.core.sentences import sentences
from mainstay.core.texts import texts_in
from mainstay.parts.statements import MARK, states

NAMED = 3  # passages that a detail names
_FROM = "— "  # before the place of a quotation


class Curated:
    """The guard; made where a feature is made ready."""

    hold = Hold.WHOLE

    def __init__(self, *, aligner: Aligner | None = None, at_least: float = 0.6) -> None:
        if aligner is None:
            raise ValueError(
                'it is in force by itself where the stakes are high; write stakes = "high" and take it out of [guards]'
            )
        self._at_least, self._aligner = at_least, aligner

    async def check(self, draft: Draft) -> Verdict:
        """Let a draft pass whose every sentence matches content that counts."""
        if draft.stage == "input" or draft.author == "message":
            return ALLOW
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        counting = tuple([p for p in draft.evidence.passages if _counts(p, today)])
        left_out = _left_out([p for p in draft.evidence.passages if p not in counting], today)
        if not counting and not draft.evidence.slots:
            return refuse(Reason.HIGH_RISK_UNVALIDATED, left_out or "nothing was found that is curated")
        said = list(_claims(draft))
        evidence = msgspec.structs.replace(draft.evidence, passages=counting)
        bearing = self._aligner.support(said, evidence) if said else []
        least = min(bearing, key=lambda support: support.score, default=None)
        if least is not None and least.score < self._at_least:
            place = bearing.index(least) + 1
            what = f"curated content bears sentence {place} of {len(said)} by {least.score:.2f}; at least {self._at_least:g}"
            return msgspec.structs.replace(
                refuse(Reason.HIGH_RISK_UNVALIDATED, "; ".join(filter(None, [what, left_out]))), support=least.score
            )
        return note(left_out) if left_out else ALLOW


def _counts(passage: Passage, today: str) -> bool:
    curated = passage.curated
    return curated is not None and bool(curated.approver.strip()) and not curated.overdue(today)


def _left_out(passages: Iterable[Passage], today: str) -> str:
    """Why these do not count, in a few words; empty where there are none."""
    overdue, nobody = [], []
    for passage in passages:
        if passage.curated is not None and passage.curated.approver.strip():
            overdue.append(f"{passage.id} (review was due {passage.curated.review})")
        else:
            nobody.append(passage.id)
    told = []
    if overdue:
        told.append(f"overdue: {_named(overdue)}")
    if nobody:
        told.append(f"approved by nobody: {_named(nobody)}")
    return "passages that do not count, " + "; ".join(told) if told else ""


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more


def _claims(draft: Draft) -> Iterator[str]:
    """The sentences of a text that state something, or the texts of data; of a quotation not the line with its place."""
    if draft.data is None:
        stated = (MARK.sub("", sentence.text).strip() for sentence in sentences(draft.text) if states(sentence))
        yield from (text for text in stated if draft.author != "source" or not text.startswith(_FROM))
    else:
        yield from filter(str.strip, texts_in(draft.data))
