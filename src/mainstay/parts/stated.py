"""What slots state of a sentence, in the sentence's own words: evidence beside which the sentence can be compared.

A slot holds a value, and a sentence says it: `price: 1299.00 EUR` bears "Der Preis beträgt 1.299 €", though the two have no word
alike. So of a sentence that says the value of a slot those words are kept that the slot accounts for: the value, however it is
written, and the words by which its name is known in seven languages. What the user said before it of what is spoken of ("your
order 4711") may be repeated; small words say nothing. What is left out is what no slot bears, a denial above all.

Limits: it knows words, not grammar: that the value belongs to the word beside it is for the guard `slots` to see.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import structs

from mainstay.core.evidence import Evidence, Slot
from mainstay.parts.facts import Fact, facts
from mainstay.parts.known import Known, Told
from mainstay.parts.matching import DEGREES, Word, words_of
from mainstay.parts.vocabulary import ELSE, folded, language_of, says_not

FEW = 4  # words of weight in a sentence, to each one of it that no slot accounts for
CLAIM = 3  # words of a clause that claims something
_TELLING = ELSE | DEGREES
_PARTS = re.compile(r"[^\W_]+")


class Stated(NamedTuple):
    """The words of a sentence that slots account for, in its order, and what it goes on to claim without naming a value."""

    words: str
    rest: str = ""


def claims(sentence: str, evidence: Evidence, known: Known) -> Iterator[tuple[str, Evidence]]:
    """What has to be borne, all of it, each with what may bear it: the sentence, by the evidence and a slot more that holds what
    slots state in its words; and what it claims besides. What is denied is borne by those slots alone that deny something too.
    """
    if says_not(sentence):
        slots = tuple([slot for slot in evidence.slots if says_not(slot.value or "")])
        yield sentence, structs.replace(evidence, slots=slots)
        return
    said = stated(sentence, known)
    if said is None:
        yield sentence, evidence
        return
    yield sentence, structs.replace(evidence, slots=(*evidence.slots, Slot(name="", type="text", value=said.words)))
    if said.rest:
        yield said.rest, evidence


def stated(sentence: str, known: Known) -> Stated | None:
    """What slots account for in a sentence; None where it says the value of none."""
    found = facts(sentence, known.order, functools.partial(language_of, sentence, known.language))
    words = words_of(sentence)
    written = [folded(sentence[word.start : word.end]) for word in words]
    told = [told for told in known.told if _says(told, found, frozenset(written))]
    spans = [(fact.start, fact.end) for fact in found if any(one.same(fact) for one in told)]
    values = frozenset(word for one in told for word in _in_words(one))
    called = frozenset(word for one in told for word in one.labels)
    valued = [
        text in values or any(start < word.end and word.start < end for start, end in spans)
        for word, text in zip(words, written, strict=True)
    ]
    if not any(valued):
        return None
    borne = [word.kind == "small" or there or text in called for word, text, there in zip(words, written, valued, strict=True)]
    first = valued.index(True)
    for i in range(first):
        borne[i] = borne[i] or (words[i].clause == words[first].clause and written[i] in known.named_before)
    others = [i for i, there in enumerate(borne) if not there]
    saying = {word.clause for word, there in zip(words, valued, strict=True) if there}
    plain = all(words[i].kind == "word" and words[i].clause in saying and written[i] not in _TELLING for i in others)
    if plain and FEW * len(others) <= sum(word.kind != "small" for word in words):
        return Stated(sentence)
    kept = dict.fromkeys([(word.start, word.end) for word, there in zip(words, borne, strict=True) if there])
    return Stated(" ".join([sentence[start:end] for start, end in kept]), _rest(sentence, words, saying))


def _rest(sentence: str, words: list[Word], saying: set[int]) -> str:
    """The clauses behind the first one with a value that have none, and are more than a word or two."""
    clauses: dict[int, list[Word]] = {}
    for word in words:
        if word.clause > min(saying) and word.clause not in saying:
            clauses.setdefault(word.clause, []).append(word)
    more = [own for own in clauses.values() if len(own) >= CLAIM and any(word.kind != "small" for word in own)]
    return " ".join([sentence[own[0].start : own[-1].end] for own in more])


def _says(told: Told, found: list[Fact], written: frozenset[str]) -> bool:
    """Whether a sentence says the value of a slot; of a name a part is enough."""
    if any(told.same(fact) for fact in found):
        return True
    own = _in_words(told)
    return not own.isdisjoint(written) if told.slot.type == "name" else bool(own) and own <= written


def _in_words(told: Told) -> frozenset[str]:
    """The words of a value that is words."""
    spelled = told.slot.type in ("name", "text", "code")
    return frozenset(_PARTS.findall(folded(told.slot.value or ""))) if spelled else frozenset()
