"""Providers' rate-limit headers, in the forms in which they really come."""

from __future__ import annotations

from typing import Any

import pytest

from mainstay.core.errors import RateLimited
from mainstay.core.model import Left, Quota
from mainstay.wire.failures import failure
from mainstay.wire.quotas import quota_of, seconds_until

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("6m0s", 360.0),
        ("12ms", 0.012),
        ("1s", 1.0),
        ("1h2m3.5s", 3723.5),
        ("2m59.56s", 179.56),
        ("450us", 0.00045),
        ("59", 59.0),
        ("0.5", 0.5),
        ("1790000030", 30.0),
        ("1790000030500", 30.5),
        ("2026-09-21T14:13:50Z", 30.0),
        ("2026-09-21T14:13:50+00:00", 30.0),
        ("2020-01-01T00:00:00Z", 0.0),
    ],
)
def test_a_reset_is_read_in_all_its_forms(said, seconds):
    """Go durations, numbers, moments since 1970 in seconds and milliseconds, RFC 3339; what is past is now."""
    assert seconds_until(said, NOW) == pytest.approx(seconds, abs=1e-4)


@pytest.mark.parametrize("said", ["", "soon", "s", "1.2.3s", "-", "nan", "inf", "2026-99-99T00:00:00Z", "1x"])
def test_a_reset_that_cannot_be_read_says_nothing(said):
    """Garbage is nobody's pause."""
    assert seconds_until(said, NOW) is None


def test_openais_headers():
    """Requests and tokens, with their limits."""
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert quota_of(headers, now=NOW) == Quota(requests=Left(59, 1.0, 60), tokens=Left(149984, 360.0, 150000))


def test_anthropics_headers():
    """Of input, output and all tokens the least counts; moments are read against the answer's own date."""
    headers: dict[str, Any] = {"date": "Mon, 21 Sep 2026 14:13:20 GMT"}
    for what, remaining in (("requests", "3"), ("tokens", "9000"), ("input-tokens", "50"), ("output-tokens", "8000")):
        headers[f"anthropic-ratelimit-{what}-limit"] = "10000"
        headers[f"anthropic-ratelimit-{what}-remaining"] = remaining
        headers[f"anthropic-ratelimit-{what}-reset"] = "2026-09-21T14:13:50Z"
    found = quota_of(headers, now=NOW + 5000)
    assert found == Quota(requests=Left(3, 30.0, 10000), tokens=Left(50, 30.0, 10000))


def test_headers_of_others():
    """Without a unit they are about requests; with a window behind it the tightest counts."""
    assert quota_of({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}, now=NOW) == Quota(requests=Left(0, 30.0, None))
    headers = {"x-ratelimit-remaining-requests-day": "900", "x-ratelimit-reset-requests-day": "3600"}
    headers |= {"x-ratelimit-remaining-requests-minute": "2", "x-ratelimit-reset-requests-minute": "20"}
    assert quota_of(headers, now=NOW) == Quota(requests=Left(2, 20.0, None))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json"},
        {"x-ratelimit-remaining-requests": "3"},
        {"x-ratelimit-remaining-requests": "many", "x-ratelimit-reset-requests": "1s"},
        {"x-ratelimit-remaining-credits": "3", "x-ratelimit-reset-credits": "1s"},
        {"x-ratelimit-remaining-requests": "nan", "x-ratelimit-reset-requests": "1s"},
    ],
)
def test_what_is_not_complete_says_nothing(headers):
    """Half a header, or one that cannot be read, bounds nobody."""
    assert quota_of(headers, now=NOW) is None


def test_a_429_without_a_hint_is_over_when_its_limit_is_whole_again():
    """The pause that a 429 asks for: its `retry-after`, else the reset of the limit of which nothing is left."""
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7s"}
    error = failure(429, headers, b"{}", where="test")
    assert isinstance(error, RateLimited) and error.retry_after == 7.0
    assert failure(429, {**headers, "retry-after": "2"}, b"{}", where="test").retry_after == 2.0
    assert failure(500, headers, b"{}", where="test").retry_after is None
