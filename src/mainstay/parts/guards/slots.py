"""`slots`: no price, quantity, number, date, time, code or name that is neither in a fact nor in the evidence.

It looks at every sentence, and at every value of structured answers. What stands in a fact that was fetched for the call (a
slot), in the question, or in a passage (in a cited one, where the sentence cites) is let pass, however it is written
(`parts/facts.py`). Anything else is `slot_mismatch`; so is what differs from a slot of the same kind in a sentence that speaks of
this slot, even where a passage has it: the system of record is fresher. What a team wrote itself (rules, functions, the fixed
message) is not looked at.

Limits: it compares, and does not calculate: a sum, a difference or a count of its own ("two of the three", where a slot counts)
is stopped. Numbers in words are looked at where they have a unit or contradict a slot, names in German where they have two words.
It does not see what is denied, exchanged or left out.
"""

from __future__ import annotations

import functools
import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mainstay.core.draft import ALLOW, Draft, Verdict, retry
from mainstay.core.evidence import Evidence
from mainstay.core.reasons import Reason
from mainstay.core.seams import Hold
from mainstay.core.sentences import Sentence, sentences, settled
from mainstay.parts.facts import Fact, facts
from mainstay.parts.known import Known, Pool, Told
from mainstay.parts.names import renamed, runs, unborne
from mainstay.parts.vocabulary import ELSE, language_of, says_not, words

CALLS = 1_000  # growing texts that are kept in mind
NEAR = 25  # characters before a number without a currency in which a sentence says that it is a price
TOLD = 3  # faults that a remark names
SMALL = 20  # the highest number of a step or an option that is not looked up
_MARK = re.compile(r"\[(\d{1,3})\]")
_NUMBERED = re.compile(
    r"(?i)\b(?:steps?|options?|part|point|tip|example|question|answer|schritt|teil|punkt|beispiel|étape|exemple|paso|parte|punto|"
    r"ejemplo|passo|esempio|stap|deel|voorbeeld|etapa|exemplo)[ \u00a0]\Z"
)


class Slots:
    """The guard. It takes no options: what it compares with is fetched for each call."""

    hold = Hold.SENTENCE

    def __init__(self) -> None:
        self._growing: OrderedDict[str, _Growing] = OrderedDict()

    async def check(self, draft: Draft) -> Verdict:
        """Look at the sentences that are whole and were not looked at before."""
        if draft.stage == "input" or draft.by_team:
            return ALLOW
        growing = self._growing.pop(draft.call.id, None)
        if growing is None or growing.evidence is not draft.evidence:
            growing = _Growing(draft.evidence, Known(draft.call, draft.evidence))
        if draft.data is not None:
            return _verdict(list(_in_data(draft.data, growing.known)))
        if not draft.text.startswith(growing.text):  # another try
            growing = growing._replace(text="", faults=())
        start, faults = len(growing.text), list(growing.faults)
        end = len(draft.text) if draft.complete else settled(draft.text, start)
        for sentence in sentences(draft.text, start) if end > start else ():
            if sentence.end <= end:
                faults += _in_sentence(sentence, growing.known)
        if not draft.complete:
            self._growing[draft.call.id] = growing._replace(text=draft.text[:end], faults=tuple(faults))
            if len(self._growing) > CALLS:
                self._growing.popitem(last=False)
        return _verdict(faults)


class _Growing(NamedTuple):
    """What is known for a call, how much of its text was looked at, and what was wrong with that."""

    evidence: Evidence
    known: Known
    text: str = ""
    faults: tuple[str, ...] = ()


def _verdict(faults: Sequence[str]) -> Verdict:
    if not faults:
        return ALLOW
    told = "; ".join(dict.fromkeys(faults[:TOLD]))
    return retry(Reason.SLOT_MISMATCH, f"{told}. Say only what the facts and the passages say, with their own figures and names")


# Sentences


