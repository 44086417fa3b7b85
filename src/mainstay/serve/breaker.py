"""A circuit breaker for one model: closed, open, half-open, on the failure rate.

Closed: calls pass, the last `WINDOW` outcomes of the last `MEMORY` seconds are remembered, and it opens when at least
`LEAST` of them are there and half of them failed. Open: no call passes for a while that doubles each time, up to a minute.
Half-open: one call passes at a time; two in a row that succeed close it, one that fails opens it again. Only what is the
provider's fault counts as a failure; that is decided by whoever reports. Pattern: M. Nygard, "Release It!".
"""

from __future__ import annotations

from collections import deque
from typing import Literal

WINDOW, MEMORY, LEAST, RATE = 20, 60.0, 5, 0.5
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
PROBES_TO_CLOSE = 2

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Says whether a model may be asked. Times are seconds of any monotonic clock, given by the caller."""

    __slots__ = ("_good_probes", "_outcomes", "_pause", "_probing", "_until", "state")

    def __init__(self) -> None:
        self.state: State = "closed"
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=WINDOW)
        self._pause, self._until = FIRST_PAUSE, 0.0
        self._probing, self._good_probes = False, 0

    def allows(self, now: float) -> bool:
        """Whether a call may go out; when half-open, a yes takes the one place there is until `report` or `release`."""
        if self.state == "closed":
            return True
        if self.state == "open" and now >= self._until:
            self.state, self._probing, self._good_probes = "half_open", False, 0
        if self.state == "half_open" and not self._probing:
            self._probing = True
            return True
        return False

    def open_for(self, now: float) -> float:
        """Seconds until a call may pass again; 0 if it may now."""
        return max(0.0, self._until - now) if self.state == "open" else 0.0

    def report(self, ok: bool, now: float) -> None:
        """Tell how a call that was allowed went."""
        if self.state == "half_open":
            self._report_probe(ok, now)
            return
        self._outcomes.append((now, ok))
        if ok:
            return
        recent = [good for at, good in self._outcomes if now - at <= MEMORY]
        if len(recent) >= LEAST and recent.count(False) >= RATE * len(recent) and self.state == "closed":
            self._open(now)

    def release(self) -> None:
        """A call that was allowed ended without telling anything about the model (its reader left)."""
        self._probing = False

    def _report_probe(self, ok: bool, now: float) -> None:
        self._probing = False
        if not ok:
            self._pause = min(LONGEST_PAUSE, self._pause * 2)
            self._open(now)
            return
        self._good_probes += 1
        if self._good_probes >= PROBES_TO_CLOSE:
            self.state, self._pause = "closed", FIRST_PAUSE
            self._outcomes.clear()

    def _open(self, now: float) -> None:
        self.state, self._until = "open", now + self._pause
        self._outcomes.clear()
