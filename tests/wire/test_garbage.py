"""Whatever a provider or a caller sends, the readers answer with a value or a typed error."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mainstay.core.errors import BadRequest, ModelError
from mainstay.core.model import Chunk
from mainstay.wire import anthropic_responses, gemini_responses, openai_responses
from mainstay.wire.openai_requests import ChatRequest, read_request

READERS = [openai_responses, anthropic_responses, gemini_responses]

# Bodies that are nearly right: each gets a value, somewhere, that its wire does not promise.
WHOLE = {
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": [{"type": "text", "text": "Hi"}],
                "reasoning_details": [{"type": "reasoning.text", "text": "Hm", "index": 0}],
                "tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}],
            },
            "finish_reason": "stop",
        }
    ],
    "type": "message",
    "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}],
    "stop_reason": "end_turn",
    "stop_details": {"explanation": "No"},
    "candidates": [
        {
            "content": {"parts": [{"text": "Hi", "thought": False}, {"functionCall": {"name": "f", "args": {}}}]},
            "finishReason": "STOP",
        }
    ],
    "promptFeedback": {"blockReason": None},
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "input_tokens": 1, "output_tokens": 2},
    "usageMetadata": {"promptTokenCount": 1},
    "model": "m",
    "error": None,
}
EVENTS: list[dict[str, Any]] = [
    {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}]}}]},
    {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "a", "name": "f", "input": {}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
    WHOLE,
]
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org"}}
REQUEST = {
    "model": "m",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "a", "content": "b"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "stop": ["a"],
    "max_tokens": 1,
    "stream_options": {"include_usage": True},
}
ODD = st.sampled_from([None, True, -1, 1.5, 10**400, "", "x", [], [None], {}, {"a": 1}, [[]], "\ud83d", 1e308])


@st.composite
def nearly(draw: st.DrawFn, right: Any) -> Any:
    """The value with one place of it replaced, or removed."""
    body = json.loads(json.dumps(right))
    place, key = body, None
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.booleans()):
            break
        place = place[key]
    if draw(st.booleans()):
        place[key] = draw(ODD)
    else:
        del place[key]
    return body


bodies = st.binary() | nearly(WHOLE).map(lambda body: json.dumps(body).encode())
streams = st.lists(
    st.binary(max_size=8)
    | st.sampled_from(EVENTS)
    .flatmap(lambda event: nearly(event) | st.just(event))
    .map(lambda event: b"data: " + json.dumps(event).encode() + b"\n\n"),
    max_size=6,
)


@pytest.mark.parametrize("wire", READERS)
@given(body=bodies)
@example(body=b"[" * 100_000)
def test_a_body_is_an_answer_or_a_model_error(wire: Any, body: bytes) -> None:
    """A provider's body becomes a chunk or a `ModelError`: anything else would be a crash in the middle of a call."""
    with contextlib.suppress(ModelError):
        assert isinstance(wire.read_response(body, where="here"), Chunk)


def test_bytes_that_are_no_text_are_no_crash() -> None:
    """A tool call whose arguments are no UTF-8 is a call with a mark of replacement in it, as in any other text."""
    anthropic = b'{"content": [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": "\xff"}}]}'
    gemini = b'{"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"x": "\xff"}}}]}}]}'
    for wire, body in ((anthropic_responses, anthropic), (gemini_responses, gemini)):
        (call,) = wire.read_response(body, where="").tool_calls
        assert json.loads(call.arguments) == {"x": "\ufffd"}


@pytest.mark.parametrize("wire", READERS)
@given(pieces=streams)
def test_a_stream_is_an_answer_or_a_model_error(wire: Any, pieces: list[bytes]) -> None:
    """The same for a stream, however broken, and wherever it ends."""
    reader = wire.StreamReader(where="here")
    with contextlib.suppress(ModelError):
        for piece in pieces:
            reader.feed(piece)
        assert isinstance(reader.close(), Chunk)


@given(st.binary() | nearly(REQUEST).map(lambda body: json.dumps(body).encode()))
@example(b"[" * 100_000)
@example(b'{"model":"m","messages":' + b"[" * 100_000)
def test_a_request_is_read_or_refused(body: bytes) -> None:
    """A caller's body becomes a request or a `BadRequest`: anything else would be a 500."""
    with contextlib.suppress(BadRequest):
        assert isinstance(read_request(body), ChatRequest)
