"""Chat completions: requests both ways, answers both ways, and what compatible servers make of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import calls, name, requests

from mainstay.core.answer import Answer
from mainstay.core.errors import BadRequest, CutOff, Empty, Garbled, Rejected
from mainstay.core.model import Chunk, ImagePart, Message, ModelRequest, Thought, ToolCall, Usage
from mainstay.core.reasons import Finish, Status
from mainstay.wire.openai_requests import read_request, write_request
from mainstay.wire.openai_responses import StreamReader, StreamWriter, read_response, write_response


@given(requests, st.sampled_from(["max_tokens", "max_completion_tokens"]), st.booleans())
def test_a_request_survives_the_wire(request: ModelRequest, field: str, stream: bool) -> None:
    """What a door reads and an adapter writes is the same request: nothing is dropped in silence on the way through."""
    body = write_request(request, model="m", stream=stream, max_tokens_field=field, reasoning_field="reasoning_details")
    read = read_request(body)
    assert (read.model, read.stream, read.request) == ("m", stream, request)


@given(requests, st.sampled_from(["reasoning_content", "reasoning"]))
def test_thoughts_go_only_where_they_are_understood(request: ModelRequest, field: str) -> None:
    """A server that knows no `reasoning_details` is not sent any: it would refuse the whole request."""
    body = json.loads(write_request(request, model="m", stream=False, reasoning_field=field))
    assert not any("reasoning_details" in message for message in body["messages"])


def test_unknown_fields_travel_along() -> None:
    """A field of the caller's wire that has no word here reaches a provider of the same wire as it was."""
    sent = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"logit_bias":{"50256":-100},"n":1,"top_k":40}'
    body = json.loads(write_request(read_request(sent).request, model="m", stream=False))
    assert (body["logit_bias"], body["top_k"]) == ({"50256": -100}, 40)
    assert "n" not in body


HI = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
            "messages[0].content[0].type",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "bold": True}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "content": "a", "prefix": True}]}, "messages[0].prefix"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "function", "content": "a", "name": "f"}]}, "messages[0].role"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "x", "paramaters": {}}}]}, "tools[0].function"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"stream_options": {"include_everything": True}}, "stream_options"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(change: dict[str, Any], param: str) -> None:
    """A request that would lose something on its way is refused, and the error names the field."""
    with pytest.raises(BadRequest) as error:
        read_request(json.dumps({"model": "m", "messages": [HI], **change}).encode())
    assert error.value.param == param


@pytest.mark.parametrize(
    "change", [{"n": 1}, {"logprobs": False}, {"modalities": ["text"]}, {"functions": None}, {"top_logprobs": 0}]
)
def test_what_asks_for_nothing_is_no_reason_to_refuse(change: dict[str, Any]) -> None:
    """Clients that spell out the defaults are served."""
    assert read_request(json.dumps({"model": "m", "messages": [HI], **change}).encode()).request.messages[0].content == "Hi"


def test_words_of_other_servers_are_understood() -> None:
    """A refusal as a part, Mistral's `any`, `developer`: each is read as what it means."""
    body = {
        "model": "m",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": "https://example.org/a.png", "text": None}]},
        ],
        "tools": [{"function": {"name": "f"}}],
        "tool_choice": "any",
    }
    request = read_request(json.dumps(body).encode()).request
    assert request.messages[0].role == "system"
    assert request.messages[1].text == "No."
    assert request.messages[2].content == (ImagePart("https://example.org/a.png"),)
    assert request.tool_choice == "required"


# Answers


def whole(message: dict[str, Any], finish: str | None = "stop", **fields: Any) -> Chunk:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return read_response(json.dumps({"choices": [choice], **fields}).encode(), where="here")


def chunks(*deltas: dict[str, Any], finish: str | None = "stop", end: bytes = b"data: [DONE]\n\n", **last: Any) -> bytes:
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if finish is not None or last:
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], **last})
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + end


def streamed(body: bytes, size: int = 0) -> Chunk:
    """The fold of a stream that was fed in pieces of this size."""
    reader = StreamReader(where="here")
    pieces = [body[i : i + (size or len(body))] for i in range(0, len(body), size or len(body))]
    got = [chunk for chunk in map(reader.feed, pieces) if chunk is not None] + [reader.close()]
    return Chunk(
        text="".join(c.text for c in got),
        reasoning="".join(c.reasoning for c in got),
        refusal="".join(c.refusal for c in got),
        tool_calls=got[-1].tool_calls,
        thoughts=got[-1].thoughts,
        finish=got[-1].finish,
        usage=next((c.usage for c in reversed(got) if c.usage), None),
        model=next((c.model for c in reversed(got) if c.model), None),
    )


def call(index: int | None, id: str | None = None, name: str | None = None, arguments: str | None = None) -> dict[str, Any]:
    fragment = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [{k: v for k, v in fragment.items() if v is not None}]}


