"""The floor: a pass-through with nothing on, on the same server as Mainstay, with a choice of HTTP clients.

python -m bench.bare PORT UPSTREAM_PORT [mainstay | aiohttp | httpx]
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import msgspec
import uvicorn

HEADERS = {"content-type": "application/json"}


class Reply(NamedTuple):
    streams: bool
    read: Callable[[], Any]
    chunks: Callable[[], AsyncIterator[bytes]]


class Mainstay:
    def __init__(self, url: str) -> None:
        from mainstay.parts.http import Http

        self.endpoint = Http().endpoint(url, HEADERS)

    @contextlib.asynccontextmanager
    async def post(self, body: bytes) -> AsyncIterator[Reply]:
        async with self.endpoint.post(body) as reply:
            yield Reply(reply.streams, reply.read, reply.chunks)


class Aiohttp:
    def __init__(self, url: str) -> None:
        import aiohttp

        self.url, self.session = url, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    @contextlib.asynccontextmanager
    async def post(self, body: bytes) -> AsyncIterator[Reply]:
        async with self.session.post(self.url, data=body, headers=HEADERS) as reply:
            yield Reply(reply.content_type == "text/event-stream", reply.read, reply.content.iter_any)


class Httpx:
    def __init__(self, url: str) -> None:
        import httpx

        self.url, self.client = url, httpx.AsyncClient(limits=httpx.Limits(max_connections=None))

    @contextlib.asynccontextmanager
    async def post(self, body: bytes) -> AsyncIterator[Reply]:
        async with self.client.stream("POST", self.url, content=body, headers=HEADERS) as reply:
            yield Reply(reply.headers["content-type"].startswith("text/event-stream"), reply.aread, reply.aiter_raw)


CLIENTS = {"mainstay": Mainstay, "aiohttp": Aiohttp, "httpx": Httpx}


class Bare:
    def __init__(self, upstream: int, client: str) -> None:
        self.make = lambda: CLIENTS[client](f"http://127.0.0.1:{upstream}/v1/chat/completions")
        self.client: Any = None  # made in the event loop

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["method"] != "POST":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        self.client = self.client or self.make()
        asked = msgspec.json.decode((await receive())["body"])
        async with self.client.post(msgspec.json.encode(asked)) as reply:
            kind = b"text/event-stream" if reply.streams else b"application/json"
            if reply.streams:
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
                async for data in reply.chunks():
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                return
            answer = await reply.read()
            msgspec.json.decode(answer)
            headers = [(b"content-type", kind), (b"content-length", str(len(answer)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    port, upstream, *client = sys.argv[1:]
    uvicorn.run(
        Bare(int(upstream), *(client or ["mainstay"])),
        port=int(port),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="error",
    )
