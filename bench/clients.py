"""What an HTTP client costs: the pass-through of `bench.bare` with each of them, beside each other, in one run.

`make bench-clients` installs what it needs under bench/out. The figures are in docs/decisions/0002-http-client.md.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from bench.bare import CLIENTS
from bench.everything import ROUNDS, UPSTREAM
from bench.processes import PYTHON, Side, load, measured, process, wait_for

FOLDER = Path(__file__).parent / "out" / "clients"
NEEDED = ["aiohttp==3.14.5", "httpx==0.28.1", "h11", "uvicorn", "httptools", "uvloop", "msgspec"]
PORT = 9721
COLUMNS = {
    "call_cpu_ms": "CPU ms a call",
    "stream_cpu_ms": "a stream of 50 chunks at once",
    "slow_cpu_ms": "a stream of 50 chunks 10 ms apart",
}


def main() -> None:
    root = Path(__file__).parent.parent
    python = FOLDER / "bin" / "python"
    if not python.exists():
        print("installing aiohttp and httpx", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *NEEDED], check=True)
    with ExitStack() as stack:
        stack.enter_context(process(1, PYTHON, "-m", "bench.upstream", str(UPSTREAM)))
        wait_for(UPSTREAM)
        sides: dict[str, Side] = {}
        for port, name in enumerate(CLIENTS, PORT):
            own = PYTHON if name == "mainstay" else str(python)
            command = (own, "-m", "bench.bare", str(port), str(UPSTREAM), name)
            sides[name] = Side(port=port, pid=stack.enter_context(process(0, *command, env={"PYTHONPATH": str(root)})))
            wait_for(port, "/")
            load(sides[name], 300, 16)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
        for number in range(ROUNDS):
            for name, side in sides.items():
                print(f"round {number + 1} of {ROUNDS}: {name}", file=sys.stderr)
                rounds[name].append(measured(side))
    print("| client | " + " | ".join(COLUMNS.values()) + " |\n|" + "---|" * (len(COLUMNS) + 1))
    for name, figures in rounds.items():
        print(f"| {name} | " + " | ".join(f"{statistics.median(f[key] for f in figures):.2f}" for key in COLUMNS) + " |")


if __name__ == "__main__":
    main()
