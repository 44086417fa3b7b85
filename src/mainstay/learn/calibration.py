"""Is an answer as often right as its confidence says? Figures of that, and the weights that make it so.

Figures are taken of answers that have a confidence and that every scorer could judge: expected calibration error over ten equal
ranges, and the Brier score. Weights are fitted to answers whose signals are on the record, by logistic regression that is drawn
towards the shipped weights: few answers change little. Each figure on the card comes from answers that the weights had not
seen (cross-validation in parts; the answers to one case, or of one record, stay together).

What it does not know: whether the cases, or the users who gave a thumb, stand for all the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from msgspec import Struct

from mainstay.core.confidence import UNCALIBRATED, USUAL, Calibration, CalibrationCard, logistic
from mainstay.core.reasons import Status
from mainstay.core.record import Score
from mainstay.core.report import Report, Side
from mainstay.learn.fitting import BINS, calibration_error

LEAST = 30  # judged answers that can be fitted to,
LEAST_OF_EACH = 5  # and right and wrong ones among them
FOLDS = 5
STEPS = 12  # of Newton's method
PULL = 0.5  # how strongly the shipped weights draw
MOST = 20.0  # of a weight, either way
ANSWERED = (Status.ANSWERED, Status.CACHED, Status.DEGRADED)
USERS = ("user", "reviewer")  # who gave a score that counts as a judgement


class Range(Struct, frozen=True):
    """The answers with a confidence between `low` and `high`: their number, their mean confidence, and the share that passed."""

    low: float
    high: float
    answers: int
    confidence: float
    passed: float


class Reliability(Struct, frozen=True, kw_only=True):
    """How far confidence can be relied upon. `error` is the expected calibration error, `brier` the mean squared one."""

    answers: int
    error: float
    brier: float
    ranges: tuple[Range, ...]


class Judged(Struct, frozen=True, kw_only=True):
    """The signals of an answer, and whether it was right; answers of one `group` are never torn apart."""

    signals: Mapping[str, float]
    right: bool
    group: str


class TooFew(Struct, frozen=True):
    """Why there is nothing to fit."""

    missing: str


def reliability(told: Sequence[tuple[float, bool]]) -> Reliability | None:
    """The figures of answers with this confidence, right or wrong; None where there are none."""
    if not told:
        return None
    ranges = []
    for place in range(BINS):
        inside = [(sure, right) for sure, right in told if min(BINS - 1, int(sure * BINS)) == place]
        if inside:
            sure, passed = fmean(sure for sure, _ in inside), fmean(right for _, right in inside)
            ranges.append(Range(place / BINS, (place + 1) / BINS, len(inside), sure, passed))
    brier = fmean((sure - right) ** 2 for sure, right in told)
    return Reliability(answers=len(told), error=calibration_error(told), brier=brier, ranges=tuple(ranges))


def of_side(side: Side) -> Reliability | None:
    """The figures of one release's answers; None where none of them has a confidence and a judgement."""
    return reliability(
        [
            (result.confidence, result.passed)
            for result in side.results
            if result.confidence is not None and result.passed is not None and result.status in ANSWERED
        ]
    )


def from_reports(reports: Iterable[Report]) -> list[Judged]:
    """The answers of evaluations that have signals and a judgement; each answer once."""
    found: dict[str, Judged] = {}
    for report in reports:
        for side in (report.candidate, report.baseline, *report.rungs.values()):
            for result in () if side is None else side.results:
                if result.signals and result.passed is not None and result.status in ANSWERED:
                    found[result.record] = Judged(signals=result.signals, right=result.passed, group=f"case {result.case}")
    return list(found.values())


def from_scores(signals: Mapping[str, float], scores: Iterable[Score], record: str) -> Judged | None:
    """A live answer as its users and reviewers judge it: right where their marks are above one half on average."""
    values = [s.value for s in scores if isinstance(s.value, int | float) and 0 <= s.value <= 1 and s.who.split(":")[0] in USERS]
    if not signals or not values or fmean(values) == 0.5:
        return None
    return Judged(signals=signals, right=fmean(values) > 0.5, group=f"record {record}")


def fit(judged: Sequence[Judged], *, date: str, force: Calibration = UNCALIBRATED) -> Calibration | TooFew:
    """Weights fitted to these answers, with their card; or why there are too few. `force` are the weights in force."""
    right = sum(one.right for one in judged)
    if len(judged) < LEAST or min(right, len(judged) - right) < LEAST_OF_EACH:
        what = f"{len(judged)} judged answers, {right} of them right"
        return TooFew(f"{what}; it takes {LEAST}, with {LEAST_OF_EACH} right and {LEAST_OF_EACH} wrong ones among them")
    told: list[tuple[float, bool]] = []
    for fold in range(FOLDS):
        seen = [one for one in judged if _fold(one) != fold]
        weights = _fitted(seen) if seen else UNCALIBRATED
        told += [(weights.confidence(one.signals), one.right) for one in judged if _fold(one) == fold]
    before = [(force.confidence(one.signals), one.right) for one in judged]
    card = CalibrationCard(
        fitted=date,
        answers=len(judged),
        right=right,
        brier=_brier(told),
        error=round(calibration_error(told), 4),
        before=(_brier(before), round(calibration_error(before), 4)),
    )
    fitted = _fitted(judged)
    return Calibration(card=card, bias=fitted.bias, weights=fitted.weights)


def _fold(one: Judged) -> int:
    return int(hashlib.sha256(one.group.encode("utf-8", "replace")).hexdigest()[:8], 16) % FOLDS


def _brier(told: Sequence[tuple[float, bool]]) -> float:
    return round(fmean((sure - right) ** 2 for sure, right in told), 4)


def _fitted(judged: Sequence[Judged]) -> Calibration:
    """Newton's method on the log loss, with the shipped weights as a prior: a signal that nobody has keeps its weight."""
    names = list(USUAL)
    rows = [[1.0, *(one.signals.get(name, USUAL[name]) - USUAL[name] for name in names)] for one in judged]
    prior = [UNCALIBRATED.bias, *(UNCALIBRATED.weights[name] for name in names)]
    pulls, size = [0.01, *([PULL] * len(names))], range(len(prior))
    weights = list(prior)
    for _ in range(STEPS):
        chances = [logistic(sum(map(_product, weights, row))) for row in rows]
        errors = [chance - one.right for chance, one in zip(chances, judged, strict=True)]
        slope = [
            sum(error * row[i] for error, row in zip(errors, rows, strict=True)) + pulls[i] * (weights[i] - prior[i])
            for i in size
        ]
        bend = [[sum(c * (1 - c) * row[i] * row[j] for c, row in zip(chances, rows, strict=True)) for j in size] for i in size]
        for i in size:
            bend[i][i] += pulls[i]
        weights = [max(-MOST, min(MOST, w - step)) for w, step in zip(weights, solved(bend, slope), strict=True)]
    bias, *rest = [round(w, 4) for w in weights]
    return Calibration(bias=bias, weights=dict(zip(names, rest, strict=True)))


def solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """The solution of a system of equations whose matrix is symmetric and positive definite (Gauss-Jordan)."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for i, pivot in enumerate(rows):
        pivot[:] = [value / pivot[i] for value in pivot]
        for other in rows:
            if other is not pivot:
                factor = other[i]
                other[:] = [value - factor * by for value, by in zip(other, pivot, strict=True)]
    return [row[-1] for row in rows]


def _product(one: float, other: float) -> float:
    return one * other
