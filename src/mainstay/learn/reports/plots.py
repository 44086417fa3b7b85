"""Where things stand in the plots of a report: positions in percent of the plot, drawn by `report.html`.

Positions are relative, so that a plot is as wide as its reader's screen and its words keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from mainstay.core.report import Side
from mainstay.learn.calibration import of_side
from mainstay.learn.figures import RungFigures, SliceFigures
from mainstay.learn.reports.words import dollars, duration, percent, reliance
from mainstay.learn.statistics import wilson

STEPS = 200  # points of a curve, at most


class Tick(Struct, frozen=True):
    """A line of the grid, and what is written at it."""

    at: float
    label: str


class Mark(Struct, frozen=True):
    """A pass share with its interval, from left to right."""

    at: float
    low: float
    high: float


class Dumbbell(Struct, frozen=True):
    """One slice: where the candidate stands, and the baseline."""

    candidate: Mark | None
    baseline: Mark | None


class Curve(Struct, frozen=True):
    """A line through `points`, as SVG writes them, with y downwards."""

    name: str
    points: str


class Times(Struct, frozen=True):
    """What share of the answers was there within what time; time grows by factors."""

    curves: tuple[Curve, ...]
    ticks: tuple[Tick, ...]


class Dot(Struct, frozen=True):
    """One rung by what it costs and how good it is, with y downwards; `left` says to write its name on that side."""

    name: str
    label: str
    x: float
    y: float
    low: float
    high: float
    left: bool


class Diagram(Struct, frozen=True):
    """What share of the answers of each confidence passed; on the diagonal they are as often right as they say."""

    dots: tuple[Dot, ...]
    sentence: str


class Scatter(Struct, frozen=True):
    """Rungs by cost and pass share; `unpriced` are those whose cost is not known."""

    dots: tuple[Dot, ...]
    ticks: tuple[Tick, ...]
    unpriced: tuple[str, ...]


def floor(slices: Sequence[SliceFigures]) -> int:
    """Where the axis of the dumbbells begins, in percent: at a ten below every interval, so that what differs is seen."""
    lows = [side.low for figures in slices for side in (figures, figures.baseline) if side is not None and side.low is not None]
    return min(80, int(min(lows, default=0.0) * 10) * 10)


def dumbbell(figures: SliceFigures, floor: int) -> Dumbbell:
    """The pass shares of one slice, on an axis from `floor` to 100 %."""
    return Dumbbell(candidate=_mark(figures, floor), baseline=_mark(figures.baseline, floor))


def grid(floor: int) -> list[float]:
    """Where the tens stand on that axis, or the fifths where it is long."""
    return [_two((at - floor) / (100 - floor) * 100) for at in range(floor, 101, 10 if floor >= 50 else 20)]


def _mark(figures: SliceFigures | None, floor: int) -> Mark | None:
    if figures is None or figures.passed is None or figures.low is None or figures.high is None:
        return None
    at, low, high = ((share * 100 - floor) / (100 - floor) * 100 for share in (figures.passed, figures.low, figures.high))
    return Mark(_two(at), _two(low), _two(high))


def times(candidate: Side, baseline: Side | None) -> Times | None:
    """The times of both sides' answers; None where nothing took any."""
    sides = [("candidate", candidate), *([] if baseline is None else [("baseline", baseline)])]
    took = {name: sorted(max(1, result.took_us) for result in side.results) for name, side in sides}
    every = [micro for values in took.values() for micro in values]
    if not every or max(every) == 1:
        return None
    least, most = math.log10(min(every)), math.log10(max(every))
    if most - least < 0.3:  # all about the same: leave room on both sides
        least, most = least - 0.15, most + 0.15
    scale = 100 / (most - least)
    curves = tuple(Curve(name, _steps(values, least, scale)) for name, values in took.items() if values)
    ticks = tuple(
        Tick(_two((math.log10(micro) - least) * scale), duration(micro))
        for micro in _round_values(10**least, 10**most, (1, 2, 5) if most - least < 2 else (1,))
    )
    return Times(curves, ticks)


def _steps(ordered: Sequence[int], least: float, scale: float) -> str:
    """The share of values up to each value: up at a value, level until the next; at no more than `STEPS` places."""
    count, height, found = len(ordered), 100.0, []
    for place in sorted({round(step * (count - 1) / STEPS) for step in range(STEPS + 1)}):
        x, y = _two((math.log10(ordered[place]) - least) * scale), _two(100 - 100 * (place + 1) / count)
        found.append(f"{x},{height} {x},{y}")
        height = y
    return " ".join([*found, "100,0"])


def scatter(rungs: Sequence[RungFigures]) -> Scatter | None:
    """The rungs, on all cases; None where no price or share is known."""
    known = [(rung, rung.figures) for rung in rungs if rung.figures.passed is not None]
    priced = [(rung, figures, figures.cost_nano_usd) for rung, figures in known if figures.cost_nano_usd is not None]
    if not priced:
        return None
    most = max(cost for _, _, cost in priced)
    dots = []
    for rung, figures, cost in priced:
        x = cost / most * 100 if most else 0.0
        share, low, high = ((value or 0.0) * 100 for value in (figures.passed, figures.low, figures.high))
        label = f"{rung.rung}: {percent(figures.passed)}, {dollars(cost)}, p50 {duration(figures.p50_us)}"
        dots.append(Dot(rung.rung, label, _two(x), _two(100 - share), _two(100 - low), _two(100 - high), x > 60))
    ticks = tuple(Tick(_two(share * 100), dollars(share * most)) for share in ((0.0, 0.5, 1.0) if most else (0.0,)))
    unpriced = tuple(rung.rung for rung, figures in known if figures.cost_nano_usd is None)
    return Scatter(tuple(dots), ticks, unpriced)


def diagram(candidate: Side) -> Diagram | None:
    """The reliability of a side's confidence; None where it has none that was judged."""
    found = of_side(candidate)
    if found is None:
        return None
    dots = []
    for at in found.ranges:
        low, high = wilson(at.passed * at.answers, at.answers)
        label = f"{at.answers:,} answers, confidence {percent(at.confidence)}, {percent(at.passed)} pass"
        y, least, most = (_two(100 - 100 * share) for share in (at.passed, low, high))
        dots.append(Dot(f"{at.answers:,}", label, _two(100 * at.confidence), y, least, most, at.confidence > 0.6))
    return Diagram(tuple(dots), reliance(found))


def _round_values(low: float, high: float, digits: Sequence[int]) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for power in powers for digit in digits if low <= (value := digit * 10.0**power) <= high]


def _two(value: float) -> float:
    return round(value, 2)
