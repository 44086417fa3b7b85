"""Answering by quoting: the sentences of the passages that cover most of what was asked.

What it does not know: meaning. A sentence counts for the different words it shares with the question, the rarer the more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from mainstay.core.answer import Citation
from mainstay.core.evidence import Passage
from mainstay.core.words import telling

_SENTENCE = re.compile(r"(?<=[.!?:])\s+(?=[A-Z0-9`\"'(\[])|\n{1,}")
_WORD = re.compile(r"\w+")
_NO_SENTENCE = re.compile(r"```.*|~~~.*|[|:\- ]+")  # fences, and the line below the head of a table
LONGEST, ROOM, SHORT = 600, 300, 150  # characters of a quotation: at most, with its paragraph, with the next


class _Piece(NamedTuple):
    """A sentence of a passage, with its place; list items, table rows and lines of code are sentences of their own."""

    start: int
    end: int
    text: str


def _pieces(text: str) -> list[_Piece]:
    ends = [*_SENTENCE.finditer(text)]
    starts = [0, *(found.end() for found in ends)]
    cuts = zip(starts, [*(found.start() for found in ends), len(text)], strict=True)
    pieces = [_Piece(start, end, text[start:end].strip()) for start, end in cuts]
    return [piece for piece in pieces if piece.text and not _NO_SENTENCE.fullmatch(piece.text)]


def quote(query: str, passages: Sequence[Passage]) -> tuple[str, tuple[Citation, ...]]:
    """The best sentences of each passage as text, with one citation each that says where the quotation stands in it."""
    words = {_stem(w) for w in telling(query) or _WORD.findall(query.casefold())}
    rarity = _rarity(words, passages)
    text, citations = "", []
    for number, passage in enumerate(passages, 1):
        best = _best(passage, words, rarity)
        text += "\n\n" if text else ""
        start = len(text)
        text += best
        citations.append(Citation.of(passage, start=start, end=len(text), quote=best))
        text += f"\n— {_place(passage)} [{number}]"
    return text, tuple(citations)


def _place(passage: Passage) -> str:
    return " › ".join(passage.heading) or passage.document


def _best(passage: Passage, words: set[str], rarity: dict[str, float]) -> str:
    """The sentence that covers most, and those behind it while there is room; always a verbatim stretch of the passage."""
    pieces = _pieces(passage.text)
    if not pieces:
        return passage.text[:LONGEST]
    scores = [sum(rarity[w] for w in words & {_stem(x) for x in _WORD.findall(piece.text.casefold())}) for piece in pieces]
    first = last = max(range(len(pieces)), key=lambda i: scores[i])
    start = pieces[first].start
    while last + 1 < len(pieces) and _goes_on(passage.text, start, pieces[last], pieces[last + 1]):
        last += 1
    if last > first and pieces[last].text.endswith(":"):  # what it announces is not there
        last -= 1
    return passage.text[start : min(start + LONGEST, pieces[last].end)].strip()


def _goes_on(text: str, start: int, last: _Piece, following: _Piece) -> bool:
    """Whether a quotation goes on: to what it announces, to the end of its paragraph, into the next one where it is short."""
    if last.text.endswith(":"):
        return following.end - start <= LONGEST
    return following.end - start <= (SHORT if "\n\n" in text[last.end : following.start] else ROOM)


def _rarity(words: set[str], passages: Sequence[Passage]) -> dict[str, float]:
    counts = Counter(w for p in passages for w in words & {_stem(x) for x in _WORD.findall(p.text.casefold())})
    return {w: 1.0 / (1 + counts[w]) for w in words}


def _stem(word: str) -> str:
    """A word without its commonest English endings, so that `deadlines` meets `deadline`."""
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
