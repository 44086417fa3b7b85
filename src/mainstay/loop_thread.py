"""An event loop in a thread of its own, for code that is not async."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

ENDING = 5.0  # seconds that closing waits for what runs to end


class LoopThread:
    """An event loop in a thread, for `run_sync`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="mainstay-sync", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        """Until it is stopped; then nobody is left to wait for what still ran."""
        self._loop.run_forever()
        running = asyncio.all_tasks(self._loop)
        for task in running:
            task.cancel()
        if running:
            self._loop.run_until_complete(asyncio.wait(running))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    @property
    def here(self) -> bool:
        """Whether this is its own thread, which must not wait for itself."""
        return threading.current_thread() is self._thread

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def start(self, coroutine: Any) -> concurrent.futures.Future[Any]:
        """Run it beside all else, until the end."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def close(self, last: Any) -> None:
        self.run(last)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=ENDING)
        if not self._thread.is_alive():
            self._loop.close()
