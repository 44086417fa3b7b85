"""An observer of one's own."""

import os

from mainstay.core.record import Record


class Diary:
    """Writes a line for each call, and counts them for /metrics."""

    def __init__(self) -> None:
        self._lines = 0

    def observe(self, record: Record) -> None:
        self._lines += 1
        with open(os.environ["LANTERN_DIARY"], "a", encoding="utf-8") as file:
            file.write(f"{record.begun.call.feature} {record.outcome.answer.status} {record.outcome.answer.rung}\n")

    def render(self) -> bytes:
        return f"# TYPE lantern_lines counter\nlantern_lines_total {self._lines}\n".encode()
