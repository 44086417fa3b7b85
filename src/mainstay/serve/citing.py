"""Citations of a text: which sentence of it rests on which passage.

`[2]` in a sentence says that what stands before it rests on the second passage that the model was given. A sentence of a model's
without a mark rests on the passage that bears it best, if one does so probably enough (`CITED`). Where it can be told, a citation
quotes the sentence of the passage that bears it. Marks in code are none; neither are marks that number no passage.

What it does not know: whether a passage that a mark names bears the sentence. That is what the guard `grounded` looks at.
"""

from __future__ import annotations

import re

from mainstay.core.answer import Citation
from mainstay.core.evidence import Evidence, Passage, Support
from mainstay.core.later import pattern
from mainstay.core.seams import Aligner
from mainstay.core.sentences import Sentence, sentences

CITED, QUOTED = 0.6, 0.3  # the least support with which a passage is cited without a mark, and a sentence of it is quoted
LONGEST = 600  # characters of a quotation
_MARK = pattern(r"\s*\[(\d{1,3})\]")
_BEHIND = pattern(r"(?:\s*\[\d{1,3}\])*\s*$")
_ASKS = pattern(r"[?？؟]\W*$")


def cite(text: str, evidence: Evidence, aligner: Aligner | None = None) -> tuple[Citation, ...]:
    """One citation a mark, over what stands before it in its sentence; with an aligner, one for each other sentence it knows."""
    if not evidence.passages:
        return ()
    citations: list[Citation] = []
    for sentence in sentences(text):
        if sentence.kind == "code":
            continue
        found = _marked(text, sentence, evidence, aligner)
        if not found and aligner is not None and sentence.kind != "heading" and not _ASKS.search(sentence.text):
            found = _unmarked(sentence, evidence, aligner)
        citations += found
    return tuple(citations)


def _marked(text: str, sentence: Sentence, evidence: Evidence, aligner: Aligner | None) -> list[Citation]:
    citations = []
    plain = _MARK.sub("", sentence.text).strip()
    for mark in _MARK.finditer(text, sentence.start, sentence.end):
        number = int(mark[1])
        if not 1 <= number <= len(evidence.passages) or text.count("`", sentence.start, mark.start()) % 2:
            continue
        passage = evidence.passages[number - 1]
        start, end = _span(text, sentence, mark)
        quote = "" if aligner is None else _quote(passage, aligner.support([plain], Evidence(passages=(passage,)))[0])
        citations.append(Citation.of(passage, start=start, end=end, quote=quote))
    return citations


def _span(text: str, sentence: Sentence, mark: re.Match[str]) -> tuple[int, int]:
    """What the mark stands behind; where it opens its sentence, what it stands before."""
    behind = _BEHIND.search(text, sentence.start, mark.start())
    end = mark.start() if behind is None else behind.start()
    if end > sentence.start:
        return sentence.start, end
    rest = text[mark.end() : sentence.end]
    start = mark.end() + len(rest) - len(rest.lstrip())
    return start, max(start, sentence.unmarked)


def _unmarked(sentence: Sentence, evidence: Evidence, aligner: Aligner) -> list[Citation]:
    support = aligner.support([_MARK.sub("", sentence.text).strip()], evidence)[0]
    if support.passage is None or support.score < CITED:
        return []
    passage = evidence.passages[support.passage]
    return [Citation.of(passage, start=sentence.start, end=sentence.unmarked, quote=_quote(passage, support))]


def _quote(passage: Passage, support: Support) -> str:
    """The sentence of the passage that bears most; empty where that cannot be told."""
    at = support.at
    if at is None or support.score < QUOTED:
        return ""
    return next((s.text[:LONGEST] for s in sentences(passage.text) if s.start <= at < s.end), "")
