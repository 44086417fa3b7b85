"""What a provider's rate-limit headers say: one reading for every wire.

The shapes in use: OpenAI and whoever follows it, `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, a few with the window
behind it (`…-requests-day`) or without a unit (`x-ratelimit-remaining`); Anthropic, `anthropic-ratelimit-{requests,tokens,
input-tokens,output-tokens}-{limit,remaining,reset}`. A reset is a Go duration (`6m0s`, `12ms`), seconds, a moment since 1970 in
seconds or milliseconds, or a moment of RFC 3339, which is read against the response's own `date` where it has one. Of several
limits on requests, or on tokens, the one with the least left counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from mainstay.core.model import Left, Quota

MARK = b"ratelimit-"  # what the names of these headers hold
_GO = re.compile(r"(?:([0-9.]+)h)?(?:([0-9.]+)m(?!s))?(?:([0-9.]+)s)?(?:([0-9.]+)ms)?(?:([0-9.]+)[uµ]s)?(?:([0-9.]+)ns)?")
_UNITS = (3600.0, 60.0, 1.0, 1e-3, 1e-6, 1e-9)
_NAME = re.compile(r"x-ratelimit-(limit|remaining|reset)(?:-([a-z-]+))?|anthropic-ratelimit-([a-z-]+)-(limit|remaining|reset)")
EPOCH, EPOCH_MS = 1e9, 1e12  # numbers from these on are moments, not lengths of time


def quota_of(headers: Mapping[str, str], *, now: float) -> Quota | None:
    """What the headers of an answer say is left; None where they say nothing. `now` is in seconds since 1970."""
    said: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if match := _NAME.fullmatch(name):
            said.setdefault(match[2] or match[3] or "", {})[match[1] or match[4]] = value
    if not said:
        return None
    now = _date(headers.get("date")) or now
    found: dict[str, Left] = {}
    for what, values in said.items():
        kind = "tokens" if "token" in what else "requests" if not what or "request" in what else ""
        left = _left(values, now)
        if kind and left is not None and (kind not in found or (left.left, -left.whole_in) < _rank(found[kind])):
            found[kind] = left
    return Quota(**found) if found else None


def _rank(left: Left) -> tuple[int, float]:
    return left.left, -left.whole_in


def _left(values: Mapping[str, str], now: float) -> Left | None:
    remaining, reset = _number(values.get("remaining")), seconds_until(values.get("reset", ""), now)
    if remaining is None or reset is None:
        return None
    limit = _number(values.get("limit"))
    return Left(max(0, int(remaining)), reset, None if limit is None or limit < 1 else int(limit))


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def seconds_until(reset: str, now: float) -> float | None:
    """How long a reset is away; None for what cannot be read."""
    reset = reset.strip()
    number = _number(reset)
    if number is not None:
        moment = number / 1000 if number >= EPOCH_MS else number
        return max(0.0, moment - now if moment >= EPOCH else number)
    if reset and (match := _GO.fullmatch(reset)):
        try:
            return sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS, strict=True) if part)
        except ValueError:
            return None
    try:
        moment = datetime.fromisoformat(reset).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment - now)


def _date(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, TypeError, OverflowError):
        return None
