"""`/v1/chat/completions` and `/v1/models`: OpenAI's shapes, for unmodified clients.

`model` names a feature, or a configured model. A model is passed through: messages, tools, images and structured output go to it
as they are, under the guards, the breaker and the record of `[plain]`. A feature takes the last user message as its one text
input and earlier turns as `history`; what a feature decides itself (system messages, tools, formats) is refused by name, and
sampling settings are ignored and named in the header `x-mainstay-ignored`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from mainstay.app import Mainstay, new_id
from mainstay.core.answer import Answer, Data, Event, Text
from mainstay.core.call import Call, Turn
from mainstay.core.errors import BadRequest, nearest
from mainstay.core.reasons import Reason, Status
from mainstay.doors.http.features import headers_of, last
from mainstay.doors.http.wire import FINAL, JSON, Headers, HttpError, Listener, Request, error_body
from mainstay.serve.ready import Ready
from mainstay.wire import sse
from mainstay.wire.openai_requests import ChatRequest, read_request
from mainstay.wire.openai_responses import StreamWriter, write_response

# Fields whose part of the response would be lost on the way back, so they are refused instead.
_LOST = ("logprobs", "top_logprobs", "functions", "function_call", "audio", "modalities", "web_search_options")
_SAMPLING = ("max_output", "temperature", "top_p", "stop", "seed", "reasoning_effort")
_HARMLESS = {
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
    "safety_identifier",
    "verbosity",
}
_OFF = (b"null", b"false", b"[]", b'["text"]', b'"none"')


async def complete(app: Mainstay, request: Request, limit: int, stalled: float) -> None:
    """`POST /v1/chat/completions`"""
    body = await request.body(limit=limit)
    try:
        asked = read_request(body)
        _refuse_lost(asked)
        call, ignored = _call(app, asked)
    except BadRequest as error:
        raise HttpError(400, error.what, code="invalid_request", param=error.param) from None
    headers: Headers = [(b"x-mainstay-ignored", ", ".join(ignored).encode())] if ignored else []
    with Listener(request, stalled=stalled) as listener:
        async with aclosing(app.serve(call)) as events:
            if asked.stream:
                await _stream(events, request, listener, asked, call, headers)
            else:
                await _whole(await last(events), request, asked, headers)


def _call(app: Mainstay, asked: ChatRequest) -> tuple[Call, list[str]]:
    """The call that a request amounts to, and the settings that are ignored."""
    if asked.model in app.features.plain:
        return Call(id=new_id(), feature=asked.model, user=asked.user, stream=asked.stream, request=asked.request), []
    ready = app.features.ready.get(asked.model)
    if ready is None:
        known = [*app.features.ready, *app.features.plain]
        raise HttpError(
            404,
            f'there is no feature or model "{asked.model}"; {nearest(asked.model, known)}',
            code="model_not_found",
            param="model",
        )
    text, history, ignored = _for_feature(asked, ready)
    field = next(name for name, kind in ready.feature.input.fields.items() if kind.startswith("text"))
    return Call(
        id=new_id(), feature=asked.model, input={field: text}, history=history, user=asked.user, stream=asked.stream
    ), ignored


def _refuse_lost(asked: ChatRequest) -> None:
    extra = asked.request.extra
    if "n" in extra and bytes(extra.pop("n")) not in (b"1", b"null"):
        raise BadRequest("`n` above 1 is not supported: a call has one answer", param="n")
    for name in _LOST:
        if name in extra and bytes(extra[name]) not in _OFF:
            raise BadRequest(f"`{name}` is not supported: its part of the answer could not be given back", param=name)


def _for_feature(asked: ChatRequest, ready: Ready) -> tuple[str, tuple[Turn, ...], list[str]]:
    """The text input and the history of a feature's call. Raises `BadRequest` for what the feature decides itself."""
    request = asked.request
    texts = [name for name, kind in ready.feature.input.fields.items() if kind.startswith("text")]
    needed = [name for name, kind in ready.feature.input.fields.items() if not kind.endswith("?")]
    if len(texts) != 1 or needed not in ([], texts):
        raise BadRequest(
            f"the feature {asked.model} takes more than one text; use POST /v1/features/{asked.model}", param="model"
        )
    for name, given in (("tools", request.tools), ("tool_choice", request.tool_choice), ("response_format", request.output)):
        if given:
            raise BadRequest(f"`{name}` belongs to a model; the feature {asked.model} decides that itself", param=name)
    *earlier, final = request.messages
    for i, message in enumerate(request.messages):
        if message.role not in ("user", "assistant") or not isinstance(message.content, str) or message.tool_calls:
            what = (
                f"`messages[{i}]` of role `{message.role}`"
                if message.role in ("system", "tool")
                else f"`messages[{i}].content` with parts or tool calls"
            )
            raise BadRequest(
                f"{what} belongs to a model; the feature {asked.model} takes user and assistant texts only",
                param=f"messages[{i}]",
            )
    if final.role != "user":
        raise BadRequest("the last message has to be the user's", param=f"messages[{len(earlier)}].role")
    if earlier and not ready.feature.history:
        raise BadRequest(f"the feature {asked.model} declares no history; send one user message", param="messages")
    unknown = [name for name in request.extra if name not in _HARMLESS]
    if unknown:
        raise BadRequest(f"unknown field `{unknown[0]}`", param=unknown[0])
    ignored = [name for name in _SAMPLING if getattr(request, name) not in (None, ())] + list(request.extra)
    return final.text, tuple([Turn("user" if m.role == "user" else "assistant", m.text) for m in earlier]), ignored


