"""Many processes and one cap: whatever becomes of them, what providers were asked never costs more than the cap."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mainstay
from mainstay.core.units import Usd
from mainstay.parts.stores.sqlite_counters import SqliteCounters

READ, WRITTEN = 150, 30  # tokens that each request really takes
REAL = 150 * 1_000 + 30 * 4_000  # nano-dollars: 1 USD and 4 USD per million tokens
CAP = 400 * REAL
PROCESSES, CALLS = 4, 500

SETTINGS = f"""
[models.small]
provider = "counted:Counted"
max_output = 60
price = {{ input = "1 USD", output = "4 USD" }}
[models.small.options]
usage = {{ input = {READ}, output = {WRITTEN} }}
replies = [
    "well", "well", {{ text = "well, well", chunk = 3, gap = "5ms" }}, {{ fault = "overloaded" }}, "well",
    "well", "well", {{ text = "half", fault = "cut_off" }}, "well", {{ text = "half", fault = "stalled" }}, "well", "well",
    {{ fault = "unreachable" }}, "well", {{ text = "late", delay = "60ms" }}, "well", "well", {{ fault = "garbled" }}, "well",
    {{ fault = "rate_limited" }}, "well", "well",
]
[limits]
project_per_day = "{Usd(CAP)}"
project_at_once = 60
"""
FEATURE = """
summary = "Answers"
deadline = "400ms"
[[ladder]]
model = "small"
prompt = "prompt.md"
[[ladder]]
message = "Sorry."
"""
# Writes a byte for each request before it answers, and another one where a provider charges nothing for it.
COUNTED = """
from mainstay.core.errors import Overloaded, RateLimited, Unreachable
from mainstay.parts.providers.scripted import Scripted

def note(byte):
    with open("asked", "ab", buffering=0) as asked:
        asked.write(byte)

class Counted(Scripted):
    async def generate(self, request, *, stream):
        note(b".")
        try:
            async for chunk in super().generate(request, stream=stream):
                yield chunk
        except (Overloaded, RateLimited, Unreachable):
            note(b"-")
            raise
"""


def project(write: Callable[..., Path], settings: str = SETTINGS) -> Path:
    root = write(settings, FEATURE, {"counted.py": COUNTED})
    (root / "asked").touch()
    return root


def spent(root: Path) -> int:
    """What all requests so far really cost."""
    asked = (root / "asked").read_bytes()
    return (asked.count(b".") - asked.count(b"-")) * REAL


async def customers(root: Path, seed: int) -> None:
    """Some hundreds of calls at once from one process, of which some are cancelled in their middle."""
    os.chdir(root)
    chance = random.Random(seed)
    app = mainstay.open(root, environ={}, dev=True)
    print("ready", flush=True)

    async def one(number: int) -> None:
        task = asyncio.create_task(app.run("answers", question=f"{seed} {number}"))
        if chance.random() < 0.2:
            await asyncio.sleep(chance.random() * 0.05)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for start in range(0, CALLS, 25):
        await asyncio.gather(*[one(start + n) for n in range(25)])
    await app.close()


def _started(root: Path, seed: int) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    code = f"import asyncio, pathlib, test_caps; asyncio.run(test_caps.customers(pathlib.Path({str(root)!r}), {seed}))"
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )


def test_processes_that_are_killed_and_stopped_never_pass_a_cap_together(project: Callable[..., Path]):
    """Two thousand calls from four processes, with faults, time-outs, cancellations, kill -9 and a stopped process: what was
    really asked costs less than the cap at every moment, and in the end nothing is held at once."""
    root = globals()["project"](project)
    running = [_started(root, seed) for seed in range(PROCESSES)]
    try:
        for process in running:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        os.kill(running[1].pid, signal.SIGSTOP)
        time.sleep(0.5)
        running[0].kill()
        time.sleep(0.5)
        os.kill(running[1].pid, signal.SIGCONT)
        running.append(_started(root, PROCESSES))
        until = time.monotonic() + 120
        while any(process.poll() is None for process in running):
            assert spent(root) <= CAP
            assert time.monotonic() < until
            time.sleep(0.05)
        assert [process.returncode for process in running[1:]] == [0] * PROCESSES
    finally:
        for process in running:
            process.kill()
            process.communicate(timeout=30)
    assert 20 * REAL < spent(root) <= CAP
    counters = SqliteCounters(root / ".mainstay" / "counters.db")
    counters.tend()
    found = {name.split("|")[1]: taken for name, taken in counters.all()}
    counters.close()
    assert spent(root) <= found.pop("usd") <= CAP
    assert found == {}, "something is still held at once"


async def test_after_a_clean_end_exactly_what_was_paid_is_counted(project: Callable[..., Path], monkeypatch):
    """When all calls have ended and the project is closed, the counter is the sum of the records, and a restart knows it."""
    root = globals()["project"](project, SETTINGS.replace(str(Usd(CAP)), "1 USD"))
    monkeypatch.chdir(root)
    async with mainstay.open(root, environ={}, dev=True) as app:
        tasks = [asyncio.create_task(app.run("answers", question=f"{n}")) for n in range(60)]
        await asyncio.sleep(0.05)
        for task in tasks[::5]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        records = await app.records(limit=1000)
    paid = sum(record.outcome.cost_nano_usd or 0 for record in records)
    assert len(records) <= 60 and paid >= spent(root) > REAL
    async with mainstay.open(root, environ={}, dev=True) as app:
        assert [taken for name, taken in app._counters.all() if "usd" in name] == [paid]
        assert [name for name, _ in app._counters.all() if "at_once" in name] == []


# Notes when a request begins and when it ends, so that the file says how many ran at each moment.
NOTED = """
from mainstay.parts.providers.scripted import Scripted

def note(byte):
    with open("asked", "ab", buffering=0) as asked:
        asked.write(byte)

class Counted(Scripted):
    async def generate(self, request, *, stream):
        note(b"+")
        try:
            async for chunk in super().generate(request, stream=stream):
                yield chunk
        finally:
            note(b"-")
"""
AT_ONCE = """
[models.small]
provider = "counted:Counted"
options = { delay = "5ms" }
[limits]
project_at_once = 5
"""


def test_calls_at_one_moment_never_pass_their_limit_over_all_processes(project: Callable[..., Path]):
    """Three processes with twenty-five calls at once each, some cancelled: no moment saw more than five."""
    root = project(AT_ONCE, FEATURE, {"counted.py": NOTED})
    (root / "asked").touch()
    running = [_started(root, seed) for seed in range(3)]
    try:
        for process in running:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        assert [process.wait(120) for process in running] == [0, 0, 0]
    finally:
        for process in running:
            process.kill()
            process.communicate(timeout=30)
    ran = most = 0
    for byte in (root / "asked").read_bytes():
        ran += 1 if byte == ord("+") else -1
        most = max(most, ran)
    assert ran == 0 and 3 <= most <= 5
    counters = SqliteCounters(root / ".mainstay" / "counters.db")
    counters.tend()
    assert counters.all() == []
    counters.close()
