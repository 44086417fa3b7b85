"""200 cases x 5 scorers that ask no model, 32 at once, beside promptfoo on the same cases: time and peak memory of both.

Both ask a provider in their own process that repeats the question at once, so that what is measured is their own work. promptfoo
is installed from the npm registry under bench/out on the first run; its telemetry, its look for updates and its cache are off.
Rounds are interleaved, figures are medians. The files that both read are written here, from the same list of cases.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

import mainstay
from mainstay.learn.evaluation import Options
from mainstay.learn.releasing import Wanted

CASES, AT_ONCE, ROUNDS = 200, 32, 3
LIMIT = 300  # seconds for one run
PROMPTFOO = "promptfoo@0.121.20"
OUT = Path(__file__).parent / "out" / "promptfoo"
QUIET = {
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "PROMPTFOO_DISABLE_UPDATE": "1",
    "PROMPTFOO_DISABLE_SHARING": "1",
    "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
    "PROMPTFOO_CACHE_ENABLED": "false",
}
SETTINGS = """
[models.small]
provider = "scripted"
price = { input = "0.25 USD", output = "2 USD" }
"""
FEATURE = """
summary = "Repeats the question"
[[ladder]]
model = "small"
prompt = "prompt.md"
[[ladder]]
message = "Sorry."
"""
PROVIDER = """
module.exports = class {
  id() { return "repeats"; }
  async callApi(prompt) { return { output: prompt, cost: 0.0001, tokenUsage: { total: 40, prompt: 20, completion: 20 } }; }
};
"""


class Run(Struct, frozen=True):
    """One run of a process: seconds until it ended, of those the evaluation as it says itself, and its peak memory in MB."""

    wall: float
    own: float
    memory: float


def questions() -> list[str]:
    """What is asked, and expected back."""
    return [
        f"Order {number:04}: when is the parcel of {number % 28 + 1} May sent, and what does it cost?" for number in range(CASES)
    ]


def write_ours(folder: Path) -> None:
    """A project whose feature has the cases."""
    feature = folder / "features" / "repeats"
    (feature / "cases").mkdir(parents=True)
    (folder / "mainstay.toml").write_text(SETTINGS)
    (feature / "feature.toml").write_text(FEATURE)
    (feature / "prompt.md").write_text("{{ question }}")
    with (feature / "cases" / "cases.jsonl").open("w") as file:
        for question in questions():
            expect = {
                "exact": question,
                "contains": ["the parcel"],
                "regex": r"^Order \d{4}",
                "latency": "2s",
                "cost": "0.01 USD",
            }
            file.write(json.dumps({"input": {"question": question}, "expect": expect}) + "\n")


def write_theirs(folder: Path) -> None:
    """The same cases as promptfoo reads them."""
    tests = [
        {
            "vars": {"question": question},
            "assert": [
                {"type": "equals", "value": question},
                {"type": "icontains", "value": "the parcel"},
                {"type": "regex", "value": r"^Order \d{4}"},
                {"type": "latency", "threshold": 2000},
                {"type": "cost", "threshold": 0.01},
            ],
        }
        for question in questions()
    ]
    config = {"prompts": ["{{ question }}"], "providers": ["file://provider.cjs"], "tests": tests}
    (folder / "promptfooconfig.json").write_text(json.dumps(config))
    (folder / "provider.cjs").write_text(PROVIDER)


async def evaluate(folder: str) -> dict[str, Any]:
    """Run the cases of the project as `mainstay eval` does; seconds of the evaluation, without start and end."""
    async with mainstay.open(folder, environ={}, dev=True) as app:
        began = time.perf_counter()
        report = await app.desk.evaluate("repeats", Wanted(against="none", options=Options(at_once=AT_ONCE, fresh=True)))
        took = time.perf_counter() - began
    results = report.candidate.results
    return {
        "own": took,
        "passed": sum(result.passed is True for result in results),
        "opinions": sum(len(result.opinions) for result in results),
    }


def measured(command: Sequence[str], folder: Path, env: dict[str, str]) -> tuple[float, float, str]:
    """Run a command to its end: seconds, peak of resident memory in MB, and what it printed."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, env=env, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read().decode(errors="replace")
    if child.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ended with {child.returncode}:\n{text[-2000:]}")
    return wall, usage.ru_maxrss / 1024, text


def ours(folder: Path) -> Run:
    """Mainstay, once."""
    root = Path(__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    wall, memory, text = measured([sys.executable, "-m", "bench.evals", str(folder)], folder, env)
    said = json.loads(text.splitlines()[-1])
    if (said["passed"], said["opinions"]) != (CASES, CASES * 5):
        raise SystemExit(f"Mainstay: not every case passed: {said}")
    return Run(wall, said["own"], memory)


def theirs(folder: Path) -> Run:
    """promptfoo, once."""
    env = {**os.environ, **QUIET, "PROMPTFOO_CONFIG_DIR": str(folder / "home")}
    binary = OUT / "node_modules" / "promptfoo" / "dist" / "src" / "entrypoint.js"
    quiet = ("--no-cache", "--no-table", "--no-progress-bar", "--no-share", "--max-concurrency", str(AT_ONCE), "-o", "out.json")
    wall, memory, _ = measured(["node", str(binary), "eval", "-c", "promptfooconfig.json", *quiet], folder, env)
    said = json.loads((folder / "out.json").read_text())["results"]
    told = sum(len(result["gradingResult"]["componentResults"]) for result in said["results"])
    if (sum(result["success"] for result in said["results"]), told) != (CASES, CASES * 5):
        raise SystemExit("promptfoo: not every case passed")
    return Run(wall, said["stats"]["durationMs"] / 1000, memory)


def installed() -> bool:
    """Whether promptfoo is there; installs it where npm is."""
    if not (OUT / "node_modules" / "promptfoo").is_dir():
        if shutil.which("npm") is None:
            return False
        OUT.mkdir(parents=True, exist_ok=True)
        (OUT / "package.json").write_text("{}")
        print(f"installing {PROMPTFOO}", file=sys.stderr)
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--silent", PROMPTFOO], cwd=OUT, check=True, timeout=LIMIT * 3
        )
    return True


def main() -> None:
    sides = {"Mainstay": (write_ours, ours)}
    if installed():
        sides["promptfoo"] = (write_theirs, theirs)
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for number in range(ROUNDS):
        for name, (write, run) in sides.items():
            print(f"round {number + 1} of {ROUNDS}: {name}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                write(Path(folder))
                runs[name].append(run(Path(folder)))

    def median(name: str, figure: Callable[[Run], float]) -> float:
        return statistics.median(map(figure, runs[name]))

    print(f"{CASES} cases, 5 scorers, {AT_ONCE} at once, medians of {ROUNDS} rounds\n")
    columns: dict[str, Callable[[Run], float]] = {
        "whole process, s": lambda run: run.wall,
        "the evaluation alone, s": lambda run: run.own,
        "peak memory, MB": lambda run: run.memory,
    }
    print(f"| | {' | '.join(columns)} |\n|" + "---|" * (len(columns) + 1))
    for name in runs:
        cells = [f"{median(name, of):.3g} ({median(name, of) / median('Mainstay', of):.1f})" for of in columns.values()]
        print(f"| {name} | {' | '.join(cells)} |")
    print("\nIn brackets: how many times what Mainstay uses.")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(asyncio.run(evaluate(sys.argv[1]))))
    else:
        main()
