"""What commands that take a while show to whoever watches: one line that says how far they are."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from mainstay.doors.cli.printing import money
from mainstay.learn.evaluation import Progress

EVERY = 0.1  # seconds between two states of the line
WIDTH = 30


def counting(things: str, *, what: str = "") -> Callable[[int, int], None]:
    """Says how many things are done, of how many, on one line of standard error, if that is a terminal."""

    def seen(done: int, of: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{what}{done} of {of} {things}", err=True, nl=done == of)

    return seen


class Bar:
    """`with Bar() as bar: await work(seen=bar)`; writes to standard error, and only to a terminal."""

    def __init__(self) -> None:
        self._shown, self._began = 0.0, time.monotonic()
        self._watched = sys.stderr.isatty()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._watched and (now - self._shown >= EVERY or progress.done == progress.of):
            self._shown = now
            done = progress.done / progress.of
            left = (now - self._began) * (1 - done) / done if done else 0.0
            facts = [f"{progress.done} of {progress.of}", money(progress.spent), f"{left:.0f} s left"]
            facts += [f"{progress.kept} known already"] if progress.kept else []
            line = f"[{'=' * int(WIDTH * done):<{WIDTH}}] {', '.join(facts)}"
            click.echo(f"\r{line:<90}", err=True, nl=False)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            click.echo(err=True)
