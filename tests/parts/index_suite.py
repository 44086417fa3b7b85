"""Which indexes there are: the tests of `test_indexes.py` run on each, whatever it is kept in."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from mainstay.core.evidence import Passage
from mainstay.core.seams import Entry
from mainstay.parts.stores.sqlite_index import SqliteIndex

INDEXES: dict[str, Callable[[Path], SqliteIndex]] = {
    "memory": lambda folder: SqliteIndex(":memory:"),
    "file": lambda folder: SqliteIndex(folder / "index.db"),
}


def entry(document: str, *texts: str, heading: Iterable[str] = (), vectors: Iterable[bytes] = (), **fields: object) -> Entry:
    """A document in as many passages as there are texts."""
    passages = [
        Passage(id=f"{document}#{i}", source="help", document=document, text=text, heading=tuple(heading), version="1")
        for i, text in enumerate(texts)
    ]
    given = {"digest": f"{document} {texts}", **fields}
    return Entry(document=document, passages=tuple(passages), vectors=tuple(vectors), **given)  # type: ignore[arg-type]


def vector(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)
