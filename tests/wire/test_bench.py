"""The benchmark of the wires: that it runs on real recorded traffic, and that it sees what is wrong."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bench.wire.__main__ import run
from bench.wire.bound import bounds, print_bounds
from bench.wire.exchanges import Exchange, load

from mainstay.core.reasons import Finish
from mainstay.wire import anthropic_responses

ROOT = Path(__file__).parents[2]

ASKED = {
    "model": "claude",
    "max_tokens": 10,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
}
ANSWER = {
    "type": "message",
    "model": "claude-1",
    "content": [{"type": "text", "text": "Hello"}, {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 3},
}


def row(asked: dict[str, Any], answer: dict[str, Any], *, path: str = "/v1/messages", status: int = 200) -> dict[str, Any]:
    return {
        "id": "hand:made#0",
        "provider": "anthropic",
        "features": ["tools"],
        "request": {"method": "POST", "uri": f"https://example.org{path}", "headers": {}, "body": json.dumps(asked)},
        "response": {"status": status, "headers": {"content-type": "application/json"}, "body": json.dumps(answer)},
    }


def write(folder: Path, *rows: dict[str, Any]) -> None:
    """A folder of data with these rows."""
    (folder / "wire" / "normalized").mkdir(parents=True)
    packed = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    (folder / "wire" / "normalized" / "anthropic.jsonl.gz").write_bytes(packed)


def bench(folder: Path) -> subprocess.CompletedProcess[str]:
    """The very command of `make bench-wire`."""
    command = [sys.executable, "-m", "bench.wire", str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_it_counts_what_was_parsed_refused_and_missed(tmp_path: Path) -> None:
    """The last line counts every row, refusals are named, and anything missed is an exit of 1 that says what differed."""
    good = row(ASKED, ANSWER)
    other = row({}, {}, path="/v1/responses")
    tools = row({**ASKED, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}, ANSWER)
    write(tmp_path, good, other, tools)
    done = bench(tmp_path)
    assert done.stdout.splitlines()[-1] == "wire: 1 parsed, 2 refused, 0 missed of 3", done.stderr
    assert done.returncode == 0
    assert "no adapter for POST /v1/responses" in done.stdout
    assert "a tool of the provider's own: `web_search`" in done.stdout


def test_it_fails_without_data(tmp_path: Path) -> None:
    """A folder with nothing to replay is a usage error that says what to type, not a success."""
    done = bench(tmp_path)
    assert done.returncode == 2
    assert "make bench-wire" in done.stderr


async def test_it_sees_a_wrong_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An oracle that shares code with what it judges sees nothing: so one wrong number in the adapter has to be a miss."""
    write(tmp_path, row(ASKED, ANSWER))
    exchanges = load(tmp_path)
    results, _ = await run(exchanges)
    assert [outcome.verdict for _, outcome in results] == ["parsed"]
    monkeypatch.setitem(anthropic_responses._FINISH, "tool_use", Finish.LENGTH)
    results, _ = await run(exchanges)
    ((_, outcome),) = results
    assert (outcome.verdict, outcome.detail) == ("missed", "finish: expected 'tool_calls', got 'length'")


async def test_recorded_traffic(data: Path) -> None:
    """Of every provider and feature some recorded exchanges are read without a miss, and sent with the meaning they had."""
    seen: Counter[tuple[str, str]] = Counter()
    sample: list[Exchange] = []
    for exchange in load(data):
        keys = [(exchange.provider, feature) for feature in exchange.features or ("none",)]
        if any(seen[key] < 2 for key in keys) and len(exchange.body) < 60_000:
            seen.update(keys)
            sample.append(exchange)
    results, cuts = await run(sample)
    assert [f"{exchange.id}: {outcome.detail}" for exchange, outcome in results if outcome.verdict == "missed"] == []
    assert [f"{exchange.id}: {outcome.lost}" for exchange, outcome in results if outcome.lost] == []
    assert sum(outcome.verdict == "parsed" for _, outcome in results) > 50
    assert all(counts["equal"] for counts in cuts.values())


def test_no_recorded_exchange_used_more_than_its_bound(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What real providers read, wrote and charged stays below what would have been reserved; all but few are not refused."""
    found = list(bounds(load(data)))
    assert print_bounds(found) == 0, capsys.readouterr().out
    assert len(found) > 500 and sum(bound.refused is not None for bound in found) < len(found) / 20


def test_the_bench_sees_a_bound_that_is_passed(tmp_path: Path) -> None:
    """An answer that says it used more than was possible is printed, and is an exit of 1."""
    write(tmp_path, row(ASKED, {**ANSWER, "usage": {"input_tokens": 5000, "output_tokens": 3}}))
    done = bench(tmp_path)
    assert done.returncode == 1 and "bounds: 1 passed of 1" in done.stdout, done.stderr
