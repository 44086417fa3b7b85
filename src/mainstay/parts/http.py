"""The one pooled HTTP client, handed to every provider: HTTP/1.1 over asyncio, parsed by httptools.

Why not a library: measured, the best of them (aiohttp) costs more per request than everything else that Mainstay does
(docs/decisions/0002-http-client.md). What a provider's API needs of HTTP is little: POST with a body, a head, a body that is
whole or streamed, connections kept alive, TLS with the system's certificates, and the proxies that the environment names.

It sets no time limit, because whoever awaits a provider does; it follows no redirect, keeps no cookie, retries nothing. A
cancelled request closes its connection. What goes wrong is `Unreachable` before the head, `CutOff` after it, `Garbled` where the
bytes are not HTTP.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
import urllib.request
import zlib
from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple, cast
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

import httptools

from mainstay.core.errors import ConfigError, CutOff, Garbled, Unreachable

MAX_REPLY = 64 * 1024 * 1024
MAX_HEAD = 256 * 1024
HIGH_WATER = 1024 * 1024  # bytes not yet taken above which the socket is read no further
IDLE = 50.0  # seconds after which an idle connection is not used again


class Origin(NamedTuple):
    """Where a connection leads."""

    tls: bool
    host: str
    port: int


class Connection(asyncio.Protocol):
    """One kept-alive connection; carries one request at a time."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self._waiter: asyncio.Future[None] | None = None
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.complete = False
        self.reusable = False
        self.received = False
        self._head_size = 0
        self._body: list[bytes] = []
        self._size = 0
        self._paused = False
        self._error: Exception | None = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.received = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(Garbled(f"the answer is not HTTP: {error}"))
        if self._size > HIGH_WATER and not self._paused and self.transport is not None:
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self.status and not self.complete and self._until_end():
            self.complete = True
        elif not self.complete:
            what = f"the connection was lost: {error}" if error else "the connection was closed"
            self._fail(CutOff(what) if self.status else Unreachable(what))
        self._wake()

    def _until_end(self) -> bool:
        """Whether the end of the connection is the end of the body: neither a length nor chunks were announced."""
        return not any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)

    # httptools' side

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > MAX_HEAD:
            raise ValueError("the head is too long")
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._body.append(data)
        self._size += len(data)

    def on_message_complete(self) -> None:
        if self.status < 200:  # an interim answer, such as 103: the real one follows
            self.status, self.headers = 0, []
            return
        self.complete = True
        self.reusable = bool(self._parser.should_keep_alive())

    # the request's side

    def send(self, data: bytes) -> None:
        """Begin a request."""
        self._reset()
        if self.lost or self.transport is None:
            raise Unreachable("the connection was closed")
        self.transport.write(data)

    async def head(self) -> None:
        """Wait for the status and the headers."""
        while not self.status:
            await self._news()

    async def take(self) -> bytes:
        """What has arrived of the body, at least something; nothing at its end."""
        while not self._body:
            if self.complete:
                return b""
            await self._news()
        data = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body, self._size = [], 0
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()
        return data

    async def _news(self) -> None:
        """Wait until something arrives. What is there already is taken before an error is raised."""
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error

    def _wake(self) -> None:
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
            self._waiter = None

    def close(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()


class Reply:
    """An HTTP answer whose head has arrived."""

    __slots__ = ("_connection", "_inflate", "status", "streams")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.status = connection.status
        self.streams = False
        self._inflate: Any = None
        for name, value in connection.headers:
            if name == b"content-type":
                self.streams = value.startswith(b"text/event-stream")
            elif name == b"content-encoding" and value.lower() in (b"gzip", b"deflate"):
                self._inflate = zlib.decompressobj(47)  # whichever of the two it is

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by lower-case name; of repeated ones the last."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._connection.headers}

    async def read(self) -> bytes:
        """The whole body. Raises `Garbled` above 64 MB."""
        body = await self._take()
        while more := await self._take():
            body += more
            if len(body) > MAX_REPLY:
                raise Garbled(f"the answer is longer than {MAX_REPLY} bytes")
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, one item a socket read."""
        while data := await self._take():
            yield data

    async def _take(self) -> bytes:
        data = await self._connection.take()
        if self._inflate is None or not data:
            return data
        try:
            return cast(bytes, self._inflate.decompress(data, MAX_REPLY)) or await self._take()
        except zlib.error as error:
            raise Garbled(f"the answer is not what its content-encoding says: {error}") from None


class Endpoint:
    """An address with its headers, made ready once and posted to many times."""

    def __init__(self, http: Http, url: str, headers: Mapping[str, str]) -> None:
        self._http, self.url = http, url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"not an http or https address: {url!r}", where="url")
        tls = parts.scheme == "https"
        self.origin = Origin(tls, parts.hostname, parts.port or (443 if tls else 80))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not tls and http.proxy_of(self.origin) is not None:
            target = f"http://{parts.netloc}{target}"
        lines = [
            f"host: {parts.netloc.rpartition('@')[2]}",
            "accept-encoding: identity",
            *(f"{k}: {v}" for k, v in headers.items()),
        ]
        if any("\r" in line or "\n" in line for line in (target, *lines)):
            raise ConfigError("a header holds a line end", where=url)
        head = "\r\n".join(lines)
        self._post = f"POST {target} HTTP/1.1\r\n{head}\r\ncontent-length: ".encode("latin-1")
        self._get = f"GET {target} HTTP/1.1\r\n{head}\r\n\r\n".encode("latin-1")

    def post(self, body: bytes) -> Exchange:
        """Send the body; `async with` gives the `Reply`."""
        return Exchange(self, self._post + str(len(body)).encode() + b"\r\n\r\n" + body)

    async def get(self) -> tuple[int, bytes]:
        """Fetch: status and body."""
        async with Exchange(self, self._get) as reply:
            return reply.status, await reply.read()


class Exchange:
    """One request and its answer; the connection goes back to the pool if the answer was read to its end."""

    __slots__ = ("_connection", "_data", "_endpoint")

    def __init__(self, endpoint: Endpoint, data: bytes) -> None:
        self._endpoint, self._data = endpoint, data
        self._connection: Connection | None = None

    async def __aenter__(self) -> Reply:
        http, url = self._endpoint._http, self._endpoint.url
        try:
            self._connection = connection = http.idle(self._endpoint.origin) or await http.connect(self._endpoint.origin)
            connection.send(self._data)
            await connection.head()
        except (OSError, Unreachable, Garbled) as error:
            self._let_go()
            kind = Garbled if isinstance(error, Garbled) else Unreachable
            raise kind(str(error) or type(error).__name__, where=url) from None
        except BaseException:
            self._let_go()
            raise
        return Reply(connection)

    async def __aexit__(self, *_: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._endpoint._http.release(self._endpoint.origin, connection)


Pool = dict[Origin, list[Connection]]


class Http:
    """The pool. One for a whole application; each event loop that uses it has connections of its own."""

    def __init__(self) -> None:
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = WeakKeyDictionary()
        self._proxies = urllib.request.getproxies()

    def endpoint(self, url: str, headers: Mapping[str, str]) -> Endpoint:
        """An address made ready. Raises `ConfigError` for one that is not http or https."""
        return Endpoint(self, url, headers)

    def proxy_of(self, origin: Origin) -> str | None:
        """The proxy that the environment names for this address (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)."""
        proxy = self._proxies.get("https" if origin.tls else "http")
        if proxy is None or urllib.request.proxy_bypass(origin.host):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _pool(self) -> Pool:
        return self._pools.setdefault(asyncio.get_running_loop(), {})

    def idle(self, origin: Origin) -> Connection | None:
        """A kept-alive connection, if there is one that is still good."""
        connections = self._pool().get(origin)
        while connections:
            connection = connections.pop()
            if not connection.lost and time.monotonic() - connection.idle_since < IDLE:
                return connection
            connection.close()
        return None

    async def connect(self, origin: Origin) -> Connection:
        """A new connection. Raises `Unreachable` or `OSError`."""
        loop = asyncio.get_running_loop()
        proxy = self.proxy_of(origin)
        if proxy is not None:
            return await self._through(proxy, origin)
        tls = self._tls if origin.tls else None
        try:
            _, connection = await loop.create_connection(Connection, origin.host, origin.port, ssl=tls)
        except ssl.SSLError as error:
            raise Unreachable(f"no TLS with {origin.host}: {error.reason or error}") from None
        return connection

    async def _through(self, proxy: str, origin: Origin) -> Connection:
        """A connection by way of a proxy: a tunnel (CONNECT) for https."""
        parts = urlsplit(proxy)
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(Connection, parts.hostname or "", parts.port or 80)
        if not origin.tls:
            return connection
        target = f"{origin.host}:{origin.port}"
        auth = ""
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            auth = f"proxy-authorization: Basic {base64.b64encode(secret.encode()).decode()}\r\n"
        connection.send(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{auth}\r\n".encode())
        await connection.head()
        if connection.status != 200:
            connection.close()
            raise Unreachable(f"the proxy {parts.hostname} answers {connection.status} to CONNECT {target}")
        tunnel = Connection()
        transport.set_protocol(tunnel)
        secured = await loop.start_tls(transport, tunnel, self._tls, server_hostname=origin.host)
        if secured is None:
            raise Unreachable(f"the proxy {parts.hostname} closed the tunnel to {target}")
        tunnel.connection_made(secured)
        return tunnel

    def release(self, origin: Origin, connection: Connection) -> None:
        """The request is over: keep the connection if its answer was read to the end."""
        if connection.complete and connection.reusable and not connection.lost:
            connection.idle_since = time.monotonic()
            self._pool().setdefault(origin, []).append(connection)
        else:
            connection.close()

    async def close(self) -> None:
        """Close the idle connections of this event loop."""
        for connections in self._pool().values():
            for connection in connections:
                connection.close()
            connections.clear()
