"""What operators read in the log when a model fails: each kind of failure once a minute, not once a call."""

from __future__ import annotations

import logging
import time

log = logging.getLogger("mainstay.models")
QUIET = 60.0  # seconds between two lines about the same


class Complaints:
    """Remembers what was said, of which model."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], float] = {}
        self._held_back: dict[tuple[str, str], int] = {}

    def about(self, model: str, outcome: str, detail: str) -> None:
        """A model failed in this way; `detail` holds no secrets and nothing that the feature keeps out of its records."""
        what, now = (model, outcome), time.monotonic()
        if now - self._said.get(what, -QUIET) < QUIET:
            self._held_back[what] = self._held_back.get(what, 0) + 1
            return
        self._said[what] = now
        more = self._held_back.pop(what, 0)
        log.warning(
            "%s: %s%s%s", model, outcome, f": {detail}" if detail else "", f" ({more} more since the last line)" if more else ""
        )
