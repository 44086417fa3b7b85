"""ASGI in words: a request that was read, responses that are sent, and the door's own errors.

Nothing here knows a feature. Every refusal of the door itself is `{"error": {message, type, param, code}}`, the shape that
OpenAI's clients read, and carries `x-should-retry: false` where asking again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from mainstay.core.keys import Key

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

DEEPEST = 64  # levels of nesting in a body
JSON: tuple[bytes, bytes] = (b"content-type", b"application/json")
FINAL: tuple[bytes, bytes] = (b"x-should-retry", b"false")
CLOSE: tuple[bytes, bytes] = (b"connection", b"close")
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
    """The door's own refusal of a request. `final` says that asking again changes nothing."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        headers: Headers | None = None,
        final: bool = True,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers: Headers = [JSON, *([FINAL] if final else []), *(headers or [])]

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
    """One HTTP request. `path` is below the place where the door is mounted; `key` is that of a tenant, if it came with one."""

    LINGER = 1.0  # seconds in which what is left of a body that is too large is read and thrown away

    __slots__ = ("_read", "_receive", "_send", "headers", "key", "method", "path", "scope", "started")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        mount: str = scope.get("root_path", "")
        if mount and self.path.startswith(mount.rstrip("/") + "/"):  # some parents leave their prefix in the path, some do not
            self.path = self.path[len(mount.rstrip("/")) :]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.key: Key | None = None
        self.started = self._read = False

    async def body(self, *, limit: int) -> bytes:
        """The whole body: JSON in UTF-8.

        Raises `HttpError` 413 above the limit, 415 for another type or an encoding, 400 for what is not UTF-8 or nests too
        deeply, and `Gone` if the client went before it was complete.
        """
        await self._check_head(limit)
        self._read = True
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            body, message = await self._rest(body, limit)
        if message["type"] == "http.disconnect":
            raise Gone
        if len(body) > limit:
            raise self._too_large(limit)
        if not body.isascii():
            _check_text(body)
        if body.count(b"[") + body.count(b"{") > DEEPEST and _too_deep(body):
            raise HttpError(400, f"the body nests more than {DEEPEST} levels deep", code="invalid_request")
        return body

    async def _check_head(self, limit: int) -> None:
        """What can be said of a body before it is read."""
        kind = self.headers.get(b"content-type", b"")
        if kind != b"application/json" and kind.partition(b";")[0].strip().lower() != b"application/json":
            raise HttpError(
                415,
                "the body has to be JSON: send `content-type: application/json` (curl --json '…')",
                code="unsupported_media_type",
            )
        if self.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise HttpError(415, "the body has to come as it is, without a content-encoding", code="unsupported_encoding")
        length = self.headers.get(b"content-length", b"")
        if len(length) > 19 or (length.isdigit() and int(length) > limit):
            if b"expect" not in self.headers:  # else the client waits for leave to send it
                await self._linger({"more_body": True})
            raise self._too_large(limit)

    async def _rest(self, first: bytes, limit: int) -> tuple[bytes, Message]:
        """A body that comes in pieces, and the message that ended it."""
        pieces, size = [first], len(first)
        while True:
            message = await self._receive()
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                await self._linger(message)
                raise self._too_large(limit)
            if not message.get("more_body"):
                return b"".join(pieces), message

    async def _linger(self, message: Message) -> None:
        """Throw the rest away for a moment: who is cut off while sending sees a broken connection, and no answer."""
        try:
            async with asyncio.timeout(self.LINGER):
                while message.get("more_body"):
                    message = await self._receive()
        except TimeoutError:
            pass

    def _too_large(self, limit: int) -> HttpError:
        return HttpError(413, f"the body is larger than {limit} bytes", code="request_too_large", headers=[CLOSE])

    async def respond(self, status: int, body: bytes, headers: Headers) -> None:
        """A whole response."""
        self.started = True
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        )
        await self._send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    async def refuse(self, error: HttpError) -> None:
        """The door's own refusal."""
        headers = error.headers
        if b"expect" in self.headers and not self._read and CLOSE not in headers:
            headers = [*headers, CLOSE]  # nobody knows whether the body still comes
        await self.respond(error.status, error.body(), headers)

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


def _check_text(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise HttpError(400, f"the body is not UTF-8: {error.reason} at byte {error.start}", code="invalid_request") from None


def _too_deep(body: bytes) -> bool:
    """Whether JSON nests so deeply that whoever walks through it later could run out of stack."""
    try:
        level: list[Any] = [msgspec.json.decode(body)]
    except RecursionError:
        return True
    except (msgspec.DecodeError, ValueError):
        return False  # whoever reads it says what is wrong
    for _ in range(DEEPEST):
        level = [v for outer in level for v in (outer.values() if type(outer) is dict else outer) if type(v) in (dict, list)]
        if not level:
            return False
    return True
