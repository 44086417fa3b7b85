"""ASGI in words: a request that was read, responses that are sent, and the errors of both shapes.

Nothing here knows a feature. Every refusal of the door itself is `{"error": {message, type, param, code}}`, the shape that
OpenAI's clients read, and carries `x-should-retry: false`, because asking again changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from mainstay.core.errors import TooSlow
from mainstay.serve.watch import Watch

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
FINAL: tuple[bytes, bytes] = (b"x-should-retry", b"false")
STREAM: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_encode = msgspec.json.Encoder().encode
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class HttpError(Exception):
    """The door's own refusal of a request."""

    def __init__(self, status: int, message: str, *, code: str, param: str | None = None, headers: Headers | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers: Headers = headers or []

    def body(self) -> bytes:
        """The error object."""
        return error_body(self.status, self.message, code=self.code, param=self.param)


def error_body(status: int, message: str, *, code: str | None, param: str | None = None) -> bytes:
    """`{"error": {…}}` with the type that goes with the status."""
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    return _encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


class Gone(Exception):
    """The client went away, or stopped reading."""


class Request:
    """One HTTP request."""

    __slots__ = ("_receive", "_send", "headers", "method", "path", "scope", "started")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.method: str = scope["method"]
        self.path: str = scope["path"][len(scope.get("root_path", "")) :] if scope.get("root_path") else scope["path"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.started = False

    def header(self, name: bytes) -> str:
        """A header's value as text; empty where it is missing."""
        return self.headers.get(name, b"").decode("latin-1")

    def query(self) -> dict[str, str]:
        """The query's parameters; of repeated ones the last."""
        return dict(parse_qsl(self.scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))

    async def body(self, *, limit: int) -> bytes:
        """The whole JSON body. Raises `HttpError` 413 above the limit, 415 for another type, `Gone` if the client went."""
        kind = self.headers.get(b"content-type", b"")
        if not kind.startswith(b"application/json"):
            raise HttpError(
                415,
                "the body has to be JSON: send `content-type: application/json` (curl --json '…')",
                code="unsupported_media_type",
            )
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limit:
            raise self._too_large(limit)
        message = await self._receive()
        body = message.get("body", b"")
        while message.get("more_body"):
            message = await self._receive()
            body += message.get("body", b"")
            if len(body) > limit:
                raise self._too_large(limit)
        if message["type"] == "http.disconnect":
            raise Gone
        return bytes(body)

    def _too_large(self, limit: int) -> HttpError:
        return HttpError(
            413, f"the body is larger than {limit} bytes", code="request_too_large", headers=[(b"connection", b"close")]
        )

    async def respond(self, status: int, body: bytes, headers: Headers) -> None:
        """A whole response."""
        self.started = True
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        )
        await self._send({"type": "http.response.body", "body": body})

    async def refuse(self, error: HttpError) -> None:
        """The door's own refusal."""
        await self.respond(error.status, error.body(), [JSON, FINAL, *error.headers])

    async def start(self, headers: Headers) -> None:
        """The head of a streamed response."""
        self.started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": [*STREAM, *headers]})

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """A piece of a streamed response."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def until_gone(self) -> None:
        """Returns when the client has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


class Listener:
    """While a call runs: notices a client that goes away, and one that stops reading. Both raise `Gone` where the door waits.

    The client is listened to only for calls that last: `PATIENCE` after their start, or from the start of a stream.
    """

    PATIENCE = 0.1

    def __init__(self, request: Request, *, stalled: float) -> None:
        self._request, self._stalled = request, stalled
        self._watch = Watch()
        self._gone = False
        self._listening: asyncio.Task[None] | None = None

    def __enter__(self) -> Listener:
        self._watch.__enter__()
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(self.PATIENCE, self._listen)
        return self

    def _listen(self) -> None:
        self._listening = asyncio.get_running_loop().create_task(self._request.until_gone())
        self._listening.add_done_callback(self._heard)

    def _heard(self, listening: asyncio.Task[None]) -> None:
        if not listening.cancelled() and self._task is not None:
            self._gone = True
            self._task.cancel()

    async def write(self, data: bytes) -> None:
        """Send a piece; a client that takes nothing for too long is given up."""
        self._watch.until(time.monotonic() + self._stalled)
        await self._request.write(data)
        self._watch.until(float("inf"))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._watch.__exit__(kind, error, trace)
        self._timer.cancel()
        if self._listening is not None:
            self._listening.remove_done_callback(self._heard)
            self._listening.cancel()
        if isinstance(error, asyncio.CancelledError):
            self._settle()

    def _settle(self) -> None:
        """Turn a cancellation of our own making into `Gone`."""
        if self._gone and self._task is not None and self._task.uncancel() == 0:
            raise Gone from None
        try:
            self._watch.settle("the client took nothing")
        except TooSlow:
            raise Gone from None
