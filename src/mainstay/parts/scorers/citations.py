"""`citations`: each quote really stands in the source that it cites, and the source supports the sentence that cites it.

For each citation, the passage is looked up as its source holds it now (or as the case pins it). It fails where there is none any
more; where the quotation, if it brings one, does not stand in it, white space and case apart; and where the sentence before the
mark says what the passages that it cites do not, its headings included. The last is seen by words alone:

- a number in the sentence has to stand in one of them, however it is written (`1,299.00` is `1 299`, `two` is `2`);
- so has a name: a word with a capital inside, with digits, or with a capital where no sentence begins. In a language that writes
  all nouns with capitals (German, or where a quarter of the words have one) only the first two kinds count;
- and half of its words that carry meaning, by their stems; in scripts without spaces, of its pairs of characters;
- and a small trained classifier (docs/cards/alignment.md) must not find it improbable that they bear it: that sees words that
  stand far apart, opposites, and what is denied.

An answer that is no refusal and cites nothing fails. Without an expectation, a refusal is none of its business.

Limits: it compares words. It does not see who did what to whom, or many a claim in the passage's words that the passage does not
make; a translation or a free paraphrase fails it. Sentences that cite nothing are not looked at. For meanings there is
`judged`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from mainstay.core.answer import Citation
from mainstay.core.evidence import Evidence, Passage
from mainstay.core.report import Opinion, accepts, rejects
from mainstay.core.seams import Aligner, Subject
from mainstay.core.words import telling
from mainstay.parts.alignment import shared
from mainstay.parts.numerals import numerals
from mainstay.parts.scorers.reading import folded, language_of, only_true, quoted, refused

BORNE = 0.2  # the least probability that the passages bear a sentence
SUPPORTED = 0.5  # the least share of a sentence's words that its passages have to hold
CAPITALS = 0.25  # the share of words with a capital, above which one says nothing
FAULTS_TOLD = 3

_MARK = re.compile(r"\[\d{1,3}\]")
_WORD = re.compile(r"\w+(?:[-'’.]\w+)*")
_BEGINS = re.compile(r"(?:^|[.!?:;\n\"“(*•\-–—|]\s*|\]\s*)$")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_COUNTED = {
    word: str(number) for number, word in enumerate("zero one two three four five six seven eight nine ten eleven twelve".split())
}


class Claim(NamedTuple):
    """A stretch of the answer's text and the passages that it cites, by their ids."""

    sentence: str
    passages: tuple[str, ...]


class Citations:
    """The scorer; it has no options."""

    def __init__(self) -> None:
        self.aligner: Aligner = shared()

    def check_expected(self, expected: Any) -> None:
        """Nothing but `true`."""
        only_true(expected)

    async def score(self, subject: Subject) -> Opinion | None:
        """Look each citation up, and hold quotes and sentences to what it says."""
        answer = subject.answer
        if subject.expected is not None:
            self.check_expected(subject.expected)
        elif refused(answer):
            return None
        if not answer.citations:
            return rejects("it was refused" if refused(answer) else "it cites nothing")
        passages = {citation.passage: await _passage(citation, subject) for citation in answer.citations}
        faults = {i: fault for i, c in enumerate(answer.citations) if (fault := _fault(c, passages[c.passage]))}
        checked = len(answer.citations)
        claims, language = _claims(answer.text, answer.citations), language_of(subject)
        wrong = list(faults.values())
        for claim in claims:
            there = [passage for id in claim.passages if (passage := passages[id]) is not None]
            if there and (
                unsupported := _unsupported(claim.sentence, there, language) or self._improbable(claim.sentence, there)
            ):
                wrong.append(f"{quoted(claim.sentence)} is not supported by {', '.join(claim.passages)}: {unsupported}")
        if not wrong:
            return accepts()
        more = f"; and {len(wrong) - FAULTS_TOLD} more" if len(wrong) > FAULTS_TOLD else ""
        return rejects("; ".join(wrong[:FAULTS_TOLD]) + more, value=1 - len(wrong) / (checked + len(claims)))

    def _improbable(self, sentence: str, passages: list[Passage]) -> str:
        """What to say where it is improbable that the passages bear the sentence; empty where it is not."""
        score = self.aligner.support([sentence], Evidence(passages=tuple(passages)))[0].score
        return f"the probability that it is, is {score:.2f}" if score < BORNE else ""