def _in_sentence(sentence: Sentence, known: Known) -> Iterator[str]:
    """What is wrong with a sentence, in words for the model."""
    text = sentence.text
    speaks = functools.partial(language_of, text, known.language)
    pools = _pools(text, known)
    found = facts(text, known.order, speaks)
    if found:
        said = _Said(text, found, frozenset(words(text)))
        for fact in found:
            fault = _fault(fact, said, pools, known)
            if fault:
                yield fault
    if sentence.kind in ("text", "row"):
        for run in runs(text, found) if known.people or text[1:] != text[1:].lower() else ():
            name = unborne(run, pools, known, speaks=speaks)
            if name:
                yield f"the name {name!r} stands in no fact and no passage"
            for told in known.told if known.people else ():
                if told.slot.type == "name" and renamed(text, run, told, speaks=speaks):
                    yield f"{told.name} is {told.shown}, and not {run[-1].written!r}"


class _Said(NamedTuple):
    """A sentence: its text, its facts and its words."""

    text: str
    facts: list[Fact]
    words: frozenset[str]


def _pools(text: str, known: Known) -> list[Pool]:
    """What may bear a sentence: the passages that it cites, or all of them where it cites none."""
    cited = {int(mark[1]) for mark in _MARK.finditer(text)}
    passages = [known.passages[n - 1] for n in sorted(cited) if 1 <= n <= len(known.passages)]
    return [known.slots, known.question, *(passages or known.passages)]


def _fault(fact: Fact, said: _Said, pools: Sequence[Pool], known: Known) -> str:
    """What is wrong with a fact; empty where nothing is."""
    if known.slots.bears(fact):
        return ""
    told = _contradicted(fact, said, known)
    if told is not None:
        return f"{fact.written!r} differs from {told.name}, which is {told.shown}"
    if any(pool.bears(fact) for pool in pools) or not _matters(fact, said, known):
        return ""
    return f"{fact.written!r} stands in no fact and no passage"


def _matters(fact: Fact, said: _Said, known: Known) -> bool:
    """Whether a fact that nothing bears is one that an answer may not say of its own."""
    if fact.spelled and fact.bare:
        return known.counts
    if fact.bare and _NUMBERED.search(said.text[: fact.start]):
        return any(number > SMALL for number in fact.numbers)
    return True


def _contradicted(fact: Fact, said: _Said, known: Known) -> Told | None:
    """The slot that this fact contradicts: of the same kind, spoken of in the sentence, and not said rightly in it too."""
    for told in known.told:
        if not told.comparable(fact) or any(told.same(other) for other in said.facts):
            continue
        if not _speaks_of(told, fact, said, known) or (ELSE & said.words) - told.labels:
            continue
        if known.question.bears(fact) and says_not(said.text):
            continue
        return told
    return None


def _speaks_of(told: Told, fact: Fact, said: _Said, known: Known) -> bool:
    """Whether a sentence speaks of a slot; of an amount of money it does where the question asked for that."""
    if told.labels & said.words:
        near = words(said.text[max(0, fact.start - NEAR) : fact.start])
        return not (told.money and fact.bare) or not told.labels.isdisjoint(near)
    if not told.money or fact.bare or not told.labels & known.asked:
        return False
    return not any(other.labels & said.words for other in known.told)


# Structured answers


def _in_data(data: Any, known: Known, path: str = "") -> Iterator[str]:
    """What is wrong with the values of a structured answer: with those called like a slot, and with what texts and numbers
    say.
    """
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _in_data(value, known, str(name))
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _in_data(value, known, path)
    elif data is not None and data != "":
        told = known.named(path)
        if told is not None:
            if not told.is_said_by(data):
                yield f"`{path}` is {data!r}, and {told.name} is {told.shown}"
        elif isinstance(data, str):
            for sentence in sentences(data):
                yield from _in_sentence(sentence, known)
        elif isinstance(data, int | float) and not isinstance(data, bool) and abs(data) > 1:
            for fact in facts(repr(data)):
                if not any(pool.bears(fact) for pool in (known.slots, known.question, *known.passages)):
                    yield f"`{path}` is {data!r}, which stands in no fact and no passage"
