"""Which of some passages answers a question best, and whether any of them does.

Candidates are ranked by how much of the question they cover: the whole passage, its headings, and its best single sentence,
each word counted by how rare it is; by how much their own heading is the question (Dice); and by how many pieces of words and
pairs of words they share with it, the rarer among the candidates the more. Whether a passage is evidence at all is a separate
question, asked of its best sentence together with its headings: the weight of the question's words found there, less a part of
the weight of those that are missing anywhere, has to reach a threshold. Words of one topic stand together; words that a passage
shares with a question by chance stand scattered. The figures were fitted on product documentation that is not ours
(docs/performance.md has what they reach on ours, and in twelve languages).

Limits: words are compared, not meanings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from mainstay.parts.terms import Question, Unit

LOOKED_AT = 3  # sections that may be evidence
NEAR = 0.5  # of the best one's relevance, that a passage has to have
MUCH = 30  # passages of knowledge, in which a word that is missing says something about the question
BM25, COVERED, IN_HEADING, IN_SENTENCE, HEADED = 0.5, 1.0, 0.5, 0.5, 1.0  # weights of the ranking's parts
PIECES, PIECES_IN_SENTENCE = 0.5, 0.5
WORD, ALIKE, UNKNOWN, ENOUGH = 0.75, 5.0, 3.0, 3.5  # what makes evidence, in weights of a word that stands in one passage only
MOST, SCATTERED = 0.5, 6.0  # the share of a question above which it counts, also scattered over a passage, and how much


class Candidate(Struct, frozen=True):
    """A passage that may answer: its number, its share of the best one's BM25, how near it is by its vector, and its lines
    (`parts/terms.py`).
    """

    number: int
    bm25: float
    near: float
    lines: tuple[str, ...]


class Ranking:
    """How passages do beside a question. `known` says in how many of the `size` passages each term stands."""

    def __init__(self, question: Question, known: Mapping[str, int], size: int) -> None:
        self._known, self._size = known, size
        self._single = _rarity(1, size)
        self._units = [unit for unit in question.units if unit.term in known or not unit.optional]
        self._weights = {unit: unit.mass * self._rarity(unit.term) for unit in self._units}
        self._pieces = question.pieces
        self.total = sum(self._weights.values())
        self._unknown = sum(weight for unit, weight in self._weights.items() if unit.term not in known)

    def relevance(self, candidates: Sequence[Candidate]) -> list[float]:
        """How well each of them answers: comparable among these, and about the question's weight for a perfect one."""
        shared = self._sharing(candidates)
        return [self._covering(candidate) + more for candidate, more in zip(candidates, shared, strict=True)]

    def covered(self, lines: Sequence[str]) -> float:
        """The share of the question that stands in a passage."""
        return self._weight(self._in("\n".join(lines[1:]))) / self.total if self.total else 0.0

    def answers(self, lines: Sequence[str]) -> bool:
        """Whether the passage is evidence for the question; always if one sentence, with its headings, holds all of it."""
        if not self.total:
            return False
        best = self._best_sentence(lines, self._units)
        found, words = self._weight(best), sum(unit.mass for unit in best)
        strange = UNKNOWN * self._unknown * min(1.0, self._size / MUCH)  # what little knowledge does not mention says little
        like = (ALIKE * self._alike(lines[0]) - strange) / self.total
        like += SCATTERED * max(0.0, self.covered(lines) - MOST)
        return found >= self.total - 1e-9 or found / self._single + WORD * words + like >= ENOUGH

    def _covering(self, candidate: Candidate) -> float:
        lines = candidate.lines
        there = self._in("\n".join(lines[1:]))
        total = BM25 * candidate.bm25 * self.total + COVERED * self._weight(there)
        total += IN_HEADING * self._weight([unit for unit in there if unit.needle in lines[1]])
        return total + IN_SENTENCE * self._weight(self._best_sentence(lines, there)) + HEADED * self._alike(lines[0])

    def _in(self, text: str) -> list[Unit]:
        return [unit for unit in self._units if unit.needle in text]

    def _weight(self, units: Iterable[Unit]) -> float:
        return sum([self._weights[unit] for unit in units])

    def _best_sentence(self, lines: Sequence[str], units: Sequence[Unit]) -> list[Unit]:
        """Those of the units that stand in the best sentence, or in the headings above it."""
        above = [unit for unit in units if unit.needle in lines[1]]
        below = [unit for unit in units if unit.needle not in lines[1]]
        found = [[unit for unit in below if unit.needle in line] for line in lines[2:]]
        return above + max(found, key=self._weight, default=[])

    def _alike(self, last: str) -> float:
        """How much a heading says what was asked and nothing else (Dice), scaled to the question's weight."""
        heading = set(last.split())
        both = sum(weight for unit, weight in self._weights.items() if unit.term in heading)
        if not both:
            return 0.0
        return self.total * 2 * both / (self.total + sum(map(self._rarity, heading)))

    def _rarity(self, term: str) -> float:
        return _rarity(self._known.get(term, 0), self._size)

    def _sharing(self, candidates: Sequence[Candidate]) -> list[float]:
        """What each shares with the question in pieces of words: BM25 among the candidates, and the best sentence of each."""
        texts = ["\n".join(candidate.lines[1:]) for candidate in candidates]
        counts = [{piece: text.count(piece) for piece in self._pieces if piece in text} for text in texts]
        several = len(candidates)
        frequency = {piece: sum(piece in count for count in counts) for piece in self._pieces}
        rarity = {piece: math.log(1 + (several - n + 0.5) / (n + 0.5)) for piece, n in frequency.items() if n}
        mean = sum(map(len, texts)) / several if several else 1.0
        whole = [
            sum(rarity[piece] * n * 2.2 / (n + 1.2 * (0.25 + 0.75 * len(text) / mean)) for piece, n in count.items())
            for text, count in zip(texts, counts, strict=True)
        ]
        best = [
            max((sum(rarity[piece] for piece in count if piece in line) for line in candidate.lines[2:]), default=0.0)
            for candidate, count in zip(candidates, counts, strict=True)
        ]
        most, highest = max(whole, default=0.0) or 1.0, max(best, default=0.0) or 1.0
        return [
            self.total * (PIECES * w / most + PIECES_IN_SENTENCE * b / highest) for w, b in zip(whole, best, strict=True)
        ]


def _rarity(passages: int, size: int) -> float:
    """How much a word counts: the rarer in the index the more; one that is not there at all counts most."""
    if not passages:  # somewhat rarer than the rarest, also where the index is small
        return 1.2 * _rarity(1, size)
    return math.log(1 + (size + 1) / (passages + 0.5))
