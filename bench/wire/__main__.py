"""`python -m bench.wire DATA`: replay what was recorded, print the tables, exit 1 if anything was missed."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bench.wire.bound import bounds, print_bounds
from bench.wire.exchanges import Exchange, load
from bench.wire.replay import Outcome, replay
from bench.wire.report import Result, print_report
from bench.wire.server import Server
from mainstay.parts.http import Http

PIECES = {7: 60_000, 1: 8_000}  # size of a piece, and the longest body that is cut into such: both in bytes


async def run(exchanges: Sequence[Exchange]) -> tuple[list[Result], dict[int, Counter[str]]]:
    """Replay them all, then the streams among them once more in pieces. A stream that differs in pieces is missed."""
    http = Http()
    results: list[Result] = []
    cuts: dict[int, Counter[str]] = {size: Counter() for size in PIECES}
    said = time.monotonic()
    async with Server() as server:
        for exchange in exchanges:
            outcome = await replay(exchange, server, http)
            if outcome.verdict == "parsed" and exchange.streamed:
                outcome = await _cut(exchange, outcome, server, http, cuts)
            results.append((exchange, outcome))
            if time.monotonic() - said > 1:
                said = time.monotonic()
                print(f"{len(results)} of {len(exchanges)}", file=sys.stderr)
        await http.close()
    return results, cuts


async def _cut(exchange: Exchange, whole: Outcome, server: Server, http: Http, cuts: dict[int, Counter[str]]) -> Outcome:
    for size, longest in PIECES.items():
        if len(exchange.body) > longest:
            continue
        again = await replay(exchange, server, http, piece=size)
        cuts[size]["equal" if again.verdict == "parsed" else "different"] += 1
        if again.verdict != "parsed":
            return Outcome(verdict="missed", detail=f"in pieces of {size}: {again.detail}")
    return whole


def main(arguments: Sequence[str]) -> int:
    """0 if nothing was missed, 1 if something was, 2 if there is nothing to replay."""
    if len(arguments) != 1:
        print("usage: python -m bench.wire DATA", file=sys.stderr)
        return 2
    try:
        exchanges = load(Path(arguments[0]))
    except (OSError, ValueError, KeyError) as error:
        print(f"nothing to replay: {error}\n  next: make bench-wire DATA=the folder that holds wire/", file=sys.stderr)
        return 2
    results, cuts = asyncio.run(run(exchanges))
    passed = print_bounds(list(bounds(exchanges)))
    print_report(results, cuts)
    return int(passed > 0 or any(outcome.verdict == "missed" for _, outcome in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
