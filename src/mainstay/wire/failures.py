"""What a provider's error response means: one translation for every wire.

The shapes in use: OpenAI `{"error": {message, type, code, param}}`, Anthropic `{"type": "error", "error": {type, message}}`,
Gemini `{"error": {code, message, status, details}}` (sometimes in a list), and servers that say `{"error": "…"}`,
`{"message": "…"}` or `{"detail": …}`. The code is the provider's own word (`code`, `status` or `type`), and a number only where
there is no word. Waiting hints: `retry-after-ms` wins over `retry-after` (seconds or an HTTP date, read against the response's
own `date`), and Gemini's details: `RetryInfo`, and `QuotaFailure` with the quotas that were passed. Gemini's hint may be a few
seconds where a day's quota is spent, so the longest quota wins over it.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from mainstay.core.errors import ModelError, Overloaded, RateLimited, Rejected, Unauthorized
from mainstay.wire import quotas

FILTERED = "the provider's content filter stopped the answer"
"""Stands for a refusal where a filter stopped everything and said nothing; an answer without it would look like a fault."""

_EXHAUSTED = {"insufficient_quota", "billing_hard_limit_reached", "billing_error"}
_QUOTAS = {
    "PerMinute": 60.0,
    "PerHour": 3600.0,
    "PerDay": 86_400.0,
}  # in a quota's id: seconds in which it is whole at the latest
_GO_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s")


def failure(status: int, headers: Mapping[str, str], body: bytes, *, where: str) -> ModelError:
    """The typed error for an HTTP answer of 300 or above."""
    error = _error_in(body)
    if error is None:
        what, code, hint = body[:300].decode("utf-8", "replace").strip() or "no body", None, None
    else:
        what, code, hint = _message(error), _code(error), _hint(error)
    wait = retry_after(headers)
    wait = hint if wait is None else wait
    if wait is None and status == 429:
        wait = _whole_again(headers)
    kind = Unauthorized if _key_refused(error) else _class_of(status)
    return _made(kind, f"HTTP {status}: {what}", where=where, status=status, code=code, wait=wait)


def in_stream(error: Any, *, where: str) -> ModelError:
    """The typed error for an error object that arrives in an answer whose status was good."""
    code = _code(error)
    number = str(error.get("code")) if isinstance(error, dict) else ""
    status = int(number) if re.fullmatch("[45][0-9][0-9]", number) else None
    kind = _class_of(status) if status is not None else _CODES.get(code or "", Overloaded)
    return _made(kind, _message(error), where=where, status=status, code=code, wait=_hint(error))


def _made(
    kind: type[ModelError], what: str, *, where: str, status: int | None, code: str | None, wait: float | None
) -> ModelError:
    made = kind(what, where=where, status=status, code=code, retry_after=wait)
    if code in _EXHAUSTED:
        made.retryable = False
    return made


def _whole_again(headers: Mapping[str, str]) -> float | None:
    """Seconds until the limit that was hit is whole again, by the provider's rate-limit headers."""
    quota = quotas.quota_of(headers, now=time.time())
    spent = [left.whole_in for left in (quota.requests, quota.tokens) if left is not None and left.left < 1] if quota else []
    return max(spent, default=None)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait, or None."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            wait = float(value) * unit
        except ValueError:
            wait = _until(value, headers.get("date", ""))
        if math.isfinite(wait):
            return max(0.0, wait)
    return None


def _until(date: str, now: str) -> float:
    try:
        return (parsedate_to_datetime(date) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return math.nan


# What an error in mid-stream is, by its word; one that is not here is the provider's own failure.
_CODES: dict[str, type[ModelError]] = {
    **dict.fromkeys(("rate_limit_error", "rate_limit_exceeded", "RESOURCE_EXHAUSTED", "insufficient_quota"), RateLimited),
    **dict.fromkeys(
        (
            "invalid_request_error",
            "not_found_error",
            "request_too_large",
            "context_length_exceeded",
            "content_filter",
            "model_not_found",
            "INVALID_ARGUMENT",
            "FAILED_PRECONDITION",
            "NOT_FOUND",
            "tool_use_failed",
        ),
        Rejected,
    ),
    **dict.fromkeys(
        ("authentication_error", "permission_error", "billing_error", "invalid_api_key", "PERMISSION_DENIED", "UNAUTHENTICATED"),
        Unauthorized,
    ),
}


def _class_of(status: int) -> type[ModelError]:
    if status in (401, 402, 403):
        return Unauthorized
    if status == 429:
        return RateLimited
    if status in (408, 409, 425, 498) or status >= 500:  # 498 is Groq's "no capacity"
        return Overloaded
    return Rejected


def _error_in(body: bytes) -> Any:
    """The error object of a body; None where it is no JSON or holds nothing."""
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(data, list) and data:
        data = data[0]
    return data.get("error") or data if isinstance(data, dict) else data


def _message(error: Any) -> str:
    if isinstance(error, dict):
        for key in ("message", "detail", "error"):
            if error.get(key):
                return str(error[key])[:500]
    return str(error)[:500] if error else "no message"


def _code(error: Any) -> str | None:
    if not isinstance(error, dict):
        return None
    for key in ("code", "status", "type"):
        if isinstance(error.get(key), str) and error[key]:
            return str(error[key])[:100]
    number = error.get("code")
    return str(number) if isinstance(number, int) and not isinstance(number, bool) else None


def _details(error: Any) -> list[dict[str, Any]]:
    details = error.get("details") if isinstance(error, dict) else None
    return [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []


def _hint(error: Any) -> float | None:
    """How long Gemini asks to wait in its details."""
    asked, whole = None, 0.0
    for detail in _details(error):
        delay = detail.get("retryDelay")
        match = _GO_DURATION.fullmatch(delay) if isinstance(delay, str) else None
        asked = asked if match is None else float(match[1])
        whole = max(whole, _passed(detail.get("violations")))
    return asked if asked is not None and whole <= _QUOTAS["PerMinute"] else whole or None


def _passed(violations: Any) -> float:
    """In how many seconds the slowest of the quotas that were passed is whole again, at the latest; 0 where nobody says."""
    ids = [str(one.get("quotaId")) for one in violations if isinstance(one, dict)] if isinstance(violations, list) else []
    return max([seconds for id in ids for window, seconds in _QUOTAS.items() if window in id], default=0.0)


def _key_refused(error: Any) -> bool:
    """Gemini answers a wrong key with 400 and says so in the details."""
    return any(detail.get("reason") == "API_KEY_INVALID" for detail in _details(error))
