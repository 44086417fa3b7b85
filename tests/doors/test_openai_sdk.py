"""The unmodified OpenAI SDK as the client: plain models, features, errors, streams."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from serving import TALKING, chunks, completion, scripted

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "strict": True,
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
GUARDED = TALKING + '[guards]\noutput = [{ terms = ["AcmeCo"] }]\n'


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def collected(stream) -> list:
    return [chunk async for chunk in stream]


def text_of(found: list) -> str:
    return "".join(c.choices[0].delta.content or "" for c in found if c.choices)


# Whole and streamed, plain and feature, async and sync


@pytest.mark.parametrize("model", ["small", "answers"])
async def test_a_whole_completion(served, model):
    """A model and a feature answer alike: id, name, text, finish reason, usage."""
    server = await served(scripted("usage = { input = 5, output = 2 }"))
    response = await server.sdk().chat.completions.create(model=model, messages=[user("Hello")])
    assert response.id.startswith("chatcmpl-")
    assert (response.object, response.model) == ("chat.completion", model)
    assert (response.choices[0].message.content, response.choices[0].message.role) == ("Hello", "assistant")
    assert (response.choices[0].finish_reason, response.choices[0].message.refusal) == ("stop", None)
    assert (response.usage.prompt_tokens, response.usage.completion_tokens, response.usage.total_tokens) == (5, 2, 7)
    assert await server.app.record(response.id.removeprefix("chatcmpl-")) is not None


@pytest.mark.parametrize("model", ["small", "answers"])
async def test_a_streamed_completion(served, model):
    """The first piece names the role, the last the finish reason, all have one id, and the texts make up the answer."""
    server = await served(scripted('replies = ["one two three"], chunk = 4'))
    found = await collected(await server.sdk().chat.completions.create(model=model, messages=[user("?")], stream=True))
    assert text_of(found) == "one two three"
    assert len({c.id for c in found}) == 1
    assert {c.object for c in found} == {"chat.completion.chunk"}
    assert {c.model for c in found} == {model}
    assert [c.choices[0].delta.role for c in found[:2]] == ["assistant", None]
    assert [c.choices[0].finish_reason for c in found] == [None] * (len(found) - 1) + ["stop"]
    assert all(c.usage is None for c in found)


async def test_usage_comes_in_a_chunk_of_its_own_where_it_is_asked_for(served):
    """`include_usage` adds one last chunk without choices."""
    server = await served(scripted("usage = { input = 5, output = 2, cached_input = 3 }"))
    found = await collected(
        await server.sdk().chat.completions.create(
            model="answers", messages=[user("?")], stream=True, stream_options={"include_usage": True}
        )
    )
    assert found[-1].choices == []
    assert (found[-1].usage.prompt_tokens, found[-1].usage.prompt_tokens_details.cached_tokens) == (5, 3)
    assert found[-2].choices[0].finish_reason == "stop"


async def test_the_sync_client(served):
    """The SDK's blocking client works too, whole and streamed, from many threads at once."""
    server = await served()

    def ask(i: int) -> tuple[str, str]:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", timeout=10) as client:
            whole = client.chat.completions.create(model="answers", messages=[user(f"q{i}")])
            stream = client.chat.completions.create(model="answers", messages=[user(f"s{i}")], stream=True)
            return whole.choices[0].message.content, text_of(list(stream))

    found = await asyncio.gather(*(asyncio.to_thread(ask, i) for i in range(8)))
    assert found == [(f"q{i}", f"s{i}") for i in range(8)]


async def test_the_sdks_stream_helper(served):
    """`client.chat.completions.stream`, which checks the order of events itself, accepts ours."""
    server = await served(scripted('replies = ["one two three"], chunk = 4'))
    async with server.sdk().chat.completions.stream(model="answers", messages=[user("?")]) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "one two three"


async def test_raw_answers_carry_the_headers(served):
    """`with_raw_response` shows the request id that the record has."""
    server = await served()
    raw = await server.sdk().chat.completions.with_raw_response.create(model="answers", messages=[user("?")])
    assert raw.parse().id == "chatcmpl-" + raw.headers["x-request-id"]
    assert raw.headers["x-mainstay-status"] == "answered"


