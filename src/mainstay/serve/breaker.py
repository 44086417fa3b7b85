"""A circuit breaker for one model: closed, open, half-open, on the failure rate and on slowness.

Closed: calls pass, the last `WINDOW` outcomes of the last `MEMORY` seconds are remembered, and it opens when at least `LEAST` of
them are there and half of them failed, or ten are there and six of ten were slow or failed. Open: no call passes for a while that
doubles each time, up to a minute. Half-open: one call passes at a time; two in a row that succeed, and are not slow, close it,
one that fails opens it again. Only what is the provider's fault counts as a failure; that, and what is slow, is decided by
whoever reports. Pattern: M. Nygard, "Release It!".

Every call that passes gets a ticket. A ticket is good for the state it was given in: a call that went out before the breaker
opened, and ends while it is being tried again, tells nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

WINDOW, MEMORY, LEAST, RATE = 20, 60.0, 5, 0.5
LEAST_SLOW, SLOW_RATE = 10, 0.6
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
PROBES_TO_CLOSE = 2
LOST = 60.0  # seconds after which a probe that never reported is replaced by another

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Says whether a model may be asked. Times are seconds of any monotonic clock, given by the caller."""

    __slots__ = ("_good_probes", "_outcomes", "_pause", "_ticket", "_until", "state")

    def __init__(self) -> None:
        self.state: State = "closed"
        self._outcomes: deque[tuple[float, bool, bool]] = deque(maxlen=WINDOW)
        self._pause, self._until = FIRST_PAUSE, 0.0  # `_until`: open until then, or half-open and taken by a probe until then
        self._ticket = self._good_probes = 0

    def admit(self, now: float) -> int | None:
        """The ticket of a call that may go out, for `report` or `release`; None where it may not."""
        if self.state == "closed":
            return self._ticket
        if now < self._until:
            return None
        if self.state == "open":
            self.state, self._good_probes = "half_open", 0
        self._ticket += 1
        self._until = now + LOST
        return self._ticket

    def open_for(self, now: float) -> float:
        """Seconds until a call may pass again; 0 if it may now, or as soon as the one that is trying has ended."""
        return max(0.0, self._until - now) if self.state == "open" else 0.0

    def report(self, ticket: int, ok: bool, now: float, *, slow: bool = False) -> None:
        """Tell how a call that was let out went: whether it succeeded, and whether that took far too long."""
        if ticket != self._ticket or self.state == "open":
            return
        if self.state == "half_open":
            self._report_probe(ok and not slow, now)
            return
        self._outcomes.append((now, ok, slow))
        if ok and not slow:
            return
        recent = [(good, late) for at, good, late in list(self._outcomes) if now - at <= MEMORY]
        failed, late = sum(not good for good, _ in recent), sum(late or not good for good, late in recent)
        if (len(recent) >= LEAST and failed >= RATE * len(recent)) or (
            len(recent) >= LEAST_SLOW and late >= SLOW_RATE * len(recent)
        ):
            self._open(now)

    def release(self, ticket: int) -> None:
        """A call that was let out ended without telling anything about the model (its reader left)."""
        if ticket == self._ticket and self.state == "half_open":
            self._until = 0.0

    def _report_probe(self, ok: bool, now: float) -> None:
        if not ok:
            self._pause = min(LONGEST_PAUSE, self._pause * 2)
            self._open(now)
            return
        self._until = 0.0
        self._good_probes += 1
        if self._good_probes >= PROBES_TO_CLOSE:
            self.state, self._pause = "closed", FIRST_PAUSE
            self._ticket += 1

    def _open(self, now: float) -> None:
        self.state, self._until = "open", now + self._pause
        self._ticket += 1
        self._outcomes.clear()
