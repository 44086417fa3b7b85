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
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from mainstay.parts.terms import Question

LOOKED_AT = 3  # sections that may be evidence
SHARING = 20  # candidates that are compared by pieces of words
NEAR = 0.5  # of the best one's relevance, that a passage has to have
MUCH = 30  # passages of knowledge, in which a word that is missing says something about the question
BM25, COVERED, IN_HEADING, IN_SENTENCE, HEADED = 0.5, 1.0, 0.5, 0.5, 1.0  # weights of the ranking's parts
PIECES, PIECES_IN_SENTENCE, NEARNESS = 0.5, 0.5, 2.0
WORD, ALIKE, UNKNOWN, ENOUGH = 0.75, 5.0, 3.0, 3.5  # what makes evidence, in weights of a word that stands in one passage only
MOST, SCATTERED = 0.5, 6.0  # the share of a question above which it counts, also scattered over a passage, and how much


class Candidate(Struct, frozen=True):
    """A passage that may answer: its number, its share of the best one's BM25, how near it is by its vector, and its lines
    (`parts/terms.py`): the first is its own heading as terms, the second its headings, and each further one a sentence.
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
        units = [unit for unit in question.units if unit.term in known or not unit.optional]
        self._words = [_Word(unit.term, unit.needle, unit.mass, unit.mass * self._rarity(unit.term)) for unit in units]
        self._pieces = question.pieces
        self._total = sum([word.weight for word in self._words])
        self._unknown = sum([word.weight for word in self._words if word.term not in known])

    def relevance(self, candidates: Sequence[Candidate]) -> list[float]:
        """How well each of them answers: comparable among these, and about the question's weight for a perfect one.

        Pieces of words are compared for those only that cover most of the question, because that takes longest.
        """
        covering = [self._covering(candidate) for candidate in candidates]
        first = sorted(range(len(candidates)), key=lambda i: -covering[i])[:SHARING]
        for i, shared in zip(first, self._sharing([candidates[i] for i in first]), strict=True):
            covering[i] += shared
        return covering

    def covered(self, lines: Sequence[str]) -> float:
        """The share of the question that stands in a passage."""
        return _weight(_in("\n".join(lines[1:]), self._words)) / self._total if self._total else 0.0

    def answers(self, lines: Sequence[str]) -> bool:
        """Whether the passage is evidence for the question; always if one sentence, with its headings, holds all of it."""
        if not self._total:
            return False
        best = _best_sentence(lines, _in("\n".join(lines[1:]), self._words))
        found, words = _weight(best), sum([word.mass for word in best])
        strange = UNKNOWN * self._unknown * min(1.0, self._size / MUCH)  # what little knowledge does not mention says little
        like = (ALIKE * self._alike(lines[0]) - strange) / self._total + SCATTERED * max(0.0, self.covered(lines) - MOST)
        return found >= self._total - 1e-9 or found / self._single + WORD * words + like >= ENOUGH

    def _covering(self, candidate: Candidate) -> float:
        lines = candidate.lines
        there = _in("\n".join(lines[1:]), self._words)
        above = _weight(_in(lines[1], there))
        below = [(word.needle, word.weight) for word in there if word.needle not in lines[1]]
        sentence = above + _highest(lines[2:], below)
        total = (BM25 * candidate.bm25 + NEARNESS * candidate.near) * self._total + COVERED * _weight(there)
        return total + IN_HEADING * above + IN_SENTENCE * sentence + HEADED * self._alike(lines[0])

    def _alike(self, last: str) -> float:
        """How much a heading says what was asked and nothing else (Dice), scaled to the question's weight."""
        heading = set(last.split())
        both = sum([word.weight for word in self._words if word.term in heading])
        return self._total * 2 * both / (self._total + sum(map(self._rarity, heading))) if both else 0.0

    def _rarity(self, term: str) -> float:
        return _rarity(self._known.get(term, 0), self._size)

    def _sharing(self, candidates: Sequence[Candidate]) -> list[float]:
        """What each shares with the question in pieces of words: BM25 among the candidates, and the best sentence of each."""
        texts = ["\n".join(candidate.lines[1:]) for candidate in candidates]
        counts = [{piece: n for piece in self._pieces if (n := text.count(piece))} for text in texts]
        mean = sum(map(len, texts)) / (len(texts) or 1)
        frequency = Counter([piece for count in counts for piece in count])
        rarity = {piece: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for piece, n in frequency.items()}
        whole, best = [], []
        for candidate, text, count in zip(candidates, texts, counts, strict=True):
            long = 1.2 * (0.25 + 0.75 * len(text) / mean)
            whole.append(sum([rarity[piece] * n * 2.2 / (n + long) for piece, n in count.items()]))
            best.append(_highest(candidate.lines[2:], [(piece, rarity[piece]) for piece in count]))
        most, highest = max(whole, default=0.0) or 1.0, max(best, default=0.0) or 1.0
        return [self._total * (PIECES * w / most + PIECES_IN_SENTENCE * b / highest) for w, b in zip(whole, best, strict=True)]


class _Word(NamedTuple):
    """A word of the question, and how much it counts here."""

    term: str
    needle: str
    mass: float
    weight: float


def _in(text: str, words: Sequence[_Word]) -> list[_Word]:
    return [word for word in words if word.needle in text]


def _weight(words: Sequence[_Word]) -> float:
    return sum([word.weight for word in words])


def _highest(lines: Sequence[str], parts: Sequence[tuple[str, float]]) -> float:
    """The weight of those parts that stand in the line that has most of it. A plain loop: it runs a thousand times a search."""
    highest = 0.0
    for line in lines:
        weight = 0.0
        for part, counts in parts:
            if part in line:
                weight += counts
        highest = max(highest, weight)
    return highest


def _best_sentence(lines: Sequence[str], words: Sequence[_Word]) -> list[_Word]:
    """Those of the words that stand in the best sentence, or in the headings above it."""
    above = _in(lines[1], words)
    below = [word for word in words if word not in above]
    return above + max([_in(line, below) for line in lines[2:]], key=_weight, default=[])


def _rarity(passages: int, size: int) -> float:
    """How much a word counts: the rarer in the index the more; one that is not there at all counts most."""
    if not passages:  # somewhat rarer than the rarest, also where the index is small
        return 1.2 * _rarity(1, size)
    return math.log(1 + (size + 1) / (passages + 0.5))
