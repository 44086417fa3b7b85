"""The one pooled HTTP client, handed to every provider: HTTP/1.1 over asyncio.

Why not a library: measured, the best of them (aiohttp) costs more per request than everything else that Mainstay does
(docs/decisions/0002-http-client.md). What a provider's API needs of HTTP is little: POST with a body, a head, a body that is
whole or streamed, connections kept alive, TLS with the system's certificates, and the proxies that the environment names.

It sets no time limit, because whoever awaits a provider does; it follows no redirect, keeps no cookie, and repeats a request
only where a kept-alive connection turns out to be closed (`Exchange`). A cancelled request closes its connection. What goes
wrong is `Unreachable` before the head, `CutOff` after it, `Garbled` where the bytes are not HTTP; nothing else is raised.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import re
import socket
import ssl
import time
import urllib.request
from collections.abc import Mapping
from functools import cached_property
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from mainstay.core.errors import ConfigError, ModelError, Unreachable
from mainstay.parts.http_connection import Connection, Reply, reason

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

    def ask(self) -> Exchange:
        """Ask for what is there; `async with` gives the `Reply`."""
        return Exchange(self, self._get)

    async def get(self) -> tuple[int, bytes]:
        """Fetch: status and body."""
        async with self.ask() as reply:
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


def _unreachable(error: OSError, place: str, where: str) -> Unreachable:
    """A failed connection, in words that name the other side."""
    if isinstance(error, ssl.SSLCertVerificationError):
        what = f"the certificate of {place} is not accepted: {error.verify_message}"
        wrong = error.verify_code in (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
        next = "correct the host in the address" if wrong else "name the file of its certificate authority in SSL_CERT_FILE"
    elif isinstance(error, ssl.SSLError):
        what, next = f"no TLS with {place}: {reason(error)}", "see whether the address begins with http:// or https://"
    elif isinstance(error, socket.gaierror):
        what, next = f"the name of {place} cannot be resolved: {error.strerror}", "correct the address"
    elif isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        what, next = f"connection refused by {place}", "see whether the server is running there"
    else:
        what, next = f"no connection to {place}: {reason(error)}", ""
    return Unreachable(what, where=where, next=next)
