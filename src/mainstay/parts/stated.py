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

from msgspec import structs

from mainstay.core.evidence import Evidence, Slot
from mainstay.parts.facts import Fact, facts
from mainstay.parts.known import Known, Told
from mainstay.parts.matching import DEGREES, NEGATIONS, words_of
from mainstay.parts.vocabulary import ELSE, folded, language_of, says_not

FEW = 4  # words of weight in a sentence, to each one of it that no slot accounts for
_PARTS = re.compile(r"[^\W_]+")


def with_slots(sentence: str, evidence: Evidence, known: Known) -> Evidence:
    """The evidence as a sentence is held to it: with a slot more, which holds what slots state in the sentence's words. What is
    denied is borne by those slots alone that deny something too.
    """
    if says_not(sentence):
        return structs.replace(evidence, slots=tuple([slot for slot in evidence.slots if says_not(slot.value or "")]))
    said = stated(sentence, known)
    return structs.replace(evidence, slots=(*evidence.slots, Slot(name="", type="text", value=said))) if said else evidence


def stated(sentence: str, known: Known) -> str:
    """The words of a sentence that slots account for, in its order; empty where it says the value of none."""
    found = facts(sentence, known.order, functools.partial(language_of, sentence, known.language))
    words = words_of(sentence)
    written = [folded(sentence[word.start : word.end]) for word in words]
    told = [told for told in known.told if _says(told, found, frozenset(written))]
    if not told:
        return ""
    spans = [(fact.start, fact.end) for fact in found if any(one.same(fact) for one in told)]
    own = frozenset(part for one in told for part in (*one.labels, *_in_words(one)))
    borne = [
        word.kind == "small" or text in own or any(start < word.end and word.start < end for start, end in spans)
        for word, text in zip(words, written, strict=True)
    ]
    first = next(i for i, word in enumerate(words) if borne[i] and word.kind != "small")
    asked = frozenset(_PARTS.findall(folded(known.question.text))) - NEGATIONS - DEGREES
    for i in range(first):
        borne[i] = borne[i] or (words[i].clause == words[first].clause and written[i] in asked)
    others = [i for i, there in enumerate(borne) if not there]
    plain = all(words[i].kind == "word" and written[i] not in ELSE | DEGREES for i in others)
    if plain and FEW * len(others) <= sum(word.kind != "small" for word in words):
        return sentence
    kept = dict.fromkeys([(word.start, word.end) for word, there in zip(words, borne, strict=True) if there])
    return " ".join([sentence[start:end] for start, end in kept])


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
