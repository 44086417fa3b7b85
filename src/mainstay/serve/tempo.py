"""How fast a model usually is, and whether an answer was slow: far above that, or above what its settings state.

What is usual is kept for each rung that asks it, because a rung's prompts are alike and a model's are not: the median and the
95th percentile of the time to the first word of streams, and of the whole time. Far above is three times the median and one
and a half times the 95th percentile, and a quarter of a second more. Slow answers do not count as usual, or a model that gets
slower would never be seen to; but thirty in a row, without a fast one between them, are what is usual from then on.
A caller's own requests to a plain model may be of any size, so only their first word is compared.

It knows no clock, and not what becomes of a slow model: that is the breaker's.
"""

from __future__ import annotations

import math

from mainstay.serve.pace import Pace

FAR, FAR_ABOVE_P95, MORE = 3.0, 1.5, 0.25  # times the median, times the 95th percentile, and seconds on top
NEW_USUAL = 30  # slow answers in a row, after which they are what is usual
PROBE = 5  # as many of these counts one that a breaker let through to try: there are few
HEDGED = 10  # of so many attempts one may be a second one


class Usual:
    """One kind of time, in seconds."""

    __slots__ = ("_limit", "_pace", "_slow", "_slow_in_a_row")

    def __init__(self) -> None:
        self._begin([])

    def _begin(self, known: list[float]) -> None:
        self._pace, self._limit = Pace(), math.inf
        self._slow: list[float] = []
        self._slow_in_a_row = 0
        for seconds in known:
            self._add(seconds)

    @property
    def p95(self) -> float | None:
        """The 95th percentile of what is usual; None until it is known."""
        return self._pace.p95

    def is_slow(self, seconds: float, *, probe: bool = False) -> bool:
        """Take this one in; whether it is far above the ones before."""
        if seconds <= self._limit:
            self._slow, self._slow_in_a_row = [], 0
            self._add(seconds)
            return False
        self._slow.append(seconds)
        self._slow_in_a_row += PROBE if probe else 1
        if self._slow_in_a_row >= NEW_USUAL:
            self._begin(self._slow)
        return True

    def _add(self, seconds: float) -> None:
        self._pace.add(seconds)
        p50, p95 = self._pace.p50, self._pace.p95
        if p50 is not None and p95 is not None:
            self._limit = max(FAR * p50, FAR_ABOVE_P95 * p95) + MORE


class Tempo:
    """How fast one model is. `slow` is what its settings state: a first word later than that is slow, and nothing else is."""

    __slots__ = ("_attempts", "_first", "_whole", "slow")

    def __init__(self, slow: float | None = None) -> None:
        self.slow = slow
        self._first: dict[str, Usual] = {}
        self._whole: dict[str, Usual] = {}
        self._attempts = 0.0

    def is_slow(self, rung: str, *, first: float | None, whole: float | None, alike: bool, probe: bool) -> bool:
        """Take in one answer: the time to its first word where it was streamed, and its whole time where it came to its end.

        `alike` says that the rung's requests are, so that whole times can be compared.
        """
        late = first is not None and _of(self._first, rung).is_slow(first, probe=probe)
        if self.slow is not None:
            took = whole if first is None else first
            return took is not None and took > self.slow
        return (alike and whole is not None and _of(self._whole, rung).is_slow(whole, probe=probe)) or late

    def late(self, rung: str) -> float | None:
        """When a first word is late: the 95th percentile of the rung's; None until it is known."""
        usual = self._first.get(rung)
        return None if usual is None else usual.p95

    def may_hedge(self) -> bool:
        """Whether there may be one second attempt more; of ten attempts one may be, lately."""
        if self._attempts < HEDGED:
            return False
        self._attempts -= HEDGED
        return True

    def began(self) -> None:
        """One more attempt that may be followed by a second."""
        self._attempts = min(self._attempts + 1, 5 * HEDGED)


def _of(usuals: dict[str, Usual], rung: str) -> Usual:
    usual = usuals.get(rung)
    if usual is None:
        usual = usuals[rung] = Usual()
    return usual
