"""Fits the small text classifiers of `mainstay/parts/textmodel.py`: logistic regression by L-BFGS, in numpy.

The penalty is chosen by cross-validation in groups, and so is the curve that makes probabilities of scores; both see training
rows only. The same rows give the same weights.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from bench.quality.table import folds
from mainstay.parts.textmodel import Head, Recipe, TextModel, packed

PENALTIES = (10.0, 3.0, 1.0, 0.3)  # each begins where the one before it ended
INNER = 4  # folds by which a penalty is chosen


class Example(Struct, frozen=True, kw_only=True):
    """A text as a guard sees it: its tokens and marks, what is true of it, and the group that stays together."""

    tokens: tuple[str, ...]
    marks: tuple[str, ...] = ()
    label: bool
    group: Hashable
    weight: float = 1.0


class Fitted(NamedTuple):
    """A model, and the probabilities that models which had not seen them gave to the rows that it was fitted on."""

    head: Head
    unseen: list[float]


@functools.lru_cache(1 << 17)
def features_of(tokens: tuple[str, ...], marks: tuple[str, ...], recipe: Recipe) -> tuple[Any, Any]:
    """The places and values of a text's features; remembered, because a text is in the training rows of most folds."""
    each = [_of_token(token, recipe) for token in tokens]
    places = [place for own in each for place in own]
    if recipe.pairs:
        places += recipe.of_pairs([own[0] for own in each])
    found, counts = np.unique(np.array(places, dtype=np.int64), return_counts=True)
    marked = np.array([recipe.of_mark(mark) for mark in marks], dtype=np.int64)
    return np.append(found, marked), np.append(counts / math.sqrt(max(1, len(places))), np.ones(len(marked)))


@functools.lru_cache(1 << 17)
def _of_token(token: str, recipe: Recipe) -> list[int]:
    return recipe.of_token(token)


class Matrix:
    """Sparse rows of features, in their order; a place that is twice in a row counts twice."""

    def __init__(self, features: Sequence[tuple[Any, Any]], width: int) -> None:
        sizes = np.array([len(places) for places, _ in features])
        self.rows, self.filled = np.repeat(np.arange(len(features)), sizes), np.flatnonzero(sizes)
        self.starts = (np.cumsum(sizes) - sizes)[self.filled]
        self.columns, self.values = (np.concatenate(parts) for parts in zip(*features, strict=True))
        self.n, self.width = len(features), width

    def times(self, weights: Any) -> Any:
        sums = np.zeros(self.n)
        sums[self.filled] = np.add.reduceat(self.values * weights[self.columns], self.starts)
        return sums

    def transposed_times(self, errors: Any) -> Any:
        return np.bincount(self.columns, weights=self.values * errors[self.rows], minlength=self.width)


def solve(
    matrix: Matrix, labels: Any, sizes: Any, penalty: float, start: Any = None, *, steps: int = 100, memory: int = 8
) -> Any:
    """Weights and bias that minimise the log loss with an L2 penalty on the weights; `start` is where to begin."""

    def at(x: Any) -> tuple[float, Any]:
        scores = matrix.times(x[:-1]) + x[-1]
        loss = float(np.sum(sizes * (np.logaddexp(0, scores) - labels * scores)) + penalty / 2 * np.sum(x[:-1] ** 2))
        errors = sizes * (1 / (1 + np.exp(-np.clip(scores, -60, 60))) - labels)
        return loss, np.append(matrix.transposed_times(errors) + penalty * x[:-1], errors.sum())

    x = np.zeros(matrix.width + 1) if start is None else start
    loss, gradient = at(x)
    steps_taken: list[tuple[Any, Any, float]] = []
    for _ in range(steps):
        if np.abs(gradient).max() < 1e-3:
            break
        direction = -_direction(gradient, steps_taken)
        slope, rate = _dot(gradient, direction), 1.0 if steps_taken else 1.0 / (1.0 + float(np.abs(gradient).sum()))
        while rate > 1e-10:
            new = x + rate * direction
            new_loss, new_gradient = at(new)
            if new_loss <= loss + 1e-4 * rate * slope:
                break
            rate /= 2
        else:
            break
        s, y = new - x, new_gradient - gradient
        if _dot(s, y) > 1e-12:
            steps_taken = [*steps_taken[-memory + 1 :], (s, y, 1 / _dot(s, y))]
        done = loss - new_loss < 1e-7 * abs(loss)
        x, loss, gradient = new, new_loss, new_gradient
        if done:
            break
    return x


