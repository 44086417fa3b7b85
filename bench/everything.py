"""What a call costs with everything on, beside a bare pass-through, other gateways and the direct call, in one run.

"Everything": the chat door, unique bodies, a key, three limit windows on money, calls and tokens, guards `size` and `terms` on
what comes in and goes out, cache miss and write, the spool, the ledger drained behind it, metrics. No retrieval. The others pass
requests through with nothing on. Server on core 0, upstream and load on core 1; in each round each server is started, measured
and stopped, one after the other, and figures are medians of the rounds. CPU is user and system of the whole process tree.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from bench import peers, plot
from bench.processes import PYTHON, Side, cpu, end_children_too, first_answer, load, measured, memory, process, wait_for

ROUNDS = 3
KEY = "bench-key"
UPSTREAM, PORT = 9711, 9712
PATIENCE = 6.0  # seconds for one kind of load, where a gateway is slow
OUT = Path(__file__).parent / "out"
MODEL = """
[models.{name}]
provider = "openai"
url = "http://127.0.0.1:{port}/v1"
model = "{name}"
price = {{ input = "0.25 USD", output = "2 USD" }}
"""
RULES = """
[limits]
project_per_month = "100000 USD"
tenant_per_day = ["10000 USD", "100000000000 tokens"]
key_per_minute = 10000000
tenant_per_minute = 10000000
[plain]
guards = { input = ["size"], output = ["size", { terms = ["AcmeCo", "OtherCo", "the best in the world"] }] }
cache = { keep = "1h" }
"""
COLUMNS = (
    ("CPU ms a call", "call_cpu_ms", 3),
    ("CPU ms a stream of 50 chunks", "stream_cpu_ms", 3),
    ("calls a second on one core", "call_rps", 0),
    ("memory idle MB", "idle_mb", 0),
    ("memory after load MB", "busy_mb", 0),
    ("cold start s", "cold_s", 2),
)
ADDED = (
    ("added p50 ms, one connection", "one_latency_p50_us"),
    ("added p99 ms, one connection", "one_latency_p99_us"),
    ("first word later, p50 ms", "slow_late_p50_us"),
    ("first word later, p99 ms", "slow_late_p99_us"),
)

Figures = dict[str, dict[str, float]]


class Contender(Struct, frozen=True, kw_only=True):
    """A server to be started, measured and stopped."""

    name: str
    shown: str
    command: Callable[[int, int], Sequence[str]]
    side: Side
    env: dict[str, str] = {}
    said: Path | None = None


def contenders(folder: str) -> list[Contender]:
    """The bare pass-through, Mainstay, and the peers that are installed."""
    project = "".join(MODEL.format(name=name, port=UPSTREAM) for name in peers.MODELS) + RULES
    Path(folder, "features").mkdir()
    Path(folder, "mainstay.toml").write_text(project)
    serve = (PYTHON, "-m", "mainstay", "serve", "-C", folder, "--port", str(PORT))
    own = Side(port=PORT, headers={"authorization": f"Bearer {KEY}"})
    found = [
        Contender(
            name="bare",
            shown="bare pass-through",
            command=lambda upstream, port: (PYTHON, "-m", "bench.bare", str(port), str(upstream)),
            side=Side(port=PORT),
        ),
        Contender(
            name="mainstay",
            shown="Mainstay, everything on",
            command=lambda upstream, port: serve,
            side=own,
            env={"MAINSTAY_API_KEY": KEY},
        ),
    ]
    for peer in peers.installed(UPSTREAM):
        side = Side(port=PORT, path=peer.path, model=peer.model, headers=peer.headers)
        shown = peer.shown if peer.name == "nginx" else f"{peer.shown}, nothing on"
        found.append(Contender(name=peer.name, shown=shown, command=peer.command, side=side, env=dict(peer.env), said=peer.said))
    return found


def one_round(contender: Contender) -> dict[str, float]:
    """Start it, measure it, stop it."""
    with ExitStack() as stack:
        began = time.monotonic()
        pid = stack.enter_context(process(0, *contender.command(UPSTREAM, PORT), env=contender.env))
        port = PORT if contender.said is None else _said(contender.said)
        side = Side(port=port, pid=pid, path=contender.side.path, model=contender.side.model, headers=contender.side.headers)
        first_answer(side)
        figures = {"cold_s": time.monotonic() - began, "idle_mb": memory(pid)}
        before = cpu(pid)
        time.sleep(1)
        figures["idle_cpu_percent"] = (cpu(pid) - before) * 100
        load(side, 200, 8)
        figures |= measured(side, PATIENCE)
        figures["busy_mb"] = memory(pid)
        return figures


def _said(file: Path) -> int:
    """The port of a server that chooses one itself."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if file.exists() and (address := file.read_text()):
            return int(address.split(":")[2].split("/")[0])
        time.sleep(0.05)
    raise TimeoutError("it did not say where it listens")


def main() -> None:
    """Measure, print the table, write it and the plot to bench/out."""
    end_children_too()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(process(1, PYTHON, "-m", "bench.upstream", str(UPSTREAM)))
        wait_for(UPSTREAM)
        direct = Side(port=UPSTREAM)
        measuring = contenders(folder)
        rounds: dict[str, list[dict[str, float]]] = {"direct": []} | {each.name: [] for each in measuring}
        for number in range(ROUNDS):
            rounds["direct"].append(measured(direct))
            for contender in measuring:
                print(f"round {number + 1} of {ROUNDS}: {contender.shown}", file=sys.stderr, flush=True)
                try:
                    rounds[contender.name].append(one_round(contender))
                except (RuntimeError, TimeoutError) as error:
                    print(f"{contender.shown} is left out of this round: {error}", file=sys.stderr)
    figures = {name: {k: statistics.median(r[k] for r in rs) for k in rs[0]} for name, rs in rounds.items() if rs}
    OUT.mkdir(exist_ok=True)
    (OUT / "everything.json").write_text(json.dumps(figures, indent=1))
    names = {each.name: each.shown for each in measuring}
    report(figures, names)
    bars = {names[name]: side["call_cpu_ms"] for name, side in figures.items() if name in names}
    (OUT / "everything.svg").write_text(plot.bars("Processor time of a call, ms (logarithmic)", bars))
    print(f"\nwritten to {OUT / 'everything.json'} and {OUT / 'everything.svg'}")


def report(figures: Figures, names: dict[str, str]) -> None:
    """The table, the cheapest first."""
    direct, ours = figures["direct"], figures["mainstay"]
    heads = [*(what for what, _, _ in COLUMNS), *(what for what, _ in ADDED)]
    print("| | " + " | ".join(heads) + " |\n|" + "---|" * (len(heads) + 1))
    for name, side in sorted(((n, f) for n, f in figures.items() if n in names), key=lambda pair: pair[1]["call_cpu_ms"]):
        cells = [f"{side[key]:.{places}f}" for _, key, places in COLUMNS]
        for i in (0, 1):
            cells[i] += f" ({side[COLUMNS[i][1]] / ours[COLUMNS[i][1]]:.2f})"
        cells += [f"{(side[key] - direct[key]) / 1000:.2f}" if key in side else "" for _, key in ADDED]
        print(f"| {names[name]} | " + " | ".join(cells) + " |")
    print("\nIn brackets: how many times what Mainstay uses.")
    print(f"Mainstay's idle CPU: {ours['idle_cpu_percent']:.2f} %")


if __name__ == "__main__":
    main()
