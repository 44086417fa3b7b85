"""`/v1/chat/completions` and `/v1/models`: OpenAI's shapes, for unmodified clients.

`model` names a feature, or a configured model. A model is passed through: messages, tools, images and structured output go to
it as they are, under the guards, the breaker and the record of `[plain]`; fields that we have no word for go to it as well. A
feature takes the last user message as its one text input and earlier turns as `history`; what a feature decides itself (system
messages, tools, formats) is refused by name, and sampling settings are ignored and named in the header `x-mainstay-ignored`.

`service_tier = "flex"` lowers a call's priority to `batch`. A feature keeps the field to itself, and the response says `flex` or
`default`, by the lane; to a model it goes as well, as far as its provider knows it, and the response says what that used.

`user` is whom the call is recorded for and goes no further. The response's `model` is the name that was asked for; which model
answered is in the record.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import msgspec

from mainstay.app import Mainstay
from mainstay.core.answer import Answer, Data, Event, Text
from mainstay.core.call import Call, Priority, Turn
from mainstay.core.errors import BadRequest, nearest
from mainstay.core.model import Message, TextPart
from mainstay.core.reasons import Reason, Status
from mainstay.doors.http import keys, rates, statuses
from mainstay.doors.http.features import headers_of, last
from mainstay.doors.http.listener import Listener
from mainstay.doors.http.repeats import answering
from mainstay.doors.http.wire import FINAL, JSON, Headers, HttpError, Request, error_body
from mainstay.ids import new_id
from mainstay.serve.ready import Ready
from mainstay.wire import sse
from mainstay.wire.openai_requests import ChatRequest, read_request
from mainstay.wire.openai_responses import StreamWriter, write_response

More = Callable[[], Headers]  # what is known of limits when the head is sent
Tier = Callable[[Answer], str]  # the `service_tier` that a response names; empty for none

# Fields whose part of the response would be lost on the way back, so they are refused instead; what stands for "off" may stay.
_LOST = ("logprobs", "top_logprobs", "functions", "function_call", "audio", "modalities", "web_search_options")
LOWERED: Priority = "batch"  # by `service_tier = "flex"`
_OFF: tuple[Any, ...] = (None, False, 0, [], ["text"], "none")
# What a feature ignores, and names.
_SAMPLING = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "reasoning_effort")
_HEARD = (b"null", b'"auto"', b'"default"', b'"standard_only"', b'"flex"')  # of `service_tier`; others ask for more than there is
_HARMLESS = {
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "verbosity",
}


async def complete(app: Mainstay, request: Request, limit: int, stalled: float) -> None:
    """`POST /v1/chat/completions`"""
    body = await request.body(limit=limit)
    try:
        asked = read_request(body)
        _refuse_lost(asked)
        keys.check_use(request, asked.model, model=asked.model in app.features.plain, param="model")
        call, ignored = _call(app, asked)
        call, used = _in_lane(app, asked, call)
    except BadRequest as error:
        raise HttpError(400, error.what, code="invalid_request", param=error.param) from None
    call = msgspec.structs.replace(call, tenant=keys.tenant_of(request, None), key=keys.key_id(request))
    call = rates.with_sdk(call, request, shows_early=call.stream and app.release_of(call).feature.shows_early)
    own: Headers = [(b"x-mainstay-ignored", ", ".join(ignored).encode())] if ignored else []

    def headers() -> Headers:
        return [*own, *rates.of_limits(app, call)]

    with Listener(request, stalled=stalled) as listener:
        call, events, replayed = await answering(app, request, call, body)
        own += replayed
        async with aclosing(events):
            if asked.stream:
                await _stream(events, request, listener, asked, call, headers, used)
            else:
                await _whole(await last(events), request, asked, headers(), used)


def _call(app: Mainstay, asked: ChatRequest) -> tuple[Call, list[str]]:
    """The call that a request amounts to, and the settings that are ignored."""
    if asked.model in app.features.plain:
        return Call(id=new_id(), feature=asked.model, user=asked.user, stream=asked.stream, request=asked.request), []
    ready = app.features.ready.get(asked.model)
    if asked.model in app.features.missing and ready is None:
        raise HttpError(503, app.features.missing[asked.model].what, code="not_released", param="model", final=False)
    if ready is None:
        known = [*app.features.ready, *app.features.plain]
        raise HttpError(
            404,
            f'there is no feature or model "{asked.model}"; {nearest(asked.model, known)}',
            code="model_not_found",
            param="model",
        )
    field = _text_field(asked.model, ready)
    ignored = _ignored(asked)
    turns = [_turn(i, message, asked.model) for i, message in enumerate(asked.request.messages)]
    last_turn = turns.pop()
    if last_turn.role != "user":
        raise BadRequest("the last message has to be the user's", param=f"messages[{len(turns)}].role")
    if turns and not ready.feature.history:
        raise BadRequest(f"the feature {asked.model} declares no history; send one user message", param="messages")
    input = {field: last_turn.text}
    return Call(
        id=new_id(), feature=asked.model, input=input, history=tuple(turns), user=asked.user, stream=asked.stream
    ), ignored


def _in_lane(app: Mainstay, asked: ChatRequest, call: Call) -> tuple[Call, Tier]:
    """The call, its priority lowered by its `service_tier`; and which tier its response names, if it asks for any."""
    raw = asked.request.extra.get("service_tier")
    tier = None if raw is None else msgspec.json.decode(raw)
    if tier is None:
        return call, _no_tier
    if not isinstance(tier, str):
        raise BadRequest("`service_tier` is a text, such as `flex`", param="service_tier")
    if tier == "flex":
        call = msgspec.structs.replace(call, priority=LOWERED)
    if call.request is not None:
        return call, lambda answer: "" if answer.usage is None else answer.usage.tier
    lowest = tier == "flex" or app.features.ready[call.feature].feature.priority == LOWERED
    return call, lambda answer: "flex" if lowest else "default"


def _no_tier(answer: Answer) -> str:
    return ""


def _refuse_lost(asked: ChatRequest) -> None:
    extra = asked.request.extra
    if "n" in extra and not _stands_for(extra.pop("n"), (1, None)):
        raise BadRequest("`n` above 1 is not supported: a call has one answer", param="n")
    for name in _LOST:
        if name in extra and not _stands_for(extra[name], _OFF):
            raise BadRequest(f"`{name}` is not supported: its part of the answer could not be given back", param=name)


def _stands_for(raw: msgspec.Raw, values: tuple[Any, ...]) -> bool:
    try:
        return msgspec.json.decode(raw) in values
    except (msgspec.DecodeError, ValueError):  # a number beyond all bounds
        return False


def _text_field(model: str, ready: Ready) -> str:
    """The input that a message fills: the only one that has to be there, or the only one there is."""
    fields = ready.feature.input.fields
    wanted = [name for name, kind in fields.items() if not kind.endswith("?")] or list(fields)
    if len(wanted) != 1 or fields[wanted[0]] not in ("text", "text?"):
        raise BadRequest(f"the feature {model} takes more than one text; use POST /v1/features/{model}", param="model")
    return wanted[0]


def _ignored(asked: ChatRequest) -> list[str]:
    """The settings that a feature ignores. Raises `BadRequest` for what it decides itself, and for what it does not know."""
    request = asked.request
    decided = {
        "tools": request.tools,
        "tool_choice": request.tool_choice,
        "parallel_tool_calls": request.parallel_tool_calls,
        "response_format": request.output,
    }
    for name, value in decided.items():
        if value:
            raise BadRequest(f"`{name}` belongs to a model; the feature {asked.model} decides that itself", param=name)
    for name in request.extra:
        if name not in _HARMLESS and name not in _LOST:
            raise BadRequest(f"unknown field `{name}`", param=name)
    sampling = [name for name in _SAMPLING if asked.known.get(name) is not None]
    harmless = [
        name
        for name, value in request.extra.items()
        if name in _HARMLESS and bytes(value) not in (_HEARD if name == "service_tier" else (b"null",))
    ]
    names = ["messages[].name"] if any(message.name for message in request.messages) else []
    return sampling + harmless + names


def _turn(i: int, message: Message, model: str) -> Turn:
    """A message as a turn of a feature's conversation: a text of the user or of the assistant."""
    where = f"messages[{i}]"
    if message.role not in ("user", "assistant"):
        what, where = f"`{where}` of role `{message.role}`", f"{where}.role"
    elif message.tool_calls:
        what, where = f"`{where}.tool_calls`", f"{where}.tool_calls"
    elif not isinstance(message.content, str) and not all(isinstance(part, TextPart) for part in message.content):
        what, where = f"the image in `{where}`", f"{where}.content"
    else:
        return Turn("user" if message.role == "user" else "assistant", message.text)
    raise BadRequest(f"{what} belongs to a model; the feature {model} takes user and assistant texts only", param=where)


