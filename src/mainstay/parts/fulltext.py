"""Full text search over passages, and the judgement whether any of them answers: SQLite FTS5 (BM25, Porter stemming), in memory.

FTS5 finds candidates; they are then ranked by how much of the question they cover: the whole passage, its headings, and its
best single sentence, each word counted by how rare it is; and by how much their own heading is the question (Dice). Whether a
passage is evidence at all is a separate question, asked of its best sentence together with its headings: the weight of the
question's words found there, less a part of the weight of those that are missing anywhere in the passage, has to reach a
threshold. Words of one topic stand together; words that a passage shares with a question by chance stand scattered. A name with
`_` or `-` in it is found by its parts and as a whole: `over_deadline` is rarer than what it is made of, and time-out is
timeout. The figures were fitted on product documentation that is not ours (docs/performance.md has what they reach on ours).

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
from mainstay.core.words import telling

CANDIDATES, LOOKED_AT = 30, 3  # passages that are ranked, and sections that may be evidence
NEAR = 0.5  # of the best one's relevance, that a passage has to have
MUCH = 30  # passages of knowledge, in which a word that is missing says something about the question
MANY = 3000  # passages above which a search leaves the event loop
HEADING, TITLE, BODY = 6.0, 3.0, 1.0  # weights of BM25's columns
BM25, COVERED, IN_HEADING, IN_SENTENCE, HEADED = 0.5, 1.0, 0.5, 0.5, 1.0  # weights of the ranking's parts
WORD, ALIKE, UNKNOWN, ENOUGH = 0.75, 5.0, 3.0, 3.5  # what makes evidence, in weights of a word that stands in one passage only

_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n+")
_NAME = re.compile(r"(?<!\w)\w+(?:[_-]\w+)+")  # only where a word begins, or a long one is read again from each letter


class _Stems(Struct, frozen=True):
    """A passage as sets of stems; `last` is its own heading without those above it."""

    last: dict[str, float]
    heading: frozenset[str]
    sentences: tuple[frozenset[str], ...]
    everything: frozenset[str]


class FullText:
    """An index of passages. `add` them, then `search`, or ask for one `passage` by its id."""

    def __init__(self) -> None:
        self._db = apsw.Connection(":memory:")
        self._db.execute(
            "create virtual table words using fts5(heading, title, body, tokenize='porter unicode61 remove_diacritics 2');"
            "create virtual table vocabulary using fts5vocab(words, 'row')"
        )
        self._tokens = self._db.fts5_tokenizer("porter", ["unicode61", "remove_diacritics", "2"])
        self._passages: list[Passage] = []
        self._numbers: dict[str, int] = {}
        self._stems: dict[int, _Stems] = {}

    def __len__(self) -> int:
        return len(self._passages)

    def add(self, passages: Iterable[Passage]) -> None:
        """Put passages into the index."""
        for passage in passages:
            self._numbers[passage.id] = len(self._passages)
            self._passages.append(passage)
            title, *rest = passage.heading or ("",)
            self._db.execute(
                "insert into words(rowid, heading, title, body) values(?,?,?,?)",
                (len(self._passages), _with_names(" ".join(rest)), _with_names(title), _with_names(passage.text)),
            )

    def passage(self, id: str) -> Passage | None:
        """The passage with that id."""
        number = self._numbers.get(id)
        return None if number is None else self._passages[number]

    async def search(self, query: str, *, limit: int) -> list[Passage]:
        """The passages that answer, best first, at most one a section; `score` is the share of the question they cover."""
        if len(self) > MANY:
            return await asyncio.to_thread(self._search, query, limit)
        return self._search(query, limit)

    def _search(self, query: str, limit: int) -> list[Passage]:
        asked = self._asked(query)
        known = self._known(asked)
        weights = {stem: self._rarity(known.get(stem, 0)) for stem in asked}
        best: dict[tuple[str, tuple[str, ...]], tuple[float, int]] = {}
        for number, rank in self._candidates(asked, weights):
            passage = self._passages[number]
            place = (passage.document, passage.heading)
            best[place] = max(best.get(place, (0.0, number)), (self._relevance(number, rank, weights), number))
        ranked = sorted(best.values(), key=lambda entry: -entry[0])
        unknown = sum(weight for stem, weight in weights.items() if stem not in known)
        if not any(self._answers(number, weights, unknown) for _, number in ranked[:LOOKED_AT]):
            return []
        return [self._scored(number, weights) for total, number in ranked[:limit] if total >= NEAR * ranked[0][0]]

    def _relevance(self, number: int, rank: float, weights: Mapping[str, float]) -> float:
        stems = self._stems_of(number)
        total = BM25 * rank + COVERED * _weight(stems.everything, weights) + IN_HEADING * _weight(stems.heading, weights)
        return total + IN_SENTENCE * _in_sentence(stems, weights) + HEADED * _alike(stems.last, weights)

    def _scored(self, number: int, weights: Mapping[str, float]) -> Passage:
        covered = _weight(self._stems_of(number).everything, weights) / sum(weights.values())
        return msgspec.structs.replace(self._passages[number], score=round(covered, 4))

    def _asked(self, query: str) -> dict[str, str]:
        """The words that carry meaning, by their stems."""
        known = [name for name in _names(query) if self._known(self._stem(name))]
        words = " ".join([*telling(query), *known]).encode("utf-8", "ignore")
        tokens = cast(list[Any], self._tokens(words, apsw.FTS5_TOKENIZE_QUERY, None))
        return {stem: words[start:end].decode() for start, end, stem in tokens}

    def _weights(self, stems: Collection[str]) -> dict[str, float]:
        """How much each word counts: the rarer in the index the more; one that is not there at all counts most."""
        known = self._known(stems)
        return {stem: self._rarity(known.get(stem, 0)) for stem in stems}

    def _known(self, stems: Collection[str]) -> dict[str, int]:
        """In how many passages each of them stands, of those that stand in any."""
        marks = ",".join("?" * len(stems))
        query = f"select term, doc from vocabulary where term in ({marks})"  # noqa: S608  only question marks are put in
        return dict(cast(Any, self._db.execute(query, tuple(stems)).fetchall()))

    def _rarity(self, passages: int) -> float:
        if not passages:  # somewhat rarer than the rarest, also where the index is small
            return 1.2 * self._rarity(1)
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

    def _answers(self, number: int, weights: Mapping[str, float], unknown: float) -> bool:
        """Whether the passage is evidence for the question; always if one sentence, with its headings, holds all of it."""
        stems, total = self._stems_of(number), sum(weights.values())
        best = max((sentence | stems.heading for sentence in stems.sentences), key=lambda words: _weight(words, weights))
        found, words = _weight(best, weights), sum(1 for stem in weights if stem in best)
        strange = UNKNOWN * unknown * min(1.0, len(self) / MUCH)  # what little knowledge does not mention says little
        like = (ALIKE * _alike(stems.last, weights) - strange) / total
        return found >= total or found / self._rarity(1) + WORD * words + like >= ENOUGH

    def _stems_of(self, number: int) -> _Stems:
        stems = self._stems.get(number)
        if stems is None:
            passage = self._passages[number]
            heading = frozenset(self._stem(" ".join(passage.heading)))
            last = self._weights(self._asked(passage.heading[-1] if passage.heading else ""))
            sentences = tuple([frozenset(self._stem(sentence)) for sentence in _SENTENCE.split(passage.text)])
            stems = self._stems[number] = _Stems(last, heading, sentences, heading.union(*sentences))
        return stems

    def _stem(self, text: str) -> list[str]:
        tokens = cast(list[Any], self._tokens(_with_names(text).encode("utf-8", "ignore"), apsw.FTS5_TOKENIZE_QUERY, None))
        return [token[2] for token in tokens]


def _with_names(text: str) -> str:
    return " ".join([text, *_names(text)])


def _names(text: str) -> list[str]:
    """Each name that has several parts, in one."""
    return [re.sub("[_-]", "", name).casefold() for name in _NAME.findall(text)]


def _weight(stems: frozenset[str], weights: Mapping[str, float]) -> float:
    return sum(weight for stem, weight in weights.items() if stem in stems)


def _alike(heading: Mapping[str, float], asked: Mapping[str, float]) -> float:
    """How much a heading says what was asked and nothing else (Dice), scaled to the question's weight."""
    both = sum(weight for stem, weight in asked.items() if stem in heading)
    total = sum(asked.values())
    return total * 2 * both / (total + sum(heading.values()) or 1.0)


def _in_sentence(stems: _Stems, weights: Mapping[str, float]) -> float:
    """The weight of the words in the best sentence together with the headings."""
    return max(_weight(sentence | stems.heading, weights) for sentence in stems.sentences)
