"""What a client is told of limits and of asking again: rate headers as OpenAI writes them, and `retry-after`.

And what its SDK tells us without being asked: how long it reads, and how often it has sent the same.
"""

from __future__ import annotations

import math
import time

import msgspec

from mainstay.app import Mainstay
from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.limits import Unit
from mainstay.core.reasons import Reason, Status
from mainstay.doors.http.wire import FINAL, Headers, Request

_NAMES: dict[Unit, tuple[bytes, ...]] = {
    "calls": (b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests"),
    "tokens": (b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens"),
}
WIRE, PART = 0.5, 0.1  # seconds, and the part of a client's time-out, of which the smaller is kept for the way back
SOON = 60.0  # seconds in which a window ends soon


def of_limits(app: Mainstay, call: Call) -> Headers:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, of the narrowest limit on each that binds the call."""
    headers: Headers = []
    for unit, room in app.room(call).items():
        limit, remaining, reset = _NAMES[unit]
        until = duration(0.0 if room.ends is None else room.ends - time.time())
        headers += [(limit, b"%d" % room.limit.most), (remaining, b"%d" % room.left), (reset, until.encode())]
    return headers


def of_ending(answer: Answer) -> Headers:
    """Whether asking again helps, and when: only where a limit of ours on calls or tokens stood in the way, and is soon gone."""
    if answer.status not in (Status.REFUSED, Status.UNAVAILABLE):
        return []
    wait = answer.retry_after
    if wait is None:
        return [FINAL]
    headers: Headers = [(b"retry-after", str(math.ceil(wait)).encode())]
    if wait <= SOON:
        headers.append((b"retry-after-ms", str(math.ceil(wait * 1000)).encode()))
    return headers if answer.reason is Reason.RATE_LIMITED else [*headers, FINAL]


def duration(seconds: float) -> str:
    """As Go writes it: `1h0m5s`, `6m0s`, `1.5s`, `12ms`."""
    ms = math.ceil(seconds * 1000)
    if ms < 1000:
        return f"{ms}ms" if ms > 0 else "0s"
    whole, part = divmod(ms, 1000)
    fraction = f".{part:03d}".rstrip("0") if part else ""
    if whole < 60:
        return f"{whole}{fraction}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest}{fraction}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60}m{rest}{fraction}s"


def with_sdk(call: Call, request: Request, *, shows_early: bool) -> Call:
    """The call with what the caller's SDK says of it.

    A client that reads no longer than `x-stainless-read-timeout` seconds wants no answer that comes later. Where words are shown
    as they come, that is the time between two of them and not that of the whole, so it shortens nothing.
    """
    retries = request.headers.get(b"x-stainless-retry-count", b"0")
    deadline = call.deadline
    patience = _seconds(request.headers.get(b"x-stainless-read-timeout", b""))
    if patience is not None and not shows_early:
        patience -= min(WIRE, patience * PART)
        deadline = patience if deadline is None else min(deadline, patience)
    number = int(retries) if retries.isdigit() and len(retries) < 10 else 0
    if deadline == call.deadline and not number:
        return call
    return msgspec.structs.replace(call, deadline=deadline, retries=number)


def _seconds(text: bytes) -> float | None:
    """A time that a client may mean; None for what is none."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None
