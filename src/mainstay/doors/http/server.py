"""Runs the HTTP door under uvicorn: one process, draining on SIGTERM, reloading the folder in development."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

import uvicorn

from mainstay.app import Mainstay
from mainstay.core.errors import ConfigError, MainstayError
from mainstay.doors.http.door import HttpDoor
from mainstay.spec.settings_file import FILE as SETTINGS

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

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """SIGTERM and Ctrl-C begin to drain; a second one ends at once. uvicorn's own way raises the signal again afterwards,
        which would end the process before the last records are written out."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        self._door.draining = True
        await super().shutdown(sockets)  # type: ignore[arg-type]


def run(
    app: Mainstay, *, host: str, port: int, key: str, dev: bool = False, ready: Callable[[int], None] = lambda port: None
) -> bool:
    """Serve until SIGTERM or Ctrl-C, then let running calls end. False if the address could not be bound.

    Raises `ConfigError` for an address beyond loopback without a key. `ready` is told the port when it listens.
    """
    if host not in LOOPBACK and not key:
        raise ConfigError(
            f"without a key only loopback is served, not {host}", where="server.host", next="export MAINSTAY_API_KEY=…"
        )
    _tune()
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
        proxy_headers=False,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=int(app.settings.server.drain) or 1,
        h11_max_incomplete_event_size=None,
    )
    server = Server(config, door, ready)
    return _serve(server, app, dev)


def _tune() -> None:
    """What a process that only serves can afford: fewer looks for garbage, and a shorter wait for the interpreter's lock.

    What was loaded so far lives as long as the process. The lock's interval bounds how long the thread that writes the ledger
    can hold up an answer (5 ms by default).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(0.0005)


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
    seen = _fingerprint(app)
    while True:
        await asyncio.sleep(LOOK)
        now = _fingerprint(app)
        if now == seen:
            continue
        while True:
            await asyncio.sleep(SETTLE)
            settled, now = now, _fingerprint(app)
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


def _fingerprint(app: Mainstay) -> frozenset[tuple[str, int, int]]:
    """Name, size and time of every file that a reload would read."""
    settings = app.settings
    places = [settings.features, *(source.path for source in settings.sources.values() if source.path)]
    found = []
    for path in [app.root / SETTINGS, *(p for place in places for p in (app.root / place).rglob("*"))]:
        try:
            stat = path.stat()
        except OSError:
            continue
        if "__pycache__" not in path.parts:
            found.append((str(path), stat.st_size, stat.st_mtime_ns))
    return frozenset(found)
