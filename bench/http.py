"""What one model call costs in the HTTP client alone: `python -m bench.http`.

A server in a process of its own answers every call with a small completion, or with a stream of 50 chunks, one each 2 ms. Each
client that is installed (ours, aiohttp, pyreqwest) makes the same calls from a fresh process, 32 at a time, in rounds
that take turns; the table holds medians. CPU is user and system time of the whole client process, threads included; the last
column is the wall-clock time of one call when nothing else is under way. Nobody reads the JSON: this is the cost of HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

CHUNKS, PAUSE, AT_ONCE = 50, 0.002, 32
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "word " * 60}]}).encode()
ANSWER = json.dumps({"id": "c", "choices": [{"message": {"content": "word " * 60}, "finish_reason": "stop"}]}).encode()
EVENT = b"data: " + json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"content": "word "}}]}).encode() + b"\n\n"
HEADERS = {"content-type": "application/json", "authorization": "Bearer none"}

Call = Callable[[], Awaitable[int]]


class Server(asyncio.Protocol):
    """Answers a request as soon as its body is there. It knows two paths and no errors."""

    WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
    HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self.data = b""
        if b" /stream " not in head:
            self.transport.write(self.WHOLE)
            return
        self.transport.write(self.HEAD)
        self.chunk(CHUNKS)

    def chunk(self, left: int) -> None:
        self.transport.write(self.CHUNK if left else b"0\r\n\r\n")
        if left:
            asyncio.get_running_loop().call_later(PAUSE, self.chunk, left - 1)


async def ours(stack: AsyncExitStack, url: str) -> tuple[Call, Call]:
    from mainstay.parts.http import Http

    http = Http()
    stack.push_async_callback(http.close)
    whole, stream = (http.endpoint(url + path, HEADERS) for path in ("/call", "/stream"))

    async def call() -> int:
        async with whole.post(BODY) as reply:
            return len(await reply.read())

    async def streamed() -> int:
        async with stream.post(BODY) as reply:
            return sum([len(data) async for data in reply.chunks()])

    return call, streamed


async def aiohttp(stack: AsyncExitStack, url: str) -> tuple[Call, Call]:
    from aiohttp import ClientSession, TCPConnector

    session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0), headers=HEADERS))

    async def call() -> int:
        async with session.post(url + "/call", data=BODY) as reply:
            return len(await reply.read())

    async def streamed() -> int:
        async with session.post(url + "/stream", data=BODY) as reply:
            return sum([len(data) async for data in reply.content.iter_any()])

    return call, streamed


async def pyreqwest(stack: AsyncExitStack, url: str) -> tuple[Call, Call]:
    from pyreqwest.client import ClientBuilder

    client = await stack.enter_async_context(ClientBuilder().default_headers(HEADERS).build())

    async def call() -> int:
        reply = await client.post(url + "/call").body_bytes(BODY).build().send()
        return len(await reply.bytes())

    async def streamed() -> int:
        size = 0
        async with client.post(url + "/stream").body_bytes(BODY).build_streamed() as reply:
            while data := await reply.body_reader.read_chunk():
                size += len(data)
        return size

    return call, streamed


CLIENTS = {f.__name__: f for f in (ours, aiohttp, pyreqwest)}


async def many(call: Call, count: int, at_once: int, expected: int) -> tuple[float, float]:
    """Microseconds of CPU and of wall-clock time for one of `count` calls."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            assert await call() == expected

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*[worker() for _ in range(at_once)])
    return (time.process_time() - cpu) / count * 1e6, (time.perf_counter() - wall) / count * 1e6


async def measure(name: str, url: str, calls: int) -> dict[str, float]:
    async with AsyncExitStack() as stack:
        call, streamed = await CLIENTS[name](stack, url)
        whole, chunks = len(ANSWER), len(EVENT) * CHUNKS
        await many(call, calls // 10, AT_ONCE, whole)
        await many(streamed, AT_ONCE, AT_ONCE, chunks)
        return {
            "call": (await many(call, calls, AT_ONCE, whole))[0],
            "stream": (await many(streamed, calls // 20, AT_ONCE, chunks))[0],
            "alone": (await many(call, calls // 4, 1, whole))[1],
        }


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def runner(loop: str) -> asyncio.Runner:
    if loop == "asyncio":
        return asyncio.Runner()
    import uvloop

    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--calls", type=int, default=20_000)
    arguments.add_argument("--one", nargs=3, metavar=("CLIENT", "LOOP", "URL"), help="one measurement, as JSON")
    arguments.add_argument("--serve", metavar="LOOP", help="only the server")
    asked = arguments.parse_args()
    loops = ["uvloop", "asyncio"] if importlib.util.find_spec("uvloop") else ["asyncio"]
    if asked.serve:
        runner(asked.serve).run(serve())
    elif asked.one:
        name, loop, url = asked.one
        print(json.dumps(runner(loop).run(measure(name, url, asked.calls))), flush=True)
    else:
        compare(loops, asked.rounds, asked.calls)


def compare(loops: list[str], rounds: int, calls: int) -> None:
    itself = [sys.executable, "-m", "bench.http"]
    kinds = [(c, loop) for c in CLIENTS if c == "ours" or importlib.util.find_spec(c) for loop in loops]
    found: dict[tuple[str, str], list[dict[str, float]]] = {kind: [] for kind in kinds}
    with subprocess.Popen([*itself, "--serve", loops[0]], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            for _ in range(rounds):
                for kind in kinds:
                    command = [*itself, "--calls", str(calls), "--one", *kind, url]
                    # Not `check`: pyreqwest's threads may abort the interpreter when it exits, after its figures are printed.
                    found[kind].append(json.loads(subprocess.run(command, stdout=subprocess.PIPE).stdout))
        finally:
            server.terminate()
    print(f"{'client':<12}{'loop':<10}{'CPU us/call':>12}{'CPU us/stream':>15}{'us alone':>10}")
    for (client, loop), results in found.items():
        call, stream, alone = (statistics.median([r[key] for r in results]) for key in ("call", "stream", "alone"))
        print(f"{client:<12}{loop:<10}{call:>12.1f}{stream:>15.1f}{alone:>10.1f}")


if __name__ == "__main__":
    main()
