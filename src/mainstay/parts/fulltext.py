"""Full text search over passages, and the judgement whether any of them answers: SQLite FTS5 (BM25, Porter stemming), in memory.

FTS5 finds candidates; they are then ranked by how much of the question they cover: the whole passage, its headings, and its best
single sentence, each word counted by how rare it is. Whether a passage is evidence at all is a separate question, asked of its
best sentence together with its headings: the weight of the question's words found there, less a part of the weight of those
that are missing anywhere in the passage, has to reach a threshold. Words of one topic stand together; words that a passage
shares with a question by chance stand scattered. The figures were fitted on product documentation that is not ours
(docs/performance.md has what they reach on ours).

Limits: words are compared, not meanings; Porter stemming is English, and a language without spaces is not cut into words.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

import apsw
import apsw.fts5
import msgspec
from msgspec import Struct

from mainstay.core.evidence import Passage

CANDIDATES = 30
MANY = 3000  # passages above which a search leaves the event loop
HEADING, TITLE, BODY = 6.0, 3.0, 1.0  # weights of BM25's columns
BM25, COVERED, IN_HEADING, IN_SENTENCE = 0.5, 1.0, 0.5, 0.5  # weights of the ranking's parts
MISSING = 0.25  # how much a word that is missing counts against one that is found
ENOUGH = 1.15  # evidence that is always enough, in weights of a word that stands in one passage only
SHARE = 0.55  # evidence that is enough for a short question, as a share of all its words' weight

_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n+")
_WORD = re.compile(r"\w+")
_STOP = frozenset(
    """a about actually all also am an and any anyone anything are as at be been being but by can could did do does doing done for
    from get gets getting give given go goes going got had has have having how i if in into is it its just kind know let like
    likely look mainly make makes making may me mean means might mine much must my need needs no not of off on one ones onto or
    our ours out own per please put really same shall she he should so some someone something sort still such take takes tell
    than that the their them then there these they thing things this those through to too up upon us use used user uses using
    very via want wanted wants was way ways we well were what whatever when where whether which while who whom whose why will
    with within without work works would you your yours""".split()
)


class _Stems(Struct, frozen=True):
    """A passage as sets of stems."""

    heading: frozenset[str]
    sentences: tuple[frozenset[str], ...]
    everything: frozenset[str]


class FullText:
    """An index of passages. `add` them, then `search`."""

    def __init__(self) -> None:
        self._db = apsw.Connection(":memory:")
        self._db.execute(
            "create virtual table words using fts5(heading, title, body, tokenize='porter unicode61 remove_diacritics 2');"
            "create virtual table vocabulary using fts5vocab(words, 'row')"
        )
        self._tokens = self._db.fts5_tokenizer("porter", ["unicode61", "remove_diacritics", "2"])
        self._passages: list[Passage] = []
        self._stems: dict[int, _Stems] = {}

    def __len__(self) -> int:
        return len(self._passages)

    def add(self, passages: Iterable[Passage]) -> None:
        """Put passages into the index."""
        for passage in passages:
            self._passages.append(passage)
            title, *rest = passage.heading or ("",)
            self._db.execute(
                "insert into words(rowid, heading, title, body) values(?,?,?,?)",
                (len(self._passages), " ".join(rest), title, passage.text),
            )

    async def search(self, query: str, *, limit: int) -> list[Passage]:
        """The passages that answer, best first, at most one a section; `score` is the share of the question they cover."""
        if len(self) > MANY:
            return await asyncio.to_thread(self._search, query, limit)
        return self._search(query, limit)

    def _search(self, query: str, limit: int) -> list[Passage]:
        asked = self._asked(query)
        weights = self._weights(asked)
        ranked: list[tuple[float, float, Passage]] = []
        for number, rank in self._candidates(asked, weights):
            stems = self._stems_of(number)
            if self._answers(stems, weights):
                covered = _weight(stems.everything, weights)
                total = BM25 * rank + COVERED * covered + IN_HEADING * _weight(stems.heading, weights)
                ranked.append((total + IN_SENTENCE * _in_sentence(stems, weights), covered, self._passages[number]))
        ranked.sort(key=lambda entry: -entry[0])
        best: dict[tuple[str, tuple[str, ...]], Passage] = {}
        for _, covered, passage in ranked:
            place = (passage.document, passage.heading)
            if place not in best:
                best[place] = msgspec.structs.replace(passage, score=round(covered / sum(weights.values()), 4))
        return list(best.values())[:limit]

    def _asked(self, query: str) -> dict[str, str]:
        """The words that carry meaning, by their stems."""
        words = " ".join(word for word in _WORD.findall(query.casefold()) if word not in _STOP).encode("utf-8", "ignore")
        tokens = cast(list[Any], self._tokens(words, apsw.FTS5_TOKENIZE_QUERY, None))
        return {stem: words[start:end].decode() for start, end, stem in tokens}

    def _weights(self, stems: Collection[str]) -> dict[str, float]:
        """How much each word counts: the rarer in the index the more; one that is not there at all counts most."""
        marks = ",".join("?" * len(stems))
        query = f"select term, doc from vocabulary where term in ({marks})"  # noqa: S608  only question marks are put in
        known: dict[str, int] = dict(cast(Any, self._db.execute(query, tuple(stems)).fetchall()))
        return {stem: self._rarity(known.get(stem, 0)) for stem in stems}

    def _rarity(self, passages: int) -> float:
        return math.log(1 + (len(self) + 1) / (passages + 0.5))

    def _candidates(self, asked: Mapping[str, str], weights: Mapping[str, float]) -> list[tuple[int, float]]:
        """Passages that hold any of the words, with their BM25 as a share of the best one's, scaled to the question's weight."""
        if not asked:
            return []
        expression = " OR ".join(f'"{word}"' for word in asked.values())
        rows: list[Any] = self._db.execute(
            "select rowid, -bm25(words, ?, ?, ?) from words where words match ? order by 2 desc limit ?",
            (HEADING, TITLE, BODY, expression, CANDIDATES),
        ).fetchall()
        scale = sum(weights.values()) / max(rows[0][1], 1e-9) if rows else 0.0
        return [(number - 1, rank * scale) for number, rank in rows]

    def _answers(self, stems: _Stems, weights: Mapping[str, float]) -> bool:
        """Whether the passage is evidence for the question."""
        total = sum(weights.values())
        found = _in_sentence(stems, weights) - MISSING * (total - _weight(stems.everything, weights))
        return found >= min(ENOUGH * self._rarity(1), SHARE * total)

    def _stems_of(self, number: int) -> _Stems:
        stems = self._stems.get(number)
        if stems is None:
            passage = self._passages[number]
            heading = frozenset(self._stem(" ".join(passage.heading)))
            sentences = tuple([frozenset(self._stem(sentence)) for sentence in _SENTENCE.split(passage.text)])
            stems = self._stems[number] = _Stems(heading, sentences, heading.union(*sentences))
        return stems

    def _stem(self, text: str) -> list[str]:
        tokens = cast(list[Any], self._tokens(text.encode("utf-8", "ignore"), apsw.FTS5_TOKENIZE_QUERY, None))
        return [token[2] for token in tokens]


def _weight(stems: frozenset[str], weights: Mapping[str, float]) -> float:
    return sum(weight for stem, weight in weights.items() if stem in stems)


def _in_sentence(stems: _Stems, weights: Mapping[str, float]) -> float:
    """The weight of the words in the best sentence together with the headings."""
    return max(_weight(sentence | stems.heading, weights) for sentence in stems.sentences)
