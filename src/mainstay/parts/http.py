"""The one pooled HTTP client, handed to every provider: HTTP/1.1 over asyncio, parsed by httptools.

Why not a library: measured, the best of them (aiohttp) costs more per request than everything else that Mainstay does
(docs/decisions/0002-http-client.md). What a provider's API needs of HTTP is little: POST with a body, a head, a body that is
whole or streamed, connections kept alive, TLS with the system's certificates, and the proxies that the environment names.

It sets no time limit, because whoever awaits a provider does; it follows no redirect, keeps no cookie, and repeats a request
only where a kept-alive connection turns out to be closed (`Exchange`). A cancelled request closes its connection. What goes
wrong is `Unreachable` before the head, `CutOff` after it, `Garbled` where the bytes are not HTTP; nothing else is raised.

Source: RFC 9112. Stricter than it: folded header lines, lengths given twice, line ends without a carriage return and transfer
codings other than `chunked` are `Garbled`.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import re
import socket
import ssl
import time
import urllib.request
import zlib
from collections.abc import AsyncIterator, Mapping
from functools import cached_property
from ipaddress import IPv6Address
from typing import Any, NamedTuple, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

import httptools

from mainstay.core.errors import ConfigError, CutOff, Garbled, ModelError, Unreachable

MAX_REPLY = 64 * 1024 * 1024  # bytes of one body, decoded
MAX_HEAD = 256 * 1024  # bytes in a row that bring no body: heads, chunk extensions, trailers
HIGH_WATER = 1024 * 1024  # bytes not yet taken above which the socket is read no further
READ = 32 * 1024  # bytes read at once
PIECE = 64  # bytes that a piece of a body costs beside its own
IDLE = 50.0  # seconds after which an idle connection is not used again
STALE = 1.0  # seconds; a reused connection that ends unanswered within them had been closed before we wrote

_FRAMING = {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_PLAIN = "/:@!$&'()*+,;=~%-._"  # what a path holds unescaped


class Proxy(NamedTuple):
    """A proxy that the environment names."""

    host: str
    port: int
    authorization: str


class Origin(NamedTuple):
    """Where a connection leads, and by which way."""

    tls: bool
    host: str
    port: int
    proxy: Proxy | None


class Connection(asyncio.BufferedProtocol):
    """One kept-alive connection. It carries one exchange at a time.

    It reads into a buffer of its own: on asyncio's loop a read without one allocates 256 KB, whatever arrives.
    """

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.since = 0.0  # when it was last taken from the pool or given back
        self.heard = False  # whether anything came since the request
        self._ended = False
        self._paused = False
        self._reply: Reply | None = None
        self._buffer = memoryview(bytearray(READ))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.heard = True
        if self._reply is None:
            self.close()  # nobody asked; if it were kept, this would pass for the answer to the next request
        else:
            self._reply.feed(self._buffer[:nbytes])

    def eof_received(self) -> None:
        self._end("the connection was closed", clean=True)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"the connection was lost: {_reason(error)}" if error else "the connection was closed", clean=error is None)

    def _end(self, why: str, *, clean: bool) -> None:
        self._ended = True
        if self._reply is not None:
            self._reply.end(why, clean=clean)

    @property
    def alive(self) -> bool:
        """Whether it can carry a request, as far as is known here."""
        return not self._ended and not self.transport.is_closing()

    def send(self, data: bytes, where: str) -> Reply:
        """Begin an exchange. Raises `Unreachable` if the connection is closed already."""
        if not self.alive:
            raise Unreachable("the connection was closed", where=where)
        self.heard = False
        self._reply = reply = Reply(self, where)
        self.transport.write(data)
        return reply

    def finish(self) -> bool:
        """End the exchange; whether another may follow. Not where bytes of this one are still on their way."""
        reply, self._reply = self._reply, None
        whole = reply is not None and reply.finish()
        return whole and self.alive and not self._paused and not self.transport.get_write_buffer_size()

    def pause(self) -> None:
        """Read no further until `resume`."""
        if not self._paused and self.alive:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on, if paused."""
        if self._paused and self.alive:
            self._paused = False
            self.transport.resume_reading()

    def close(self) -> None:
        """Close at once."""
        self._ended = True
        self.transport.abort()


