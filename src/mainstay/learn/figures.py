"""The figures of a report: pass share, time and money of each slice, beside the baseline's. Derived, never stored.

It knows nothing of the gate: a figure here says how something is, not whether that is good enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

import msgspec
from msgspec import Struct

from mainstay.core.reasons import Status
from mainstay.core.report import Report, Result, Side
from mainstay.learn import statistics

ALL = ""  # the slice that holds every case
NONE = "(none)"  # stands for the value of a tag that a case does not have


class SliceFigures(Struct, frozen=True, kw_only=True):
    """How one side did on one slice.

    `slice` is empty for all cases, else such as `category=refunds`; cases without that tag are `category=(none)`. `cases` were
    answered on this side; `unscored` of them have no turn of which every scorer could tell. `passed` is the share of the others
    that pass, each the mean of its turns, with its 95 % Wilson interval from `low` to `high`; None where all are unscored.
    Times are in microseconds over all answers, `first_word_us` is the median of those that were streamed. `cost_nano_usd` is the
    mean of an answer, None where the price of any is unknown. `scorers` are mean values, where a scorer gave one.
    """

    slice: str
    cases: int
    passed: float | None
    low: float | None
    high: float | None
    unscored: int
    p50_us: float | None
    p95_us: float | None
    p99_us: float | None
    first_word_us: float | None
    cost_nano_usd: float | None
    scorers: dict[str, float]
    baseline: SliceFigures | None = None

    @property
    def change(self) -> float | None:
        """By how much the pass share rose against the baseline; None where either is not known."""
        if self.baseline is None or self.passed is None or self.baseline.passed is None:
            return None
        return self.passed - self.baseline.passed


def slices_of(report: Report) -> list[SliceFigures]:
    """The candidate on each slice, beside the baseline: all cases first, then by tag and value, `(none)` last."""
    ours = side_figures(report, report.candidate)
    if report.baseline is None:
        return ours
    theirs = {figures.slice: figures for figures in side_figures(report, report.baseline)}
    return [msgspec.structs.replace(figures, baseline=theirs.get(figures.slice)) for figures in ours]


def side_figures(report: Report, side: Side) -> list[SliceFigures]:
    """One side on each slice, in the order of `slices_of`; a slice in which this side answered nothing is left out."""
    answers: dict[str, list[Result]] = defaultdict(list)
    for result in side.results:
        answers[result.case].append(result)
    found = []
    for slice, cases in members(report).items():
        answered = [answers[case] for case in cases if case in answers]
        if answered or slice == ALL:
            found.append(_figures(slice, answered))
    return found


class RungFigures(Struct, frozen=True, kw_only=True):
    """How one rung alone did on one slice; `itself` is the share of answers that it gave, not the ladder's fixed message."""

    rung: str
    figures: SliceFigures
    itself: float | None


def rungs_of(report: Report) -> list[RungFigures]:
    """Each rung of `report.rungs` on each slice: the rungs in their order, the slices in that of `slices_of`."""
    slices = members(report)
    found = []
    for rung, side in report.rungs.items():
        for figures in side_figures(report, side):
            cases = set(slices[figures.slice])
            own = [_is_own(result, rung) for result in side.results if result.case in cases]
            found.append(RungFigures(rung=rung, figures=figures, itself=fmean(own) if own else None))
    return found


def _is_own(result: Result, rung: str) -> bool:
    return result.rung == rung and result.status in (Status.ANSWERED, Status.CACHED, Status.DEGRADED)


def members(report: Report) -> dict[str, list[str]]:
    """The ids of the cases in each slice; a tag that no case has makes no slice."""
    slices: dict[str, list[str]] = {ALL: [case.id for case in report.cases]}
    for name in report.slices:
        of_tag: dict[str, list[str]] = defaultdict(list)
        for case in report.cases:
            of_tag[case.slice(name)].append(case.id)
        if set(of_tag) - {""}:
            for value in sorted(of_tag, key=lambda value: (not value, value)):
                slices[f"{name}={value or NONE}"] = of_tag[value]
    return slices


def share_passed(turns: Iterable[Result]) -> float | None:
    """How much of one case passes: the mean over the turns that could be told; None where none could."""
    told = [passed for result in turns if (passed := result.passed) is not None]
    return fmean(told) if told else None


def _figures(slice: str, answered: Sequence[Sequence[Result]]) -> SliceFigures:
    results = [result for turns in answered for result in turns]
    shares = [share for turns in answered if (share := share_passed(turns)) is not None]
    passed = fmean(shares) if shares else None
    low, high = (None, None) if passed is None else statistics.wilson(sum(shares), len(shares))
    times = sorted(result.took_us for result in results)
    first_words = sorted(result.first_word_us for result in results if result.first_word_us is not None)
    costs = [result.cost_nano_usd for result in results if result.cost_nano_usd is not None]
    values: dict[str, list[float]] = defaultdict(list)
    for result in results:
        for name, opinion in result.opinions.items():
            if opinion.value is not None:
                values[name].append(opinion.value)
    return SliceFigures(
        slice=slice,
        cases=len(answered),
        passed=passed,
        low=low,
        high=high,
        unscored=len(answered) - len(shares),
        p50_us=_percentile(times, 0.50),
        p95_us=_percentile(times, 0.95),
        p99_us=_percentile(times, 0.99),
        first_word_us=_percentile(first_words, 0.50),
        cost_nano_usd=fmean(costs) if costs and len(costs) == len(results) else None,
        scorers={name: fmean(told) for name, told in sorted(values.items())},
    )


def _percentile(values: Sequence[float], share: float) -> float | None:
    return statistics.percentile(values, share) if values else None
