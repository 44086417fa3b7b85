"""What a provider's error response means: one translation for every wire.

The shapes in use: OpenAI `{"error": {message, type, code, param}}`, Anthropic `{"type": "error", "error": {type, message}}`,
Gemini `{"error": {code, message, status, details}}` (sometimes in a list), and servers that say `{"error": "…"}`,
`{"message": "…"}` or `{"detail": …}`. Waiting hints: `retry-after-ms` wins over `retry-after` (seconds or an HTTP date, read
against the response's own `date`), and Gemini's `RetryInfo`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from mainstay.core.errors import ModelError, Overloaded, RateLimited, Rejected, Unauthorized

_EXHAUSTED = {"insufficient_quota", "billing_hard_limit_reached", "billing_error"}
_GO_DURATION = re.compile(r"(\d+(?:\.\d+)?)s")


def failure(status: int, headers: Mapping[str, str], body: bytes, *, where: str) -> ModelError:
    """The typed error for an HTTP answer of 400 or above."""
    what, code, hint = _explain(body)
    error = _class_of(status)(
        f"HTTP {status}: {what}",
        where=where,
        status=status,
        code=code,
        retry_after=retry_after(headers) or hint,
    )
    if code in _EXHAUSTED:
        error.retryable = False
    return error


def in_stream(error: Any, *, where: str) -> ModelError:
    """The typed error for an error object that arrives in the middle of a stream."""
    what, code = _message(error), _code(error)
    status = error.get("code") if isinstance(error, dict) else None
    kind = _class_of(status) if isinstance(status, int) and 400 <= status < 600 else _CODES.get(code or "", Overloaded)
    return kind(what, where=where, code=code, status=status if isinstance(status, int) else None)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait, or None."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, float(value) * unit)
        except ValueError:
            pass
        try:
            wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
        except (ValueError, TypeError):
            continue
        return max(0.0, wait.total_seconds())
    return None


_CODES: dict[str, type[ModelError]] = {
    "rate_limit_error": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "RESOURCE_EXHAUSTED": RateLimited,
    "insufficient_quota": RateLimited,
    "overloaded_error": Overloaded,
    "invalid_request_error": Rejected,
    "INVALID_ARGUMENT": Rejected,
    "authentication_error": Unauthorized,
    "permission_error": Unauthorized,
    "billing_error": Unauthorized,
}


def _class_of(status: int) -> type[ModelError]:
    if status in (401, 402, 403):
        return Unauthorized
    if status == 429:
        return RateLimited
    if status in (408, 409, 425) or status >= 500:
        return Overloaded
    return Rejected


def _explain(body: bytes) -> tuple[str, str | None, float | None]:
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:300].decode("utf-8", "replace").strip() or "no body", None, None
    if isinstance(data, list) and data:
        data = data[0]
    error = data.get("error", data) if isinstance(data, dict) else data
    return _message(error), _code(error), _hint(error)


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
            return str(error[key])
    return None


def _hint(error: Any) -> float | None:
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        match = _GO_DURATION.fullmatch(delay) if isinstance(delay, str) else None
        if match:
            return float(match[1])
    return None
