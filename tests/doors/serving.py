"""The real server on a free port of loopback, in this process or in one of its own, its fixtures, and clients for it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

import mainstay
from mainstay.core.record import Record
from mainstay.doors.http.server import Server

# A feature `answers` with history on the model `small`, and `small` itself as a plain model.
TALKING = """
    summary = "Answers"
    deadline = "5s"
    history = 4

    [[ladder]]
    model = "small"
    prompt = "prompt.md"

    [[ladder]]
    message = "Sorry."
"""


def scripted(options: str = "", server: str = "") -> str:
    """Settings with the scripted model `small`, its options, and lines for `[server]`."""
    return f'[models.small]\nprovider = "scripted"\noptions = {{ {options} }}\n[server]\n{server}\n'


class Served:
    """A running server: `app` behind it, its `url`, and clients for it."""

    def __init__(self, app: mainstay.Mainstay, server: Server) -> None:
        self.app, self.server = app, server
        self.port = server.port
        self.url = f"http://127.0.0.1:{self.port}"
        self._clients: list[Any] = []

    @property
    def requests(self) -> int:
        """How many requests were answered so far."""
        return self.server.server_state.total_requests

    @property
    def asked(self) -> list[Any]:
        """What the scripted model `small` was asked."""
        asked: list[Any] = self.app.features.project.models["small"].provider.requests  # type: ignore[attr-defined]
        return asked

    def http(self, **options: Any) -> httpx2.AsyncClient:
        """A plain HTTP client."""
        client = httpx2.AsyncClient(base_url=self.url, timeout=10, trust_env=False, **options)
        self._clients.append(client)
        return client

    def sdk(self, **options: Any) -> openai.AsyncOpenAI:
        """The unmodified OpenAI SDK, with its own retries."""
        client = openai.AsyncOpenAI(base_url=f"{self.url}/v1", **{"api_key": "any", "timeout": 10, **options})
        self._clients.append(client)
        return client

    async def post(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        """Post one JSON body."""
        return await self.http().post(path, json=body, **options)

    async def ask(self, question: str = "Hello", **fields: Any) -> httpx2.Response:
        """Ask the feature `answers`."""
        return await self.post("/v1/features/answers", {"input": {"question": question}, **fields})

    async def raw(self, data: bytes, *, until: bytes | None = None, limit: float = 5.0) -> bytes:
        """Send these bytes on a connection of their own; gives all that comes back, until it is closed or holds `until`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await received(reader, until=until, limit=limit)
        finally:
            writer.close()

    async def recorded(self, status: str, *, limit: float = 5.0) -> Record:
        """The newest record, once there is one with this status."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            found = await self.app.records(limit=1, status=status)
            if found:
                return found[0]
            await asyncio.sleep(0.05)
        raise AssertionError(f"no record with status {status}")

    async def close(self) -> None:
        for client in self._clients:
            await (client.aclose() if isinstance(client, httpx2.AsyncClient) else client.close())


async def received(reader: asyncio.StreamReader, *, until: bytes | None = None, limit: float = 5.0) -> bytes:
    """All that comes until the connection is closed or broken, or the bytes hold `until`."""
    data = b""
    async with asyncio.timeout(limit):
        while until is None or until not in data:
            try:
                piece = await reader.read(65536)
            except ConnectionError:
                break
            if not piece:
                break
            data += piece
    return data


def request(path: str, body: bytes, *headers: str, method: str = "POST", length: int | None = None) -> bytes:
    """One HTTP/1.1 request with a JSON body, as bytes."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: test",
        "content-type: application/json",
        f"content-length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def asking(question: str = "Hello", **fields: Any) -> bytes:
    """A body for the feature `answers`."""
    return json.dumps({"input": {"question": question}, **fields}).encode()


