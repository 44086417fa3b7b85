"""`python -m bench.quality FIT DATA [TASK ...]`: how good the parts are on public data, beside published figures, in one table.

What is learned is learned from FIT, what is counted is counted on DATA; where both are the same folder, by cross-validation. Each
task runs in a process of its own, two at a time, so what one of them does to its memory is nothing to the others. A task whose
module, extra or data is not there is named in a line. The table is written to bench/out/quality.json; `--keep FILE` writes it
there as well, which is how docs/quality.md gets its figures. `--weights FIT` writes every weights file that is shipped instead.

Exit code 0 when something was measured, 2 when nothing was.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from bench.quality.table import Row, as_table, verdict

TASKS = (
    *("classifier", "retrieval", "alignment", "citations", "injection", "unsafe"),
    *("refusal_detector", "refusals", "personal_data", "judges", "router", "near"),
)
OUT = Path("bench/out/quality.json")  # below the folder that it is run in
AT_ONCE = 2


class Measured(NamedTuple):
    """What a task gave: its rows, what it printed, why it ended early if it did, and the seconds that it took."""

    task: str
    rows: list[Row]
    printed: str
    trouble: str
    took: float


def measure(task: str, fit: Path, data: Path) -> Measured:
    """Run one task. Whatever it raises, what it had counted before is kept."""
    began, rows, trouble, printed = time.perf_counter(), [], "", io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            for row in module_of(task).rows(fit, data):
                rows.append(row)  # noqa: PERF402  what came before an exception counts
    except Exception as error:
        trouble = said_of(error, task)
    return Measured(task, rows, printed.getvalue(), trouble, time.perf_counter() - began)


def module_of(task: str) -> ModuleType:
    """The module of a task."""
    return importlib.import_module(f"bench.quality.{task}")


def said_of(error: Exception, task: str) -> str:
    """Why a task could not go on, in one line."""
    if isinstance(error, ModuleNotFoundError):
        own = error.name == f"bench.quality.{task}"
        return "it is not there" if own else f"it needs the module {error.name}, which is not installed"
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error)
    return f"{type(error).__name__}: {error}"


def measured(tasks: Sequence[str], fit: Path, data: Path) -> list[Measured]:
    """Every task, in the order of their names above; says on stderr what is running and what has ended."""
    found = {}
    with ProcessPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(measure, task, fit, data): task for task in tasks}
        for i, future in enumerate(as_completed(running), 1):
            error = future.exception()
            task = running[future]
            done = future.result() if error is None else Measured(task, [], "", f"{type(error).__name__}: {error}", 0.0)
            found[task] = done
            ended = f"{len(done.rows)} rows in {done.took:.0f} s" if not done.trouble else done.trouble
            print(f"[{i}/{len(tasks)}] {task}: {ended}", file=sys.stderr, flush=True)
    return [found[task] for task in tasks]


def listed(rows: Sequence[Row]) -> str:
    """The rows as a JSON list, one a line. A figure that could not be told is left out: there is no number for it."""
    told = [row for row in rows if math.isfinite(row.ours)]
    lines = [json.dumps({name: getattr(row, name) for name in row.__struct_fields__}, ensure_ascii=False) for row in told]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def show(done: Sequence[Measured]) -> list[Row]:
    """Print what the tasks said, and the table; gives its rows."""
    rows = [row for one in done for row in one.rows]
    for one in done:
        if one.printed:
            print(f"== {one.task}\n{one.printed.rstrip()}\n")
    if rows:
        print(as_table(rows))
    for one in done:
        if one.trouble:
            print(f"{one.task}: not measured{' to its end' if one.rows else ''}: {one.trouble}")
    beaten = [verdict(row) for row in rows if row.published is not None]
    print(f"quality: {len(rows)} figures; of {len(beaten)} that were published, {beaten.count('better')} are better here")
    return rows


def as_file(weights: Any) -> str:
    """The text of a weights file."""
    return json.dumps(msgspec.to_builtins(weights), ensure_ascii=False, separators=(",", ":")) + "\n"


def written(fit: Path) -> Iterator[Path]:
    """Write every weights file that is shipped, learned from `fit`."""
    for task in TASKS:
        try:
            module = module_of(task)
        except ModuleNotFoundError as error:
            print(f"{task}: {said_of(error, task)}", file=sys.stderr)
            continue
        if hasattr(module, "weights"):
            print(f"learning the weights of {task}", file=sys.stderr, flush=True)
            text = as_file(module.weights(fit))
            module.WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
            module.WEIGHTS.write_text(text, encoding="utf-8")
            yield module.WEIGHTS


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("fit", type=Path, help="the folder that is learned from")
    parser.add_argument("data", type=Path, nargs="?", help="the folder that is counted on; by default the same")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"by default all: {', '.join(TASKS)}")
    parser.add_argument("--keep", type=Path, help="write the table here as well")
    parser.add_argument("--weights", action="store_true", help="write the weights that are shipped, and measure nothing")
    asked = parser.parse_args(arguments)
    data = asked.data or asked.fit
    unknown = [task for task in asked.tasks if task not in TASKS]
    if unknown:
        parser.error(f"there is no task {unknown[0]}; known: {', '.join(TASKS)}")
    for folder in (asked.fit, data):
        if not folder.is_dir():
            print(f"there is no folder {folder}\n  next: make bench-quality FIT=DIR DATA=DIR", file=sys.stderr)
            return 2
    if asked.weights:
        for path in written(asked.fit):
            print(f"wrote {path}")
        return 0
    began = time.perf_counter()
    rows = show(measured(asked.tasks or TASKS, asked.fit, data))
    for path in [OUT, *([asked.keep] if asked.keep else [])]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(listed(rows), encoding="utf-8")
    print(f"written to {OUT} in {time.perf_counter() - began:.0f} s")
    return 0 if rows else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
