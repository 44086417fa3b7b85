"""What commands print: tables, JSON, and errors that say the next thing to type."""

from __future__ import annotations

import datetime
import errno
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import click
import msgspec

from mainstay.core.errors import MainstayError

P = ParamSpec("P")
T = TypeVar("T")


def reported(command: Callable[P, T]) -> Callable[P, T]:
    """A command whose `MainstayError`s, and files that cannot be used, become a message and exit code 2.

    A reader that has enough, such as `head`, is left to click.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except MainstayError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except UnicodeEncodeError as error:
            click.echo(f"error: these are no characters: {ascii(error.object)[:80]}\n  next: type them in UTF-8", err=True)
            sys.exit(2)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {where}{error.strerror or error}", err=True)
            sys.exit(2)

    return run


def as_json(value: Any) -> None:
    """One JSON value on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need to be."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def one_line(text: str, longest: int = 200) -> str:
    """A text on one line, cut where it is longer; what an error says to type next is left out."""
    line = " ".join(text.partition("\n  next: ")[0].split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def printable(text: str) -> str:
    """Without what would steer the terminal or break the line, such as an escape sequence in somebody's text."""
    return "".join([character if character.isprintable() else "\ufffd" for character in text])


def date(at: float, form: str = "%Y-%m-%d %H:%M") -> str:
    """Seconds since 1970 as a date of this place."""
    try:
        return datetime.datetime.fromtimestamp(at).strftime(form)
    except (ValueError, OverflowError, OSError):  # no year that a calendar has
        return f"@{at:g}"


def money(nano: int | None) -> str:
    """Nano-dollars as dollars; `?` where the price is unknown."""
    return "?" if nano is None else f"${nano / 1e9:.6f}".rstrip("0").rstrip(".") if nano else "$0"


def milliseconds(micro: int | None) -> str:
    """Microseconds as milliseconds."""
    return "-" if micro is None else f"{micro / 1000:.1f} ms"
