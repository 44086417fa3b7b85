"""Anthropic's Messages API: what is sent, and what comes back."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from wire_strategies import requests

from mainstay.core.errors import CutOff, Garbled, Overloaded, Rejected, Unsupported
from mainstay.core.model import Chunk, ImagePart, Message, ModelRequest, OutputSchema, TextPart, Thought, Tool, ToolCall, Usage
from mainstay.core.reasons import Finish
from mainstay.wire.anthropic_requests import FORMAT, write_request
from mainstay.wire.anthropic_responses import StreamReader, read_response

HI = Message("user", "Hi")


def written(*messages: Message, stream: bool = False, **fields: Any) -> dict[str, Any]:
    request = ModelRequest(messages=messages or (HI,), **fields)
    body: dict[str, Any] = json.loads(write_request(request, model="claude", stream=stream, max_output=64, where="here"))
    return body


@given(requests)
def test_every_request_is_sent_or_refused(request: ModelRequest) -> None:
    """Whatever a caller asks, the result is a body of JSON or a refusal that names what cannot be carried; never a crash."""
    try:
        body = json.loads(write_request(request, model="claude", stream=True, max_output=64, where="here"))
    except Unsupported as refusal:
        assert refusal.feature
        return
    roles = [turn["role"] for turn in body["messages"]]
    assert all(a != b for a, b in itertools.pairwise(roles))
    assert all(turn["content"] for turn in body["messages"])


def test_the_smallest_request() -> None:
    """A maximum output is always sent, and a stream is only asked for when it is wanted."""
    turn = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    assert written() == {"model": "claude", "max_tokens": 64, "messages": [turn]}
    assert written(max_output=7, stream=True)["max_tokens"] == 7
    assert written(stream=True)["stream"] is True


def test_a_conversation_with_tools() -> None:
    """Calls made at once are one turn, their results are one with what the user says next, and arguments are objects."""
    body = written(
        Message("system", "Be brief."),
        HI,
        Message("assistant", "Looking.", tool_calls=(ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", ""))),
        Message("tool", "one", tool_call_id="a"),
        Message("tool", "two", tool_call_id="b", name="g"),
        Message("user", "And?"),
        tools=(Tool("f", "Does f", {"type": "object", "properties": {"x": {"type": "integer"}}}, strict=True), Tool("g")),
        tool_choice="required",
        parallel_tool_calls=False,
    )
    assert body["system"] == "Be brief."
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "one"}]},
                {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "two"}]},
                {"type": "text", "text": "And?"},
            ],
        },
    ]
    assert body["tools"] == [
        {
            "name": "f",
            "description": "Does f",
            "input_schema": {"type": "object", "properties": {"x": {"type": "integer"}}},
            "strict": True,
        },
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "f"}, {"type": "tool", "name": "f"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": True}, None),
    ],
)
def test_tool_choice(fields: dict[str, Any], choice: dict[str, Any] | None) -> None:
    """Each of our words for which tool to call is Anthropic's."""
    assert written(tools=(Tool("f"),), **fields).get("tool_choice") == choice


def test_images_and_cache_marks() -> None:
    """Images go by address or by content; a mark stands on the block that ends the stretch, for a tool's result on the result."""
    png = "data:image/png;base64,AAAA"
    body = written(
        Message("system", (TextPart("Long.", cache="1h"),)),
        Message("user", (TextPart("What is it?"), ImagePart(png, "high"), ImagePart("https://example.org/a.jpg", cache="5m"))),
        Message("assistant", tool_calls=(ToolCall("a", "f", "{}"),)),
        Message("tool", (TextPart("See:"), ImagePart(png, cache="5m")), tool_call_id="a"),
        tools=(Tool("f", cache="5m"),),
    )
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    five = {"type": "ephemeral"}
    assert body["system"] == [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "What is it?"},
        image,
        {"type": "image", "source": {"type": "url", "url": "https://example.org/a.jpg"}, "cache_control": five},
    ]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "See:"}, image], "cache_control": five}
    ]
    assert body["tools"][0]["cache_control"] == five


def test_thoughts_go_back_byte_for_byte() -> None:
    """Anthropic's own reasoning goes back as it came, before the rest; anybody else's, or one without its proof, stays here."""
    thoughts = (
        Thought("text", "Hm.", "sig", format=FORMAT),
        Thought("sealed", "xyz", format=FORMAT),
        Thought("text", "unsigned", format=FORMAT),
        Thought("sealed", "AAA", format="google-gemini-v1"),
    )
    message = Message("assistant", "So.", reasoning="Hm.", thoughts=thoughts)
    assert written(HI, message)["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "So."},
    ]


