"""Reads tables of text: a line of names, then a row of cells for each case. Commas, semicolons or tabs between them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from msgspec import Struct

from mainstay.core.errors import ConfigError
from mainstay.spec.documents import quoted

SEPARATORS = ",;\t"


class Row(Struct, frozen=True):
    """A row by the names of its columns. `slip` says what is wrong with it as a whole, if anything is."""

    where: str
    cells: dict[str, str]
    slip: str = ""


class Table(Struct, frozen=True):
    """The names of the columns, and the rows that are not blank."""

    names: list[str]
    rows: list[Row]


def read_table(text: str, shown: str) -> Table:
    """Read a table. Raises `ConfigError` without a line of names, for a name that stands twice, for an open quotation mark."""
    reader = csv.reader(io.StringIO(text), delimiter=_separator(text), strict=True)
    limit = csv.field_size_limit(len(text) + 1)  # by default 131,072 characters, and a case may hold a whole document
    try:
        lines = list(_lines(reader))
    except csv.Error as error:
        raise ConfigError(f"not a table: {error}", where=f"{shown}:{reader.line_num}") from None
    finally:
        csv.field_size_limit(limit)
    if not lines:
        raise ConfigError("the file is empty; its first line has to name the columns", where=shown)
    first, head = lines[0]
    names = [name.strip() for name in head]
    while names and not names[-1]:
        names.pop()
    for i, name in enumerate(names):
        if not name:
            raise ConfigError(f"column {i + 1} has no name", where=f"{shown}:{first}")
        if name in names[:i]:
            raise ConfigError(f"two columns are called {quoted(name)}", where=f"{shown}:{first}")
    return Table(names, [_row(f"{shown}:{number}", names, cells) for number, cells in lines[1:]])


def _row(where: str, names: list[str], cells: list[str]) -> Row:
    slip = ""
    if any(cell.strip() for cell in cells[len(names) :]):
        slip = f"{len(cells)} cells for {len(names)} columns; a text with the separator in it stands in quotation marks"
    return Row(where, dict(zip(names, cells, strict=False)), slip)


def _lines(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not blank, each with the number of the line where it begins."""
    begins = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield begins, cells
        begins = reader.line_num + 1  # type: ignore[attr-defined]


def _separator(text: str) -> str:
    """What stands between the names: the one of which the first line holds most, outside quotation marks."""
    head = text.lstrip("\n").partition("\n")[0]
    outside = "".join(head.split('"')[::2])
    return max(SEPARATORS, key=outside.count)
