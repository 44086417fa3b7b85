"""A thread that takes up what other processes change: releases, switches, trials.

It looks every `LOOK` seconds, which costs a few microseconds, so a switch bites in every process well inside a second. What takes
longer, such as judging a canary, it does every `TEND` seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger("mainstay.releases")
LOOK, TEND = 0.1, 1.0


class Follower:
    """Calls `follow` when `version` changes, and `tend` now and then, until it is closed."""

    def __init__(self, *, version: Callable[[], int], follow: Callable[[], None], tend: Callable[[], None]) -> None:
        self._version, self._follow, self._tend = version, follow, tend
        self._stop = threading.Event()
        self._failed = ""
        self._thread = threading.Thread(target=self._live, name="mainstay-releases", daemon=True)
        self._thread.start()

    def _live(self) -> None:
        seen, tended = -1, time.monotonic()
        while not self._stop.wait(LOOK):
            try:
                version = self._version()
                if version != seen:
                    self._follow()
                    seen = version
                if time.monotonic() - tended >= TEND:
                    self._tend()
                    tended = time.monotonic()
                self._failed = ""
            except Exception as error:
                if str(error) != self._failed:  # said once, not ten times a second
                    self._failed = str(error)
                    log.exception("what is released or switched cannot be followed now")

    def close(self) -> None:
        """Stop, and wait until it has."""
        self._stop.set()
        self._thread.join(timeout=5.0)
