"""What a provider still allows, by its own rate-limit headers: so that it is not asked until it would say 429.

Every answer may bring a `Quota`: how many requests and tokens are left, and when the limit is whole again. What is asked before
the next one comes is counted down here; so is what was asked and is not answered yet, because the provider may not have counted
it. Where nothing is left, nothing is asked until the limit is whole again. A 429 that says how long to wait closes the model for
so long.

Not thread-safe by itself: `Lanes` holds its lock around it. Moments are `time.monotonic()` seconds.
"""

from __future__ import annotations

from mainstay.core.model import Left, Quota

LONGEST = 3600.0  # seconds for which a provider's word is taken; then it is asked again, whatever it said
LATELY = 0.1  # how much the newest counts in the usual number of tokens


class Window:
    """One of the provider's limits: `left` of it, until it is whole again at `ends`; that takes `length` at most."""

    __slots__ = ("ends", "left", "length", "limit")

    def __init__(self, said: Left, taken: float, now: float, before: Window | None) -> None:
        away = min(LONGEST, said.whole_in)
        self.left, self.limit, self.ends = said.left - taken, said.limit, now + away
        self.length: float = away if before is None else max(before.length, away)


class Allowance:
    """What one model's provider still allows this process."""

    __slots__ = ("_closed", "_requests", "_tokens", "_unanswered", "_usual_tokens", "known")

    def __init__(self) -> None:
        self.known = False  # whether the provider has ever said anything
        self._closed = 0.0
        self._requests: Window | None = None
        self._tokens: Window | None = None
        self._unanswered = 0
        self._usual_tokens = 0.0

    def pause(self, now: float) -> float:
        """Seconds until it may be asked once more; 0 if it may now."""
        if not self.known:
            return 0.0
        until = self._closed
        if (window := self._current(self._requests, now)) is not None and window.left < 1:
            until = max(until, window.ends)
        if (window := self._current(self._tokens, now)) is not None and window.left < max(1.0, self._usual_tokens):
            until = max(until, window.ends)
        return max(0.0, until - now)

    def take(self) -> None:
        """It is asked once more."""
        self._unanswered += 1
        if self._requests is not None:
            self._requests.left -= 1
        if self._tokens is not None:
            self._tokens.left -= self._usual_tokens

    def told(self, quota: Quota, now: float) -> None:
        """What the head of an answer says: of the call that it answers, and of all before it."""
        self.known = True
        self._unanswered -= 1
        if quota.requests is not None:
            self._requests = Window(quota.requests, self._unanswered, now, self._requests)
        if quota.tokens is not None:
            self._tokens = Window(quota.tokens, self._unanswered * self._usual_tokens, now, self._tokens)

    def over(self, tokens: int, *, told: bool) -> None:
        """The call has ended; `told` is that its answer had such a head."""
        if not told:
            self._unanswered -= 1
        if tokens:
            self._usual_tokens += LATELY * (tokens - self._usual_tokens) if self._usual_tokens else tokens

    def close(self, seconds: float, now: float) -> None:
        """The provider asks for so long a pause."""
        self.known = True
        self._closed = max(self._closed, now + min(LONGEST, seconds))

    def _current(self, window: Window | None, now: float) -> Window | None:
        """The window as it is now. One that is over is whole again, where its limit is known, and else says nothing."""
        if window is None or now < window.ends:
            return window
        if window.limit is None:
            return None
        window.left, window.ends = window.limit, now + window.length
        return window