# What passes through to a plain model


async def test_a_plain_model_gets_what_the_client_sent(served, upstream):
    """Tools, images, formats, and fields that Mainstay has no word for arrive at the model as they were sent."""
    up = await upstream(completion())
    server = await served(up.settings)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
    sent = {
        "messages": [
            {"role": "system", "content": "Be short."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
                ],
            },
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        ],
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "out", "schema": schema, "strict": True}},
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["END"],
        "max_completion_tokens": 99,
        "reasoning_effort": "low",
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "logit_bias": {"50256": -100},
        "service_tier": "flex",
        "metadata": {"ticket": "T 1"},
        "store": False,
        "verbosity": "low",
        "prompt_cache_key": "k",
    }
    await server.sdk().chat.completions.create(
        model="small", n=1, user="u1", extra_body={"top_k": 40, "vendor": {"x": [1, {"y": "ü"}]}}, **sent
    )
    (got,) = up.bodies
    assert got.pop("model") == "real-name"
    assert got.pop("max_tokens") == sent.pop("max_completion_tokens")
    assert got.pop("stop") in ("END", ["END"])
    sent.pop("stop")
    assert {name: value for name, value in got.items() if value != sent.get(name)} == {
        "top_k": 40,
        "vendor": {"x": [1, {"y": "ü"}]},
    }
    assert sent.keys() <= got.keys()
    record = (await server.app.records(limit=1))[0]
    assert record.begun.call.user == "u1"


async def test_a_body_written_over_several_lines_is_recorded_and_passed_on(served, upstream):
    """Line ends inside a client's JSON are no business of the record's file, which holds one record a line."""
    up = await upstream(completion("Hi"))
    server = await served(up.settings)
    body = {"model": "small", "messages": [user("?")], "logit_bias": {"5": 1, "6": 2}, "tools": [TOOL]}
    response = await server.http().post(
        "/v1/chat/completions",
        content=json.dumps(body, indent=2).replace("\n", "\r\n"),
        headers={"content-type": "application/json"},
    )
    assert response.status_code == 200
    assert up.bodies[0]["logit_bias"] == {"5": 1, "6": 2}
    record = await server.app.record(response.headers["x-request-id"])
    assert record is not None
    assert set(record.begun.call.request.extra) == {"logit_bias"}


