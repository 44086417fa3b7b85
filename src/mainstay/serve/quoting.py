"""Answering by quoting: the sentences of the passages that cover most of what was asked.

What it does not know: meaning. A sentence counts for the different words it shares with the question, the rarer the more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from mainstay.core.answer import Citation
from mainstay.core.evidence import Passage

_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z0-9`\"'(\[])|\n{1,}")
_WORD = re.compile(r"\w+")
LONGEST = 600


def sentences(text: str) -> list[str]:
    """The sentences of a passage: its list items, table rows and lines of code count as sentences of their own."""
    return [piece.strip() for piece in _SENTENCE.split(text) if piece.strip()]


def quote(query: str, passages: Sequence[Passage]) -> tuple[str, tuple[Citation, ...]]:
    """The best sentences of each passage as text, with one citation each that says where the quotation stands in it."""
    words = {_stem(w) for w in _WORD.findall(query.casefold())}
    rarity = _rarity(words, passages)
    text, citations = "", []
    for number, passage in enumerate(passages, 1):
        best = _best(passage, words, rarity)
        text += "\n\n" if text else ""
        start = len(text)
        text += best
        citations.append(
            Citation(
                passage=passage.id,
                source=passage.source,
                document=passage.document,
                heading=passage.heading,
                link=passage.link,
                quote=best,
                start=start,
                end=len(text),
            )
        )
        text += f"\n— {_place(passage)} [{number}]"
    return text, tuple(citations)


def _place(passage: Passage) -> str:
    return " › ".join(passage.heading) or passage.document


def _best(passage: Passage, words: set[str], rarity: dict[str, float]) -> str:
    """The sentence that covers most, with its neighbours while there is room; always a verbatim stretch of the passage."""
    pieces = sentences(passage.text)
    if not pieces:
        return passage.text[:LONGEST]
    scores = [sum(rarity[w] for w in words & {_stem(x) for x in _WORD.findall(piece.casefold())}) for piece in pieces]
    first = last = max(range(len(pieces)), key=lambda i: scores[i])
    while last + 1 < len(pieces) and _span(passage.text, pieces, first, last + 1) <= LONGEST // 2:
        last += 1
    start = passage.text.index(pieces[first])
    return passage.text[start : start + min(LONGEST, _span(passage.text, pieces, first, last))].strip()


def _span(text: str, pieces: list[str], first: int, last: int) -> int:
    start = text.index(pieces[first])
    return text.index(pieces[last], start) + len(pieces[last]) - start


def _rarity(words: set[str], passages: Sequence[Passage]) -> dict[str, float]:
    counts = Counter(w for p in passages for w in words & {_stem(x) for x in _WORD.findall(p.text.casefold())})
    return {w: 1.0 / (1 + counts[w]) for w in words}


def _stem(word: str) -> str:
    """A word without its commonest English endings, so that `deadlines` meets `deadline`."""
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
