"""The retry-loop breaker: a request that keeps failing is stopped before it costs again.

A request is known by a fingerprint, a keyed hash of what decides its answer and of who asks: its release, tenant, key, user,
deadline, input, history, and a plain model's whole request. Only the fingerprints of failing requests are kept, in memory, and
the key of the hash is this process's own, so nothing can be read from them.

What counts as failing is how a call ended, after a model was paid for or would not take the request: `unavailable`,
`interrupted` (also because its reader left: a client whose time-out is too short sends the same again), or `degraded` to a rung
that asks no model. Answers and refusals count for nothing, however often the same is asked; nor does a provider that is down and
costs nothing, which is for the model's own breaker. `FAILURES` within `WINDOW` seconds stop the request for `FIRST_PAUSE`; then
one call is let through, and the pause doubles each time that it fails, up to `LONGEST_PAUSE`. An answer forgets everything. A
caller whose SDK says that it has sent the same more than `RETRIES` times before (`x-stainless-retry-count`) is stopped at once.

Limits: each process counts for itself, so with N processes a loop is stopped after N times as many failures at most.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time

import msgspec

from mainstay.core.answer import Answer
from mainstay.core.errors import Rejected
from mainstay.core.reasons import Reason, Status
from mainstay.serve.ready import Ready
from mainstay.serve.tracing import Trace

log = logging.getLogger("mainstay.serve")
_encode = msgspec.json.Encoder(enc_hook=str).encode

FAILURES, WINDOW = 5, 60.0
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 60.0
RETRIES = 5  # of the caller's own SDK
MANY = 10_000  # failing requests that are remembered


class _Failing:
    """One request that failed: when, and until when it is stopped."""

    __slots__ = ("pause", "times", "until")

    def __init__(self) -> None:
        self.times: list[float] = []
        self.pause, self.until = FIRST_PAUSE, 0.0


class Loops:
    """Says which calls repeat what keeps failing. Any thread may use it."""

    def __init__(self) -> None:
        self._failing: dict[bytes, _Failing] = {}
        self._secret = os.urandom(16)
        self._using = threading.Lock()

    def stops(self, trace: Trace) -> bool:
        """Whether this call may ask no model, because the same has failed too often."""
        if trace.call.origin != "user":
            return False
        if trace.call.retries > RETRIES:
            return True
        if not self._failing:
            return False
        print, now = self._fingerprint(trace), time.monotonic()
        with self._using:
            failing = self._failing.get(print) if print is not None else None
            if failing is None or not failing.until:
                return False
            if now < failing.until:
                return True
            failing.until = now + failing.pause  # this one is let through, and the others wait for what becomes of it
            return False

    def ended(self, trace: Trace, answer: Answer) -> None:
        """Tell how a call ended."""
        if trace.call.origin != "user" or trace.looping or (answer.status is Status.ANSWERED and not self._failing):
            return
        fails = _fails(trace, answer)
        if fails is None or not (fails or self._failing):
            return
        print = self._fingerprint(trace)
        if print is None:
            return
        with self._using:
            if fails:
                self._failed(print, trace)
            else:
                self._failing.pop(print, None)

    def _failed(self, print: bytes, trace: Trace) -> None:
        now = time.monotonic()
        failing = self._failing.pop(print, None) or _Failing()
        self._failing[print] = failing  # behind all others: the one that failed longest ago is forgotten first
        if len(self._failing) > MANY:
            del self._failing[next(iter(self._failing))]
        failing.times = [*[at for at in failing.times if now - at < WINDOW][1 - FAILURES :], now]
        if failing.until:
            failing.pause = min(LONGEST_PAUSE, failing.pause * 2)
        elif len(failing.times) < FAILURES:
            return
        failing.until = now + failing.pause
        log.warning("a request to %s keeps failing: it asks no model for %d s", trace.call.feature, failing.pause)

    def _fingerprint(self, trace: Trace) -> bytes | None:
        call = trace.call
        who = (call.feature, call.tenant, call.key, call.user, call.deadline)  # who is in a hurry fails alone
        parts = (trace.ready.digest, *who, call.input, call.history, call.request)
        try:
            return hashlib.blake2b(_encode(parts), digest_size=16, key=self._secret).digest()
        except (TypeError, ValueError, RecursionError):
            return None


def _fails(trace: Trace, answer: Answer) -> bool | None:
    """Whether the call failed at some expense, or by its own fault; None where it says nothing of the request."""
    if answer.status is Status.CACHED:
        return False
    asked = [attempt for attempt in trace.attempts if attempt.model is not None]
    if not any(attempt.usage is not None or attempt.outcome == Rejected.kind for attempt in asked):
        return None
    if answer.status is Status.DEGRADED:
        return not _asks(answer.rung, trace.ready)
    return answer.status in (Status.UNAVAILABLE, Status.INTERRUPTED) and answer.reason is not Reason.NOT_RECORDED


def _asks(rung: str | None, ready: Ready) -> bool:
    return any(known.models for known in ready.rungs if known.name == rung)