async def test_tool_calls_come_back_whole_and_streamed(served, upstream):
    """A model's tool calls reach the client in both deliveries, with the finish reason that goes with them."""
    pieces = [
        {
            "role": "assistant",
            "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}],
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Bern"}'}}]},
        {"tool_calls": [{"index": 1, "id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]},
    ]
    up = await upstream(completion(None, "tool_calls", tool_calls=[CALL]), chunks(*pieces, finish="tool_calls"))
    server = await served(up.settings)
    client = server.sdk()
    whole = await client.chat.completions.create(model="small", messages=[user("?")], tools=[TOOL])
    (call,) = whole.choices[0].message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "weather", '{"city": "Bern"}')
    assert (whole.choices[0].finish_reason, whole.choices[0].message.content) == ("tool_calls", None)

    async with client.chat.completions.stream(model="small", messages=[user("?")], tools=[TOOL]) as stream:
        async for _ in stream:
            pass
        message = (await stream.get_final_completion()).choices[0]
    assert [(c.id, c.function.arguments) for c in message.message.tool_calls] == [
        ("call_1", '{"city": "Bern"}'),
        ("call_2", "{}"),
    ]
    assert message.finish_reason == "tool_calls"


async def test_text_and_tool_calls_together_stream_in_order(served, upstream):
    """A model may say something before it calls a tool: the client gets both."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    up = await upstream(chunks({"role": "assistant", "content": "Let me see."}, {"tool_calls": [call]}, finish="tool_calls"))
    server = await served(up.settings)
    found = await collected(
        await server.sdk().chat.completions.create(model="small", messages=[user("?")], tools=[TOOL], stream=True)
    )
    assert text_of(found) == "Let me see."
    assert [c.choices[0].delta.tool_calls[0].id for c in found if c.choices and c.choices[0].delta.tool_calls] == ["c"]
    assert found[-1].choices[0].finish_reason == "tool_calls"


async def test_structured_output_of_a_plain_model_is_parsed_by_the_sdk(served):
    """`response_format` goes to the model, and its JSON comes back as content that the SDK's `parse` reads."""
    import pydantic

    class City(pydantic.BaseModel):
        name: str
        people: int

    server = await served(scripted("""replies = ['{"name": "Bern", "people": 134000}']"""))
    response = await server.sdk().chat.completions.parse(model="small", messages=[user("?")], response_format=City)
    assert response.choices[0].message.parsed == City(name="Bern", people=134000)
    (asked,) = server.asked
    assert (asked.output.name, asked.output.strict) == ("City", True)
    assert asked.output.schema["properties"].keys() == {"name", "people"}


async def test_what_would_be_lost_on_the_way_back_is_refused(served):
    """`n`, `logprobs` and the like change the shape of the answer, so they are refused by name; switched off they may stay."""
    server = await served()
    client = server.sdk()
    for field in (
        {"n": 2},
        {"logprobs": True},
        {"top_logprobs": 3},
        {"modalities": ["text", "audio"]},
        {"functions": [{"name": "f"}]},
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="small", messages=[user("?")], **field)
        assert caught.value.param == next(iter(field))
    off = {"n": 1, "logprobs": False, "modalities": ["text"], "functions": []}
    await client.chat.completions.create(model="small", messages=[user("?")], **off)


# Features


async def test_a_conversation_of_two_turns(served):
    """Earlier turns reach the model in order, and the record has them as history."""
    server = await served()
    turns = [user("My name is Ada."), {"role": "assistant", "content": "Hello Ada."}, user("What is my name?")]
    response = await server.sdk().chat.completions.create(model="answers", messages=turns)
    assert response.choices[0].message.content == "What is my name?"
    (asked,) = server.asked
    assert [(m.role, m.text) for m in asked.messages] == [(t["role"], t["content"]) for t in turns]
    record = await server.app.record(response.id.removeprefix("chatcmpl-"))
    assert [(t.role, t.text) for t in record.begun.call.history] == [(t["role"], t["content"]) for t in turns[:2]]


async def test_a_conversation_is_refused_where_history_is_not_declared(served):
    """A feature without `history` says so by name instead of forgetting what was said."""
    server = await served(None, TALKING.replace("history = 4\n", ""))
    with pytest.raises(openai.BadRequestError, match="declares no history") as caught:
        await server.sdk().chat.completions.create(
            model="answers", messages=[user("a"), {"role": "assistant", "content": "b"}, user("c")]
        )
    assert (caught.value.param, caught.value.code) == ("messages", "invalid_request")
    assert server.asked == []


async def test_a_longer_conversation_than_declared_is_refused(served):
    """More turns than the feature takes are 400 in this shape, with the sentence that says how many it takes."""
    server = await served()
    messages = [m for i in range(3) for m in (user(f"{i}"), {"role": "assistant", "content": "b"})]
    with pytest.raises(openai.BadRequestError, match="at most 4") as caught:
        await server.sdk().chat.completions.create(model="answers", messages=[*messages, user("c")])
    assert (caught.value.param, caught.value.code) == ("messages", "input_invalid")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [{"role": "system", "content": "Be rude."}, user("?")]}, "messages[0].role"),
        ({"messages": [{"role": "developer", "content": "Be rude."}, user("?")]}, "messages[0].role"),
        ({"messages": [user("?"), {"role": "assistant", "content": "x"}]}, "messages[1].role"),
        ({"messages": [user("?"), {"role": "assistant", "tool_calls": [CALL]}, user("?")]}, "messages[1].tool_calls"),
        ({"messages": [user("?"), {"role": "tool", "tool_call_id": "c", "content": "x"}]}, "messages[1].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}]},
            "messages[0].content",
        ),
        ({"tools": [TOOL]}, "tools"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"extra_body": {"top_k": 5}}, "top_k"),
        ({"messages": []}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
async def test_what_a_feature_decides_itself_is_refused_by_name(served, fields, param):
    """System messages, tools, formats and the rest are 400 with the field, and no model was asked."""
    server = await served()
    with pytest.raises(openai.BadRequestError) as caught:
        await server.sdk().chat.completions.create(**{"model": "answers", "messages": [user("?")], **fields})
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    assert server.asked == []
    assert server.requests == 1


async def test_ignored_settings_are_named(served):
    """Sampling belongs to the feature: it answers all the same, and a header says what it did not look at."""
    server = await served()
    raw = await server.sdk().chat.completions.with_raw_response.create(
        model="answers",
        messages=[{**user("?"), "name": "ada"}],
        temperature=0.5,
        max_completion_tokens=5,
        stop="x",
        seed=1,
        logit_bias={"5": 1},
        metadata={"a": "b"},
        response_format={"type": "text"},
        user="u1",
    )
    ignored = raw.headers["x-mainstay-ignored"].split(", ")
    assert set(ignored) == {"temperature", "max_completion_tokens", "stop", "seed", "logit_bias", "metadata", "messages[].name"}
    (asked,) = server.asked
    assert (asked.temperature, asked.stop, asked.extra) == (None, (), {})
    stream = await server.sdk().chat.completions.with_raw_response.create(
        model="answers", messages=[user("?")], temperature=0.5, stream=True
    )
    assert stream.headers["x-mainstay-ignored"] == "temperature"


async def test_text_parts_are_text(served):
    """Many clients send a text as a list of parts; to a feature that is the same text."""
    server = await served()
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    response = await server.sdk().chat.completions.create(model="answers", messages=[{"role": "user", "content": parts}])
    assert response.choices[0].message.content == "one\ntwo"


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ('question = "text"\nlocale = "text?"', True),
        ('note = "text?"', True),
        ('question = "text"\nsecond = "text"', False),
        ('items = "texts"', False),
        ('amount = "number"', False),
    ],
)
async def test_the_message_fills_the_one_text_that_a_feature_needs(served, fields, fits):
    """A feature with one needed text can be asked in this shape, optional fields or not; another is told which door takes it."""
    name = fields.split(" ")[0]
    feature = TALKING.replace("[[ladder]]", f"[input]\n{fields}\n[[ladder]]", 1)
    server = await served(None, feature, {"features/answers/prompt.md": f"{{{{ {name} }}}}\n"})
    asking = server.sdk().chat.completions.create(model="answers", messages=[user("Hi")])
    if fits:
        assert (await asking).choices[0].message.content == "Hi"
    else:
        with pytest.raises(openai.BadRequestError, match="/v1/features/answers") as caught:
            await asking
        assert caught.value.param == "model"


