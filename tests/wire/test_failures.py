"""What a provider's error means, over all wires."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mainstay.core.errors import ModelError, Overloaded, RateLimited, Rejected, Unauthorized
from mainstay.wire.failures import failure, in_stream, retry_after

OPENAI = {"error": {"message": "Too long", "type": "invalid_request_error", "param": None, "code": "context_length_exceeded"}}
ANTHROPIC = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}
GEMINI = {
    "error": {
        "code": 429,
        "message": "Quota",
        "status": "RESOURCE_EXHAUSTED",
        "details": [{"@type": "…/RetryInfo", "retryDelay": "21.5s"}],
    }
}
BAD_KEY = {"error": {"code": 400, "message": "No", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}
QUOTA = {"error": {"message": "Pay", "type": "insufficient_quota", "code": "insufficient_quota"}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, OPENAI, Rejected, "context_length_exceeded"),
        (404, {"error": "model not found"}, Rejected, None),
        (401, {"error": {"message": "No", "type": "invalid_request_error", "code": None}}, Unauthorized, "invalid_request_error"),
        (403, {"detail": "No"}, Unauthorized, None),
        (400, BAD_KEY, Unauthorized, "INVALID_ARGUMENT"),
        (429, GEMINI, RateLimited, "RESOURCE_EXHAUSTED"),
        (429, [GEMINI], RateLimited, "RESOURCE_EXHAUSTED"),
        (429, {"error": {"message": "Later", "code": 429}}, RateLimited, "429"),
        (498, {}, Overloaded, None),
        (500, "<html>Bad gateway</html>", Overloaded, None),
        (503, {"message": "Loading"}, Overloaded, None),
        (529, ANTHROPIC, Overloaded, "overloaded_error"),
        (302, "", Rejected, None),
    ],
)
def test_a_status_is_a_type(status: int, body: Any, kind: type[ModelError], code: str | None) -> None:
    """Every error response becomes the right type, with its status and the provider's own word."""
    error = failure(status, {}, (body if isinstance(body, str) else json.dumps(body)).encode(), where="here")
    assert (type(error), error.status, error.code, error.where) == (kind, status, code, "here")


def test_the_message_reaches_the_reader() -> None:
    """Whatever the shape, what the provider said is in the error; a body that is no JSON is quoted."""
    said = [OPENAI, {"error": "Too long"}, {"message": "Too long"}, {"detail": "Too long"}, [{"error": {"message": "Too long"}}]]
    assert all("Too long" in failure(400, {}, json.dumps(body).encode(), where="").what for body in said)
    assert failure(502, {}, b"<html>nginx</html>", where="").what == "HTTP 502: <html>nginx</html>"
    assert failure(500, {}, b"", where="").what == "HTTP 500: no body"


def test_a_spent_quota_is_not_tried_again() -> None:
    """A 429 for want of money does not go away by waiting, whether it comes as a status or inside a stream."""
    assert failure(429, {}, json.dumps(GEMINI).encode(), where="").retryable
    assert not failure(429, {}, json.dumps(QUOTA).encode(), where="").retryable
    assert not in_stream(QUOTA["error"], where="").retryable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT", "date": "Sat, 21 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:00 GMT", "date": "Sat, 21 Nov 2026 10:00:30 GMT"}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT"}, None),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds and dates are understood; what is no number of seconds is no wish at all."""
    assert retry_after(headers) == seconds


def test_a_header_wins_over_the_body() -> None:
    """Gemini says in the body how long to wait; a header says it better, also when it says not at all."""
    body = json.dumps(GEMINI).encode()
    assert failure(429, {}, body, where="").retry_after == 21.5
    assert failure(429, {"retry-after": "3"}, body, where="").retry_after == 3.0
    assert failure(429, {"retry-after": "0"}, body, where="").retry_after == 0.0


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"type": "overloaded_error", "message": "Later"}, Overloaded, None),
        ({"type": "rate_limit_error", "message": "Later"}, RateLimited, None),
        ({"code": 400, "message": "Token limit reached"}, Rejected, 400),
        ({"code": "503", "message": "Later"}, Overloaded, 503),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "Later"}, RateLimited, 429),
        ({"message": "The server had an error", "type": "server_error", "code": None}, Overloaded, None),
        ("something broke", Overloaded, None),
        ({"code": 7, "message": "?"}, Overloaded, None),
    ],
)
def test_an_error_inside_a_good_answer_is_typed(error: Any, kind: type[ModelError], status: int | None) -> None:
    """An error object in mid-stream has no status line: its own code, or its word, decides."""
    made = in_stream(error, where="")
    assert (type(made), made.status) == (kind, status)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "status", "type", "details", "retryDelay", "reason", "detail"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.integers(300, 599), st.binary() | json_values.map(lambda value: json.dumps(value).encode()), st.text(), st.text())
def test_any_error_response_is_a_typed_error(status: int, body: bytes, after: str, date: str) -> None:
    """Whatever a server sends with an error status, the caller gets a `ModelError` and never a crash."""
    error = failure(status, {"retry-after": after, "date": date}, body, where="")
    assert isinstance(error, ModelError)
    assert error.retry_after is None or 0 <= error.retry_after < float("inf")


@given(json_values)
def test_any_error_object_is_a_typed_error(error: Any) -> None:
    """Whatever stands where a stream has its error, the caller gets a `ModelError`."""
    assert isinstance(in_stream(error, where=""), ModelError)
