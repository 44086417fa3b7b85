"""Whether a model is cold: an inference server that was not asked for long may first have to load it again.

A model is cold when it has answered nothing for as long as its settings say (`cold_after`). How long it takes to start is
measured on who asks it then: the time to the first word. While that is longer than the time that a call has left, the call does
without it, and somebody else should warm it (`wanted`). Moments are `time.monotonic()` seconds. It counts for one process.
"""

from __future__ import annotations


class Warmth:
    """When one model answered last, and how long it takes to start."""

    __slots__ = ("cold_after", "last", "start", "wanted")

    def __init__(self, cold_after: float | None = None) -> None:
        self.cold_after = cold_after
        self.last: float | None = None  # when it answered last
        self.start: float | None = None  # seconds to the first word when it was cold
        self.wanted = False  # whether a call did without it because it is cold

    def cold(self, now: float) -> bool:
        """Whether it may have to start first."""
        return self.cold_after is not None and (self.last is None or now - self.last > self.cold_after)

    def starts_within(self, seconds: float, now: float) -> bool:
        """Whether it would have started by then, as far as is known. Where it would not, it is wanted warm."""
        if self.start is None or self.start <= seconds or not self.cold(now):
            return True
        self.wanted = True
        return False

    def answered(self, now: float, *, first: float, was_cold: bool) -> None:
        """It spoke, `first` seconds after it was asked."""
        self.last, self.wanted = now, False
        if was_cold:
            self.start = first

    def gave_up(self, seconds: float) -> None:
        """It was cold, and had not spoken after so long: starting takes longer than that."""
        self.start = max(seconds, self.start or 0.0)
