"""CSV as text and marks: a passage a row, each value after the name of its column, its anchor `row=N` (RFC 7111).

The first row names the columns. The separator is the one of `,` `;` tab and `|` that stands most often in it.
"""

from __future__ import annotations

import csv
import io

from mainstay.core.errors import SourceError
from mainstay.parts.parsing.cutting import Mark
from mainstay.parts.text import decoded

SEPARATORS = ",;\t|"
LONGEST_VALUE = 1_000_000  # characters


def read(data: bytes, charset: str, separators: str = SEPARATORS) -> tuple[str, list[Mark]]:
    """The text, and where its rows begin. Raises `SourceError`."""
    text = decoded(data, charset)
    first = text.lstrip().partition("\n")[0]
    separator = max(separators, key=first.count)
    csv.field_size_limit(LONGEST_VALUE)
    rows = csv.reader(io.StringIO(text.lstrip("\n")), delimiter=separator, strict=True)
    names: list[str] = []
    marks: list[Mark] = []
    parts: list[str] = []
    at = 0
    try:
        for number, row in enumerate(rows, 1):
            if number == 1:
                names = [" ".join(name.split()) for name in row]
                continue
            line = _line(names, row)
            if line:
                marks.append(Mark(at, at, (), f"row={number}"))
                parts.append(line)
                at += len(line)
    except csv.Error as error:
        raise SourceError(f"it is no CSV: {error} in line {rows.line_num}", next="save it anew as CSV") from None
    return "".join(parts), marks


def _line(names: list[str], row: list[str]) -> str:
    """A row as one sentence, so that its values are evidence together."""
    values = [(names[i] if i < len(names) else "", " ".join(value.split())) for i, value in enumerate(row)]
    told = [f"{name or f'column {i}'}: {value}" for i, (name, value) in enumerate(values, 1) if value]
    return "; ".join(told) + "\n\n" if told else ""
