"""A model behind an OpenAI-compatible API that answers at once, for measuring what stands before it.

    python -m bench.upstream PORT

Raw asyncio protocols, so that it is much quicker than what is measured. A request for a stream gets `CHUNKS` chunks, written one
by one; the model's name may ask for a pause between them: `mock-c10` waits 10 ms.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time

import msgspec
import uvloop

CHUNKS = 50
TEXT = (
    "A gateway sits between applications and model providers. It gives one API, keeps the keys, routes and retries calls, "
    "enforces budgets and rate limits, caches answers and records what each call cost."
)
USAGE = {
    "prompt_tokens": 321,
    "completion_tokens": 50,
    "total_tokens": 371,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_GAP = re.compile(rb'"model": ?"[^"]*-c(\d+)')
_encode = msgspec.json.encode


def whole() -> bytes:
    message = {"role": "assistant", "content": TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "mock"}
    body = _encode({**head, "choices": [choice], "usage": USAGE})
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def chunk(delta: dict[str, str], finish: str | None = None, **more: object) -> bytes:
    choices = [] if more else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "mock"}
    return framed(b"data: " + _encode({**head, "choices": choices, **more}) + b"\n\n")


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


WHOLE = whole()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + chunk({"role": "assistant"})
TAIL = chunk({}, "stop") + chunk({}, usage=USAGE) + framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        head, found, rest = self.data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or len(rest) < (int(length[1]) if length else 0):
            return
        self.data = b""
        if b'"stream":true' not in rest and b'"stream": true' not in rest:
            self.transport.write(WHOLE)
            return
        gap = _GAP.search(rest)
        asyncio.get_running_loop().create_task(self.stream(int(gap[1]) / 1000 if gap else 0))

    async def stream(self, gap: float) -> None:
        self.transport.write(HEAD)
        # The moment of sending is in the first text, which is longer than what a guard may hold back of it.
        self.transport.write(chunk({"content": f"t{time.monotonic_ns():019d} {TEXT}"}))
        for _ in range(CHUNKS - 1):
            await asyncio.sleep(gap)
            self.transport.write(chunk({"content": " words"}))
        self.transport.write(TAIL)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
