"""A provider that answers what it is told to: a real HTTP server on the loopback, one answer at a time."""

from __future__ import annotations

import asyncio
import gzip
from typing import Self

from msgspec import Struct


class Told(Struct, kw_only=True):
    """What the next request is answered with, and then what it was. `piece` is in bytes a write; 0 is all at once."""

    status: int
    headers: dict[str, str]
    body: bytes
    piece: int = 0
    target: str = ""
    received: bytes = b""


class Server:
    """Answers every POST with `told`, over connections that are kept alive."""

    def __init__(self) -> None:
        self.told = Told(status=500, headers={}, body=b"")
        self.url = ""
        self._handlers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)
        try:
            while True:
                await self._answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the other side is done with it, or everything is
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        told = self.told
        told.target = head[0].split(" ")[1]
        length = next(int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:"))
        told.received = await reader.readexactly(length)
        headers = dict(told.headers)
        body = told.body
        if headers.get("content-encoding") == "gzip":
            body = gzip.compress(body, 1)
        else:
            headers.pop("content-encoding", None)
        lines = [f"HTTP/1.1 {told.status} Recorded", *(f"{k}: {v}" for k, v in headers.items()), "transfer-encoding: chunked"]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        size = told.piece or len(body) or 1
        for start in range(0, len(body), size):
            if writer.is_closing():
                return  # the adapter had seen enough
            piece = body[start : start + size]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await asyncio.sleep(0)  # lets the reader see this piece before the next is there
        writer.write(b"0\r\n\r\n")
        await writer.drain()
