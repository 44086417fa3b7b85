"""The door itself: finds the route, asks for the key, and turns whatever goes wrong into a typed answer."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
from collections.abc import Awaitable, Callable

import msgspec

from mainstay.app import Mainstay
from mainstay.doors.http import chat, features, openapi
from mainstay.doors.http.wire import JSON, Gone, HttpError, Receive, Request, Scope, Send

log = logging.getLogger("mainstay.http")
LOOPBACK = ("127.", "::1", "::ffff:127.")
OPEN = ("/healthz", "/readyz")


class HttpDoor:
    """An ASGI application around a `Mainstay`.

    Without a key (`MAINSTAY_API_KEY`, or `key`) only clients on loopback are served. `draining` makes `/readyz` say no, so that
    a load balancer sends no more while running calls finish.
    """

    def __init__(self, app: Mainstay, *, key: str | None = None) -> None:
        self._app = app
        secret = os.environ.get("MAINSTAY_API_KEY", "") if key is None else key
        self._key = hashlib.sha256(secret.encode()).digest() if secret else None
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"this door speaks HTTP, not {scope['type']}")
        request = Request(scope, receive, send)
        try:
            self._authorise(request)
            await self._route(request)
        except HttpError as error:
            await request.refuse(error)
        except Gone:
            log.debug("the client of %s went away", request.path)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            if not request.started:
                await request.refuse(HttpError(500, "an error of ours; the log has the details", code="internal_error"))

    def _authorise(self, request: Request) -> None:
        if request.path in OPEN:
            return
        if self._key is None:
            client = (request.scope.get("client") or ("127.0.0.1",))[0]
            if not client.startswith(LOOPBACK):
                raise HttpError(403, "without a key only loopback is served; set MAINSTAY_API_KEY", code="key_required")
            return
        given = request.header(b"x-api-key") or request.header(b"authorization").removeprefix("Bearer ")
        if not hmac.compare_digest(hashlib.sha256(given.strip().encode()).digest(), self._key):
            raise HttpError(401, "the key is missing or wrong; send `authorization: Bearer …`", code="invalid_api_key")

    async def _route(self, request: Request) -> None:
        server = self._app.settings.server
        path = request.path
        if path == "/v1/chat/completions":
            _only(request, "POST")
            await chat.complete(self._app, request, server.max_body, server.stalled_reader)
            return
        _, _, rest = path.removeprefix("/v1/").partition("/")
        if path.startswith("/v1/features/") and rest and "/" not in rest:
            _only(request, "POST")
            await features.ask(self._app, request, rest, server.max_body, server.stalled_reader)
        elif path.startswith("/v1/answers/") and rest.endswith("/scores") and rest.count("/") == 1:
            _only(request, "POST")
            await features.score(self._app, request, rest.removesuffix("/scores"), server.max_body)
        elif path.startswith("/v1/answers/") and rest and "/" not in rest:
            _only(request, "GET")
            await features.read_answer(self._app, request, rest)
        elif path.startswith("/v1/models/") and rest:
            _only(request, "GET")
            await chat.list_models(self._app, request, rest)
        else:
            await self._fixed(request)

    async def _fixed(self, request: Request) -> None:
        handler = _FIXED.get(request.path)
        if handler is None:
            raise HttpError(404, f"there is nothing at {request.path}; see /openapi.json", code="not_found")
        _only(request, "GET")
        await handler(self, request)

    async def _features(self, request: Request) -> None:
        await features.list_features(self._app, request)

    async def _models(self, request: Request) -> None:
        await chat.list_models(self._app, request)

    async def _healthz(self, request: Request) -> None:
        await request.respond(200, b'{"status":"ok"}', [JSON])

    async def _readyz(self, request: Request) -> None:
        trouble = "draining" if self.draining else self._app.trouble()
        body = msgspec.json.encode({"status": "not ready" if trouble else "ready", "trouble": trouble or None})
        await request.respond(503 if trouble else 200, body, [JSON])

    async def _metrics(self, request: Request) -> None:
        await request.respond(200, self._app.metrics(), [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")])

    async def _openapi(self, request: Request) -> None:
        await request.respond(200, openapi.document(self._app), [JSON])

    async def _index(self, request: Request) -> None:
        body = {"name": "mainstay", "features": sorted(self._app.features.ready), "documentation": "/openapi.json"}
        await request.respond(200, msgspec.json.encode(body), [JSON])


_FIXED: dict[str, Callable[[HttpDoor, Request], Awaitable[None]]] = {
    "/": HttpDoor._index,
    "/v1/features": HttpDoor._features,
    "/v1/models": HttpDoor._models,
    "/healthz": HttpDoor._healthz,
    "/readyz": HttpDoor._readyz,
    "/metrics": HttpDoor._metrics,
    "/openapi.json": HttpDoor._openapi,
}


def _only(request: Request, method: str) -> None:
    if request.method != method and not (method == "GET" and request.method == "HEAD"):
        raise HttpError(405, f"{request.path} takes {method}", code="method_not_allowed", headers=[(b"allow", method.encode())])


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
