"""Runs the HTTP door under uvicorn: one process, which lets running calls end when it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import uvicorn

from mainstay.app import Mainstay
from mainstay.core.errors import ConfigError
from mainstay.doors.http.connections import Connection
from mainstay.doors.http.door import HttpDoor, is_loopback
from mainstay.doors.http.reloading import watch_folder

LINGER = 2.0  # seconds in which calls that were cut off may say so and leave their records


class Server(uvicorn.Server):
    """uvicorn, which tells the door when it starts to drain, and looks after the clients that keep it waiting."""

    def __init__(self, app: Mainstay, *, key: str = "", ready: Callable[[int], None] = lambda port: None) -> None:
        self.door = HttpDoor(app, key=key)
        self._app, self._ready = app, ready
        config = uvicorn.Config(
            self.door,
            port=0,
            http=Connection,
            loop="auto" if sys.platform == "win32" else "uvloop",
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=65,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready(self.port)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.servers[0].sockets[0].getsockname()[1])

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """uvicorn's own way gives the signals back, and raises them again, before the last records are written out."""
        yield

    def handle_exit(self, sig: int, frame: object) -> None:
        """The first signal begins to drain, a second one ends at once."""
        self.force_exit = self.should_exit
        self.should_exit = self.door.draining = True

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            now, patience = time.monotonic(), float(self._app.settings.server.stalled_reader)
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.look(now, patience)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let running calls end, for as long as `server.drain`; then cut off what is left, and wait for its records.

        Until then it listens, and leaves connections open on which a request may be under way: whoever asks is told, and not
        merely cut off.
        """
        self.door.draining = True
        state = self.server_state
        for connection in list(state.connections):
            if isinstance(connection, Connection):
                connection.last_answer()
        end = time.monotonic() + self._app.settings.server.drain
        while self._busy() and not self.force_exit and time.monotonic() < end:  # noqa: ASYNC110  there is no event for it
            await asyncio.sleep(0.05)
        for server in self.servers:
            server.close()
        running = list(state.tasks)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=LINGER)
        for connection in list(state.connections):
            connection.transport.close()
        await asyncio.sleep(0)

    def _busy(self) -> bool:
        """Whether a call is running, or an answer is not yet at its reader."""
        return bool(self.server_state.tasks) or any(
            connection.transport.get_write_buffer_size() for connection in self.server_state.connections
        )


def run(
    app: Mainstay, *, host: str, port: int, key: str, dev: bool = False, ready: Callable[[int], None] = lambda port: None
) -> None:
    """Serve until SIGTERM or Ctrl-C, let running calls end, and close the app. `ready` is told the port when it listens.

    Raises `ConfigError` for an address beyond loopback without a key, and `OSError` for one that cannot be bound.
    """
    try:
        if not key and not is_loopback(host) and not any(not known.expired(time.time()) for known in app.keys.values()):
            raise ConfigError(
                f"without a key only loopback is served, not {host}",
                where="server.host",
                next="export MAINSTAY_API_KEY=…, or mainstay keys create --tenant …",
            )
        listening = _bound(host, port)
    except (ConfigError, OSError):
        app.close_sync()
        raise
    _tune()
    server = Server(app, key=key, ready=ready)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(_serve(server, app, listening, dev))


def _bound(host: str, port: int) -> list[socket.socket]:
    """A socket for each address that the host has; with port 0 all have the port that the first was given.

    Raises `OSError` where one of them is taken, or none of them is this machine's (`localhost` may name one that is not).
    """
    bound: list[socket.socket] = []
    absent: OSError | None = None
    for family, _, _, _, where in dict.fromkeys(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)):
        address = (where[0], bound[0].getsockname()[1] if bound else port, *where[2:])
        try:
            bound.append(socket.create_server(address, family=family, backlog=2048))
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                for other in bound:
                    other.close()
                raise
            absent = error
    if absent is not None and not bound:
        raise absent
    return bound


def _tune() -> None:
    """What a process that only serves can afford: fewer looks for garbage, and a shorter wait for the interpreter's lock.

    What was loaded so far lives as long as the process. The lock's interval bounds how long the thread that writes the ledger
    can hold up an answer (5 ms by default).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(0.0005)


async def _serve(server: Server, app: Mainstay, listening: list[socket.socket], dev: bool) -> None:
    loop = asyncio.get_running_loop()
    sys.set_asyncgen_hooks(firstiter=None)  # the loop need not know our generators to close them: whoever makes one does
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    watching = asyncio.create_task(watch_folder(app)) if dev else None
    try:
        await server.serve(listening)
    finally:
        if watching is not None:
            watching.cancel()
        await app.close()
