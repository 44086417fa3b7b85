"""Fixtures of the HTTP door's tests: the real server, in this process or in one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import TALKING, Process, Served, Upstream, scripted

import mainstay
from mainstay.doors.http.server import Server

Serve = Callable[..., Any]


@pytest.fixture
async def served(opened: Callable[..., mainstay.Mainstay]) -> AsyncIterator[Serve]:
    """`await served(settings, feature, files, key="")` serves a project from this process."""
    running: list[tuple[Served, asyncio.Task[None]]] = []

    async def start(settings: str | None = None, feature: str = TALKING, *args: Any, key: str = "", **kwargs: Any) -> Served:
        app = opened(scripted() if settings is None else settings, feature, *args, **kwargs)
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

    def start(root: Path, *options: str, environ: dict[str, str] | None = None) -> Process:
        processes.append(Process(root, *options, environ=environ))
        return processes[-1]

    yield start
    for process in processes:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.wait(10)