async def test_a_structured_feature_answers_in_json(served):
    """A feature with a schema gives its data as JSON text in this shape, whole and streamed."""
    feature = TALKING.replace('message = "Sorry."', 'message = { name = "nobody" }') + '[answer]\nschema = "answer.schema.json"\n'
    schema = '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}'
    server = await served(scripted("""replies = ['{"name": "Ada"}']"""), feature, {"features/answers/answer.schema.json": schema})
    whole = await server.sdk().chat.completions.create(model="answers", messages=[user("?")])
    found = await collected(await server.sdk().chat.completions.create(model="answers", messages=[user("!")], stream=True))
    assert json.loads(whole.choices[0].message.content) == json.loads(text_of(found)) == {"name": "Ada"}


# How things end


async def test_a_refusal_is_a_refusal(served):
    """An input that a guard stops is no error: the SDK sees `refusal` and `content_filter`, whole and streamed."""
    server = await served(scripted(), TALKING + '[guards]\ninput = [{ terms = ["secret"] }]\n')
    client = server.sdk()
    whole = await client.chat.completions.create(model="answers", messages=[user("the secret")])
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (None, "content_filter")
    assert whole.choices[0].message.refusal
    found = await collected(await client.chat.completions.create(model="answers", messages=[user("a secret")], stream=True))
    assert "".join(c.choices[0].delta.refusal or "" for c in found) == whole.choices[0].message.refusal
    assert found[0].choices[0].delta.role == "assistant"
    assert found[-1].choices[0].finish_reason == "content_filter"