class Reply:
    """An HTTP answer: `status`, `headers`, whether it `streams`, and its body, whole (`read`) or as it arrives (`chunks`)."""

    __slots__ = (
        "_body",
        "_complete",
        "_connection",
        "_dry",
        "_error",
        "_framed",
        "_given",
        "_headers",
        "_inflate",
        "_keep",
        "_parser",
        "_size",
        "_waiter",
        "_where",
        "status",
        "streams",
    )

    def __init__(self, connection: Connection, where: str) -> None:
        self._connection, self._where = connection, where
        self.status = 0
        self.streams = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._inflate: Any = None
        self._framed = False  # by a length or by chunks; else the end of the connection is the end of the body
        self._complete = self._keep = False
        self._body: list[bytes] = []
        self._size = self._given = self._dry = 0
        self._error: ModelError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._parser: Any = httptools.HttpResponseParser(self)

    # the caller's side

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by lower-case name; of repeated ones the last."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers}

    async def read(self) -> bytes:
        """The whole body. Raises `Garbled` above 64 MB, `CutOff` where it ends too early."""
        pieces = []
        while data := await self._piece():
            pieces.append(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, one item a socket read. Raises what `read` raises."""
        return self

    def __aiter__(self) -> Reply:
        return self

    async def __anext__(self) -> bytes:
        if data := await self._piece():
            return data
        raise StopAsyncIteration

    async def head(self) -> None:
        """Wait for the status and the headers."""
        while not self.status:
            await self._news()

    async def _piece(self) -> bytes:
        """The next piece of the body, decoded; nothing at its end."""
        data = await (self._take() if self._inflate is None else self._inflated())
        self._given += len(data)
        if self._given > MAX_REPLY:
            raise Garbled(f"the answer is longer than {MAX_REPLY} bytes", where=self._where)
        return data

    async def _take(self) -> bytes:
        while not self._body:
            if self._complete:
                return b""
            await self._news()
        data = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body, self._size = [], 0
        self._connection.resume()
        return data

    async def _inflated(self) -> bytes:
        """At most `HIGH_WATER` bytes at once, however much the body inflates."""
        inflate = self._inflate
        try:
            while not inflate.eof and (data := inflate.unconsumed_tail or await self._take()):
                if out := cast(bytes, inflate.decompress(data, HIGH_WATER)):
                    return out
        except zlib.error as error:
            raise Garbled(f"the answer is not what its content-encoding says: {error}", where=self._where) from None
        if inflate.unused_data or await self._take() or (self._given and not inflate.eof):
            raise Garbled("the compressed answer does not end where its body ends", where=self._where)
        return b""

    async def _news(self) -> None:
        """Wait until something arrives. What is there already is taken before an error is raised."""
        if self._error is not None:
            raise self._error
        self._waiter = self._connection.loop.create_future()
        await self._waiter

    # the connection's side

    def feed(self, data: memoryview) -> None:
        """Bytes from the socket."""
        self._dry += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            ours = error.__context__
            self._fail(ours if isinstance(ours, Garbled) else Garbled(f"the answer is not HTTP: {error}", where=self._where))
        if self._dry > MAX_HEAD:
            self._fail(Garbled(f"{MAX_HEAD} bytes of head or trailers came and no body", where=self._where))
        elif self._size > HIGH_WATER:
            self._connection.pause()
        self._wake()

    def end(self, why: str, *, clean: bool) -> None:
        """The connection ended; `clean` is that the other side said so."""
        if clean and self.status and not self._framed:
            self._complete = True
        else:
            self._fail((CutOff if self.status else Unreachable)(why, where=self._where))
        self._wake()

    def finish(self) -> bool:
        """The exchange is over; whether it left the connection as it found it."""
        self._parser = None  # it holds this object, and is held by it
        if not self._complete and self._error is None:
            self._error = CutOff("the answer was let go before its end", where=self._where)
        return self._complete and self._keep

    def _fail(self, error: ModelError) -> None:
        if self._complete:
            self._keep = False
        elif self._error is None:
            self._error = error
            self._connection.close()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # httptools' side

    def on_message_begin(self) -> None:
        if self._complete:
            raise Garbled("a second answer follows the first")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # later ones are trailers, and say nothing that we need
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 100 or 101 < status < 200:
            self._headers = []  # an interim answer, such as 103: the real one follows
            return
        if status < 200:
            raise Garbled(f"the answer has the status {status:03}, which was not asked for", where=self._where)
        for name, value in self._headers:
            if name == b"content-type":
                self.streams = value.lower().startswith(b"text/event-stream")
            elif name == b"content-length":
                self._framed = True
            elif name == b"content-encoding" and value.strip().lower() in (b"gzip", b"x-gzip", b"deflate"):
                self._inflate = zlib.decompressobj(47)  # whichever of the two it is
            elif name == b"transfer-encoding":
                self._framed = True
                if value.strip().lower() != b"chunked":
                    coding = value.decode("latin-1")
                    raise Garbled(f"the answer has the transfer coding {coding!r}, which was not asked for", where=self._where)
        self.status = status

    def on_body(self, data: bytes) -> None:
        if not self.status:
            raise Garbled("an interim answer has a body", where=self._where)
        self._body.append(data)
        self._size += len(data) + PIECE
        self._dry = 0

    def on_message_complete(self) -> None:
        if self.status:
            self._complete = True
            self._keep = bool(self._parser.should_keep_alive())


class Endpoint:
    """An address with its headers, made ready once and posted to many times.

    `url` is the address without what may be secret, its user and its query: errors name it.
    """

    def __init__(self, http: Http, url: str, headers: Mapping[str, str]) -> None:
        parts = _split(url)
        tls = parts.scheme == "https"
        host, port = str(parts.hostname), parts.port or (443 if tls else 80)
        self.http = http
        self.origin = Origin(tls, host, port, http.proxy_of(tls=tls, host=host, port=port))
        place = _place(host, None if parts.port in (None, 443 if tls else 80) else port)
        path = quote(parts.path, safe=_PLAIN) or "/"
        self.url = f"{parts.scheme}://{place}{path}"
        fields = {"host": place, "user-agent": "mainstay", "accept-encoding": "identity"}
        if parts.username is not None:
            fields["authorization"] = _basic(parts)
        target = path + ("?" + quote(parts.query, safe=_PLAIN + "?") if parts.query else "")
        if tls:
            http.tls  # noqa: B018  reading the certificates takes tens of milliseconds: now, not within the first call
        elif self.origin.proxy is not None:
            target = f"http://{place}{target}"
            if self.origin.proxy.authorization:
                fields["proxy-authorization"] = self.origin.proxy.authorization
        fields |= {name.lower(): _checked(name, value, self.url) for name, value in headers.items()}
        head = "".join([f"{name}: {value}\r\n" for name, value in fields.items()])
        self._post = f"POST {target} HTTP/1.1\r\n{head}content-length: ".encode("latin-1")
        self._get = f"GET {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1")

    def post(self, body: bytes) -> Exchange:
        """Send the body; `async with` gives the `Reply`."""
        return Exchange(self, b"%b%d\r\n\r\n%b" % (self._post, len(body), body))

    async def get(self) -> tuple[int, bytes]:
        """Fetch: status and body."""
        async with Exchange(self, self._get) as reply:
            return reply.status, await reply.read()


class Exchange:
    """One request and its answer; the connection goes back to the pool if the answer was read to its end.

    A server may close an idle connection while our request is on its way. So a request on a reused connection that ends within
    `STALE` seconds without a byte of an answer is sent once more, on a new connection. That is safe here although it is a POST
    (RFC 9112, 9.3.1): asking a model changes nothing on the other side, and the worst case, a server that took the request
    and died of it within that second, costs what one more of the rung's `tries` costs. Later ends are left to those.
    """

    __slots__ = ("_connection", "_data", "_endpoint", "_pool")

    def __init__(self, endpoint: Endpoint, data: bytes) -> None:
        self._endpoint, self._data = endpoint, data
        self._pool = endpoint.http.pool()
        self._connection: Connection | None = None

    async def __aenter__(self) -> Reply:
        endpoint = self._endpoint
        kept = self._pool.take(endpoint.origin)
        if kept is not None:
            try:
                return await self._ask(kept)
            except Unreachable:
                if kept.heard or time.monotonic() - kept.since > STALE:
                    raise
        return await self._ask(await endpoint.http.connect(endpoint.origin, endpoint.url))

    async def _ask(self, connection: Connection) -> Reply:
        self._connection = connection
        try:
            reply = connection.send(self._data, self._endpoint.url)
            await reply.head()
        except BaseException:
            self._let_go()
            raise
        return reply

    async def __aexit__(self, *_: object) -> None:
        self._let_go()

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.finish():
            self._pool.give(self._endpoint.origin, connection)
        else:
            connection.close()


class Pool:
    """The idle connections of one event loop. The one used last is used next, so that those too many expire."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: dict[Origin, list[Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection, if there is one that is still good."""
        connections = self._idle.get(origin)
        while connections:
            connection, now = connections.pop(), time.monotonic()
            if connection.alive and now - connection.since < IDLE:
                connection.since = now
                return connection
            connection.close()
        return None

    def give(self, origin: Origin, connection: Connection) -> None:
        """Keep this connection for the next request."""
        if self._closed:
            connection.close()
            return
        connection.since = time.monotonic()
        self._idle.setdefault(origin, []).append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(IDLE, self._sweep)

    def _sweep(self) -> None:
        """Close what nobody took. One timer for all, and only while something is idle."""
        now, kept = time.monotonic(), dict[Origin, list[Connection]]()
        for origin, connections in self._idle.items():
            for connection in connections:
                if connection.alive and now - connection.since < IDLE:
                    kept.setdefault(origin, []).append(connection)
                else:
                    connection.close()
        self._idle = kept
        self._sweeper = self._loop.call_later(IDLE, self._sweep) if kept else None

    def close(self) -> None:
        """Close the idle connections, and each of those in use when it is given back."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle = {}


class Http:
    """The client. One for a whole application; each event loop that uses it has connections of its own."""

    def __init__(self) -> None:
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}
        self._proxies = urllib.request.getproxies()

    def endpoint(self, url: str, headers: Mapping[str, str]) -> Endpoint:
        """An address made ready. Raises `ConfigError` for one that is not http or https, and for headers that cannot be sent."""
        return Endpoint(self, url, headers)

    def proxy_of(self, *, tls: bool, host: str, port: int) -> Proxy | None:
        """The proxy that the environment names for this address (HTTPS_PROXY, HTTP_PROXY, NO_PROXY)."""
        scheme = "https" if tls else "http"
        url = self._proxies.get(scheme)
        if not url or urllib.request.proxy_bypass(host) or urllib.request.proxy_bypass(_place(host, port)):
            return None
        where = f"{scheme.upper()}_PROXY"
        parts = _split(url if "://" in url else f"http://{url}", where)
        if parts.scheme != "http":
            raise ConfigError("only proxies that are spoken to by http:// can be used", where=where)
        return Proxy(str(parts.hostname), parts.port or 80, "" if parts.username is None else _basic(parts))

    @cached_property
    def tls(self) -> ssl.SSLContext:
        """The system's certificates, or those that SSL_CERT_FILE names."""
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    def pool(self) -> Pool:
        """The connections of the running event loop."""
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            for other in [other for other in list(self._pools) if other.is_closed()]:
                self._pools.pop(other, None)
            pool = self._pools[loop] = Pool(loop)
        return pool

    async def connect(self, origin: Origin, where: str) -> Connection:
        """A new connection. Raises `Unreachable`; `where` is what its message names."""
        proxy = origin.proxy
        to = proxy or origin
        place = _place(to.host, to.port) if proxy is None else "the proxy " + _place(to.host, to.port)
        tls = self.tls if origin.tls and proxy is None else None
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: Connection(loop), to.host, to.port, ssl=tls)
        except OSError as error:
            raise _unreachable(error, place, where) from None
        if proxy is None or not origin.tls:
            return connection
        try:
            return await self._tunnel(connection, origin, proxy.authorization, place, where)
        except BaseException:
            connection.close()
            raise

    async def _tunnel(self, connection: Connection, origin: Origin, authorization: str, proxy: str, where: str) -> Connection:
        """TLS to the origin through a proxy (CONNECT)."""
        target = _place(origin.host, origin.port)
        lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}", "user-agent: mainstay"]
        if authorization:
            lines.append(f"proxy-authorization: {authorization}")
        reply = connection.send("\r\n".join([*lines, "", ""]).encode("latin-1"), where)
        try:
            await reply.head()
        except ModelError as error:
            raise Unreachable(f"no tunnel through {proxy}: {error.what}", where=where) from None
        if not 200 <= reply.status < 300 or not connection.alive:
            next = "name user and password in HTTPS_PROXY: http://user:password@host:port" if reply.status == 407 else ""
            raise Unreachable(f"{proxy} answers {reply.status} to CONNECT {target}", where=where, next=next)
        connection.finish()
        tunnel = Connection(connection.loop)
        tunnel.transport = connection.transport
        try:
            secured = await connection.loop.start_tls(connection.transport, tunnel, self.tls, server_hostname=origin.host)
        except OSError as error:
            raise _unreachable(error, f"{target} through {proxy}", where) from None
        if secured is None:
            raise Unreachable(f"{proxy} closed the tunnel to {target}", where=where)
        tunnel.connection_made(secured)
        return tunnel

    async def close(self) -> None:
        """Close the connections of this event loop: the idle ones now, the others when their request ends."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            pool.close()
        await asyncio.sleep(0)  # sockets close in the loop's next turn, and this may be the last that we are given


def _split(url: str, where: str = "url") -> SplitResult:
    """An address in parts, its host in ASCII. Raises `ConfigError`, which does not repeat what may be secret in it."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = str(IPv6Address(host)) if ":" in host else host.encode("idna").decode()
        parts = parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{_place(host, parts.port)}".lstrip("@"))
    except ValueError as error:
        raise ConfigError(f"not an address: {error}", where=where) from None
    if parts.scheme not in ("http", "https") or not (":" in host or _HOST.fullmatch(host)):
        shown = f"{parts.scheme}://{host}" if parts.scheme and host else url.rpartition("@")[2]
        raise ConfigError(f"not an http or https address: {shown!r}", where=where, next="write it as https://host/path")
    return parts


