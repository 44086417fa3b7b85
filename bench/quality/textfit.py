"""Fits the small text classifiers of `mainstay/parts/textmodel.py`: logistic regression by L-BFGS, in numpy.

The penalty is chosen by cross-validation in groups, and so is the curve that makes probabilities of scores; both see training
rows only. The same rows give the same weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from bench.quality.table import folds
from mainstay.parts.textmodel import Head, Recipe, TextModel, packed

PENALTIES = (0.3, 1.0, 3.0, 10.0)
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


class Matrix:
    """Sparse rows of features."""

    def __init__(self, examples: Sequence[Example], recipe: Recipe) -> None:
        rows: list[int] = []
        columns: list[int] = []
        values: list[float] = []
        of_token: dict[str, list[int]] = {}
        for i, example in enumerate(examples):
            counts: Counter[int] = Counter()
            before = -1
            for token in example.tokens:
                places = of_token.setdefault(token, []) or of_token[token]
                if not places:
                    places.extend(recipe.of_token(token))
                counts.update(places)
                if recipe.pairs and before >= 0:
                    counts[recipe.of_pair(before, places[0])] += 1
                before = places[0]
            norm = math.sqrt(sum(counts.values())) or 1.0
            features = {place: n / norm for place, n in counts.items()}
            for mark in example.marks:
                place = recipe.of_mark(mark)
                features[place] = features.get(place, 0.0) + 1.0
            rows += [i] * len(features)
            columns += features.keys()
            values += features.values()
        self.rows, self.columns = np.array(rows, dtype=np.int64), np.array(columns, dtype=np.int64)
        self.values, self.n = np.array(values), len(examples)
        self.width = 1 << recipe.bits

    def times(self, weights: Any) -> Any:
        return np.bincount(self.rows, weights=self.values * weights[self.columns], minlength=self.n)

    def transposed_times(self, errors: Any) -> Any:
        return np.bincount(self.columns, weights=self.values * errors[self.rows], minlength=self.width)


def solve(matrix: Matrix, labels: Any, sizes: Any, penalty: float, *, steps: int = 100, memory: int = 8) -> Any:
    """Weights and bias that minimise the log loss with an L2 penalty on the weights."""

    def at(x: Any) -> tuple[float, Any]:
        scores = matrix.times(x[:-1]) + x[-1]
        loss = float(np.sum(sizes * (np.logaddexp(0, scores) - labels * scores)) + penalty / 2 * np.sum(x[:-1] ** 2))
        errors = sizes * (1 / (1 + np.exp(-np.clip(scores, -60, 60))) - labels)
        return loss, np.append(matrix.transposed_times(errors) + penalty * x[:-1], errors.sum())

    x = np.zeros(matrix.width + 1)
    loss, gradient = at(x)
    steps_taken: list[tuple[Any, Any, float]] = []
    for _ in range(steps):
        if np.abs(gradient).max() < 1e-3:
            break
        direction = -_direction(gradient, steps_taken)
        slope, rate = float(gradient @ direction), 1.0 if steps_taken else 1.0 / (1.0 + float(np.abs(gradient).sum()))
        while rate > 1e-10:
            new, (new_loss, new_gradient) = x + rate * direction, at(x + rate * direction)
            if new_loss <= loss + 1e-4 * rate * slope:
                break
            rate /= 2
        else:
            break
        s, y = new - x, new_gradient - gradient
        if float(s @ y) > 1e-12:
            steps_taken = [*steps_taken[-memory + 1 :], (s, y, 1 / float(s @ y))]
        done = loss - new_loss < 1e-7 * abs(loss)
        x, loss, gradient = new, new_loss, new_gradient
        if done:
            break
    return x


def _direction(gradient: Any, taken: Sequence[tuple[Any, Any, float]]) -> Any:
    """The gradient times an estimate of the inverse curvature (the two loops of L-BFGS)."""
    q, factors = gradient.copy(), []
    for s, y, rho in reversed(taken):
        factors.append(rho * float(s @ q))
        q -= factors[-1] * y
    if taken:
        s, y, _ = taken[-1]
        q *= float(s @ y) / float(y @ y)
    for (s, y, rho), factor in zip(taken, reversed(factors), strict=True):
        q += s * (factor - rho * float(y @ q))
    return q


def fit(
    examples: Sequence[Example],
    recipe: Recipe,
    *,
    penalties: Sequence[float] = PENALTIES,
    threshold: Callable[[Sequence[float], Sequence[Example]], float] = lambda unseen, examples: 0.5,
) -> Fitted:
    """A model of these examples; `threshold` chooses where it says yes, from the probabilities of unseen rows."""
    matrix = Matrix(examples, recipe)
    labels = np.array([float(e.label) for e in examples])
    sizes = np.array([e.weight for e in examples])
    inner = list(_places(examples))
    best, best_loss, best_scores = penalties[0], math.inf, np.zeros(len(examples))
    for penalty in penalties if len(penalties) > 1 else penalties[:1]:
        scores = np.zeros(len(examples))
        for train, test in inner:
            x = solve(_part(matrix, train), labels[train], sizes[train], penalty)
            scores[test] = (matrix.times(x[:-1]) + x[-1])[test]
        loss = float(np.sum(sizes * (np.logaddexp(0, scores) - labels * scores)))
        if loss < best_loss:
            best, best_loss, best_scores = penalty, loss, scores
    slope, offset = _curve(best_scores, labels, sizes)
    unseen = (1 / (1 + np.exp(-(slope * best_scores + offset)))).tolist()
    x = solve(matrix, labels, sizes, best)
    scale = float(np.abs(x[:-1]).max()) / 127 or 1.0
    weights = np.round(x[:-1] / scale).astype(np.int8).tobytes()
    head = Head(
        recipe=recipe,
        scale=round(scale, 9),
        bias=round(float(x[-1]), 6),
        slope=round(slope, 6),
        offset=round(offset, 6),
        threshold=round(threshold(unseen, examples), 4),
        weights=packed(weights),
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


def _part(matrix: Matrix, rows: Any) -> Matrix:
    """The matrix with these rows alone."""
    part = object.__new__(Matrix)
    place = np.full(matrix.n, -1)
    place[rows] = np.arange(len(rows))
    kept = place[matrix.rows] >= 0
    part.rows, part.columns, part.values = place[matrix.rows[kept]], matrix.columns[kept], matrix.values[kept]
    part.n, part.width = len(rows), matrix.width
    return part


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
