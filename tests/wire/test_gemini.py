"""Gemini's generateContent: what is sent, and what comes back."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from wire_strategies import requests

from mainstay.core.errors import CutOff, Garbled, Overloaded, RateLimited, Unsupported
from mainstay.core.model import Chunk, ImagePart, Message, ModelRequest, OutputSchema, TextPart, Thought, Tool, ToolCall, Usage
from mainstay.core.reasons import Finish
from mainstay.wire.gemini_requests import FOREIGN, FORMAT, write_request
from mainstay.wire.gemini_responses import StreamReader, read_response

HI = Message("user", "Hi")


def written(*messages: Message, model: str = "gemini-3-pro", **fields: Any) -> dict[str, Any]:
    request = ModelRequest(messages=messages or (HI,), **fields)
    body: dict[str, Any] = json.loads(write_request(request, model=model, max_output=64, where="here"))
    return body


@given(requests)
def test_every_request_is_sent_or_refused(request: ModelRequest) -> None:
    """Whatever a caller asks, the result is a body of JSON or a refusal that names what cannot be carried; never a crash."""
    try:
        body = json.loads(write_request(request, model="gemini-3-pro", max_output=64, where="here"))
    except Unsupported as refusal:
        assert refusal.feature
        return
    roles = [turn["role"] for turn in body["contents"]]
    assert all(a != b for a, b in itertools.pairwise(roles))
    assert all(turn["parts"] for turn in body["contents"])


def test_the_smallest_request() -> None:
    """A maximum output is always sent."""
    contents = [{"role": "user", "parts": [{"text": "Hi"}]}]
    assert written() == {"contents": contents, "generationConfig": {"maxOutputTokens": 64}}
    assert written(max_output=7)["generationConfig"] == {"maxOutputTokens": 7}


def test_a_conversation_with_tools() -> None:
    """Calls and their results are one turn each; a result finds its function by its call, and is an object."""
    body = written(
        Message("system", "Be brief."),
        HI,
        Message("assistant", "Looking.", tool_calls=(ToolCall("a", "f", '{"x": 1}'), ToolCall("b", "g", ""))),
        Message("tool", "one", tool_call_id="a"),
        Message("tool", '{"n": 2}', tool_call_id="b"),
        Message("tool", "[3]", name="h"),
        model="gemini-2.5-flash",
        tools=(Tool("f", "Does f", {"type": "object"}), Tool("g")),
        tool_choice="g",
    )
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Looking."},
                {"functionCall": {"name": "f", "args": {"x": 1}, "id": "a"}},
                {"functionCall": {"name": "g", "args": {}, "id": "b"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "f", "response": {"output": "one"}, "id": "a"}},
                {"functionResponse": {"name": "g", "response": {"n": 2}, "id": "b"}},
                {"functionResponse": {"name": "h", "response": {"output": "[3]"}}},
            ],
        },
    ]
    functions = [
        {"name": "f", "description": "Does f", "parametersJsonSchema": {"type": "object"}},
        {"name": "g", "description": ""},
    ]
    assert body["tools"] == [{"functionDeclarations": functions}]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}}


@pytest.mark.parametrize(
    ("choice", "strict", "config"),
    [
        (None, None, None),
        (None, True, {"mode": "VALIDATED"}),
        ("auto", None, {"mode": "AUTO"}),
        ("none", True, {"mode": "NONE"}),
        ("required", None, {"mode": "ANY"}),
    ],
)
def test_tool_choice(choice: str | None, strict: bool | None, config: dict[str, Any] | None) -> None:
    """Each of our words for which tool to call is Gemini's; strict tools are validated ones."""
    body = written(tools=(Tool("f", strict=strict),), tool_choice=choice)
    assert body.get("toolConfig") == (config and {"functionCallingConfig": config})


