"""Are near hits right? A share of them is answered anew, when their user has the answer, and the two answers are compared.

The call is made again as a shadow, which reads no cache, and which nobody sees. What comes of the comparison is a score of the
near hit's record, `near`: 1 where both answers say the same, 0 where they do not. `of_records` makes the wrong-hit rate of these,
and the money that the cache saved. Bounded in number; where too much is under way, a hit is not checked.

Limits: answers are compared by what they cite, by their facts, and word by word; a model that says the same otherwise each time
looks as if it were wrong more often than it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from statistics import fmean

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer, Event, fold
from mainstay.core.call import Call
from mainstay.core.evidence import Evidence, Passage
from mainstay.core.languages import folded
from mainstay.core.near import JUDGED
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Record, Score
from mainstay.core.report import Opinion
from mainstay.core.seams import Aligner
from mainstay.core.sentences import sentences
from mainstay.learn.background import Background
from mainstay.learn.statistics import at_least, at_most
from mainstay.parts.facts import Fact, facts
from mainstay.serve.ready import Ready

log = logging.getLogger("mainstay.cache")
USERS = ("user", "reviewer")  # whose scores say whether it was right
AFTER = 0.5  # seconds between a near hit and its check
UNDER_WAY = 4  # checks at the same time
SAME = 0.5  # how far one answer has to bear the sentences of the other, on average
UNFOUNDED = (Reason.NO_EVIDENCE, Reason.UNGROUNDED, Reason.SLOT_MISMATCH, Reason.HIGH_RISK_UNVALIDATED)
Serve = Callable[[Call, Ready], AsyncGenerator[Event, None]]


class Doubts:
    """Answers a share of near hits anew, and compares."""

    def __init__(
        self,
        serve: Serve,
        *,
        new_id: Callable[[], str],
        aligner: Aligner,
        keep: Callable[[str, str, Opinion], Awaitable[None]],
    ) -> None:
        self._serve, self._new_id, self._aligner, self._keep = serve, new_id, aligner, keep
        self.behind = Background(UNDER_WAY, log=log, what="the check of a near hit")
        self.close = self.behind.close

    def hit(self, call: Call, ready: Ready, answer: Answer) -> None:
        """A near question's answer was given to this call. Costs microseconds where it is not checked."""
        place = int.from_bytes(hashlib.blake2b(call.id.encode(), digest_size=4).digest(), "big") / 2**32
        if ready.near is not None and place < ready.near.checked:
            self.behind.start(self._check(call, ready, answer))

    async def _check(self, call: Call, ready: Ready, answer: Answer) -> None:
        await asyncio.sleep(AFTER)
        again = msgspec.structs.replace(call, id=self._new_id(), origin="shadow", parent=call.id, stream=False, progress=False)
        async with contextlib.aclosing(self._serve(again, ready)) as events:
            anew = fold([event async for event in events])
        same, why = await asyncio.to_thread(compared, answer, anew, self._aligner)
        if same is not None:
            await self._keep(call.id, JUDGED, Opinion(value=float(same), reason=f"{why}; beside {again.id}"))


def compared(given: Answer, anew: Answer, aligner: Aligner) -> tuple[bool | None, str]:
    """Whether both answers say the same, and by what that was told; None where the second one says nothing of it."""
    if anew.status is Status.REFUSED and anew.reason in UNFOUNDED:
        return False, f"asked anew it was refused: {anew.reason.value}"
    if anew.status is not Status.ANSWERED:
        return None, f"asked anew it was {anew.status.value}"
    if given.data is not None or anew.data is not None:
        return given.data == anew.data, "data"
    if _bare(given.text) == _bare(anew.text):
        return True, "text"
    cited, cited_anew = ({citation.passage for citation in one.citations} for one in (given, anew))
    if cited and cited_anew and cited.isdisjoint(cited_anew):
        return False, "other passages are cited"
    if not _agree(facts(given.text), facts(anew.text)):
        return False, "facts differ"
    borne = max(_borne(given.text, anew.text, aligner), _borne(anew.text, given.text, aligner))
    return borne >= SAME, f"one bears the other to {borne:.2f}"


def _bare(text: str) -> str:
    return " ".join(folded(text).split())


def _agree(one: Sequence[Fact], other: Sequence[Fact]) -> bool:
    """Whether all facts of the one stand in the other."""
    return _within(one, other) or _within(other, one)


def _within(one: Sequence[Fact], other: Sequence[Fact]) -> bool:
    return all(any(not fact.keys.isdisjoint(there.keys) for there in other) for fact in one)


def _borne(text: str, evidence: str, aligner: Aligner) -> float:
    said = [text[s.start : s.end] for s in sentences(text)]
    passage = Passage(id="answer", source="answer", document="answer", text=evidence, score=1.0)
    scores = aligner.support(said, Evidence(passages=(passage,), searched=True)) if said else []
    return fmean([support.score for support in scores]) if scores else 0.0


# What all of it amounts to


class Saved(Struct, frozen=True, kw_only=True):
    """What the cache did for the newest calls of a feature. Money is in nano-dollars: what the answers had cost that were given
    again.

    `checked` near hits were answered anew, and `wrong` of them differed: a share between `low` and `high` with 95 % confidence.
    `unpriced` hits are of answers whose cost nobody knows.
    """

    calls: int
    exact: int
    near: int
    saved_nano_usd: int
    saved_near_nano_usd: int
    unpriced: int
    checked: int
    wrong: int
    low: float
    high: float


def was_wrong(record: Record, scores: Iterable[Score]) -> bool | None:
    """Whether a live near hit was wrong, as the comparison beside and users say; None where nobody has said anything."""
    recalled = record.outcome.recalled
    if recalled is None or recalled.near is None:
        return None
    numbers = [(s, float(s.value)) for s in scores if not isinstance(s.value, str)]
    values = [v for s, v in numbers if 0 <= v <= 1 and (s.name == JUDGED or s.who.partition(":")[0] in USERS)]
    return fmean(values) < 0.5 if values and fmean(values) != 0.5 else None


def of_records(records: Iterable[Record], scores: Callable[[str], Sequence[Score]]) -> Saved:
    """The figures of users' calls."""
    calls = exact = near = saved = saved_near = unpriced = checked = wrong = 0
    for record in records:
        calls += 1
        recalled = record.outcome.recalled
        if recalled is None:
            continue
        cost = recalled.cost_nano_usd
        unpriced += cost is None
        saved += cost or 0
        if recalled.near is None:
            exact += 1
            continue
        near, saved_near = near + 1, saved_near + (cost or 0)
        values = [float(s.value) for s in scores(record.id) if s.name == JUDGED and not isinstance(s.value, str)]
        checked, wrong = checked + bool(values), wrong + bool(values and values[-1] < 0.5)
    return Saved(
        calls=calls,
        exact=exact,
        near=near,
        saved_nano_usd=saved,
        saved_near_nano_usd=saved_near,
        unpriced=unpriced,
        checked=checked,
        wrong=wrong,
        low=at_least(wrong, checked, 0.975),
        high=at_most(wrong, checked, 0.975),
    )