async def _whole(answer: Answer, request: Request, asked: ChatRequest, headers: Headers) -> None:
    status, error = _failure(answer)
    headers = [JSON, *headers_of(answer), *headers]
    if error is not None:
        await request.respond(status, error, [*headers, FINAL] if FINAL not in headers else headers)
        return
    answer = _as_text(answer)
    await request.respond(200, write_response(answer, model=answer.model or asked.model, created=int(time.time())), headers)


def _as_text(answer: Answer) -> Answer:
    """A structured answer is JSON text on this wire."""
    if answer.data is None:
        return answer
    return msgspec.structs.replace(answer, text=msgspec.json.encode(answer.data).decode())


def _failure(answer: Answer) -> tuple[int, bytes | None]:
    """The one table from status and reason to HTTP, for OpenAI's clients; None where the answer is a completion."""
    if answer.reason is Reason.INPUT_INVALID and answer.status is Status.REFUSED:
        return 400, error_body(400, answer.detail or answer.text, code=answer.reason, param="messages")
    if answer.status is not Status.UNAVAILABLE:
        return 200, None
    status = {Reason.RATE_LIMITED: 429, Reason.MODEL_REFUSED: 400, Reason.OVER_DEADLINE: 504}.get(
        answer.reason or Reason.MODEL_UNAVAILABLE, 503
    )
    return status, error_body(status, answer.detail or answer.text, code=answer.reason)


async def _stream(
    events: AsyncGenerator[Event, None], request: Request, listener: Listener, asked: ChatRequest, call: Call, headers: Headers
) -> None:
    """The head waits for the first word, so that what fails before it is still an HTTP error."""
    writer = StreamWriter(call.id, model=asked.model, created=int(time.time()))
    async for event in events:
        if isinstance(event, Answer):
            await _end(event, request, listener, asked, writer, headers)
            return
        data = _chunk(event, writer)
        if data:
            if not request.started:
                await request.start([(b"x-request-id", call.id.encode()), *headers])
            await listener.write(data)


def _chunk(event: Event, writer: StreamWriter) -> bytes:
    if isinstance(event, Text):
        return writer.text(event.text)
    if isinstance(event, Data):
        return writer.tool_calls(event.tool_calls) if event.tool_calls else writer.text(msgspec.json.encode(event.data).decode())
    return b""


async def _end(
    answer: Answer, request: Request, listener: Listener, asked: ChatRequest, writer: StreamWriter, headers: Headers
) -> None:
    if not request.started:
        _, error = _failure(answer)
        if error is not None:
            await _whole(answer, request, asked, headers)
            return
        await request.start([*headers_of(answer), *headers])
    pieces = writer.refusal(answer.text) if answer.status is Status.REFUSED else b""
    if answer.status is Status.INTERRUPTED and answer.text:  # what a guard took back has no text left
        pieces += sse.event(error_body(503, answer.detail or answer.text, code=answer.reason))
    await listener.write(pieces + writer.end(answer, include_usage=asked.include_usage))
    await request.write(b"", more=False)


async def list_models(app: Mainstay, request: Request, id: str | None = None) -> None:
    """`GET /v1/models` and `/v1/models/{id}`: features first, then models."""
    names = [*app.features.ready, *app.features.plain]
    owners = {**dict.fromkeys(app.features.plain, "model"), **dict.fromkeys(app.features.ready, "feature")}
    models = [{"id": name, "object": "model", "created": 0, "owned_by": f"mainstay:{owners[name]}"} for name in names]
    if id is None:
        await request.respond(200, msgspec.json.encode({"object": "list", "data": models}), [JSON])
        return
    found = next((m for m in models if m["id"] == id), None)
    if found is None:
        raise HttpError(404, f'there is no feature or model "{id}"; {nearest(id, names)}', code="model_not_found", param="model")
    await request.respond(200, msgspec.json.encode(found), [JSON])
