"""Threads that take up what other processes change: releases, switches, trials.

One looks every `LOOK` seconds, which costs a few microseconds, and obeys at once what needs no loading: so a switch bites in
every process well inside a second. What may take longer has threads of its own, so that no switch waits for it: loading a
release, and, about every `TEND` seconds, looking after trials.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("mainstay.releases")
LOOK, TEND = 0.1, 1.0
IDLE = 9  # times as long as tending took, nothing is tended: it takes at most a tenth of one processor
ENDING = 5.0  # seconds that closing waits


class Follower:
    """Calls `obey`, and then `follow`, when `version` changes, and `tend` now and then, until it is closed."""

    def __init__(
        self,
        *,
        version: Callable[[], int],
        obey: Callable[[], object],
        follow: Callable[[], None],
        tend: Callable[[], None],
    ) -> None:
        self._version, self._obey, self._follow, self._tend = version, obey, follow, tend
        self._stop, self._changed = threading.Event(), threading.Event()
        self._failed: dict[str, str] = {}
        self._seen = -1
        jobs = {"looking": self._look, "following": self._load, "tending": self._look_after}
        self._threads = [threading.Thread(target=job, name=f"mainstay-{name}", daemon=True) for name, job in jobs.items()]
        for thread in self._threads:
            thread.start()

    @property
    def trouble(self) -> str:
        """Why what is released or switched cannot be followed now; empty when all is well."""
        return "; ".join([self._failed[name] for name in ("looking", "following") if name in self._failed])

    def _look(self) -> None:
        while not self._stop.wait(LOOK):
            self._done("looking", self._see)

    def _see(self) -> None:
        version = self._version()
        if version != self._seen:
            self._obey()
            self._seen = version
            self._changed.set()

    def _load(self) -> None:
        while self._changed.wait() and not self._stop.is_set():
            self._changed.clear()
            if not self._done("following", self._follow):
                self._stop.wait(TEND)
                self._changed.set()

    def _look_after(self) -> None:
        pause = TEND
        while not self._stop.wait(pause):
            began = time.monotonic()
            self._done("tending", self._tend)
            pause = max(TEND, IDLE * (time.monotonic() - began))

    def _done(self, name: str, work: Callable[[], object]) -> bool:
        """Whether the work was done. Why it was not is said once, and not ten times a second."""
        try:
            work()
        except Exception as error:
            said = str(error).partition("\n")[0]
            if self._failed.get(name) != said:
                log.exception("what is released or switched cannot be followed now")
            self._failed[name] = said
            return False
        self._failed.pop(name, None)
        return True

    def close(self) -> None:
        """Stop, and wait until it has."""
        self._stop.set()
        self._changed.set()
        until = time.monotonic() + ENDING
        for thread in self._threads:
            thread.join(timeout=max(0.0, until - time.monotonic()))
