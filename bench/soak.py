"""A steady load for a quarter of an hour, and what becomes of the server's memory: `python -m bench.soak [SECONDS]`.

A server with everything on (limits, guards, cache, records) and a model that answers at once, both on this machine and in
processes of their own, get `RATE` calls a second: whole answers, streams, streams whose reader leaves in the middle, questions
that were asked before, bodies that are wrong. Each second the server's memory, open files and threads are read. Memory is flat
where the straight line through its second half rises by less than `RISE` megabytes over all of the run. It ends by itself.

Counted is memory of the server's own (`RssAnon`): the spool's file, which is mapped and grows to 16 MB before the next begins,
belongs to the kernel. The answer cache is full from the start, so that what it may hold is not taken for a leak.

Exit code 0 when memory, files and threads stayed flat and nothing failed that should not, 1 otherwise.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from bench.everything import KEY, MODEL, RULES
from bench.peers import MODELS
from bench.processes import PYTHON, Side, end_children_too, first_answer, free_port, memory, process, wait_for
from mainstay.parts.stores.sqlite_cache import CAPACITY, SqliteCache

RATE, SECONDS, RISE = 40, 900, 8.0  # calls a second; seconds; megabytes
SETTLED = 0.5  # of the run, after which memory is looked at: pools, caches and the allocator fill before
HEADERS = {"authorization": f"Bearer {KEY}"}
KINDS = ("whole", "stream", "left", "again", "wrong")
SHARES = (45, 25, 15, 10, 5)


async def one(port: int, kind: str, number: int) -> str:
    """One call; gives what came of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        model = "mock-c10" if kind == "left" else "mock"
        text = "What was asked before?" if kind == "again" else f"Question {number} of a long day"
        body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 200}
        if kind in ("stream", "left"):
            body["stream"] = True
        data = b"{" if kind == "wrong" else json.dumps(body).encode()
        fields = {"host": "127.0.0.1", "content-type": "application/json", **HEADERS, "content-length": str(len(data))}
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\n"
            + "".join(f"{n}: {v}\r\n" for n, v in fields.items())
            + "connection: close\r\n"
        )
        writer.write(head.encode() + b"\r\n" + data)
        if kind == "left":
            seen = await reader.read(600)  # and goes, in the middle of the stream
            return seen[9:12].decode()
        seen = await asyncio.wait_for(reader.read(), 30)
        whole = kind == "wrong" or b"finish_reason" in seen
        return seen[9:12].decode() if whole else "cut off"
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def loaded(side: Side, seconds: float) -> tuple[Counter[tuple[str, str]], list[tuple[float, float, int, int]]]:
    """The calls, and second by second the megabytes, open files and threads of the server."""
    seen: Counter[tuple[str, str]] = Counter()
    samples: list[tuple[float, float, int, int]] = []
    running: set[asyncio.Task[None]] = set()
    chance, began, pid = random.Random(1), time.monotonic(), side.pid or 0

    async def counted(kind: str, number: int) -> None:
        seen[kind, await one(side.port, kind, number)] += 1

    for number in itertools.count():
        now = time.monotonic() - began
        if now >= seconds:
            break
        if number / RATE > now:
            await asyncio.sleep(number / RATE - now)
        task = asyncio.create_task(counted(chance.choices(KINDS, SHARES)[0], number))
        running.add(task)
        task.add_done_callback(running.discard)
        if number % RATE == 0:
            open_files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
            threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
            samples.append((time.monotonic() - began, memory(pid, "RssAnon"), open_files, threads))
        if number % (60 * RATE) == 0 and number:
            print(f"{now:.0f} of {seconds:.0f} s: {samples[-1][1]:.1f} MB", file=sys.stderr, flush=True)
    await asyncio.gather(*running)
    return seen, samples


def rise(samples: Sequence[tuple[float, float]], seconds: float) -> float:
    """What the straight line through these points rises in so many seconds."""
    slope, _ = statistics.linear_regression([at for at, _ in samples], [value for _, value in samples])
    return slope * seconds


def fill(folder: str) -> None:
    """Put as many answers into the project's cache as it holds: nobody asks for them."""
    state = Path(folder, ".mainstay")
    state.mkdir()
    cache = SqliteCache(state / "cache.db")
    for _ in range(CAPACITY):
        cache.put(os.urandom(20), b"{}", keep=3600)
    cache.flush()
    cache.close()


def soak(seconds: float, most: float = RISE) -> tuple[bool, str]:
    """Run it; gives whether everything stayed flat, `most` megabytes allowed for memory, and a report."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        Path(folder, "features").mkdir()
        upstream, port = free_port(), free_port()
        Path(folder, "mainstay.toml").write_text("".join(MODEL.format(name=m, port=upstream) for m in MODELS) + RULES)
        fill(folder)
        stack.enter_context(process(1, PYTHON, "-m", "bench.upstream", str(upstream)))
        wait_for(upstream)
        serve = (PYTHON, "-m", "mainstay", "serve", "-C", folder, "--port", str(port))
        side = Side(port=port, pid=stack.enter_context(process(0, *serve, env={"MAINSTAY_API_KEY": KEY})), headers=HEADERS)
        first_answer(side)
        seen, samples = asyncio.run(loaded(side, seconds))
    late = [sample for sample in samples if sample[0] >= seconds * SETTLED]
    grown = rise([(at, mb) for at, mb, _, _ in late], seconds)
    files, threads = (max(s[i] for s in late) - max(s[i] for s in samples[: len(samples) // 2]) for i in (2, 3))
    failed = {f"{kind}: {what}": n for (kind, what), n in seen.items() if what != ("400" if kind == "wrong" else "200")}
    lines = [
        f"{sum(seen.values())} calls in {seconds:.0f} s: {', '.join(f'{n} {kind}' for (kind, _), n in sorted(seen.items()))}",
        f"memory {late[0][1]:.1f} MB in the middle, {late[-1][1]:.1f} at the end; the line rises by {grown:.1f} over the run",
        f"open files {files:+d}, threads {threads:+d}, from the first half to the second",
        *(f"not as it should be: {what}, {n} times" for what, n in failed.items()),
    ]
    return grown < most and files < 20 and threads < 5 and not failed, "\n".join(lines)


def main() -> int:
    """Soak for as long as was asked."""
    end_children_too()
    flat, report = soak(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
    print(report)
    print("flat" if flat else "NOT flat")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