def test_signatures_go_back_where_they_came_from() -> None:
    """A signature stands on the call or the text that it came with; Gemini 3 refuses a call of its own without it."""
    calls = (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))
    own = (
        Thought("text", "Hm.", format=FORMAT),
        Thought("sealed", "SIG", id="a", format=FORMAT),
        Thought("sealed", "TEXT", format=FORMAT),
        Thought("text", "else", "sig", format="anthropic-claude-v1"),
    )
    parts = written(HI, Message("assistant", "So.", tool_calls=calls, thoughts=own))["contents"][1]["parts"]
    assert parts == [
        {"text": "Hm.", "thought": True},
        {"text": "So.", "thoughtSignature": "TEXT"},
        {"functionCall": {"name": "f", "args": {}, "id": "a"}, "thoughtSignature": "SIG"},
        {"functionCall": {"name": "f", "args": {}, "id": "b"}},
    ]


def test_calls_of_another_model_carry_the_documented_mark() -> None:
    """A history that another model wrote is accepted by Gemini 3 with Google's mark on the first call, and needs none before."""
    foreign = Message("assistant", tool_calls=(ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}")))
    marks = [part.get("thoughtSignature") for part in written(HI, foreign)["contents"][1]["parts"]]
    assert marks == [FOREIGN, None]
    assert "thoughtSignature" not in json.dumps(written(HI, foreign, model="gemini-2.5-flash"))


def test_images() -> None:
    """Images go by content or by address, in a message and in a tool's result; an address says its type."""
    png, jpg = ImagePart("data:image/png;base64,AAAA", "high"), ImagePart("https://example.org/a.webp?x=1", cache="5m")
    body = written(
        Message("user", (TextPart("What?"), png, jpg, ImagePart("https://example.org/"))),
        Message("assistant", tool_calls=(ToolCall("a", "f", "{}"),)),
        Message("tool", (TextPart("See"), png), tool_call_id="a"),
    )
    inline = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    assert body["contents"][0]["parts"] == [
        {"text": "What?"},
        inline,
        {"fileData": {"fileUri": "https://example.org/a.webp?x=1", "mimeType": "image/webp"}},
        {"fileData": {"fileUri": "https://example.org/", "mimeType": "image/jpeg"}},
    ]
    response = {"name": "f", "response": {"output": "See"}, "id": "a", "parts": [inline]}
    assert body["contents"][2]["parts"] == [{"functionResponse": response}]


@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", "medium", {"thinkingBudget": 8192}),
        ("gemini-3-pro", "low", {"thinkingLevel": "low"}),
        ("gemini-3-pro", "xhigh", {"thinkingLevel": "high"}),
    ],
)
def test_an_effort_is_a_budget_or_a_level(model: str, effort: str, config: dict[str, Any]) -> None:
    """Up to Gemini 2 an effort is a number of tokens, since then a level."""
    assert written(model=model, reasoning_effort=effort)["generationConfig"]["thinkingConfig"] == config


def test_sampling_and_schema() -> None:
    """Sampling settings have Gemini's names, a schema goes as JSON Schema, and fields of its own travel along."""
    extra = {"topK": b"40", "frequency_penalty": b"0.5", "safetySettings": b"[]", "labels": b'{"team":"a"}', "n": b"null"}
    body = written(
        temperature=0.5,
        top_p=0.9,
        stop=("END",),
        seed=7,
        output=OutputSchema(schema={"type": "object"}),
        extra={name: msgspec.Raw(value) for name, value in extra.items()},
    )
    assert body["generationConfig"] == {
        "maxOutputTokens": 64,
        "temperature": 0.5,
        "topP": 0.9,
        "seed": 7,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
        "topK": 40,
        "frequencyPenalty": 0.5,
    }
    assert (body["safetySettings"], body["labels"]) == ([], {"team": "a"})
    assert "n" not in body
    assert written(output=OutputSchema())["generationConfig"] == {"maxOutputTokens": 64, "responseMimeType": "application/json"}


