"""Servers as child processes on a core of their own, and what they and their children use."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

PINS = shutil.which("taskset") is not None and (os.cpu_count() or 1) > 1
PYTHON = sys.executable


class Side(Struct, frozen=True, kw_only=True):
    """A server that runs and can be measured; one without a `pid` is not."""

    port: int
    pid: int | None = None
    path: str = "/v1/chat/completions"
    model: str = "{}"
    headers: Mapping[str, str] = {}


@contextmanager
def process(core: int, *command: str, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """A child process on that core, in a session of its own; it and its children are ended at the end.

    It keeps the bytecode that it compiles, as what an installer has compiled is there: a start is not a compilation.
    """
    start = ["taskset", "-c", str(core), *command] if PINS else list(command)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    child = subprocess.Popen(start, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(env or {})}, **quiet)
    try:
        yield child.pid
    finally:
        family = tree(child.pid)
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=10)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        child.wait()


def end_children_too() -> None:
    """Have SIGTERM end what runs here by an exception, so that the children of `process` are ended too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def tree(pid: int) -> list[int]:
    """A process and all that came from it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(path.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu(pid: int) -> float:
    """Seconds of processor time that a process and its children have used, all threads."""
    total = 0.0
    for each in tree(pid):
        with suppress(OSError):
            total += time.clock_gettime((~each << 3) | 2)
    return total


def memory(pid: int, kind: str = "VmRSS") -> float:
    """Megabytes of a process and its children: resident ones, or what else of /proc/PID/status `kind` names."""
    total = 0
    for each in tree(pid):
        with suppress(OSError):
            status = Path(f"/proc/{each}/status").read_text()
            total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{kind}:"))
    return total / 1024


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, path: str = "/healthz", limit: float = 15) -> None:
    """Wait until something answers there."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", path)
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.005)
        finally:
            connection.close()
    raise SystemExit(f"nothing answers at port {port}")


def first_answer(side: Side, limit: float = 120) -> None:
    """Wait until the server answers a call. Raises `TimeoutError` with what it said last."""
    body = json.dumps({"model": side.model.format("mock"), "messages": [{"role": "user", "content": "hello"}]})
    headers = {"content-type": "application/json", **side.headers}
    end, said = time.monotonic() + limit, ""
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", side.port, timeout=10)
        try:
            connection.request("POST", side.path, body, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status == 200 and b"finish_reason" in answer:
                return
            said = f"{response.status} {answer[:300]!r}"
        except (OSError, http.client.HTTPException) as error:
            said = repr(error)
        finally:
            connection.close()
        time.sleep(0.02)
    raise TimeoutError(said)


def load(side: Side, calls: int, connections: int, model: str = "mock", stream: bool = False) -> dict[str, Any]:
    """What `bench.load` saw of the server, from the other core."""
    shape = "stream" if stream else "whole"
    asked = (str(side.port), side.path, str(calls), str(connections), side.model.format(model), shape)
    pinned = ["taskset", "-c", "1"] if PINS else []
    command = [*pinned, PYTHON, "-m", "bench.load", *asked, json.dumps(dict(side.headers))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def measured(side: Side, seconds: float | None = None) -> dict[str, float]:
    """One round of one server. With `seconds`, a slow one gets no more calls than it can take in about so long."""
    figures: dict[str, float] = {}
    pace = load(side, 200, 16)["rps"] if seconds is not None else 0.0
    shapes: Sequence[tuple[str, int, int, str, bool]] = (
        ("call", 3000, 32, "mock", False),
        ("stream", 600, 16, "mock", True),
        ("one", 600, 1, "mock", False),
        ("slow", 60, 4, "mock-c10", True),
    )
    for name, most, connections, model, stream in shapes:
        each = pace / 4 if stream and model == "mock" else pace
        calls = most if seconds is None else max(2 * connections, 60, min(most, int(each * seconds)))
        before = cpu(side.pid) if side.pid else 0.0
        seen = load(side, calls, connections, model, stream)
        if seen["errors"]:
            raise RuntimeError(f"{name} at port {side.port}: {seen['error']}")
        if side.pid:
            figures[f"{name}_cpu_ms"] = (cpu(side.pid) - before) / calls * 1000
        figures |= {f"{name}_{key}": value for key, value in seen.items() if key.endswith("us") and value is not None}
        figures[f"{name}_rps"] = seen["rps"]
    return figures
