"""Microseconds for each step of the pipeline: one call in process, against the `scripted` provider, with everything on."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import uvloop

import mainstay
from bench.load import request
from mainstay.core.call import Call
from mainstay.ids import new_id
from mainstay.wire.openai_requests import read_request

CALLS = 4000
PROJECT = """
[models.mock]
provider = "scripted"
price = { input = "0.25 USD", output = "2 USD" }
[models.mock.options]
replies = ["A gateway sits between applications and model providers. It gives one API, keeps the keys, and routes calls."]
usage = { input = 321, output = 50 }
[plain]
guards = { input = ["size"], output = ["size", { terms = ["AcmeCo", "OtherCo", "the best in the world"] }] }
cache = { keep = "1h" }
limits = { feature_per_day = ["1000000 USD", 100_000_000] }
[limits]
tenant_per_minute = ["10000 USD", 1_000_000]
project_per_month = "1000000 USD"
"""


async def measure(folder: str) -> tuple[dict[str, list[int]], float, float]:
    body = request("/", "mock", False, {}).partition(b"\r\n\r\n")[2]
    async with mainstay.open(folder, environ={}, dev=True) as app:

        async def one(number: int) -> None:
            asked = read_request(body.replace(b"@@@@@@@@@@", b"%010d" % number))
            async for _ in app.serve(Call(id=new_id(), feature="mock", request=asked.request)):
                pass

        for number in range(300):
            await one(number)
        cpu, wall = time.thread_time(), time.perf_counter()
        for number in range(CALLS):
            await one(10**6 + number)
        cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
        steps: dict[str, list[int]] = defaultdict(list)
        for record in await app.records(limit=CALLS):
            for name, took in record.outcome.steps.items():
                steps[name].append(took)
        return steps, cpu / CALLS * 1e6, wall / CALLS * 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "features").mkdir()
        Path(folder, "mainstay.toml").write_text(PROJECT)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            steps, cpu, wall = runner.run(measure(folder))
    print("| step | p50 us | p99 us |\n|---|---|---|")
    for name in ("admit", "screen", "cache", "ground", "climb", "seal"):
        taken = sorted(steps[name])
        print(f"| {name} | {statistics.median(taken):.0f} | {taken[int(len(taken) * 0.99)]} |")
    print(f"\nA whole call in process: {cpu:.0f} us of the event loop's processor time, {wall:.0f} us by the clock")


if __name__ == "__main__":
    main()