@pytest.mark.parametrize(
    ("messages", "fields", "feature"),
    [
        ((), {"parallel_tool_calls": False}, "`parallel_tool_calls` = false"),
        ((), {"extra": {"responseLogprobs": msgspec.Raw(b"true")}}, "`responseLogprobs`"),
        ((), {"extra": {"logit_bias": msgspec.Raw(b'{"1":2}')}}, "`logit_bias`"),
        ((Message("user", "Hi", name="ann"),), {}, "`name` of a message"),
        ((Message("tool", "x", tool_call_id="nowhere"),), {}, "a tool's result whose call is not in the messages"),
        ((Message("system", (ImagePart("https://example.org/a.png"),)), HI), {}, "an image in a system message"),
        ((Message("assistant", tool_calls=(ToolCall("a", "f", "{"),)),), {}, "a tool call whose arguments are not a JSON object"),
        ((Message("user", "\ud83d"),), {}, "a text with half of a surrogate pair"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(messages: tuple[Message, ...], fields: dict[str, Any], feature: str) -> None:
    """What this wire has no word for is refused before anything is sent, and the refusal names it."""
    with pytest.raises(Unsupported) as refusal:
        written(*messages, **fields)
    assert refusal.value.feature == feature


# Answers

USAGE = {
    "promptTokenCount": 20,
    "candidatesTokenCount": 5,
    "thoughtsTokenCount": 30,
    "toolUsePromptTokenCount": 4,
    "cachedContentTokenCount": 8,
    "totalTokenCount": 59,
}
COUNTED = Usage(input=24, output=35, cached_input=8, reasoning=30)


def answer(*parts: dict[str, Any], finish: str | None = "STOP", **fields: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": parts, "role": "model"}, **({"finishReason": finish} if finish else {})}
    return {"candidates": [candidate], "modelVersion": "gemini-1", "responseId": "r", **fields}


def whole(*parts: dict[str, Any], finish: str | None = "STOP", **fields: Any) -> Chunk:
    return read_response(json.dumps(answer(*parts, finish=finish, **fields)).encode(), where="here")


def framed(*events: Any) -> bytes:
    return b"".join(b"data: %b\r\n\r\n" % json.dumps(event).encode() for event in events)


def streamed(body: bytes, size: int = 0) -> Chunk:
    reader = StreamReader(where="here")
    pieces = [body[i : i + (size or len(body))] for i in range(0, len(body), size or len(body))]
    got = [chunk for chunk in map(reader.feed, pieces) if chunk is not None] + [reader.close()]
    return msgspec.structs.replace(
        got[-1],
        text="".join(c.text for c in got),
        reasoning="".join(c.reasoning for c in got),
        usage=next((c.usage for c in reversed(got) if c.usage), None),
        model=next((c.model for c in reversed(got) if c.model), None),
    )


@pytest.mark.parametrize("size", [1, 7, 0])
def test_a_stream_is_the_same_in_any_pieces(size: int) -> None:
    """Thoughts, text, two calls with and without an id, signatures and usage come out whole, whatever the cut."""
    body = framed(
        answer({"text": "Hm. ", "thought": True}, finish=None, usageMetadata={"promptTokenCount": 20}),
        answer({"text": "Grüße "}, finish=None),
        answer({"text": "🌍"}, {"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "SIG"}, finish=None),
        answer({"functionCall": {"name": "g", "id": "b"}}, finish=None),
        answer({"text": "", "thoughtSignature": "TEXT"}, usageMetadata=USAGE),
    )
    assert streamed(body, size) == Chunk(
        text="Grüße 🌍",
        reasoning="Hm. ",
        thoughts=(
            Thought("text", "Hm. ", format=FORMAT),
            Thought("sealed", "SIG", id="r-0", format=FORMAT),
            Thought("sealed", "TEXT", format=FORMAT),
        ),
        tool_calls=(ToolCall("r-0", "f", '{"x": 1}'), ToolCall("b", "g", "{}")),
        finish=Finish.TOOL_CALLS,
        usage=COUNTED,
        model="gemini-1",
    )


def test_a_whole_answer() -> None:
    """The same in one piece: thoughts are output, what tools read is input, and calls are a finish reason."""
    said = whole(
        {"text": "Hm.", "thought": True}, {"text": "So."}, {"functionCall": {"name": "f", "args": None}}, usageMetadata=USAGE
    )
    assert said == Chunk(
        text="So.",
        reasoning="Hm.",
        thoughts=(Thought("text", "Hm.", format=FORMAT),),
        tool_calls=(ToolCall("r-0", "f", "{}"),),
        finish=Finish.TOOL_CALLS,
        usage=COUNTED,
        model="gemini-1",
    )


def test_what_came_goes_back() -> None:
    """A turn with a signed call, sent again as it was read, is the turn that Gemini wrote."""
    parts = [{"functionCall": {"name": "f", "args": {"x": 1}, "id": "a"}, "thoughtSignature": "SIG"}]
    said = whole(*parts)
    again = Message("assistant", said.text, tool_calls=said.tool_calls, thoughts=said.thoughts)
    assert written(HI, again)["contents"][1]["parts"] == parts


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", Finish.STOP),
        ("MAX_TOKENS", Finish.LENGTH),
        ("SAFETY", Finish.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", Finish.CONTENT_FILTER),
        ("MALFORMED_FUNCTION_CALL", Finish.ERROR),
        ("SOMETHING_NEW", Finish.ERROR),
    ],
)
def test_finish_reasons(reason: str, finish: Finish) -> None:
    """Every finish reason is one of our five, the same in both forms."""
    assert whole({"text": "Hi"}, finish=reason).finish is finish
    assert streamed(framed(answer({"text": "Hi"}, finish=reason))).finish is finish


def test_an_answer_that_was_used_up_by_thinking() -> None:
    """A candidate without any part is an empty text that was cut, not a crash."""
    body = {"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}]}
    assert read_response(json.dumps(body).encode(), where="") == Chunk(finish=Finish.LENGTH)
    assert read_response(b'{"candidates": [{"finishReason": "MAX_TOKENS"}]}', where="").finish is Finish.LENGTH


def test_what_was_blocked_is_refused() -> None:
    """A blocked prompt, and an answer that a filter emptied, are refusals that say so."""
    body = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 3}}
    for said in (read_response(json.dumps(body).encode(), where=""), streamed(framed(body))):
        assert said.finish is Finish.CONTENT_FILTER
        assert said.refusal == "the provider blocked the prompt: PROHIBITED_CONTENT"
        assert said.usage == Usage(input=3)
    assert "content filter" in whole(finish="SAFETY").refusal
    assert whole({"text": "Some"}, finish="SAFETY").refusal == ""


def test_code_that_runs_at_the_provider_is_read_past() -> None:
    """Executable code, its result and the calls of the provider's own tools are neither text nor calls of ours."""
    parts = [
        {"executableCode": {"code": "1"}},
        {"codeExecutionResult": {"output": "1"}},
        {"toolCall": {"id": "t"}},
        {"text": "One."},
    ]
    said = whole(*parts)
    assert (said.text, said.tool_calls) == ("One.", ())


def test_a_cut_stream_is_cut_off() -> None:
    """The finish reason is this wire's end mark: without it the stream was cut, also in the middle of an event."""
    opened = framed(answer({"text": "Hi"}, finish=None))
    for body in (opened, opened + b'data: {"candi', b"\r\n"):
        with pytest.raises(CutOff):
            streamed(body)


def test_errors_inside_a_good_answer() -> None:
    """An error object ends the stream with its type."""
    error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    with pytest.raises(Overloaded, match="overloaded"):
        streamed(framed(answer({"text": "Hi"}, finish=None), error))
    with pytest.raises(RateLimited):
        read_response(b'{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}', where="")


def test_what_is_no_answer_is_garbage() -> None:
    """A good status with a body that is no answer is typed, whole and streamed."""
    for body in (b"<html>", b"", b"[]", b"{}", b'{"candidates": []}', b'{"candidates": 7}'):
        with pytest.raises(Garbled):
            read_response(body, where="")
    with pytest.raises(Garbled):
        streamed(b"data: <html>\n\n")
