"""What a call costs with everything on, beside a bare pass-through and the direct call, in one run.

"Everything": the chat door, unique bodies, a key, guards `size` and `terms` on what comes in and goes out, cache miss and write,
the spool, the ledger drained behind it, metrics. No retrieval. Server on core 0, upstream and load on core 1; rounds are
interleaved, figures are medians. CPU is user and system of the server's whole process.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench import peers

ROUNDS = 3
KEY = "bench-key"
UPSTREAM, BARE, MAINSTAY, PEER = 9711, 9712, 9713, 9714
NAMES = {"bare": "bare pass-through", "mainstay": "Mainstay, everything on"}
OUT = Path(__file__).parent / "out"
PROJECT = f"""
[models.mock]
provider = "openai"
url = "http://127.0.0.1:{UPSTREAM}/v1"
model = "mock"
price = {{ input = "0.25 USD", output = "2 USD" }}
[models.mock-c10]
provider = "openai"
url = "http://127.0.0.1:{UPSTREAM}/v1"
model = "mock-c10"
price = {{ input = "0.25 USD", output = "2 USD" }}
[plain]
guards = {{ input = ["size"], output = ["size", {{ terms = ["AcmeCo", "OtherCo", "the best in the world"] }}] }}
cache = {{ keep = "1h" }}
"""


class Side(Struct, frozen=True):
    """One server that is measured; `direct` has no process of its own."""

    port: int
    pid: int | None = None
    key: str = ""
    path: str = "/v1/chat/completions"
    model: str = "{}"


@contextmanager
def process(core: int, *command: str, env: dict[str, str] | None = None, python: str | Path = sys.executable) -> Iterator[int]:
    """A child process on that core; ended at the end."""
    pinned = ["taskset", "-c", str(core)] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []
    start = [*pinned, python, *command]
    child = subprocess.Popen(start, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield child.pid
    finally:
        child.terminate()
        child.wait(timeout=30)


def wait_for(port: int, path: str = "/healthz", limit: float = 15) -> float:
    """Seconds until something answers there."""
    began = time.monotonic()
    while time.monotonic() - began < limit:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1)
            return time.monotonic() - began
        except urllib.error.HTTPError:
            return time.monotonic() - began
        except OSError:
            time.sleep(0.005)
    raise SystemExit(f"nothing answers at port {port}")


def cpu(pid: int) -> float:
    """Seconds of processor time that the process has used, all threads."""
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int) -> float:
    """Resident megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def load(side: Side, calls: int, connections: int, model: str = "mock", stream: bool = False) -> dict[str, Any]:
    shape = "stream" if stream else "whole"
    asked = (str(side.port), side.path, str(calls), str(connections), side.model.format(model), shape, side.key)
    pinned = ["taskset", "-c", "1"] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []
    command = [*pinned, sys.executable, "-m", "bench.load", *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measured(side: Side) -> dict[str, float]:
    """One round of one server."""
    figures: dict[str, float] = {}
    for name, calls, connections, model, stream in (
        ("call", 3000, 32, "mock", False),
        ("stream", 600, 16, "mock", True),
        ("one", 600, 1, "mock", False),
        ("slow", 60, 4, "mock-c10", True),
    ):
        before = cpu(side.pid) if side.pid else 0.0
        seen = load(side, calls, connections, model, stream)
        if seen["errors"]:
            raise SystemExit(f"{name} at port {side.port}: {seen['error']}")
        if side.pid:
            figures[f"{name}_cpu_ms"] = (cpu(side.pid) - before) / calls * 1000
        figures |= {f"{name}_{key}": value for key, value in seen.items() if key.endswith("us") and value is not None}
        figures[f"{name}_rps"] = seen["rps"]
    return figures


def started(peer: peers.Peer, stack: ExitStack) -> Side:
    """A peer, once it answers."""
    alone = peer.command[0].startswith("/")
    command = peer.command[1:] if alone else peer.command
    pid = stack.enter_context(process(0, *command, python=peer.command[0] if alone else peer.python))
    port, until = peer.port, time.monotonic() + 30
    while peer.said is not None and not port and time.monotonic() < until:
        time.sleep(0.1)
        port = int(peer.said.read_text().split(":")[2].split("/")[0]) if peer.said.exists() and peer.said.stat().st_size else 0
    wait_for(port, "/health")
    return Side(port, pid, path=peer.path, model=peer.model)


def main() -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        Path(folder, "features").mkdir()
        Path(folder, "mainstay.toml").write_text(PROJECT)
        env = {"MAINSTAY_API_KEY": KEY}
        stack.enter_context(process(1, "-m", "bench.upstream", str(UPSTREAM)))
        wait_for(UPSTREAM)
        sides = {"direct": Side(UPSTREAM)}
        sides["bare"] = Side(BARE, stack.enter_context(process(0, "-m", "bench.bare", str(BARE), str(UPSTREAM))))
        wait_for(BARE, "/")
        began = time.monotonic()
        serve = ("-m", "mainstay", "serve", "-C", folder, "--port", str(MAINSTAY))
        ours = sides["mainstay"] = Side(MAINSTAY, stack.enter_context(process(0, *serve, env=env)), key=KEY)
        wait_for(MAINSTAY)
        load(ours, 1, 1)
        cold = time.monotonic() - began
        idle_mb, before = memory(ours.pid), cpu(ours.pid)
        time.sleep(3)
        idle_cpu = (cpu(ours.pid) - before) / 3 * 100
        sides |= {peer.name: started(peer, stack) for peer in peers.installed(UPSTREAM, PEER)}
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for side in sides.values():
            load(side, 300, 16)
        for number in range(ROUNDS):
            for name, side in sides.items():
                print(f"round {number + 1} of {ROUNDS}: {name}", file=sys.stderr)
                rounds[name].append(measured(side))
        busy_mb = memory(ours.pid)
    figures = {name: {k: statistics.median(r[k] for r in rs) for k in rs[0]} for name, rs in rounds.items()}
    figures["mainstay"] |= {"cold_s": cold, "idle_mb": idle_mb, "busy_mb": busy_mb, "idle_cpu_percent": idle_cpu}
    OUT.mkdir(exist_ok=True)
    (OUT / "everything.json").write_text(json.dumps(figures, indent=1))
    report(figures)


def report(figures: dict[str, dict[str, float]]) -> None:
    direct, ours = figures["direct"], figures["mainstay"]
    columns = (("CPU ms a call", "call_cpu_ms"), ("CPU ms a stream of 50 chunks", "stream_cpu_ms"))
    added = (
        ("added p50 ms, one connection", "one_latency_p50_us"),
        ("added p99 ms, one connection", "one_latency_p99_us"),
        ("first word later, p50 ms", "slow_late_p50_us"),
        ("first word later, p99 ms", "slow_late_p99_us"),
    )
    heads = [*(what for what, _ in columns), "calls a second on one core", *(what for what, _ in added)]
    print("| | " + " | ".join(heads) + " |\n|" + "---|" * (len(heads) + 1))
    for name, side in figures.items():
        if name == "direct":
            continue
        cells = [f"{side[key]:.3f} ({ours[key] / side[key]:.2f})" for _, key in columns]
        cells += [f"{side['call_rps']:.0f}", *(f"{(side[key] - direct[key]) / 1000:.2f}" for _, key in added)]
        print(f"| {NAMES.get(name, name)} | " + " | ".join(cells) + " |")
    print("\nIn brackets: how many times that Mainstay uses.")
    print(
        f"\nCold start to the first served call {ours['cold_s']:.2f} s; memory idle {ours['idle_mb']:.0f} MB, "
        f"after load {ours['busy_mb']:.0f} MB; idle CPU {ours['idle_cpu_percent']:.2f} %"
    )


if __name__ == "__main__":
    main()
