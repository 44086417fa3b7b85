"""Reads cases that other tools wrote: one file a format, each told apart by what is in it.

Every row, test or case of a file becomes a `Case`, or is named with its place and the reason; so is every part of one that has no
place in a case. Nothing in a file is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mainstay.core.errors import ConfigError
from mainstay.learn.formats import plain, promptfoo, pydantic_evals
from mainstay.learn.formats.reading import LARGEST, Imported, Origin, load
from mainstay.learn.formats.tables import read_table
from mainstay.learn.formats.yaml_text import Loaded
from mainstay.spec import documents
from mainstay.spec.cases import Line
from mainstay.spec.feature_file import Folder

FORMATS = (
    "promptfoo's tests (YAML, JSON, JSON Lines or CSV), a dataset of pydantic-evals (YAML or JSON), "
    "a table with a column for each input (CSV), or JSON Lines, Mainstay's own among them"
)
TABLES = (".csv", ".tsv")
LINES = (".jsonl", ".ndjson")
DOCUMENTS = (".json", ".yaml", ".yml")

__all__ = ["FORMATS", "Imported", "inputs_of", "read_any"]


def read_any(path: Path, *, fields: Mapping[str, str], shown: str) -> Imported:
    """The cases of a file, whatever wrote it, and what of the file is in none of them.

    `fields` are the inputs of the feature, each with its declared type (empty where it is not known); `shown` is how errors call
    the file. Raises `ConfigError` where the file cannot be read, or is of no format that is known.
    """
    origin = Origin(path=path, shown=shown, fields=fields)
    text = _text(path, shown)
    suffix = path.suffix.lower()
    if suffix not in (*TABLES, *LINES, *DOCUMENTS):
        raise _unknown(shown, f"files ending in {suffix or 'nothing'} are not read")
    if suffix in TABLES:
        table = read_table(text, shown)
        marked = any(name.startswith(promptfoo.MARK) for name in table.names)
        return promptfoo.read_csv(origin, table) if marked else plain.read_table(origin, table)
    if suffix in LINES:
        return _lines(origin, text)
    return _document(origin, load(text, shown))


def inputs_of(folder: Folder) -> Mapping[str, str]:
    """The inputs of a feature, each with its declared type; of a JSON Schema only their names, and none where it names none."""
    declared = folder.feature.input
    if declared.schema is None:
        return declared.fields
    try:
        properties = msgspec.json.decode(folder.files[declared.schema])["properties"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return {}
    return dict.fromkeys(properties, "") if isinstance(properties, dict) else {}


def _lines(origin: Origin, text: str) -> Imported:
    rows, broken = [], []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            reader = Line(f"{origin.shown}:{number}")
            try:
                rows.append((reader.at, reader.data(line)))
            except ConfigError as error:
                broken.append(str(error))
    if not rows:
        raise _unknown(origin.shown, broken[0] if broken else "the file is empty")
    if promptfoo.looks_like_test(rows[0][1]) and not {"vars", "assert"} & origin.fields.keys():
        lines = {id(data): int(at.rpartition(":")[2]) for at, data in rows}
        found = promptfoo.read_document(origin, Loaded([data for _, data in rows], origin.shown, lines))
    else:
        found = plain.read_rows(origin, rows)
    return Imported(found.cases, broken + found.unread)


def _document(origin: Origin, loaded: Loaded) -> Imported:
    data = loaded.data
    if pydantic_evals.looks_like(data):
        return pydantic_evals.read_document(origin, loaded)
    if promptfoo.looks_like(data):
        return promptfoo.read_document(origin, loaded)
    if isinstance(data, list) and data and all(isinstance(item, dict) for item in data):
        rows = [(loaded.where(item, f"{loaded.shown} case {i}"), item) for i, item in enumerate(data, 1)]
        return plain.read_rows(origin, rows)
    raise _unknown(loaded.shown, f"it holds {_holds(data)}")


def _holds(data: Any) -> str:
    if isinstance(data, dict):
        return f"a mapping with {', '.join(map(str, list(data)[:6])) or 'nothing'}"
    return "a list of something else than mappings" if isinstance(data, list) else "nothing" if data is None else "one value"


def _text(path: Path, shown: str) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"the file has more than {LARGEST} bytes", where=shown, next="split it")
        return documents.decoded(path.read_bytes(), shown)
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", where=shown) from None


def _unknown(shown: str, why: str) -> ConfigError:
    return ConfigError(f"no cases that can be read: {why}", where=shown, next=f"give {FORMATS}")