def _dot(a: Any, b: Any) -> float:
    """Not by BLAS: its threads wait for each other actively, and how many there are changes the last digit."""
    return float(np.einsum("i,i", a, b))


def _direction(gradient: Any, taken: Sequence[tuple[Any, Any, float]]) -> Any:
    """The gradient times an estimate of the inverse curvature (the two loops of L-BFGS)."""
    q, factors = gradient.copy(), []
    for s, y, rho in reversed(taken):
        factors.append(rho * _dot(s, q))
        q -= factors[-1] * y
    if taken:
        s, y, _ = taken[-1]
        q *= _dot(s, y) / _dot(y, y)
    for (s, y, rho), factor in zip(taken, reversed(factors), strict=True):
        q += s * (factor - rho * _dot(y, q))
    return q


def fit(
    examples: Sequence[Example],
    recipe: Recipe,
    *,
    penalties: Sequence[float] = PENALTIES,
    threshold: Callable[[Sequence[float], Sequence[Example]], float] = lambda unseen, examples: 0.5,
) -> Fitted:
    """A model of these examples; `threshold` chooses where it says yes, from the probabilities of unseen rows."""
    features = [features_of(e.tokens, e.marks, recipe) for e in examples]
    used, columns = np.unique(np.concatenate([places for places, _ in features]), return_inverse=True)
    cuts = np.cumsum([len(places) for places, _ in features])[:-1]
    features = [(own, values) for own, (_, values) in zip(np.split(columns, cuts), features, strict=True)]
    labels = np.array([float(e.label) for e in examples])
    sizes = np.array([e.weight for e in examples])
    scores = np.zeros((len(penalties), len(examples)))
    for train, test in _places(examples):
        known, unknown = (Matrix([features[i] for i in side], len(used)) for side in (train, test))
        x = None
        for i in range(len(penalties)):
            x = solve(known, labels[train], sizes[train], penalties[i], x)
            scores[i, test] = unknown.times(x[:-1]) + x[-1]
    losses = np.sum(sizes * (np.logaddexp(0, scores) - labels * scores), axis=1)
    best = int(losses.argmin())
    best_scores = scores[best]
    slope, offset = _curve(best_scores, labels, sizes)
    unseen = (1 / (1 + np.exp(-(slope * best_scores + offset)))).tolist()
    x = solve(Matrix(features, len(used)), labels, sizes, penalties[best])
    scale = float(np.abs(x[:-1]).max()) / 127 or 1.0
    weights = np.zeros(1 << recipe.bits, dtype=np.int8)
    weights[used] = np.round(x[:-1] / scale)
    head = Head(
        recipe=recipe,
        scale=round(scale, 9),
        bias=round(float(x[-1]), 6),
        slope=round(slope, 6),
        offset=round(offset, 6),
        threshold=round(threshold(unseen, examples), 4),
        weights=packed(weights.tobytes()),
    )
    return Fitted(head, unseen)


def asked(head: Head, examples: Sequence[Example]) -> list[float]:
    """The probabilities that the model gives to these examples, as the product computes them."""
    model = TextModel(head)
    return [model.probability(e.tokens, e.marks) for e in examples]


def _places(examples: Sequence[Example]) -> Iterator[tuple[Any, Any]]:
    numbered = list(enumerate(examples))
    for train, test in folds(numbered, lambda pair: ("inner", pair[1].group), INNER):
        if train and test:
            yield np.array([i for i, _ in train]), np.array([i for i, _ in test])


def _curve(scores: Any, labels: Any, sizes: Any) -> tuple[float, float]:
    """The line through scores whose logistic curve fits the labels best (Platt), by Newton's method."""
    a, b = 1.0, 0.0
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(a * scores + b, -60, 60)))
        errors, curvature = sizes * (p - labels), sizes * p * (1 - p) + 1e-9
        g = np.array([errors @ scores + 1e-3 * (a - 1), errors.sum()])
        h = np.array([[curvature @ scores**2 + 1e-3, curvature @ scores], [curvature @ scores, curvature.sum()]])
        step = np.linalg.solve(h, g)
        a, b = a - float(step[0]), b - float(step[1])
        if np.abs(step).max() < 1e-8:
            break
    return (a, b) if a > 0 else (1.0, 0.0)