async def _whole(answer: Answer, request: Request, asked: ChatRequest, headers: Headers, used: Tier) -> None:
    status = statuses.of_completion(answer)
    headers = [JSON, *headers_of(answer), *headers]
    if status == 200:
        body = write_response(_as_text(answer), model=asked.model, created=int(time.time()), tier=used(answer))
    else:
        body = _error(answer, status)
        headers = headers if FINAL in headers or answer.retry_after is not None else [*headers, FINAL]
    await request.respond(status, body, headers)


def _as_text(answer: Answer) -> Answer:
    """A structured answer is JSON text on this wire."""
    if answer.data is None:
        return answer
    return msgspec.structs.replace(answer, text=msgspec.json.encode(answer.data).decode())


def _error(answer: Answer, status: int) -> bytes:
    """The error object of an answer that is none."""
    param = "messages" if answer.reason is Reason.INPUT_INVALID else None
    return error_body(status, answer.detail or answer.text, code=answer.reason, param=param)


async def _stream(
    events: AsyncGenerator[Event, None],
    request: Request,
    listener: Listener,
    asked: ChatRequest,
    call: Call,
    headers: More,
    used: Tier,
) -> None:
    """The head waits for the first word, so that what fails before it is still an HTTP error."""
    writer = StreamWriter(call.id, model=asked.model, created=int(time.time()))
    async for event in events:
        if isinstance(event, Answer):
            await _end(event, request, listener, asked, writer, headers, used)
            return
        data = _chunk(event, writer)
        if data:
            if not request.started:
                await request.start([(b"x-request-id", call.id.encode()), *headers()])
            await listener.write(data)


