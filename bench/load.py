"""A closed loop of requests over kept-alive connections, and what it measured.

    python -m bench.load PORT PATH CALLS CONNECTIONS MODEL whole|stream HEADERS

HEADERS is a JSON object.

Every body is unique. Prints one JSON object: calls a second, latency and first word in microseconds (p50, p99), errors.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Mapping

import uvloop

SENT = re.compile(rb"t(\d{19}) ")
SYSTEM = (
    "You are a careful support assistant for an online shop. Answer in plain language, keep answers under 120 words, never "
    "promise a refund before the order has been checked, and always ask for the order number when it is missing."
)
QUESTION = (
    "I bought a coffee grinder three weeks ago and it stopped working this morning. The motor hums but the burrs do not turn. I "
    "have already cleaned it as the manual says. I would prefer a replacement over a repair, because I use it every day. Is that "
    "possible, and who pays for the shipping? (reference @@@@@@@@@@)"
)


def request(path: str, model: str, stream: bool, headers: Mapping[str, str]) -> bytes:
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "Could you send me the order number, so that I can check the warranty?"},
        {"role": "user", "content": "Sure, the order number is 48-1933-27. Nothing is stuck in there as far as I can see."},
    ]
    body: dict[str, object] = {"model": model, "messages": messages, "temperature": 0.7, "max_tokens": 256}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    data = json.dumps(body).encode()
    fields = {"host": "127.0.0.1", "content-type": "application/json", **headers, "content-length": str(len(data))}
    head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    return head.encode() + data


class Client(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, sends again."""

    def __init__(self, run: Run) -> None:
        self.run, self.data, self.start, self.first = run, b"", 0.0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.next()

    def next(self) -> None:
        body = self.run.take()
        if body is None:
            self.transport.close()
            return
        self.data, self.first, self.start = b"", 0.0, time.monotonic()
        self.transport.write(body)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        self.data += data
        if not self.first and self.run.stream and (sent := SENT.search(self.data)):
            self.first = now
            self.run.late.append(now - int(sent[1]) / 1e9)
        if not self.complete():
            return
        self.run.latencies.append(now - self.start)
        if self.first:
            self.run.firsts.append(self.first - self.start)
        if b" 200 " not in self.data[:16] or b"total_tokens" not in self.data:
            self.run.errors.append(self.data[:300].decode("utf-8", "replace"))
        self.next()

    def complete(self) -> bool:
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found:
            return False
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        return len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")

    def connection_lost(self, error: Exception | None) -> None:
        self.run.closed()


class Run:
    def __init__(self, template: bytes, calls: int, connections: int, stream: bool) -> None:
        self.template, self.left, self.open, self.stream = template, calls, connections, stream
        self.latencies: list[float] = []
        self.firsts: list[float] = []
        self.late: list[float] = []
        self.errors: list[str] = []
        self.done = asyncio.get_running_loop().create_future()

    def take(self) -> bytes | None:
        self.left -= 1
        return None if self.left < 0 else self.template.replace(b"@@@@@@@@@@", b"%010d" % (time.monotonic_ns() % 10**10))

    def closed(self) -> None:
        self.open -= 1
        if not self.open and not self.done.done():
            self.done.set_result(None)


def quantile(values: list[float], share: float) -> float | None:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e6, 1) if ordered else None


async def main(port: int, path: str, calls: int, connections: int, model: str, stream: bool, headers: Mapping[str, str]) -> None:
    run = Run(request(path, model, stream, headers), calls, connections, stream)
    began = time.monotonic()
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: Client(run), "127.0.0.1", port)
    await asyncio.wait_for(run.done, 120)
    took = time.monotonic() - began
    figures = {
        "calls": len(run.latencies),
        "rps": round(len(run.latencies) / took, 1),
        "errors": len(run.errors),
        "error": run.errors[:1],
    }
    for name, values in (("latency", run.latencies), ("first_word", run.firsts), ("late", run.late)):
        figures |= {f"{name}_p50_us": quantile(values, 0.5), f"{name}_p99_us": quantile(values, 0.99)}
    print(json.dumps(figures))


if __name__ == "__main__":
    port, path, calls, connections, model, shape, headers = sys.argv[1:]
    uvloop.run(main(int(port), path, int(calls), int(connections), model, shape == "stream", json.loads(headers)))
