"""A model or a rule? Which rung suits which slice of a feature's work, by what each of them does alone on the same cases.

For each slice the cheapest rung is chosen of those that are as good as the best one: whose share of passing cases is lower by
no more than the feature tolerates, or by a difference that these cases do not show to be real. Among equally cheap ones the
faster one.

What it does not know: cases that nobody wrote, and what a wrong answer costs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec import Struct

from mainstay.core.report import Report, Result
from mainstay.learn import statistics
from mainstay.learn.figures import ALL, RungFigures, members, rungs_of, share_passed

REAL = 0.05  # a difference that equals show less often than this is real
LEAST = 10  # cases of a slice below which nothing is recommended for it


class Fit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which rung suits a slice, and which was the best; None where no rung passes any case, or the cases are too few to tell.

    `passed` and `best_passed` are shares of the cases, `p` how likely two equally good rungs differ so much. Money is in
    nano-dollars an answer, None where unknown; time in microseconds.
    """

    slice: str
    cases: int
    rung: str | None = None
    best: str | None = None
    passed: float = 0.0
    best_passed: float = 0.0
    p: float = 1.0
    cost_nano_usd: float | None = None
    p95_us: float | None = None

    @property
    def sentence(self) -> str:
        """The recommendation in words."""
        where = self.slice or "all cases"
        if self.rung is None:
            few = f"{self.cases} cases are too few to tell" if self.cases < LEAST else "no rung passes any case"
            return f"{where}: {few}."
        cost = "an unknown cost" if self.cost_nano_usd is None else f"${self.cost_nano_usd / 1e9:.6f}".rstrip("0").rstrip(".")
        own = f"{where}: {self.rung}, which passes {self.passed:.0%} at {cost} an answer"
        if self.rung == self.best:
            return f"{own}; no rung is as good and cheaper."
        real = "which is more than chance but tolerated" if self.p < REAL else "which may be chance"
        return f"{own}; {self.best} passes {self.best_passed:.0%}, {real} (p = {self.p:.2g})."


def fits(report: Report, *, tolerance: float) -> list[Fit]:
    """The recommendation for each slice, all cases first. Without `rungs` in the report there is none."""
    by_slice: dict[str, list[RungFigures]] = defaultdict(list)
    for found in rungs_of(report):
        by_slice[found.figures.slice].append(found)
    shares = {name: _shares(side.results) for name, side in report.rungs.items()}
    cases = members(report)
    return [_fit(slice, cases[slice], rungs, shares, tolerance) for slice, rungs in by_slice.items()]


def recommendation(found: Sequence[Fit]) -> str:
    """What to do, in sentences: the whole first, then the slices that another rung suits better."""
    whole = next((fit for fit in found if fit.slice == ALL), None)
    if whole is None:
        return ""
    others = [fit.sentence for fit in found if fit.slice != ALL and fit.rung not in (whole.rung, None)]
    unknown = [fit.slice for fit in found if fit.rung is None and fit.slice != ALL]
    left = [f"Nothing can be said of {', '.join(unknown)}."] if unknown else []
    return "\n".join([whole.sentence[:1].upper() + whole.sentence[1:], *others, *left])


def _fit(
    slice: str, cases: Sequence[str], rungs: Sequence[RungFigures], shares: Mapping[str, Mapping[str, float]], tolerance: float
) -> Fit:
    told = [rung for rung in rungs if rung.figures.passed]
    if len(cases) < LEAST or not told:
        return Fit(slice=slice, cases=len(cases))
    best = max(told, key=lambda rung: (rung.figures.passed or 0.0, *(-part for part in _price(rung))))
    chances = {rung.rung: _chance(shares[best.rung], shares[rung.rung], cases) for rung in told}
    good = [rung for rung in told if chances[rung.rung] >= REAL or _behind(best, rung) <= tolerance]
    chosen = min(good, key=_price)
    return Fit(
        slice=slice,
        cases=len(cases),
        rung=chosen.rung,
        best=best.rung,
        passed=chosen.figures.passed or 0.0,
        best_passed=best.figures.passed or 0.0,
        p=chances[chosen.rung],
        cost_nano_usd=chosen.figures.cost_nano_usd,
        p95_us=chosen.figures.p95_us,
    )


def _behind(best: RungFigures, rung: RungFigures) -> float:
    return (best.figures.passed or 0.0) - (rung.figures.passed or 0.0)


def _price(rung: RungFigures) -> tuple[float, float]:
    """What decides between equally good rungs: the money, then the time; an unknown price is the highest."""
    cost, time = rung.figures.cost_nano_usd, rung.figures.p95_us
    return (math.inf if cost is None else cost, math.inf if time is None else time)


def _shares(results: Sequence[Result]) -> dict[str, float]:
    turns: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        turns[result.case].append(result)
    return {case: share for case, found in turns.items() if (share := share_passed(found)) is not None}


def _chance(best: Mapping[str, float], other: Mapping[str, float], cases: Sequence[str]) -> float:
    """How likely two equally good rungs show this difference, on the cases that both were scored on."""
    return statistics.sign_flip([other[case] - best[case] for case in cases if case in best and case in other])