def test_sampling_and_effort() -> None:
    """Sampling settings have Anthropic's names, an effort is part of `output_config`, and none of it switches thinking off."""
    body = written(temperature=0.5, top_p=0.9, stop=("END",), reasoning_effort="minimal")
    assert {k: body[k] for k in ("temperature", "top_p", "stop_sequences", "output_config")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "output_config": {"effort": "low"},
    }
    assert written(reasoning_effort="none")["thinking"] == {"type": "disabled"}


def test_a_schema_in_the_dialect_that_is_enforced() -> None:
    """What the API would refuse becomes words, objects are closed, and a property may be called like a keyword."""
    schema = {
        "type": "object",
        "properties": {
            "maximum": {"type": "integer", "minimum": 0, "description": "Highest."},
            "when": {"type": "string", "format": "date"},
            "code": {"type": "string", "format": "iban", "maxLength": 34},
            "of": {"oneOf": [{"type": "object", "properties": {}}, {"$ref": "#/$defs/tag"}]},
            "list": {"type": "array", "minItems": 3, "items": {"type": "number", "exclusiveMaximum": 1}},
        },
        "required": ["maximum"],
        "$defs": {"tag": {"enum": ["minimum", 3], "default": {"minimum": 1}}},
    }
    sent = written(output=OutputSchema("answer", schema, description="The answer."))["output_config"]["format"]
    assert sent == {
        "type": "json_schema",
        "schema": {
            "description": "The answer.",
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "maximum": {"type": "integer", "description": "Highest. {minimum: 0}"},
                "when": {"type": "string", "format": "date"},
                "code": {"type": "string", "description": "{format: iban, maxLength: 34}"},
                "of": {"anyOf": [{"type": "object", "properties": {}, "additionalProperties": False}, {"$ref": "#/$defs/tag"}]},
                "list": {
                    "type": "array",
                    "description": "{minItems: 3}",
                    "items": {"type": "number", "description": "{exclusiveMaximum: 1}"},
                },
            },
            "required": ["maximum"],
            "$defs": {"tag": {"enum": ["minimum", 3], "default": {"minimum": 1}}},
        },
    }


