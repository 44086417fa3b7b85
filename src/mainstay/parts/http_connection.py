"""One HTTP/1.1 connection and the answers that come over it, parsed by httptools.

Source: RFC 9112. Stricter than it: folded header lines, lengths given twice, line ends without a carriage return, and transfer
codings other than `chunked` are `Garbled`. Each answer has its state for itself, so that nothing of one reaches another.

Limits: TLS without a proper end is not told from one with it, so an answer that is neither measured nor chunked can be cut
unnoticed by whoever sits on the line; a stream's end mark and JSON's brackets show it one floor up.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import httptools

from mainstay.core.errors import CutOff, Garbled, Lost, ModelError, Unreachable
from mainstay.core.model import Quota
from mainstay.wire import quotas

MAX_REPLY = 64 * 1024 * 1024  # bytes of one body, decoded
MAX_HEAD = 256 * 1024  # bytes in a row that bring no body: heads, chunk extensions, trailers
HIGH_WATER = 1024 * 1024  # bytes not yet taken above which the socket is read no further
READ = 32 * 1024  # bytes read at once
PIECE = 64  # bytes that a piece of a body costs beside its own


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
        self._end(f"the connection was lost: {reason(error)}" if error else "the connection was closed", clean=error is None)

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

    @property
    def quota(self) -> Quota | None:
        """What the headers say that may still be asked; None where they say nothing."""
        if any(quotas.MARK in name for name, _ in self._headers):
            return quotas.quota_of(self.headers, now=time.time())
        return None

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
            self._fail((CutOff if self.status else Lost)(why, where=self._where))
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


def reason(error: Exception) -> str:
    """Why a connection failed, in the system's words."""
    if isinstance(error, ssl.SSLError):
        return error.reason or "TLS failed"
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error) or "it was closed"
