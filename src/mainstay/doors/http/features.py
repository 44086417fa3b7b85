"""`/v1/features` and `/v1/answers`: Mainstay's own shapes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mainstay.app import Mainstay, new_id
from mainstay.core.answer import Answer, Event, name_of
from mainstay.core.call import Call, Turn
from mainstay.core.errors import NotFound
from mainstay.core.reasons import Reason, Status
from mainstay.core.units import Seconds
from mainstay.doors.http.wire import FINAL, JSON, Headers, HttpError, Listener, Request
from mainstay.wire import sse

Short = Annotated[str, Meta(min_length=1, max_length=200)]


class FeatureRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/features/{feature}`."""

    input: Annotated[dict[str, Any], Meta(description="The fields that the feature declares.")]
    history: Annotated[tuple[Turn, ...], Meta(description="Earlier turns, oldest first.")] = ()
    stream: Annotated[bool, Meta(description="Answer as server-sent events.")] = False
    progress: Annotated[bool, Meta(description="With `stream`: `step` events too.")] = False
    deadline: Annotated[Seconds | None, Meta(description='Shorten the feature\'s deadline: "2s".')] = None
    tenant: Annotated[Short, Meta(description="Whose budget, cache and records this belongs to.")] = "default"
    user: Annotated[Short | None, Meta(description="Who asks, as the application names them.")] = None
    session: Annotated[Short | None, Meta(description="The conversation that this belongs to.")] = None
    locale: Annotated[Short | None, Meta(description="The language and place of the user, such as `de-CH`.")] = None


class ScoreRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/answers/{id}/scores`."""

    name: Annotated[Short, Meta(description="What is scored: `thumb`, `helpful`, …")]
    value: Annotated[float | Short, Meta(description="A number (1 is good, 0 is bad) or a word.")]
    reason: Annotated[str, Meta(max_length=10_000, description="Why.")] = ""
    who: Annotated[Short, Meta(description="Who says so.")] = "user"


def _hook(kind: Any, value: Any) -> Any:
    return Seconds.parse(value) if kind is Seconds else value


_request = msgspec.json.Decoder(FeatureRequest, dec_hook=_hook)
_score = msgspec.json.Decoder(ScoreRequest)
_encode = msgspec.json.Encoder(enc_hook=str).encode


def decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """A body as its type. Raises `HttpError` 400 with the field at fault."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what, _, place = str(error).partition(" - at `$")
        param = place.rstrip("`").lstrip(".") or None
        raise HttpError(400, f"{param}: {what}" if param else what, code="invalid_request", param=param) from None


def status_of(answer: Answer) -> int:
    """The HTTP status of an answer in our own shape: what is expected is 200, whatever its `status` says."""
    if answer.reason is Reason.INPUT_INVALID:
        return 422
    return 503 if answer.status is Status.UNAVAILABLE else 200


def headers_of(answer: Answer) -> Headers:
    """What a proxy or a log wants to know without reading the body."""
    headers = [(b"x-request-id", answer.id.encode()), (b"x-mainstay-status", answer.status.encode())]
    if answer.reason is not None:
        headers.append((b"x-mainstay-reason", answer.reason.encode()))
    if answer.status in (Status.REFUSED, Status.UNAVAILABLE):
        headers.append(FINAL)
    return headers


async def ask(app: Mainstay, request: Request, feature: str, limit: int, stalled: float) -> None:
    """`POST /v1/features/{feature}`"""
    asked: FeatureRequest = decoded(_request, await request.body(limit=limit))
    call = Call(
        id=new_id(),
        feature=feature,
        input=asked.input,
        history=asked.history,
        tenant=asked.tenant,
        user=asked.user,
        session=asked.session,
        locale=asked.locale,
        deadline=asked.deadline,
        stream=asked.stream,
        progress=asked.progress,
    )
    try:
        events = app.serve(call)
    except NotFound as error:
        raise HttpError(404, error.what, code="unknown_feature") from None
    with Listener(request, stalled=stalled) as listener:
        async with aclosing(events):
            if asked.stream:
                await _stream(events, request, listener, call)
            else:
                answer = await last(events)
                await request.respond(status_of(answer), _encode(answer), [JSON, *headers_of(answer)])


async def last(events: AsyncGenerator[Event, None]) -> Answer:
    """The answer that a stream ends in."""
    async for event in events:
        answer = event
    assert isinstance(answer, Answer)  # noqa: S101  serve ends with its answer
    return answer


async def _stream(events: AsyncGenerator[Event, None], request: Request, listener: Listener, call: Call) -> None:
    await request.start([(b"x-request-id", call.id.encode())])
    async for event in events:
        await listener.write(sse.event(_encode(event), name_of(event)))
    await request.write(b"", more=False)


async def read_answer(app: Mainstay, request: Request, id: str) -> None:
    """`GET /v1/answers/{id}`"""
    record = await app.record(id)
    if record is None:
        raise HttpError(404, f'there is no answer "{id}"', code="unknown_answer")
    await request.respond(200, _encode(record.outcome.answer), [JSON])


async def score(app: Mainstay, request: Request, id: str, limit: int) -> None:
    """`POST /v1/answers/{id}/scores`: the record may still be on its way."""
    said: ScoreRequest = decoded(_score, await request.body(limit=limit))
    kept = await app.score(id, said.name, said.value, reason=said.reason, who=said.who)
    await request.respond(201, _encode({"id": kept.id, "record": kept.record}), [JSON])


async def list_features(app: Mainstay, request: Request) -> None:
    """`GET /v1/features`"""
    data = [
        {
            "name": name,
            "summary": ready.feature.summary,
            "release": ready.digest,
            "input": ready.feature.input.schema or ready.feature.input.fields,
            "history": ready.feature.history,
            "structured": ready.feature.structured,
            "rungs": [rung.name for rung in ready.rungs],
        }
        for name, ready in app.features.ready.items()
    ]
    await request.respond(200, _encode({"data": data}), [JSON])
