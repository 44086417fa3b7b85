"""How long each rung takes, measured: what is left for a rung depends on what the rungs below it need."""

from __future__ import annotations

from collections import deque

MEMORY, LEAST, EVERY = 200, 20, 16


class Pace:
    """The median and the 95th percentile of the last 200 durations of one rung, in seconds.

    Both are None until 20 were seen. They are worked out again after every 16 new ones, not on every read.
    """

    __slots__ = ("_durations", "_new", "p50", "p95")

    def __init__(self) -> None:
        self._durations: deque[float] = deque(maxlen=MEMORY)
        self._new = 0
        self.p50: float | None = None
        self.p95: float | None = None

    def add(self, seconds: float) -> None:
        """One more answer took this long."""
        self._durations.append(seconds)
        self._new += 1
        if len(self._durations) >= LEAST and (self._new >= EVERY or self.p50 is None):
            ordered = sorted(self._durations)
            self.p50, self.p95 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
            self._new = 0
