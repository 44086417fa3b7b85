"""`/v1/features` and `/v1/answers`: Mainstay's own shapes."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mainstay.app import Mainstay
from mainstay.core.answer import Answer, Event, name_of
from mainstay.core.call import Call, Priority, Turn
from mainstay.core.errors import NotFound, NotReleased
from mainstay.core.units import Seconds
from mainstay.doors.http import keys, rates, statuses
from mainstay.doors.http.listener import Listener
from mainstay.doors.http.passages import linked
from mainstay.doors.http.repeats import answering
from mainstay.doors.http.wire import JSON, Headers, HttpError, Request
from mainstay.ids import new_id
from mainstay.wire import sse

Short = Annotated[str, Meta(min_length=1, max_length=200)]


class GivenTurn(Turn, frozen=True, forbid_unknown_fields=True):
    """An earlier turn as a body may hold it: nothing of it is dropped in silence."""


class FeatureRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/features/{feature}`."""

    input: Annotated[dict[str, Any], Meta(description="The fields that the feature declares.")]
    history: Annotated[tuple[GivenTurn, ...], Meta(description="Earlier turns, oldest first.")] = ()
    stream: Annotated[bool, Meta(description="Answer as server-sent events.")] = False
    progress: Annotated[bool, Meta(description="With `stream`: `step` events too.")] = False
    deadline: Annotated[Seconds | None, Meta(description='Shorten the feature\'s deadline: "2s".')] = None
    priority: Annotated[
        Priority | None, Meta(description="Lower the feature's priority: who goes first when more is asked than can be answered.")
    ] = None
    tenant: Annotated[
        Short | None, Meta(description="Whose budget, cache and records this belongs to; by default the key's tenant.")
    ] = None
    user: Annotated[Short | None, Meta(description="Who asks, as the application names them.")] = None
    roles: Annotated[tuple[Short, ...], Meta(description="What the user may see, as sources name it: `staff`, `editor`, …")] = ()
    session: Annotated[Short | None, Meta(description="The conversation that this belongs to.")] = None
    locale: Annotated[Short | None, Meta(description="The language and place of the user, such as `de-CH`.")] = None


class ScoreRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/answers/{id}/scores`."""

    name: Annotated[Short, Meta(description="What is scored: `thumb`, `helpful`, …")]
    value: Annotated[float | Short, Meta(description="A number (1 is good, 0 is bad) or a word.")]
    reason: Annotated[str, Meta(max_length=10_000, description="Why.")] = ""
    who: Annotated[Short, Meta(description="Who says so.")] = "user"


def read_seconds(kind: Any, value: Any) -> Any:
    """For a decoder: durations with their unit; none at all is nobody's wish."""
    if kind is not Seconds:
        return value
    seconds = Seconds.parse(value)
    if not seconds:
        raise ValueError("it has to be longer than nothing")
    return seconds


_request = msgspec.json.Decoder(FeatureRequest, dec_hook=read_seconds)
_score = msgspec.json.Decoder(ScoreRequest)
_encode = msgspec.json.Encoder(enc_hook=str).encode
ANSWER_ID = "^(?:chatcmpl-)?(a[0-9a-f]{27})$"
_id = re.compile(ANSWER_ID).fullmatch
_NAMED = re.compile(r"(?:unknown|required) field `([^`]*)`")


def decoded(decoder: msgspec.json.Decoder[Any], body: bytes, *, example: str) -> Any:
    """A body as its type. Raises `HttpError` 400 with the field at fault and an `example` of what would do."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what, _, place = str(error).partition(" - at `$")
        named = _NAMED.search(what)
        param = ".".join(filter(None, [place.rstrip("`").lstrip("."), named and named[1]])) or None
        said = f"{f'{param}: ' if param else ''}{what}; send for example {example}"
        raise HttpError(400, said, code="invalid_request", param=param) from None


def headers_of(answer: Answer) -> Headers:
    """What a proxy or a log wants to know without reading the body."""
    headers = [(b"x-request-id", answer.id.encode()), (b"x-mainstay-status", answer.status.encode())]
    if answer.reason is not None:
        headers.append((b"x-mainstay-reason", answer.reason.encode()))
    return [*headers, *rates.of_ending(answer)]


async def ask(app: Mainstay, request: Request, feature: str, limit: int, stalled: float) -> None:
    """`POST /v1/features/{feature}`"""
    keys.check_use(request, feature, model=False, param="feature")
    body = await request.body(limit=limit)
    asked: FeatureRequest = decoded(_request, body, example='{"input": {"question": "…"}}')
    call = Call(
        id=new_id(),
        feature=feature,
        input=asked.input,
        history=asked.history,
        tenant=keys.tenant_of(request, asked.tenant),
        key=keys.key_id(request),
        user=asked.user,
        roles=asked.roles,
        session=asked.session,
        locale=asked.locale,
        deadline=None if asked.deadline is None else float(asked.deadline),
        priority=asked.priority,
        stream=asked.stream,
        progress=asked.progress,
    )
    try:
        ready = app.release_of(call)
        call = rates.with_sdk(call, request, shows_early=call.stream and ready.feature.shows_early)
    except NotReleased as error:
        raise HttpError(503, f"{error.what}; {error.next}", code="not_released", final=False) from None
    except NotFound as error:
        raise HttpError(404, error.what, code="unknown_feature") from None
    with Listener(request, stalled=stalled) as listener:
        call, events, headers = await answering(app, request, call, body)
        async with aclosing(events):
            if asked.stream:
                await _stream(events, request, listener, call, [*headers, *rates.of_limits(app, call)])
            else:
                answer = await last(events)
                shown = _encode(linked(answer, request, call))
                await request.respond(
                    statuses.of_feature(answer), shown, [JSON, *headers_of(answer), *headers, *rates.of_limits(app, call)]
                )


async def last(events: AsyncGenerator[Event, None]) -> Answer:
    """The answer that a stream ends in."""
    async for event in events:
        answer = event
    assert isinstance(answer, Answer)  # noqa: S101  serve ends with its answer
    return answer


async def _stream(
    events: AsyncGenerator[Event, None], request: Request, listener: Listener, call: Call, headers: Headers
) -> None:
    await request.start([(b"x-request-id", call.id.encode()), *headers])
    async for event in events:
        await listener.write(sse.event(_encode(linked(event, request, call)), name_of(event)))
    await request.write(b"", more=False)


def _answer_id(id: str) -> str:
    """The id of an answer, also as OpenAI's shape wears it (`chatcmpl-…`). Raises 404 for what never was one."""
    match = _id(id)
    if match is None:
        raise HttpError(404, f'"{id}" is not the id of an answer; send the `id` that the answer has', code="unknown_answer")
    return match[1]


async def read_answer(app: Mainstay, request: Request, id: str) -> None:
    """`GET /v1/answers/{id}`: 200 whatever its status, 404 until the call has ended."""
    record = await app.record(_answer_id(id))
    if record is None or not keys.reads(request, record.begun.call):
        raise _unknown(id)
    await request.respond(200, _encode(linked(record.outcome.answer, request, record.begun.call)), [JSON])


def _unknown(id: str) -> HttpError:
    """The same for an answer that is not there as for one that is not the key's to see."""
    return HttpError(404, f'there is no answer "{id}"; a call has one when it has ended', code="unknown_answer")


async def score(app: Mainstay, request: Request, id: str, limit: int) -> None:
    """`POST /v1/answers/{id}/scores`: kept, also when the record is still on its way, here or in another process.

    So an id that could be an answer's is always taken (201), and only one that cannot is 404. What is sent twice is kept twice,
    unless both carry the same `Idempotency-Key`.
    """
    record = _answer_id(id)
    if request.key is not None and (found := await app.record(record)) is not None and not keys.reads(request, found.begun.call):
        raise _unknown(id)
    said: ScoreRequest = decoded(_score, await request.body(limit=limit), example='{"name": "thumb", "value": 1}')
    once = request.headers.get(b"idempotency-key")
    key = None if once is None else blake2b(once, key=record.encode(), digest_size=16).hexdigest()
    kept = await app.score(record, said.name, said.value, reason=said.reason, who=said.who, id=key)
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
        if request.key is None or request.key.uses(name)
    ]
    await request.respond(200, _encode({"data": data}), [JSON])