@pytest.mark.parametrize("size", [1, 7, 0])
def test_a_stream_is_the_same_in_any_pieces(size: int) -> None:
    """Text of several bytes a character, reasoning, tool calls in fragments and usage come out whole, whatever the cut."""
    body = chunks(
        {"role": "assistant", "content": "", "reasoning_content": "Hm. "},
        {"content": "Grüße 🌍"},
        {"content": " und mehr"},
        call(0, "a", "get_weather", '{"city":'),
        call(1, "b", "get_time", ""),
        call(0, arguments=' "Paris"}'),
        call(1, arguments="{}"),
        finish="tool_calls",
        usage={"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        model="m-1",
    )
    assert streamed(body, size) == Chunk(
        text="Grüße 🌍 und mehr",
        reasoning="Hm. ",
        tool_calls=(ToolCall("a", "get_weather", '{"city": "Paris"}'), ToolCall("b", "get_time", "{}")),
        finish=Finish.TOOL_CALLS,
        usage=Usage(input=10, output=5),
        model="m-1",
    )


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        # Mistral: no index, a whole call in a fragment
        ([call(None, "a", "f", "{}"), call(None, "b", "g", "{}")], [("a", "f", "{}"), ("b", "g", "{}")]),
        # no index, fragments that follow their call
        ([call(None, "a", "f", '{"x"'), call(None, arguments=": 1}")], [("a", "f", '{"x": 1}')]),
        # no index, the id in every fragment
        ([call(None, "a", "f", '{"x"'), call(None, "a", None, ": 1}")], [("a", "f", '{"x": 1}')]),
        # Gemini's compatible door: every parallel call has index 0
        ([call(0, "a", "f", "{}"), call(0, "b", "g", '{"y": 2}')], [("a", "f", "{}"), ("b", "g", '{"y": 2}')]),
        # the name again in every fragment, or empty
        ([call(0, "a", "f", '{"x"'), call(0, None, "f", ": 1"), call(0, None, "", "}")], [("a", "f", '{"x": 1}')]),
        # arguments as an object
        ([{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]}], [("a", "f", '{"x":1}')]),
        # OpenAI's of old
        (
            [{"function_call": {"name": "f", "arguments": '{"x"'}}, {"function_call": {"arguments": ": 1}"}}],
            [("", "f", '{"x": 1}')],
        ),
        # Snowflake: an empty one with every piece
        ([{"content": "Hi", "function_call": {"name": "", "arguments": ""}}], []),
    ],
)
def test_fragments_of_tool_calls_find_each_other(deltas: list[dict[str, Any]], expected: list[tuple[str, str, str]]) -> None:
    """However a server numbers and cuts its tool calls, each comes out once and whole."""
    assert [(c.id, c.name, c.arguments) for c in streamed(chunks(*deltas)).tool_calls] == expected


def test_an_empty_function_call_is_none() -> None:
    """Snowflake sends an empty `function_call` with every message: it is no call without a name."""
    said = whole({"content": "4", "function_call": {"name": "", "arguments": ""}, "refusal": "", "tool_calls": None}, "")
    assert said == Chunk(text="4", finish=Finish.STOP)


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "length", None])
def test_stream_and_whole_finish_alike(finish: str | None) -> None:
    """The finish reason is the server's own in both forms; where it names none, tool calls decide."""
    tool = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    message = {"content": None, "tool_calls": [tool]}
    expected = Finish(finish) if finish else Finish.TOOL_CALLS
    assert whole(message, finish).finish == streamed(chunks(message, finish=finish)).finish == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2}},
            Usage(input=9, output=4, cached_input=3, cache_write=2),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 5}, Usage(input=9, output=4, cached_input=5)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "cached_tokens": 5}, Usage(input=9, output=4, cached_input=5)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "num_cached_tokens": None}, Usage(input=9, output=4)),
        # xAI: reasoning is charged beside the completion
        (
            {
                "prompt_tokens": 12,
                "completion_tokens": 2,
                "total_tokens": 354,
                "completion_tokens_details": {"reasoning_tokens": 340},
            },
            Usage(input=12, output=342, reasoning=340),
        ),
        # OpenAI: reasoning is part of the completion
        (
            {
                "prompt_tokens": 12,
                "completion_tokens": 342,
                "total_tokens": 354,
                "completion_tokens_details": {"reasoning_tokens": 340},
            },
            Usage(input=12, output=342, reasoning=340),
        ),
        ({"total_tokens": 100}, Usage()),
    ],
)
def test_usage_is_brought_to_one_form(usage: dict[str, Any], expected: Usage) -> None:
    """Input includes cached tokens and output includes reasoning, whatever the server calls them: money is counted on it."""
    assert whole({"content": "Hi"}, usage=usage).usage == expected
    assert streamed(chunks({"content": "Hi"}, usage=usage)).usage == expected