@pytest.mark.parametrize(
    ("messages", "fields", "feature"),
    [
        ((), {"seed": 7}, "seed"),
        ((), {"output": OutputSchema()}, "an answer of any JSON, without a schema"),
        ((), {"extra": {"logit_bias": msgspec.Raw(b'{"1":2}')}}, "`logit_bias`"),
        ((Message("user", "Hi", name="ann"),), {}, "`name` of a message"),
        ((Message("user", (ImagePart("gs://bucket/a.png"),)),), {}, "an image at a `gs:` address"),
        ((Message("user", (ImagePart("data:image/svg+xml,<svg/>"),)),), {}, "an image in a `data:` URL that is not base64"),
        ((Message("user", (ImagePart("data:application/pdf;base64,AAAA"),)),), {}, "`application/pdf` as input"),
        ((Message("system", (ImagePart("https://example.org/a.png"),)), HI), {}, "an image in a system message"),
        (
            (Message("assistant", tool_calls=(ToolCall("a", "f", "[1]"),)),),
            {},
            "a tool call whose arguments are not a JSON object",
        ),
        ((Message("user", "\ud83d"),), {}, "a text with half of a surrogate pair"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(messages: tuple[Message, ...], fields: dict[str, Any], feature: str) -> None:
    """What this wire has no word for is refused before anything is sent, and the refusal names it."""
    with pytest.raises(Unsupported) as refusal:
        written(*messages, **fields)
    assert refusal.value.feature == feature


def test_fields_of_its_own_travel_along() -> None:
    """What Anthropic alone understands reaches it; what asks for nothing is no reason to refuse."""
    extra = {"thinking": b'{"type":"adaptive"}', "top_k": b"40", "frequency_penalty": b"0", "logprobs": b"null"}
    body = written(extra={name: msgspec.Raw(value) for name, value in extra.items()})
    assert (body["thinking"], body["top_k"]) == ({"type": "adaptive"}, 40)
    assert not {"frequency_penalty", "logprobs"} & body.keys()


# Answers

USAGE = {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 5, "output_tokens": 7}
COUNTED = Usage(input=115, output=7, cached_input=100, cache_write=5)


def whole(*content: dict[str, Any], stop: str | None = "end_turn", **fields: Any) -> Chunk:
    message = {"type": "message", "model": "claude-1", "content": content, "stop_reason": stop, "usage": USAGE, **fields}
    return read_response(json.dumps(message).encode(), where="here")


def framed(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


def start(**usage: int) -> dict[str, Any]:
    message = {
        "type": "message",
        "model": "claude-1",
        "content": [],
        "stop_reason": None,
        "usage": usage or {**USAGE, "output_tokens": 1},
    }
    return {"type": "message_start", "message": message}


def block(index: int, kind: str, *deltas: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    head = {"type": "content_block_start", "index": index, "content_block": {"type": kind, **fields}}
    grown = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [head, *grown, {"type": "content_block_stop", "index": index}]


def stop(reason: str | None = "end_turn", output: int = 7, **fields: Any) -> list[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": None, **fields}
    return [{"type": "message_delta", "delta": delta, "usage": {"output_tokens": output}}, {"type": "message_stop"}]


def text(said: str) -> dict[str, Any]:
    return {"type": "text_delta", "text": said}


def fragment(json_text: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": json_text}


def streamed(body: bytes, size: int = 0) -> Chunk:
    reader = StreamReader(where="here")
    pieces = [body[i : i + (size or len(body))] for i in range(0, len(body), size or len(body))]
    got = [chunk for chunk in map(reader.feed, pieces) if chunk is not None] + [reader.close()]
    return msgspec.structs.replace(
        got[-1],
        text="".join(c.text for c in got),
        reasoning="".join(c.reasoning for c in got),
        refusal="".join(c.refusal for c in got),
    )


@pytest.mark.parametrize("size", [1, 7, 0])
def test_a_stream_is_the_same_in_any_pieces(size: int) -> None:
    """Thinking with its signature, text, two calls in fragments and usage come out whole, whatever the cut."""
    body = framed(
        start(),
        *block(
            0,
            "thinking",
            {"type": "thinking_delta", "thinking": "Hm"},
            {"type": "signature_delta", "signature": "sig"},
            thinking="",
        ),
        {"type": "ping"},
        *block(1, "text", text("Grüße "), text("🌍"), text=""),
        *block(2, "tool_use", fragment(""), fragment('{"x":'), fragment(" 1}"), id="a", name="f", input={}),
        *block(3, "tool_use", id="b", name="g", input={}),
        *stop("tool_use"),
    )
    assert streamed(body, size) == Chunk(
        text="Grüße 🌍",
        reasoning="Hm",
        thoughts=(Thought("text", "Hm", "sig", format=FORMAT),),
        tool_calls=(ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", "{}")),
        finish=Finish.TOOL_CALLS,
        usage=COUNTED,
        model="claude-1",
    )


def test_a_whole_message() -> None:
    """The same in one piece; input that was read from or written to the cache is part of the input."""
    assert whole(
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "So."},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        stop="tool_use",
    ) == Chunk(
        text="So.",
        reasoning="Hm",
        thoughts=(Thought("text", "Hm", "sig", format=FORMAT), Thought("sealed", "xyz", format=FORMAT)),
        tool_calls=(ToolCall("a", "f", '{"x": 1}'),),
        finish=Finish.TOOL_CALLS,
        usage=COUNTED,
        model="claude-1",
    )


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", Finish.STOP),
        ("stop_sequence", Finish.STOP),
        ("max_tokens", Finish.LENGTH),
        ("model_context_window_exceeded", Finish.LENGTH),
        ("pause_turn", Finish.LENGTH),
        ("tool_use", Finish.TOOL_CALLS),
        ("refusal", Finish.CONTENT_FILTER),
        ("something_new", Finish.STOP),
        (None, Finish.STOP),
    ],
)
def test_stop_reasons(reason: str | None, finish: Finish) -> None:
    """Every stop reason is one of our five, the same in both forms."""
    assert whole({"type": "text", "text": "Hi"}, stop=reason).finish is finish
    assert streamed(framed(start(), *block(0, "text", text("Hi"), text=""), *stop(reason))).finish is finish


def test_a_refusal_says_why() -> None:
    """A refusal carries the provider's explanation, or at least says that it is one."""
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    assert whole(stop="refusal", stop_details=details).refusal == "Not this."
    assert streamed(framed(start(), *stop("refusal", stop_details=details))).refusal == "Not this."
    assert "content filter" in whole(stop="refusal").refusal
    assert whole({"type": "text", "text": "Hi"}, stop_details={"explanation": "Of something else."}).refusal == ""


def test_usage_comes_in_parts() -> None:
    """What the end of a stream counts anew replaces what the start said; what it leaves out stays."""
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 61, "output_tokens": 2}}
    body = framed(start(input_tokens=43, output_tokens=1, cache_read_input_tokens=8), end, {"type": "message_stop"})
    assert streamed(body).usage == Usage(input=69, output=2, cached_input=8)
    details = {**USAGE, "output_tokens_details": {"thinking_tokens": 4}}
    assert whole(usage=details).usage == Usage(input=115, output=7, cached_input=100, cache_write=5, reasoning=4)


@pytest.mark.parametrize(("said", "tier"), [("standard", "default"), ("batch", "flex"), ("priority", "priority"), (7, "")])
def test_the_tier_that_was_used(said: Any, tier: str) -> None:
    """It is told in OpenAI's words, because that is what callers read."""
    assert whole(text("Hi"), usage={**USAGE, "service_tier": said}).usage.tier == tier  # type: ignore[union-attr]


def test_what_runs_at_the_provider_is_no_call_of_ours() -> None:
    """Server tools, their results and blocks that do not exist yet are read past; the text around them is whole."""
    content = [
        {"type": "text", "text": "Let me see. "},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result", "title": "t"}]},
        {"type": "from_the_future", "text": "hidden", "name": "f"},
        {"type": "text", "text": "Found.", "citations": [{"type": "char_location"}]},
    ]
    said = whole(*content)
    assert (said.text, said.tool_calls) == ("Let me see. Found.", ())
    heads = [{"type": "content_block_start", "index": i, "content_block": b} for i, b in enumerate(content)]
    assert streamed(framed(start(), *heads, *stop())).text == "Let me see. Found."


def test_a_message_that_begins_again() -> None:
    """A second start before any text (an upstream retry) starts anew; after text there is no telling which one is meant."""
    broken = block(0, "tool_use", fragment('{"x": "Spar'), id="a", name="f", input={})
    again = block(0, "tool_use", fragment('{"x": 1}'), id="b", name="f", input={})
    said = streamed(framed(start(), *broken[:-1], start(), *again, *stop("tool_use")))
    assert said.tool_calls == (ToolCall("b", "f", '{"x": 1}'),)
    with pytest.raises(Garbled, match="second message"):
        streamed(framed(start(), *block(0, "text", text("Hi"), text=""), start(), *stop()))
    assert streamed(framed(start(), *stop(), start(), *block(0, "text", text("after the end"), text=""))).text == ""


def test_a_cut_stream_is_cut_off() -> None:
    """Without a stop reason and an end mark the stream was cut, also in the middle of an event."""
    opened = framed(start(), *block(0, "text", text("Hi"), text=""))
    for body in (opened, opened + b'event: message_delta\ndata: {"type":"mess', b"event: ping\n"):
        with pytest.raises(CutOff):
            streamed(body)
    assert streamed(opened + framed(stop()[0])).finish is Finish.STOP


def test_errors_inside_a_good_answer() -> None:
    """An error event ends the stream with its type; so does an error object where a message was due."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(Overloaded, match="Overloaded"):
        streamed(framed(start(), *block(0, "text", text("Hi"), text=""), error))
    with pytest.raises(Rejected):
        read_response(b'{"type":"error","error":{"type":"invalid_request_error","message":"No"}}', where="")
    with pytest.raises(Overloaded):
        streamed(framed({"type": "error"}))


def test_what_is_no_message_is_garbage() -> None:
    """A good status with a body that is no message is typed, whole and streamed."""
    for body in (b"<html>", b"", b"[]", b"{}", b'{"content": 7}', b'{"content": [{"text": "no type"}]}'):
        with pytest.raises(Garbled):
            read_response(body, where="")
    for body in (
        b"data: <html>\n\n",
        b'data: {"no": "type"}\n\n',
        framed(start(), *block(0, "tool_use", id="a", input={}), *stop()),
    ):
        with pytest.raises(Garbled):
            streamed(body)
