"""The ids of calls, which are those of their answers and records too."""

from __future__ import annotations

import os
import time


class _Ids:
    """Ids that sort by time: milliseconds, then 64 random bits. The system is asked for randomness once in 512 ids."""

    def __init__(self) -> None:
        self._random: list[str] = []

    def __call__(self) -> str:
        """The next id. Any thread may ask."""
        while True:
            try:
                return f"a{time.time_ns() // 1_000_000:011x}{self._random.pop()}"
            except IndexError:  # another thread may have taken the last one
                bits = os.urandom(8 * 512).hex()
                self._random = [bits[i : i + 16] for i in range(0, len(bits), 16)]

    def forget(self) -> None:
        """This is a child that was forked: what is left are the parent's next ids."""
        self._random = []


new_id = _Ids()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=new_id.forget)
