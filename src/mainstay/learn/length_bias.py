"""How much a judge likes length, beside how much people do, and its votes with the difference taken out.

A vote is between -1 (for the second answer, or "failed") and 1 (for the first, or "passed"). A pull is how much length speaks for
the first: the binary logarithm of how many times longer it is, so 1 is twice as long. Logistic regressions are fitted by Newton's
method with a ridge of `RIDGE`, which keeps them finite where length decides everything; intervals are Wald's, at 95 %.

Limits: length stands for everything that grows with it, also for what people are right to like. The correction breaks ties and
turns weak votes; a single plain vote it turns only where lengths differ much, so it mends how often the longer one wins better
than each single verdict.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from msgspec import Struct

RIDGE = 0.01
ROUNDS = 50
FOLDS = 5
Z = 1.959964
STEP, TRIED = 1e-6, 200  # beyond where a vote changes, and how many priors are tried

Sample = tuple[Sequence[float], float]  # what is known, and how sure the answer is a yes, from 0 to 1


class Ratio(Struct, frozen=True, kw_only=True):
    """An odds ratio with its interval; 1 is no effect."""

    value: float
    low: float
    high: float


class LengthBias(Struct, frozen=True, kw_only=True):
    """What twice the length does to the odds of being preferred.

    `human` and `judge` are each by themselves; `beyond` is the judge's where people said the same, so 1 is a judge that likes
    length as people do. The shares are of decided verdicts on answers of different lengths, by which the longer one won.
    """

    human: Ratio
    judge: Ratio
    beyond: Ratio
    longer_human: float | None
    longer_judge: float | None
    longer_corrected: float | None


class LengthPrior(Struct, frozen=True, kw_only=True):
    """What a judge makes too much of length: added to its vote, `pull` for each doubling, it lets the longer one win as often as
    with people. Negative for a judge that overrates length, positive for one that underrates it."""

    pull: float

    def corrected(self, vote: float, pull: float) -> int:
        """The vote, corrected for length: 1, 0 or -1."""
        return _sign(vote + self.pull * pull)


class Judgement(Struct, frozen=True, kw_only=True):
    """One row as figures: the judge's vote, what people said (-1, 0 or 1), and the pull of the lengths."""

    vote: float
    human: int
    pull: float


def corrected(rows: Sequence[Judgement]) -> list[int]:
    """Each row's vote, corrected for length by a prior that was fitted on the rows of other folds."""
    return _across(rows, lambda others: fit_prior(others).corrected)


def by_length_alone(rows: Sequence[Judgement]) -> list[int]:
    """What length alone says of each row: the longer one, or the shorter one if that is what people preferred in other folds."""

    def fit(others: Sequence[Judgement]) -> Callable[[float, float], int]:
        liked = _sign(sum(row.human * _sign(row.pull) for row in others))
        return lambda vote, pull: liked * _sign(pull)

    return _across(rows, fit)


def _across(rows: Sequence[Judgement], fit: Callable[[Sequence[Judgement]], Callable[[float, float], int]]) -> list[int]:
    folds = [i % FOLDS for i in range(len(rows))]
    random.Random(0).shuffle(folds)
    fitted = [fit([row for row, at in zip(rows, folds, strict=True) if at != fold]) for fold in range(FOLDS)]
    return [fitted[fold](row.vote, row.pull) for row, fold in zip(rows, folds, strict=True)]


