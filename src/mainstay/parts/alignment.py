"""Does the evidence bear the sentence? A small trained classifier that asks no model: the seam `Aligner`.

A sentence is compared with the evidence word by word (`parts/matching.py`). A first logistic regression says of each word how
probably the evidence does not bear it; a second one puts these together with how much of the sentence is covered, how long its
longest stretches are, and which numbers, names, negations and opposites differ. Its result is a probability. The weights, with
the card that says what they were fitted on and how good they are, lie in `weights/alignment.json`; `bench/quality/alignment.py`
fits them, and docs/cards/alignment.md tells what they do not see.

Limits: it compares spellings. A synonym is a missing word to it, and it does not see who did what to whom. It was fitted on
English sentences; in other languages numbers, names and the same words count as well.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from mainstay.core import learned
from mainstay.core.evidence import Evidence, Passage, Slot, Support
from mainstay.parts.matching import OPPOSITES, Compared, Ground, denies

GROUNDS, SENTENCES = 64, 4096  # evidence that is remembered as it was read, and what was said of sentences beside it
CLOSE, FAR = 4, 30  # places within which two words stand together, and beyond which they do not belong to each other
CLOSELY = 0.8  # the share of words in stretches of three or more, from which a sentence is in the evidence's own words
HARDLY = 0.6  # the share of a sentence's weight, below which next to nothing of it is covered


class Card(Struct, frozen=True, kw_only=True):
    """What a model is worth: the data and its licence, when it was fitted, its figures and its limits."""

    name: str
    data: tuple[str, ...]
    licence: str
    date: str
    figures: dict[str, float]
    limits: tuple[str, ...]


class Regression(Struct, frozen=True, kw_only=True):
    """A logistic regression: a weight for each feature by its name, and what is there without any."""

    weights: dict[str, float]
    bias: float

    def probability(self, features: Mapping[str, float]) -> float:
        """Of the one outcome, given the features."""
        total = self.bias
        for name, weight in self.weights.items():
            total += weight * features[name]
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))


class Weights(Struct, frozen=True, kw_only=True):
    """What is fitted: of words, of sentences, and of those that are close to the evidence's own words.

    `common` tells in ten steps how rare stems are, by their hashes: 0 is in most texts, 9 in hardly any.
    """

    card: Card
    common: str
    word: Regression
    claim: Regression
    close: Regression

    def probability(self, features: Mapping[str, float]) -> float:
        """That the evidence bears a sentence with these features. Of one in its own words, two regressions are heard equally: the
        one knows what a changed word does to it, the other that a sentence may well be put otherwise."""
        claim = self.claim.probability(features)
        return claim if features["in stretches"] < CLOSELY else (claim + self.close.probability(features)) / 2


def weigher(common: str) -> Callable[[str], float]:
    """How much a stem counts, between 0.1 and 1; a number counts in full. Two hashes a stem, so that few are mistaken."""
    size = len(common) // 2

    @functools.lru_cache(1 << 16)
    def weigh(key: str) -> float:
        if key[0] == "#" or not size:
            return 1.0
        one, other = slots_of(key, size)
        return (int(max(common[one], common[other])) + 1) / 10

    return weigh


def slots_of(key: str, size: int) -> tuple[int, int]:
    """Where a table of two halves, each of that size, tells of a stem."""
    data = key.encode("utf-8", "replace")
    return zlib.crc32(data) % size, size + zlib.adler32(data * 2) % size


def word_features(seen: Compared, i: int, near: Sequence[int | None]) -> dict[str, float]:
    """What tells of one word whether the evidence bears it. `near` is how close its neighbours of weight stand to it there."""
    word, found = seen.words[i], seen.found[i]
    place = seen.order[i]
    before = seen.content[place - 1] if place else None
    behind = place + (place < len(seen.content) and seen.content[place] == i)
    after = seen.content[behind] if behind < len(seen.content) else None
    gone, small = found == 0, word.kind == "small"
    lost_before = before is not None and not seen.found[before]
    lost_after = after is not None and not seen.found[after]
    gap = min([g for g in near if g is not None], default=FAR + 1)
    there = not gone and not small
    return {
        "missing": float(gone and not small),
        "small, missing": float(gone and small),
        "nearly there": float(found == 1),
        "number, missing": float(gone and word.kind == "number"),
        "name, missing": float(gone and word.kind == "name"),
        "small": float(small),
        "number": float(word.kind == "number"),
        "name": float(word.kind == "name"),
        "the one before missing": float(lost_before),
        "the one behind missing": float(lost_after),
        "both missing": float(lost_before and lost_after),
        "small, the one before missing": float(small and lost_before),
        "small, the one behind missing": float(small and lost_after),
        "elsewhere": float(there and not seen.window >> i & 1),
        "apart": float(there and gap > CLOSE),
        "far apart": float(there and gap > FAR),
        "weight": seen.weights[i],
        "weight, missing": seen.weights[i] * (gone and not small),
        "uncovered": 1 - seen.covered,
    }


def claim_features(seen: Compared, doubts: Sequence[float], gaps: Sequence[int | None]) -> dict[str, float]:
    """What tells whether the evidence bears the whole. `doubts` are the probabilities that it does not bear each word."""
    words, found, content, weights = seen.words, seen.found, seen.content, seen.weights
    missing = [i for i in content if not found[i]]
    runs = seen.runs()
    stretched = _in_stretches(runs) / (len(words) or 1)
    most = max(doubts, default=0.0)
    doubt = -sum(math.log(max(1e-6, 1 - p)) for p in doubts)
    apart = sum(gap is None or gap > CLOSE for gap in gaps) / (1 + len(gaps))
    negated, opposite = _negated_otherwise(seen), float(_opposite(seen))
    return {
        "covered": seen.covered,
        "covered in a row": seen.weight(seen.window) / seen.total,
        "missing weight": math.log1p(sum(weights[i] for i in missing)),
        "missing numbers": float(min(2, sum(words[i].kind == "number" for i in missing))),
        "missing names": float(min(3, sum(words[i].kind == "name" for i in missing))),
        "words apart": apart,
        "worst clause": _worst_clause(seen),
        "length": math.log1p(len(content)),
        "longest stretch": max(runs, default=0) / (len(words) or 1),
        "in stretches": stretched,
        "longest without a gap": _longest(found) / (len(words) or 1),
        "doubt": math.log1p(doubt),
        "most doubt": most,
        "mean doubt": sum(doubts) / (len(doubts) or 1),
        "hardly covered": max(0.0, HARDLY - seen.covered),
        "negated otherwise": negated,
        "opposite": opposite,
        "doubt in stretches": stretched * most,
        "replaced": float(min(2, seen.replaced())),
        "apart in stretches": stretched * apart,
        "all but negated": negated**4,
        "opposite in stretches": stretched * opposite,
    }


def _worst_clause(seen: Compared) -> float:
    """The largest share of a clause's weight that is missing."""
    clauses: dict[int, list[float]] = {}
    for i in seen.content:
        whole = clauses.setdefault(seen.words[i].clause, [0.0, 0.0])
        whole[0] += seen.weights[i]
        whole[1] += seen.weights[i] * (not seen.found[i])
    return max([missing / weight for weight, missing in clauses.values() if weight > 0.8], default=0.0)