def test_usage_of_groq_comes_beside_the_choices() -> None:
    """Groq reports a stream's usage under `x_groq`."""
    body = chunks({"content": "Hi"}, x_groq={"id": "r", "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}})
    assert streamed(body).usage == Usage(input=3, output=1)


def test_thoughts_come_whole_and_go_back() -> None:
    """Reasoning that the provider wants back is put together from its pieces, and can be sent as it came."""
    pieces = [
        {"reasoning_details": [{"type": "reasoning.text", "text": "First ", "index": 0, "format": "anthropic-claude-v1"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "this.", "index": 0}]},
        {"reasoning_details": [{"type": "reasoning.text", "signature": "sig", "index": 0}]},
        {
            "reasoning_details": [
                {"type": "reasoning.encrypted", "data": "xyz", "index": 1, "id": "r1"},
                {"type": "reasoning.new"},
            ]
        },
        {"content": "Done"},
    ]
    thoughts = (Thought("text", "First this.", "sig", None, "anthropic-claude-v1"), Thought("sealed", "xyz", "", "r1"))
    assert streamed(chunks(*pieces)).thoughts == thoughts
    request = ModelRequest(messages=(Message("assistant", "Done", thoughts=thoughts),))
    body = write_request(request, model="m", stream=False, reasoning_field="reasoning_details")
    assert read_request(body).request.messages[0].thoughts == thoughts


def test_content_in_parts_is_text_and_thinking() -> None:
    """Mistral's reasoning models answer in parts: what is thought is not said."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Four."}]
    for said in (whole({"content": parts}), streamed(chunks({"content": parts}))):
        assert (said.text, said.reasoning) == ("Four.", "Hm.")


def test_a_filter_that_says_nothing_still_refuses() -> None:
    """An answer that a filter emptied is a refusal, not an empty answer that would be asked for again."""
    for said in (whole({"content": ""}, "content_filter"), streamed(chunks({"content": ""}, finish="content_filter"))):
        assert said.finish is Finish.CONTENT_FILTER
        assert "content filter" in said.refusal
    assert streamed(chunks({"content": "Some"}, finish="content_filter")).refusal == ""


def test_only_the_first_choice_counts() -> None:
    """A second choice that nobody asked for is not mixed into the first."""
    extra = b'data: {"choices":[{"index":1,"delta":{"content":"B"},"finish_reason":"stop"}]}\n\n'
    assert streamed(chunks({"content": "A"}, end=extra + b"data: [DONE]\n\n")).text == "A"


def test_a_cut_stream_is_cut_off() -> None:
    """A stream without end mark and finish reason was cut, also in the middle of an event; with either it is whole."""
    for body in (
        chunks({"content": "Hi"}, finish=None, end=b""),
        chunks({"content": "Hi"}, finish=None, end=b'data: {"choi'),
        b"",
    ):
        with pytest.raises(CutOff):
            streamed(body or b"\n")
    assert streamed(chunks({"content": "Hi"}, end=b"")).finish is Finish.STOP
    assert streamed(chunks({"content": "Hi"}, finish=None)).finish is Finish.STOP


def test_an_error_in_mid_stream_is_raised() -> None:
    """OpenRouter reports a failure inside a stream whose status was 200."""
    body = chunks(
        {"content": "Hi"}, finish="length", end=b'data: {"error":{"code":400,"message":"Token limit"},"choices":[]}\n\n'
    )
    with pytest.raises(Rejected, match="Token limit"):
        streamed(body)


def test_what_is_no_completion_is_typed() -> None:
    """A good status with a body that is none is garbage, an error in it an error, and no message at all is empty."""
    for body in (b"<html>", b"", b"[]", b'{"choices": 7}', b"\xff"):
        with pytest.raises(Garbled):
            read_response(body, where="")
    with pytest.raises(Empty):
        read_response(b'{"choices": []}', where="")
    with pytest.raises(Rejected):
        read_response(b'{"error": {"type": "invalid_request_error", "message": "No"}}', where="")
    with pytest.raises(Garbled):
        whole({"tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]})


answers = st.builds(
    Answer,
    id=name,
    feature=st.just("f"),
    release=st.just("r"),
    status=st.just(Status.ANSWERED),
    text=st.text(min_size=1),
    tool_calls=st.just(()) | calls,
    finish=st.sampled_from([Finish.STOP, Finish.LENGTH, Finish.TOOL_CALLS]),
    usage=st.builds(
        Usage, input=st.integers(0, 99), output=st.integers(0, 99), cached_input=st.integers(0, 9), reasoning=st.integers(0, 9)
    ),
)


@given(answers)
def test_an_answer_survives_the_wire_whole(answer: Answer) -> None:
    """What our door writes, our own adapter reads back: one Mainstay in front of another loses nothing."""
    said = read_response(write_response(answer, model="m", created=1), where="")
    assert (said.text, said.tool_calls, said.finish, said.usage, said.model) == (
        answer.text,
        answer.tool_calls,
        answer.finish,
        answer.usage,
        "m",
    )


@given(answers, st.integers(0, 9))
def test_an_answer_survives_the_wire_streamed(answer: Answer, size: int) -> None:
    """The same for a stream, in whichever pieces it arrives."""
    writer = StreamWriter(answer.id, model="m", created=1)
    body = writer.text(answer.text) + (writer.tool_calls(answer.tool_calls) if answer.tool_calls else b"")
    said = streamed(body + writer.end(answer, include_usage=True), size)
    assert (said.text, said.tool_calls, said.finish, said.usage) == (answer.text, answer.tool_calls, answer.finish, answer.usage)
