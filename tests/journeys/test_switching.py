"""Two servers of one project: what is switched off, taken back and released reaches both, quickly, whatever happens meanwhile."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from releasing import FEATURE, MODEL, learn, write_project
from serving import Process

from mainstay.at_rest import releases_of
from mainstay.core.release import broken

Spawned = Callable[..., Process]
LOOSE = FEATURE.replace("pass_rate = 0.5", "pass_rate = 0.3").replace('\n[cache]\nkeep = "1h"\n', "")
AT_MOST = 1.0  # seconds until a change bites in every process; some 100 ms are usual


def mainstay(root: Path, *arguments: str, code: int = 0) -> str:
    """What a command of another process prints."""
    command = [sys.executable, "-m", "mainstay", *arguments, "-C", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def two_releases(root: Path) -> Path:
    """A project with two releases of `desk`, the second of which knows more."""
    write_project(root, skills=("a",), feature=LOOSE)
    slow = MODEL.replace('"""Answers', 'import asyncio\n"""Answers').replace(
        "self.asked += 1\n", "self.asked += 1\n        await asyncio.sleep(0.3 if 'slowly' in request.messages[-1].text else 0)\n"
    )
    (root / "skilled_model.py").write_text(slow)
    mainstay(root, "release", "desk")
    learn(root, "a", "b", "c")
    mainstay(root, "release", "desk")
    return root


def asked(client: httpx2.Client, question: str = "b 1", feature: str = "desk") -> dict[str, Any]:
    answer: dict[str, Any] = client.post(f"/v1/features/{feature}", json={"input": {"question": question}}).json()
    return answer


class Watch:
    """Asks a server all the time, and notes when its answer was first another."""

    def __init__(self, server: Process, is_new: Callable[[dict[str, Any]], bool]) -> None:
        self.at: float | None = None
        self._client, self._is_new, self._end = server.http(), is_new, time.monotonic() + 20
        assert not is_new(asked(self._client))
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def _live(self) -> None:
        while time.monotonic() < self._end:
            if self._is_new(asked(self._client)):
                self.at = time.monotonic()
                return
            time.sleep(0.01)

    def since(self, began: float) -> float:
        """Seconds from then until it was another."""
        self._thread.join(25)
        self._client.close()
        assert self.at is not None, "it never bit"
        return self.at - began


def is_off(answer: dict[str, Any]) -> bool:
    return answer.get("reason") == "switched_off"


def is_old(answer: dict[str, Any]) -> bool:
    return bool(answer["text"] == "I do not know.")


def by_command(root: Path, server: Process, *arguments: str) -> float:
    """Run a command; gives the time at which its change stood in the chain, which is when it can first be obeyed."""
    mainstay(root, *arguments)
    store = releases_of(root)
    at = store.links()[-1].at
    store.close()
    return time.monotonic() - (time.time() - at)


def by_put(root: Path, server: Process, *arguments: str) -> float:
    """The same over HTTP, asked of one of the servers."""
    began = time.monotonic()
    what, method = ("rollback", "POST") if arguments[0] == "rollback" else ("switch", "PUT")
    body = {} if what == "rollback" else {"off": arguments[0] == "off"}
    with server.http() as client:
        response = client.request(method, f"/admin/features/{arguments[1]}/{what}", json=body)
    assert response.status_code == 200, response.text
    return began


@pytest.mark.parametrize("by", [by_command, by_put])
@pytest.mark.parametrize("load", [0, 20])
def test_a_change_bites_in_both_processes_within_a_second(
    tmp_path: Path, spawned: Spawned, by: Callable[..., float], load: int, capsys: pytest.CaptureFixture[str]
):
    """Off, on and rollback, by command and by PUT, idle and under load; the milliseconds are printed."""
    root = two_releases(tmp_path / "project")
    servers = [spawned(root, "--port", "0", dev=False) for _ in range(2)]
    stop, failed = threading.Event(), []

    def keep_asking(server: Process) -> None:
        with server.http() as client:
            while not stop.is_set():
                status = client.post("/v1/features/desk", json={"input": {"question": "a slowly"}}).status_code
                if status != 200:
                    failed.append(status)

    for server in servers:
        assert server.url
    busy = [threading.Thread(target=keep_asking, args=(servers[n % 2],)) for n in range(load)]
    for thread in busy:
        thread.start()
    took: dict[str, list[float]] = {}
    try:
        for command, is_new in (("off", is_off), ("on", lambda answer: not is_off(answer)), ("rollback", is_old)):
            watches = [Watch(server, is_new) for server in servers]
            began = by(root, servers[0], command, "desk")
            took[command] = [watch.since(began) for watch in watches]
    finally:
        stop.set()
        for thread in busy:
            thread.join(20)
    with capsys.disabled():
        for command, seconds in took.items():
            shown = " and ".join(f"{1000 * s:.0f} ms" for s in seconds)
            print(f"\n  {by.__name__}, {load} calls in flight, {command}: {shown}", end="")
    assert not failed and max(max(seconds) for seconds in took.values()) < AT_MOST


def test_a_first_release_reaches_a_server_that_runs(tmp_path: Path, spawned: Spawned):
    """A feature that came after the start is taken up without a restart; its edit afterwards is not."""
    root = two_releases(tmp_path / "project")
    server = spawned(root, "--port", "0", dev=False)
    with server.http() as client:
        shutil.copytree(root / "features" / "desk", root / "features" / "second")
        assert client.post("/v1/features/second", json={"input": {"question": "b 1"}}).status_code in (404, 503)
        mainstay(root, "release", "second")
        server.until(lambda: asked(client, feature="second").get("text") == "b answer 1.")
        shutil.rmtree(root / "features" / "second")
        mainstay(root, "off", "desk")
        server.until(lambda: is_off(asked(client)))
        assert asked(client, feature="second")["text"] == "b answer 1."


def test_killing_a_release_leaves_a_whole_chain(tmp_path: Path, spawned: Spawned):
    """kill -9 at any moment of `mainstay release`: the chain is whole, and what is served was evaluated."""
    root = two_releases(tmp_path / "project")
    server = spawned(root, "--port", "0", dev=False)
    assert server.url
    for turn, after in enumerate((0.3, 0.5, 0.7, 0.9, 1.2)):
        learn(root, "a", "b", "c", f"d{turn}")
        command = [sys.executable, "-m", "mainstay", "release", "desk", "--fresh", "-C", str(root)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        assert "each following the one before" in mainstay(root, "audit", "verify")
    mainstay(root, "release", "desk")
    store = releases_of(root)
    links = store.links()
    assert broken(links) is None
    live = links[-1].change.digest  # type: ignore[union-attr]
    store.close()
    with server.http() as client:
        server.until(lambda: asked(client)["release"] == live)
        assert client.get("/readyz").status_code == 200


def test_a_store_that_is_lost_takes_nothing_from_users(tmp_path: Path, spawned: Spawned):
    """Deleted while it serves: it goes on, says so, and a switch that is made afterwards bites all the same."""
    root = two_releases(tmp_path / "project")
    server = spawned(root, "--port", "0", dev=False)
    with server.http() as client:
        assert asked(client)["text"] == "b answer 1."
        for path in (root / ".mainstay").glob("releases.db*"):
            path.unlink()
        trouble = server.until(lambda: client.get("/readyz").json()["trouble"])
        assert "releases.db" in trouble and "was deleted" in trouble
        assert asked(client)["text"] == "b answer 1."
        mainstay(root, "off", "desk")
        server.until(lambda: is_off(asked(client)))
        mainstay(root, "on", "desk")
        server.until(lambda: asked(client)["text"] == "b answer 1.")
        assert "replaced" in client.get("/readyz").json()["trouble"]
    assert server.err.count("Traceback") <= 1