def _place(host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def _basic(parts: SplitResult) -> str:
    secret = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(secret.encode()).decode()


def _checked(name: str, value: str, where: str) -> str:
    """A header's value, if it can be sent. The message does not repeat it: it may be a key."""
    if not _NAME.fullmatch(name) or name.lower() in _FRAMING:
        raise ConfigError(f"the header {name!r} cannot be set", where=where)
    if not _VALUE.fullmatch(value):
        raise ConfigError(f"the header {name!r} holds a character that HTTP cannot carry, such as a line end", where=where)
    return value


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS failed"
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error) or "it was closed"


def _unreachable(error: OSError, place: str, where: str) -> Unreachable:
    """A failed connection, in words that name the other side."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"the certificate of {place} is not accepted: {error.verify_message}"
        wrong = error.verify_code in (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        next = "correct the host in the address" if wrong else "name the file of its certificate authority in SSL_CERT_FILE"
    elif isinstance(error, ssl.SSLError):
        what, next = f"no TLS with {place}: {_reason(error)}", "see whether the address begins with http:// or https://"
    elif isinstance(error, socket.gaierror):
        what, next = f"the name of {place} cannot be resolved: {error.strerror}", "correct the address"
    elif isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        what, next = f"connection refused by {place}", "see whether the server is running there"
    else:
        what, next = f"no connection to {place}: {_reason(error)}", ""
    return Unreachable(what, where=where, next=next)
