"""A server that says exactly the bytes that a test wants said, and the run of a test on each event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import inspect
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def both(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on asyncio's loop and on uvloop, in bounded time, and let it leave nothing: no socket, no lost error."""

    def run(loop: str, **fixtures: Any) -> None:
        before = sockets()
        lost: list[dict[str, Any]] = []

        async def bounded() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
            async with asyncio.timeout(30):
                await test(**fixtures)

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(bounded())
        gc.collect()
        assert not lost, lost
        assert sockets() <= before

    functools.update_wrapper(run, test)
    del run.__wrapped__
    wanted = inspect.signature(test).parameters.values()
    run.__signature__ = inspect.Signature([inspect.Parameter("loop", inspect.Parameter.POSITIONAL_OR_KEYWORD), *wanted])
    return pytest.mark.parametrize("loop", LOOPS)(run)


def sockets() -> set[str]:
    """The sockets that this process has open; nothing where the system does not say."""
    if not os.path.isdir("/proc/self/fd"):
        return set()
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return {name for name in found if name.startswith("socket:")}


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, server: Raw) -> None:
        self.reader, self.writer, self.number, self._server = reader, writer, number, server

    async def head(self) -> str:
        """The next request's head."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self._server.requests.append(head)
        return head

    async def request(self) -> bytes:
        """The body of the next request."""
        for line in (await self.head()).lower().splitlines():
            if line.startswith("content-length:"):
                return await self.reader.readexactly(int(line.partition(":")[2]))
        return b""

    async def say(self, *pieces: bytes) -> None:
        """Send, each piece so that it is read by itself."""
        for piece in pieces:
            if self.writer.transport.is_closing():
                raise ConnectionResetError
            self.writer.write(piece)
            await self.writer.drain()
            if len(pieces) > 1:
                await _turns(2)

    async def gone(self) -> bool:
        """Wait until the client has closed; whether it did so without another byte."""
        return not await self.reader.read(1)

    def reset(self) -> None:
        """Close so that the client gets a reset."""
        sock = self.writer.get_extra_info("socket")
        if sock is None or self.writer.transport.is_closing():
            raise ConnectionResetError
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Raw:
    """Runs a script for each connection, and closes the connection after it. `requests` holds the heads that came."""

    def __init__(self, script: Script, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._script, self._host, self._tls = script, host, tls
        self.connections = 0
        self.requests: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Raw:
        self._server = await asyncio.start_server(self._accept, self._host, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"{'https' if self._tls else 'http'}://{shown}:{self.port}"
        return self

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        task = asyncio.ensure_future(self._serve(Peer(reader, writer, self.connections, self)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, peer: Peer) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            await self._script(peer)
            peer.writer.close()
            await peer.writer.wait_closed()

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await _turns(5)  # what was connected a moment ago is accepted still
        for task in list(self._tasks):
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await _turns(2)
        for result in results:
            if isinstance(result, Exception):
                raise result


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def always(*pieces: bytes) -> Script:
    """A script that gives every request this answer, and keeps the connection."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(*pieces)

    return script


def once(*pieces: bytes) -> Script:
    """A script that answers one request and closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*pieces)

    return script


def ok(body: bytes = b"ok", *headers: bytes) -> bytes:
    """A plain answer."""
    return b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (b"".join([h + b"\r\n" for h in headers]), len(body), body)


def streamed(*chunks: bytes) -> bytes:
    """The same in chunks."""
    body = b"".join([b"%x\r\n%s\r\n" % (len(c), c) for c in chunks])
    return b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


def bytewise(data: bytes) -> list[bytes]:
    """As many pieces as there are bytes."""
    return [data[i : i + 1] for i in range(len(data))]