def _chunk(event: Event, writer: StreamWriter) -> bytes:
    if isinstance(event, Text):
        return writer.text(event.text)
    if isinstance(event, Data):
        return writer.tool_calls(event.tool_calls) if event.tool_calls else writer.text(msgspec.json.encode(event.data).decode())
    return b""


async def _end(
    answer: Answer,
    request: Request,
    listener: Listener,
    asked: ChatRequest,
    writer: StreamWriter,
    headers: More,
    used: Tier,
) -> None:
    status = statuses.of_completion(answer)
    if not request.started:
        if status != 200:
            await _whole(answer, request, asked, headers(), used)
            return
        await request.start([*headers_of(answer), *headers()])
    pieces = writer.refusal(answer.text) if answer.status is Status.REFUSED else b""
    if status != 200:
        pieces += sse.event(_error(answer, status))
    await listener.write(pieces + writer.end(answer, include_usage=asked.include_usage, tier=used(answer)))
    await request.write(b"", more=False)


async def list_models(app: Mainstay, request: Request, id: str | None = None) -> None:
    """`GET /v1/models` and `/v1/models/{id}`: features first, then models."""
    features, plain = keys.usable(request, app.features.ready), keys.usable(request, app.features.plain, model=True)
    names = [*features, *plain]
    owners = {**dict.fromkeys(plain, "model"), **dict.fromkeys(features, "feature")}
    models = [{"id": name, "object": "model", "created": 0, "owned_by": f"mainstay:{owners[name]}"} for name in names]
    if id is None:
        await request.respond(200, msgspec.json.encode({"object": "list", "data": models}), [JSON])
        return
    found = next((m for m in models if m["id"] == id), None)
    if found is None:
        raise HttpError(404, f'there is no feature or model "{id}"; {nearest(id, names)}', code="model_not_found", param="model")
    await request.respond(200, msgspec.json.encode(found), [JSON])
