"""`Idempotency-Key` on calls: which events answer a request that may have come before."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec

from mainstay.app import Mainstay
from mainstay.core.answer import Event
from mainstay.core.call import Call
from mainstay.doors.http.wire import Headers, HttpError, Request

LONGEST = 255  # characters of a key
REPLAYED: tuple[bytes, bytes] = (b"x-mainstay-replayed", b"true")


async def answering(
    app: Mainstay, request: Request, call: Call, body: bytes
) -> tuple[Call, AsyncGenerator[Event, None], Headers]:
    """The call that answers a request, its events, and what the head says of that. Raises `HttpError` 400, 409 or 422.

    Without the header that is the call itself.
    """
    key = request.headers.get(b"idempotency-key")
    if key is None:
        return call, app.serve(call), []
    if not 0 < len(key) <= LONGEST:
        raise HttpError(400, f"an idempotency key has 1 to {LONGEST} characters", code="invalid_request", param="Idempotency-Key")
    joined = await app.again(call, key, request.path.encode("utf-8", "replace") + b"\0" + body)
    if joined == "reused":
        what = "this idempotency key came with another request before; send a new one with each request"
        raise HttpError(422, what, code="idempotency_key_reused", param="Idempotency-Key")
    if joined == "running":
        what = "the first request with this idempotency key is still running; ask again"
        raise HttpError(409, what, code="idempotency_key_in_use", headers=[(b"retry-after", b"1")], final=False)
    if joined == "not_kept":
        what = "this request was answered before, and its answer is kept nowhere; send a new idempotency key to ask anew"
        raise HttpError(409, what, code="idempotency_answer_not_kept")
    assert not isinstance(joined, str)  # noqa: S101
    return msgspec.structs.replace(call, id=joined.id), joined.events, [REPLAYED] if joined.again else []