async def _passage(citation: Citation, subject: Subject) -> Passage | None:
    pinned = (subject.case and subject.case.passages) or ()
    found = next((passage for passage in pinned if passage.id == citation.passage), None)
    return found if found is not None else await subject.look_up(citation)


def _fault(citation: Citation, passage: Passage | None) -> str:
    if passage is None:
        return f"{citation.passage} is not there any more"
    if citation.quote and folded(citation.quote) not in folded(passage.text):
        return f"{quoted(citation.quote)} does not stand in {citation.passage}"
    return ""


def _claims(text: str, citations: Iterable[Citation]) -> list[Claim]:
    """The sentences that cite something; marks behind one sentence are answered for together."""
    spans: dict[int, tuple[int, list[str]]] = {}
    for citation in citations:
        if 0 <= citation.start < citation.end <= len(text):
            end, cited = spans.get(citation.start, (citation.end, []))
            spans[citation.start] = min(end, citation.end), [*cited, citation.passage]
    found = []
    for start, (end, cited) in sorted(spans.items()):
        sentence = _MARK.sub(" ", text[start:end]).strip()
        if sentence:
            found.append(Claim(sentence, tuple(dict.fromkeys(cited))))
    return found


def _unsupported(sentence: str, passages: list[Passage], language: str) -> str:
    """What the sentence says that the passages do not; empty where they hold all of it."""
    evidence = "\n".join([*(part for p in passages for part in (*p.heading, p.document)), *(p.text for p in passages)])
    if folded(sentence) in folded(evidence):
        return ""
    there = _values(evidence)
    for numeral in numerals(sentence):
        if not there & {*numeral.values, *numeral.others}:
            return f"the number {numeral.written} is not there"
    for word in _WORD.findall(sentence.casefold()):
        if word in _COUNTED and word not in ("one", "zero") and Decimal(_COUNTED[word]) not in there:
            return f"the number {word} is not there"
    known = _stems(evidence)
    for name in _names(sentence, _capitalises(language, "\n".join(p.text for p in passages))):
        if not _stems(name) <= known:
            return f"the name {quoted(name)} is not there"
    said = _stems(" ".join(telling(sentence)))
    if said and len(said & known) < SUPPORTED * len(said):
        return f"of its words, {', '.join(sorted(said - known)[:8])} are not there"
    return ""


def _values(text: str) -> set[Decimal]:
    found = {value for numeral in numerals(text) for value in (*numeral.values, *numeral.others)}
    return found | {Decimal(_COUNTED[word]) for word in _WORD.findall(text.casefold()) if word in _COUNTED}


def _capitalises(language: str, text: str) -> bool:
    """Whether nouns are written with capitals."""
    if language:
        return language.lower().startswith(("de", "lb"))
    inner = [match[0] for match in _WORD.finditer(text) if not _begins(text, match.start())]
    return sum(word[0].isupper() for word in inner) > CAPITALS * len(inner)


def _begins(text: str, at: int) -> bool:
    """Whether a sentence begins there."""
    return _BEGINS.search(text[max(0, at - 3) : at]) is not None


def _names(sentence: str, capitalised: bool) -> list[str]:
    """The words of a sentence that are names by their spelling; `capitalised` says that other nouns look the same."""
    found = []
    for match in _WORD.finditer(sentence):
        word = match[0]
        if word.isdigit() or _UNSPACED.search(word) or not word[0].isalpha():
            continue
        inside = any(c.isupper() or c.isdigit() for c in word[1:])
        if inside or (word[0].isupper() and not capitalised and not _begins(sentence, match.start()) and telling(word)):
            found.append(word)
    return found


def _stems(text: str) -> set[str]:
    """The words of a text without their commonest English endings, and the pairs of characters where there are no spaces."""
    stems: set[str] = set()
    for word in re.findall(r"\w+", text.casefold()):
        if _UNSPACED.search(word):
            stems.update(word[i : i + 2] for i in range(max(1, len(word) - 1)))
        else:
            stems.add(_stem(word))
    return stems


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "ied", "ed", "es", "s", "y", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
