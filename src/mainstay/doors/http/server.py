"""Runs the HTTP door under uvicorn: one process, draining on SIGTERM, reloading the folder in development."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn

from mainstay.app import Mainstay
from mainstay.core.errors import ConfigError, MainstayError
from mainstay.doors.http.door import HttpDoor

log = logging.getLogger("mainstay.server")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
SETTLE = 0.2  # seconds without a change before the folder is loaded again
LOOK = 0.3  # seconds between looks at the folder


class Server(uvicorn.Server):
    """uvicorn, which tells the door when it starts to drain."""

    def __init__(self, config: uvicorn.Config, door: HttpDoor, ready: Callable[[int], None]) -> None:
        super().__init__(config)
        self._door, self._ready = door, ready

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self._ready(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        self._door.draining = True
        await super().shutdown(sockets)  # type: ignore[arg-type]


def run(app: Mainstay, *, host: str, port: int, key: str, dev: bool = False, ready: Callable[[int], None] = lambda port: None) -> bool:
    """Serve until SIGTERM or Ctrl-C, then let running calls end. False if the address could not be bound.

    Raises `ConfigError` for an address beyond loopback without a key. `ready` is told the port when it listens.
    """
    if host not in LOOPBACK and not key:
        raise ConfigError(f"without a key only loopback is served, not {host}", where="server.host", next="export MAINSTAY_API_KEY=…")
    door = HttpDoor(app, key=key)
    config = uvicorn.Config(
        door,
        host=host,
        port=port,
        http="httptools",
        loop="auto" if sys.platform == "win32" else "uvloop",
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=int(app.settings.server.drain) or 1,
        h11_max_incomplete_event_size=None,
    )
    server = Server(config, door, ready)
    return _serve(server, app, dev)


def _serve(server: Server, app: Mainstay, dev: bool) -> bool:
    async def main() -> None:
        watching = asyncio.create_task(watch_folder(app)) if dev else None
        try:
            await server.serve()
        finally:
            if watching is not None:
                watching.cancel()
            await app.close()

    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        try:
            runner.run(main())
        except KeyboardInterrupt:
            pass
        except SystemExit:
            return False
    return server.started


async def watch_folder(app: Mainstay) -> None:
    """Load the folder again when it changes. A broken edit is said loudly, and the last good version goes on serving."""
    seen = _fingerprint(app.root)
    while True:
        await asyncio.sleep(LOOK)
        now = _fingerprint(app.root)
        if now == seen:
            continue
        while True:
            await asyncio.sleep(SETTLE)
            settled, now = now, _fingerprint(app.root)
            if settled == now:
                break
        seen = now
        try:
            await asyncio.to_thread(app.reload)
        except MainstayError as error:
            log.error("NOT RELOADED, the last good version goes on serving:\n  %s", error)
        except Exception:
            log.exception("NOT RELOADED, the last good version goes on serving")
        else:
            log.warning("reloaded: %s", ", ".join(f"{n} {r.digest[:12]}" for n, r in app.features.ready.items()))


def _fingerprint(root: Path) -> frozenset[tuple[str, int, int]]:
    """Name, size and time of every file that a reload would read."""
    state = {".mainstay", ".git", ".venv", "node_modules", "__pycache__"}
    found = []
    for folder, folders, files in root.walk() if hasattr(root, "walk") else _walk(root):
        folders[:] = [name for name in folders if name not in state]
        for name in files:
            try:
                stat = (folder / name).stat()
            except OSError:
                continue
            found.append((str(folder / name), stat.st_size, stat.st_mtime_ns))
    return frozenset(found)


def _walk(root: Path):  # type: ignore[no-untyped-def]
    import os

    for folder, folders, files in os.walk(root):
        yield Path(folder), folders, files
