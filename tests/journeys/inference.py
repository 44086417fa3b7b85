"""An inference server of one's own, as a process: OpenAI's wire, a bounded number of sequences, a queue, and vLLM's metrics.

    python tests/journeys/inference.py --at-once 2 --seconds 0.2 [--start 1 --cold-after 2] [--quota 5 --window 1]

It stands in for vLLM, whose metrics it writes word for word; no model is loaded. `/stats` tells what tests want to know: the
most sequences that ran at one moment (`peak`), the requests that were asked (`asked`) and those refused with 429 (`refused`).
A cold server takes `--start` seconds more. With `--quota` so many requests are allowed in a window of fixed length.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="{model}"}} {running:.1f}
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0",model_name="{model}"}} {waiting:.1f}
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{{engine="0",model_name="{model}"}} 0.0
"""


class Inference:
    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.places = asyncio.Semaphore(args.at_once)
        self.running = self.waiting = self.peak = self.asked = self.refused = self.connections = 0
        self.last = float("-inf")
        self.window, self.used = float("-inf"), 0

    def quota(self) -> tuple[bool, str]:
        """Whether one more is allowed, and the headers that say what is left."""
        args, now = self.args, time.monotonic()
        if not args.quota:
            return True, ""
        if now - self.window >= args.window:
            self.window, self.used = now, 0
        allowed = self.used < args.quota
        self.used += allowed
        reset = int((self.window + args.window - now) * 1000) + 1
        left = args.quota - self.used
        names = (f"limit-requests: {args.quota}", f"remaining-requests: {left}", f"reset-requests: {reset}ms")
        return allowed, "".join([f"x-ratelimit-{name}\r\n" for name in names])

    async def generate(self) -> None:
        self.waiting += 1
        async with self.places:
            self.waiting -= 1
            self.running += 1
            self.peak = max(self.peak, self.running)
            try:
                cold = self.args.start and time.monotonic() - self.last > self.args.cold_after
                await asyncio.sleep(self.args.seconds + (self.args.start if cold else 0))
                self.last = time.monotonic()
            finally:
                self.running -= 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower():
                path = head.split(" ")[1]
                length = next(
                    (int(line.partition(":")[2]) for line in head.split("\r\n") if line.startswith("content-length")), 0
                )
                body = json.loads(await reader.readexactly(length)) if length else {}
                status, headers, said = await self.answer(path, body)
                kind = "text/plain" if path == "/metrics" else "application/json"
                answer = f"HTTP/1.1 {status} OK\r\ncontent-type: {kind}\r\ncontent-length: {len(said)}\r\n{headers}\r\n"
                writer.write(answer.encode() + said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, path: str, body: dict[str, object]) -> tuple[int, str, bytes]:
        if path == "/metrics":
            return 200, "", METRICS.format(model="m", running=self.running, waiting=self.waiting).encode()
        if path == "/stats":
            return 200, "", json.dumps({"peak": self.peak, "asked": self.asked, "refused": self.refused}).encode()
        self.asked += 1
        allowed, headers = self.quota()
        if not allowed:
            self.refused += 1
            return (
                429,
                headers,
                b'{"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}',
            )
        await self.generate()
        message = {"role": "assistant", "content": f"from {self.args.name}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return 200, headers, json.dumps({"id": "1", "model": "m", "choices": [choice], "usage": usage}).encode()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="model")
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--start", type=float, default=0.0)
    parser.add_argument("--cold-after", type=float, default=0.0)
    parser.add_argument("--quota", type=int, default=0)
    parser.add_argument("--window", type=float, default=1.0)
    inference = Inference(parser.parse_args())
    server = await asyncio.start_server(inference.serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
