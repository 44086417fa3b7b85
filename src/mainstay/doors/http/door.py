"""The door itself: finds the route, asks for the key, and turns whatever goes wrong into a typed answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import os
from collections.abc import Awaitable, Callable

import msgspec

from mainstay.app import Mainstay
from mainstay.core.errors import StoreError
from mainstay.doors.http import admin, admin_keys, chat, features, keys, openapi, passages
from mainstay.doors.http.wire import CLOSE, JSON, Gone, HttpError, Receive, Request, Scope, Send

log = logging.getLogger("mainstay.http")
OPEN = ("/healthz", "/readyz")  # no key, and answered to the end


class HttpDoor:
    """An ASGI application around a `Mainstay`.

    Without a key (`MAINSTAY_API_KEY`, `key`, or those of `mainstay keys`) only clients on loopback are served. `/admin` has a
    key of its own (`MAINSTAY_ADMIN_KEY`, or `admin_key`), or takes one with the role `admin`. While it is `draining`, `/readyz`
    says no, running calls finish, and new ones are told to ask elsewhere.
    """

    def __init__(self, app: Mainstay, *, key: str | None = None, admin_key: str | None = None) -> None:
        self._app = app
        self._key = _key("MAINSTAY_API_KEY", key)
        self._admin_key = _key("MAINSTAY_ADMIN_KEY", admin_key)
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"this door speaks HTTP, not {scope['type']}")
        request = Request(scope, receive, send)
        try:
            self._admit(request)
            await self._route(request)
        except HttpError as error:
            await request.refuse(error)
        except Gone:
            log.debug("the client of %s went away", request.path)
        except asyncio.CancelledError:
            if not self.draining:
                raise
            await self._end(request, _draining("the server stops before this call could end"))
        except StoreError as error:
            log.error("%s %s failed: %s", request.method, request.path, error)
            await self._end(
                request, HttpError(503, "records cannot be read or written now", code="store_unavailable", final=False)
            )
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            await self._end(request, HttpError(500, "an error of ours; the log has the details", code="internal_error"))

    async def _live(self, receive: Receive, send: Send) -> None:
        """The lifespan, where a server or a parent hands it on: its end closes the app."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self.draining = True
                await self._app.close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _end(self, request: Request, error: HttpError) -> None:
        """Say what went wrong, unless something else was said already: then the server breaks the connection off."""
        if not request.started:
            await request.refuse(error)

    def _admit(self, request: Request) -> None:
        """Is this client served at all, and now? Raises `HttpError`."""
        if request.path in OPEN:
            return
        right, given = keys.right_to(request), keys.sent_with(request)
        admin = right == "change"
        own, name = (self._admin_key, "MAINSTAY_ADMIN_KEY") if admin else (self._key, "MAINSTAY_API_KEY")
        key = request.key = keys.opened(given, self._app.keys)
        if key is not None:
            keys.check_right(key, right)
        elif own is None and not self._app.locked:
            if self._key is not None or not is_loopback((request.scope.get("client") or ("",))[0]):
                raise HttpError(403, f"without a key only loopback is served; set {name}", code="key_required")
        elif own is None or not any(hmac.compare_digest(_digest(secret), own) for secret in given):
            raise keys.unauthorized("the key is missing or wrong")
        if self.draining:
            raise _draining("the server is stopping")

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
        elif path.startswith("/v1/sources/") and (found := rest.partition("/passages/"))[0] and found[2]:
            _only(request, "GET")
            await passages.read_passage(self._app, request, found[0], found[2])
        elif path.startswith("/v1/models/") and rest:
            _only(request, "GET")
            await chat.list_models(self._app, request, rest)
        elif path.startswith("/admin/features/"):
            await self._admin(request, path.removeprefix("/admin/features/"))
        elif path == "/admin/keys" and request.method == "POST":
            await admin_keys.create(self._app, request, server.max_body)
        elif path.startswith("/admin/keys/") and "/" not in (id := path.removeprefix("/admin/keys/")):
            _only(request, "DELETE")
            await admin_keys.revoke(self._app, request, id)
        else:
            await self._fixed(request)

    async def _admin(self, request: Request, rest: str) -> None:
        feature, deeper, what = rest.partition("/")
        limit = self._app.settings.server.max_body
        if feature and not deeper:
            _only(request, "GET")
            await admin.read(self._app, request, feature)
        elif feature and what == "switch":
            _only(request, "PUT")
            await admin.switch(self._app, request, feature, limit)
        elif feature and what == "rollback":
            _only(request, "POST")
            await admin.roll_back(self._app, request, feature, limit)
        else:
            await self._fixed(request)

    async def _fixed(self, request: Request) -> None:
        handler = _FIXED.get(request.path)
        if handler is None:
            raise HttpError(404, f"there is nothing at {request.path[:200]}; see /openapi.json", code="not_found")
        _only(request, "GET")
        await handler(self, request)

    async def _features(self, request: Request) -> None:
        await features.list_features(self._app, request)

    async def _models(self, request: Request) -> None:
        await chat.list_models(self._app, request)

    async def _keys(self, request: Request) -> None:
        await admin_keys.read(self._app, request)

    async def _healthz(self, request: Request) -> None:
        await request.respond(200, b'{"status":"ok"}', [JSON])

    async def _readyz(self, request: Request) -> None:
        trouble = "draining" if self.draining else self._app.trouble()
        body = msgspec.json.encode({"status": "not ready" if trouble else "ready", "trouble": trouble or None})
        await request.respond(503 if trouble else 200, body, [JSON])

    async def _metrics(self, request: Request) -> None:
        await request.respond(200, self._app.metrics(), [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")])

    async def _openapi(self, request: Request) -> None:
        await request.respond(
            200, openapi.document(self._app, request.key, locked=self._key is not None or self._app.locked), [JSON]
        )

    async def _index(self, request: Request) -> None:
        body = {
            "name": "mainstay",
            "features": sorted(keys.usable(request, self._app.features.ready)),
            "documentation": "/openapi.json",
        }
        await request.respond(200, msgspec.json.encode(body), [JSON])


_FIXED: dict[str, Callable[[HttpDoor, Request], Awaitable[None]]] = {
    "/": HttpDoor._index,
    "/v1/features": HttpDoor._features,
    "/v1/models": HttpDoor._models,
    "/admin/keys": HttpDoor._keys,
    "/healthz": HttpDoor._healthz,
    "/readyz": HttpDoor._readyz,
    "/metrics": HttpDoor._metrics,
    "/openapi.json": HttpDoor._openapi,
}


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own. A client that a server does not name is none."""
    if host in ("127.0.0.1", "::1"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _key(variable: str, given: str | None) -> bytes | None:
    """The digest of the operator's key that was given, or that the environment holds; None where there is none."""
    secret = (os.environ.get(variable, "") if given is None else given).strip()
    return _digest(secret.encode()) if secret else None


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _draining(what: str) -> HttpError:
    return HttpError(503, f"{what}; ask again", code="draining", headers=[CLOSE, (b"retry-after", b"1")], final=False)


def _only(request: Request, method: str) -> None:
    if request.method == method or (request.method == "HEAD" and method == "GET"):
        return
    allowed = "GET, HEAD" if method == "GET" else method
    raise HttpError(
        405, f"{request.path[:200]} takes {allowed}", code="method_not_allowed", headers=[(b"allow", allowed.encode())]
    )