def fit_prior(rows: Sequence[Judgement]) -> LengthPrior:
    """The smallest prior by which the longer one wins as often as with people, as nearly as that can be had."""
    people = _longer([row.human for row in rows], rows)
    if people is None:
        return LengthPrior(pull=0.0)
    turns = {-row.vote / row.pull for row in rows if row.pull}  # where the sign of a row's vote changes
    tried = sorted({0.0, *(at + side for at in turns for side in (-STEP, STEP))}, key=abs)
    tried = tried[:: max(1, len(tried) // TRIED)]

    def apart(pull: float) -> float:
        longer = _longer([_sign(row.vote + pull * row.pull) for row in rows], rows)
        return 1.0 if longer is None else round(abs(longer - people), 3)

    return LengthPrior(pull=min(tried, key=apart))


def length_bias(rows: Sequence[Judgement], after: Sequence[int]) -> LengthBias:
    """How much length does to people and judge; `after` are the corrected votes."""
    return LengthBias(
        human=_ratio([((1.0, row.pull), (row.human + 1) / 2) for row in rows], 1),
        judge=_ratio([((1.0, row.pull), (row.vote + 1) / 2) for row in rows], 1),
        beyond=_ratio([((1.0, row.pull, float(row.human)), (row.vote + 1) / 2) for row in rows], 1),
        longer_human=_longer([row.human for row in rows], rows),
        longer_judge=_longer([row.vote for row in rows], rows),
        longer_corrected=_longer(after, rows),
    )


def _longer(votes: Sequence[float], rows: Sequence[Judgement]) -> float | None:
    """Of the votes that decide between different lengths, the share that is for the longer one."""
    decided = [vote * row.pull > 0 for vote, row in zip(votes, rows, strict=True) if vote * row.pull]
    return sum(decided) / len(decided) if decided else None


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _ratio(samples: Sequence[Sample], of: int) -> Ratio:
    weights, errors = logistic(samples)
    middle, half = weights[of], Z * errors[of]
    return Ratio(value=_exp(middle), low=_exp(middle - half), high=_exp(middle + half))


# Logistic regression, for a handful of weights


def logistic(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """The weights, and the standard error of each.

    Raises `ValueError` where there are no samples.
    """
    if not samples:
        raise ValueError("there is nothing to fit to")
    size = len(samples[0][0])
    weights = [0.0] * size
    for _ in range(ROUNDS):
        gradient, curvature = _slopes(samples, weights)
        step = [sum(row[j] * gradient[j] for j in range(size)) for row in _inverse(curvature)]
        scale, before = 1.0, _loss(samples, weights)
        while scale > 1e-6 and _loss(samples, [w + scale * s for w, s in zip(weights, step, strict=True)]) > before:
            scale /= 2
        weights = [w + scale * s for w, s in zip(weights, step, strict=True)]
        if max(map(abs, step)) * scale < 1e-9:
            break
    covariance = _inverse(_slopes(samples, weights)[1])
    return weights, [math.sqrt(max(0.0, covariance[i][i])) for i in range(size)]


def _slopes(samples: Sequence[Sample], weights: Sequence[float]) -> tuple[list[float], list[list[float]]]:
    size = len(weights)
    gradient = [-RIDGE * weight for weight in weights]
    curvature = [[RIDGE if i == j else 0.0 for j in range(size)] for i in range(size)]
    for known, yes in samples:
        chance = _sigmoid(sum(w * x for w, x in zip(weights, known, strict=True)))
        for i in range(size):
            gradient[i] += (yes - chance) * known[i]
            for j in range(size):
                curvature[i][j] += chance * (1 - chance) * known[i] * known[j]
    return gradient, curvature


def _loss(samples: Sequence[Sample], weights: Sequence[float]) -> float:
    loss = RIDGE / 2 * sum(w * w for w in weights)
    for known, yes in samples:
        z = sum(w * x for w, x in zip(weights, known, strict=True))
        loss += max(z, 0.0) + math.log1p(math.exp(-abs(z))) - yes * z
    return loss


def _inverse(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """By Gauss and Jordan; the ridge keeps it from being singular."""
    size = len(matrix)
    rows = [[*row, *(float(i == j) for j in range(size))] for i, row in enumerate(matrix)]
    for i in range(size):
        pivot = max(range(i, size), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for other in range(size):
            if other != i and rows[other][i]:
                factor = rows[other][i]
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[i], strict=True)]
    return [row[size:] for row in rows]


def _sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def _exp(z: float) -> float:
    return math.exp(min(z, 50.0))