def events_of(text: str) -> list[tuple[str, Any]]:
    """The events of a stream: name and data."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((lines.get("event", ""), lines["data"] if lines["data"] == "[DONE]" else json.loads(lines["data"])))
    return found


class Process:
    """`mainstay serve` as a process of its own."""

    def __init__(self, root: Path, *options: str, environ: dict[str, str] | None = None, dev: bool = True) -> None:
        self.root = root
        self._out, self._err = (root.parent / f"serve-{time.monotonic_ns()}.{kind}" for kind in ("out", "err"))
        clean = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_MODEL_URL")) and "proxy" not in k.lower()}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "mainstay", "serve", *(["--dev"] if dev else []), "-C", str(root), *options],
                stdout=out,
                stderr=err,
                env={**clean, "PYTHONUNBUFFERED": "1", **(environ or {})},
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def until(self, what: Callable[[], Any], limit: float = 15.0) -> Any:
        """What the function gives, once it gives something."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if found := what():
                return found
            time.sleep(0.05)
        raise AssertionError(f"waited in vain; out: {self.out!r}, err: {self.err!r}")

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        return str(self.until(lambda: re.search(r"http://[\w.:\[\]]+:\d+", self.out))[0])

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def http(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=15, trust_env=False)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def ended(self, limit: float = 15.0) -> int:
        """Its exit code, once it has ended."""
        return self.popen.wait(limit)

    def spool(self) -> list[str]:
        """The names of its spool files."""
        return [path.name for path in (self.root / ".mainstay" / "spool").iterdir()]


class Upstream:
    """A tiny OpenAI-compatible server: `bodies` is what it was asked; `replies` are what it says, one after the other, as a
    whole completion (a dict), an SSE stream (a list of chunks), or a status with a body (a tuple)."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.bodies: list[Any] = []
        self.raw: list[bytes] = []
        self.port = 0

    @property
    def settings(self) -> str:
        """Settings with this upstream as the model `small`."""
        return f'[models.small]\nprovider = "openai"\nmodel = "real-name"\nurl = "http://127.0.0.1:{self.port}/v1"\n'

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        self.raw.append(await reader.readexactly(length))
        self.bodies.append(json.loads(self.raw[-1]))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        status, kind = 200, "application/json"
        if isinstance(reply, tuple):
            status, reply = reply
        if isinstance(reply, list):
            kind = "text/event-stream"
            body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in reply) + b"data: [DONE]\n\n"
        else:
            body = json.dumps(reply).encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
        )
        writer.write(body)
        await writer.drain()
        writer.close()


def completion(content: str | None = "Hi", finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A whole completion as an upstream writes it."""
    return {
        "id": "up-1",
        "object": "chat.completion",
        "created": 1,
        "model": "real-name-2026",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}},
    }


def chunks(*deltas: dict[str, Any], finish: str | None = "stop") -> list[dict[str, Any]]:
    """A streamed completion as an upstream writes it, usage last."""
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "real-name-2026"}
    found = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if finish:
        found.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return [*found, {**head, "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}]


# The fixtures; a folder's conftest.py takes them over.

Serve = Callable[..., Any]


@pytest.fixture
async def served(opened: Callable[..., mainstay.Mainstay]) -> AsyncIterator[Serve]:
    """`await served(settings, feature, files, key="")` serves a project, or an `app` that is open, from this process."""
    running: list[tuple[Served, asyncio.Task[None]]] = []

    async def start(
        settings: str | None = None,
        feature: str = TALKING,
        *args: Any,
        key: str = "",
        app: mainstay.Mainstay | None = None,
        **kwargs: Any,
    ) -> Served:
        app = app or opened(scripted() if settings is None else settings, feature, *args, **kwargs)
        listening = asyncio.Event()
        server = Server(app, key=key, ready=lambda port: listening.set())
        task = asyncio.create_task(server.serve())
        async with asyncio.timeout(10):
            await listening.wait()
        running.append((Served(app, server), task))
        return running[-1][0]

    yield start
    for one, task in running:
        await one.close()
        one.server.should_exit = one.server.force_exit = True
        async with asyncio.timeout(10):
            await task


@pytest.fixture
async def upstream() -> AsyncIterator[Callable[..., Any]]:
    """`await upstream(reply, …)` runs a tiny OpenAI-compatible server that says these."""
    listening: list[asyncio.Server] = []

    async def start(*replies: Any) -> Upstream:
        made = Upstream(*replies)
        listening.append(await asyncio.start_server(made.answer, "127.0.0.1", 0))
        made.port = listening[-1].sockets[0].getsockname()[1]
        return made

    yield start
    for one in listening:
        one.close()


@pytest.fixture
def spawned() -> Iterator[Callable[..., Process]]:
    """`spawned(root, "--port", "0")` runs `mainstay serve` in a process of its own and ends it after the test."""
    processes: list[Process] = []

    def start(root: Path, *options: str, environ: dict[str, str] | None = None, dev: bool = True) -> Process:
        processes.append(Process(root, *options, environ=environ, dev=dev))
        return processes[-1]

    yield start
    for process in processes:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait(10)