def _in_stretches(runs: Sequence[int]) -> int:
    """How many words belong to a run of three or more."""
    count = last = 0
    for i, run in enumerate(runs):
        if run >= 3:
            count += i + 1 - max(last, i + 1 - run)
            last = i + 1
    return count


def _longest(found: Sequence[int]) -> int:
    longest = run = 0
    for state in found:
        run = run + 1 if state else 0
        longest = max(longest, run)
    return longest


def _negated_otherwise(seen: Compared) -> float:
    """How much of the sentence the evidence's best sentence covers, if one of the two denies something and the other does not."""
    if seen.row is None or any(denies(word.key) for word in seen.words) == (seen.row in seen.ground.negated):
        return 0.0
    return seen.weight(seen.rows[seen.row]) / seen.total


def _opposite(seen: Compared) -> bool:
    """Whether a word is missing, and its opposite is in the sentences that bear the rest."""
    return any(not seen.found[i] and seen.near_row(OPPOSITES.get(word.key, ())) for i, word in enumerate(seen.words))


class Alignment:
    """The aligner; without weights of its own, with those that Mainstay ships."""

    def __init__(self, weights: Weights | None = None) -> None:
        self.weights = shipped() if weights is None else weights
        self._weigh = weigher(self.weights.common)
        self._read = functools.lru_cache(GROUNDS)(self._ground)
        self._say = functools.lru_cache(SENTENCES)(self._support)

    def support(self, sentences: Sequence[str], evidence: Evidence) -> list[Support]:
        """One a sentence, in their order. Slots bear sentences too; they are no passage."""
        if not evidence.passages and not evidence.slots:
            return [Support(score=0.0)] * len(sentences)
        ground = self._read(evidence.passages, tuple([_told(slot) for slot in evidence.slots if slot.value]))
        return [self._say(sentence, ground, len(evidence.passages)) for sentence in sentences]

    def doubts(self, sentence: str, evidence: Evidence) -> list[tuple[int, int, float]]:
        """For each word its place in the sentence, and the probability that the evidence does not bear it."""
        ground = self._read(evidence.passages, tuple([_told(slot) for slot in evidence.slots if slot.value]))
        seen = Compared(sentence, ground, self._weigh)
        doubts = self._doubts(seen, seen.gaps())
        return [(word.start, word.end, doubt) for word, doubt in zip(seen.words, doubts, strict=True)]

    def _support(self, sentence: str, ground: Ground, passages: int) -> Support:
        seen = Compared(sentence, ground, self._weigh)
        gaps = seen.gaps()
        score = self.weights.probability(claim_features(seen, self._doubts(seen, gaps), gaps)) if seen.content else 0.0
        best = seen.best[0] if seen.best else None
        at = None if seen.row is None or ground.passage[seen.row] != best else ground.starts[seen.row]
        return Support(score=score, passage=best if best is not None and best < passages else None, at=at)

    def _ground(self, passages: tuple[Passage, ...], slots: tuple[str, ...]) -> Ground:
        """What was read of the same passages is read no second time for a slot more."""
        if slots:
            return self._read(passages, slots[:-1]).also(slots[-1])
        return Ground([(" ".join((*passage.heading, passage.document)), passage.text) for passage in passages])

    def _doubts(self, seen: Compared, gaps: Sequence[int | None]) -> list[float]:
        near = seen.beside(gaps)
        regression = self.weights.word
        return [regression.probability(word_features(seen, i, near[i])) for i in range(len(seen.words))]


def _told(slot: Slot) -> str:
    return f"{slot.name.replace('_', ' ')} {slot.value} {slot.unit}"


@functools.cache
def shared() -> Alignment:
    """The one aligner of a process: whoever looks at the same sentence beside the same evidence is told at once."""
    return Alignment()


@functools.cache
def shipped() -> Weights:
    """The weights that Mainstay ships."""
    return learned.shipped("alignment", Weights)