async def test_a_guard_in_mid_stream_ends_with_content_filter(served):
    """What a guard stops after the first words ends the stream with `content_filter`, and the word itself never left."""
    server = await served(scripted('replies = ["We like them all. AcmeCo is bad."], chunk = 3'), GUARDED)
    found = await collected(await server.sdk().chat.completions.create(model="answers", messages=[user("?")], stream=True))
    assert found[-1].choices[0].finish_reason == "content_filter"
    assert "AcmeCo" not in text_of(found)


@pytest.mark.parametrize("model", ["small", "answers"])
async def test_an_interrupted_stream_raises(served, model):
    """A model that breaks off after the first words is an APIError in the SDK's default mode, not a short answer."""
    server = await served(scripted('replies = ["Once upon a time"], chunk = 4, fault = "cut_off"'))
    stream = await server.sdk().chat.completions.create(model=model, messages=[user("?")], stream=True)
    seen = ""
    with pytest.raises(openai.APIError) as caught:
        async for chunk in stream:
            seen += chunk.choices[0].delta.content or ""
    assert seen == "Once upon a time"
    assert caught.value.code == "model_unavailable"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "kind", "status", "code"),
    [
        ("unreachable", openai.InternalServerError, 503, "model_unavailable"),
        ("overloaded", openai.InternalServerError, 503, "model_unavailable"),
        ("unauthorized", openai.InternalServerError, 503, "model_unavailable"),
        ("rate_limited", openai.RateLimitError, 429, "rate_limited"),
        ("rejected", openai.BadRequestError, 400, "model_refused"),
        ("stalled", openai.InternalServerError, 504, "over_deadline"),
    ],
)
async def test_a_failing_plain_model_is_the_right_error_and_is_not_asked_again(served, fault, kind, status, code, stream):
    """Each failure is the SDK's own class; Mainstay has retried already, so the SDK must not: one request reached the server."""
    server = await served(scripted(f'replies = [""], fault = "{fault}"') + '[plain]\ndeadline = "1s"\n')
    with pytest.raises(kind) as caught:
        await server.sdk().chat.completions.create(model="small", messages=[user("?")], stream=stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.message
    assert server.requests == 1
    record = (await server.app.records(limit=1))[0]
    assert (record.outcome.answer.status, record.outcome.answer.reason) == ("unavailable", code)


async def test_a_plain_models_own_refusal_is_passed_on(served, upstream):
    """What the model itself refuses is its answer: the SDK sees `refusal`, not an error."""
    up = await upstream(
        completion(None, "stop", refusal="I can't help with that."),
        chunks({"role": "assistant", "refusal": "I can't "}, {"refusal": "help with that."}),
    )
    server = await served(up.settings)
    whole = await server.sdk().chat.completions.create(model="small", messages=[user("?")])
    assert (whole.choices[0].message.refusal, whole.choices[0].message.content) == ("I can't help with that.", None)
    assert whole.usage.prompt_tokens == 7
    found = await collected(await server.sdk().chat.completions.create(model="small", messages=[user("!")], stream=True))
    assert "".join(c.choices[0].delta.refusal or "" for c in found) == "I can't help with that."


async def test_a_plain_model_that_its_provider_filters_ends_with_content_filter(served, upstream):
    """A provider's own filter in mid-stream is its finish reason, not a failure of ours."""
    up = await upstream(chunks({"role": "assistant", "content": "Once upon"}, finish="content_filter"))
    server = await served(up.settings)
    found = await collected(await server.sdk().chat.completions.create(model="small", messages=[user("?")], stream=True))
    assert (text_of(found), found[-1].choices[0].finish_reason) == ("Once upon", "content_filter")


@pytest.mark.parametrize("model", ["smal", "nothing"])
async def test_an_unknown_model_is_not_found(served, model):
    """404 with `model_not_found`, the near name where there is one, and no second request."""
    server = await served()
    with pytest.raises(openai.NotFoundError) as caught:
        await server.sdk().chat.completions.create(model=model, messages=[user("?")])
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert server.requests == 1


async def test_the_wrong_key_is_an_authentication_error(served):
    """401 is the SDK's AuthenticationError, asked once."""
    server = await served(key="right")
    with pytest.raises(openai.AuthenticationError) as caught:
        await server.sdk(api_key="wrong").models.list()
    assert caught.value.code == "invalid_api_key"
    assert server.requests == 1
    assert (await server.sdk(api_key="right").models.list()).data


async def test_models_are_listed_and_found(served):
    """Features and models are both models to the SDK."""
    server = await served()
    listed = [m async for m in server.sdk().models.list()]
    assert [(m.id, m.owned_by, m.object) for m in listed] == [
        ("answers", "mainstay:feature", "model"),
        ("small", "mainstay:model", "model"),
    ]
    assert (await server.sdk().models.retrieve("answers")).id == "answers"
    with pytest.raises(openai.NotFoundError):
        await server.sdk().models.retrieve("other")


# Priority, by the field that this wire has for it


@pytest.mark.parametrize(
    ("own", "sent", "lane", "used", "ignored"),
    [
        ("interactive", "flex", "batch", "flex", None),
        ("interactive", "auto", "interactive", "default", None),
        ("standard", "default", "standard", "default", None),
        ("standard", "standard_only", "standard", "default", None),
        ("standard", "priority", "standard", "default", "service_tier"),
        ("standard", "fast", "standard", "default", "service_tier"),
        ("batch", "priority", "batch", "flex", "service_tier"),
        ("batch", "default", "batch", "flex", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_service_tier_lowers_a_features_priority_and_never_raises_it(served, own, sent, lane, used, ignored, stream):
    """`flex` waits behind others; the response says what was used, and what could not be had is named as ignored."""
    server = await served(None, f'priority = "{own}"\n' + TALKING)
    lanes = server.app.features.project.models["small"].lanes
    lanes.resize(1)
    assert lanes.enter()  # so that the call has to wait, in its lane
    body = {"model": "answers", "messages": [user("?")], "service_tier": sent, "stream": stream}
    asking = asyncio.create_task(server.sdk().chat.completions.with_raw_response.create(**body))
    async with asyncio.timeout(5):
        while not lanes.waiting:
            await asyncio.sleep(0.01)
    assert [name for name, depth in lanes.depths().items() if depth] == [lane]
    lanes.leave(0.01)
    raw = await asking
    assert raw.headers.get("x-mainstay-ignored") == ignored
    found = await collected(raw.parse()) if stream else [raw.parse()]
    assert found[-1].service_tier == used
    assert server.asked[0].extra == {}


async def test_a_service_tier_that_is_not_asked_for_is_not_answered(served):
    """As at OpenAI: the field is there for whoever set it."""
    server = await served()
    completion = await server.sdk().chat.completions.create(model="answers", messages=[user("?")])
    assert "service_tier" not in completion.model_fields_set
    with pytest.raises(openai.BadRequestError) as caught:
        await server.sdk().chat.completions.create(model="answers", messages=[user("?")], extra_body={"service_tier": 1})
    assert caught.value.param == "service_tier"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_plain_model_gets_the_service_tier_and_says_which_was_used(served, upstream, stream):
    """It goes to the provider as it came, lowers our own lane too, and the response has the provider's word, not the wish."""
    whole = {**completion(), "service_tier": "default"}
    up = await upstream([{**c, "service_tier": "default"} for c in chunks({"content": "Hi"})] if stream else whole)
    server = await served(up.settings)
    found = await server.sdk().chat.completions.create(model="small", messages=[user("?")], service_tier="flex", stream=stream)
    found = await collected(found) if stream else [found]
    assert up.bodies[0]["service_tier"] == "flex"
    assert found[-1].service_tier == "default"
    (record,) = await server.app.records(limit=1)
    assert record.begun.call.priority == "batch"
    assert record.outcome.attempts[0].usage.tier == "default"
