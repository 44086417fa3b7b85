"""Answers that evaluations were given, so that a second run of the same release over the same cases asks nobody.

A key names release, case, turn and the version of the evidence; a value is a sealed record. Losing the file loses nothing but
the money of asking again.
"""

from __future__ import annotations

import time
from pathlib import Path

import apsw
import msgspec

from mainstay.core.record import Record
from mainstay.parts.stores.sqlite import BrokenFile, Database, set_aside

MIGRATIONS = [
    "create table answers(key blob primary key, at real, body blob) without rowid;",
    "create index answers_by_time on answers(at);",
]
FORGOTTEN = 30 * 86400.0  # seconds after which an answer is of no use to anybody
_decode = msgspec.json.Decoder(Record).decode
_encode = msgspec.json.Encoder(enc_hook=str).encode


class SqliteEvals:
    """Sealed records by key. Any thread may use it."""

    def __init__(self, path: Path) -> None:
        try:
            self._database = Database(path, MIGRATIONS, what="answers of evaluations", durable=False)
        except BrokenFile:
            set_aside(path)
            self._database = Database(path, MIGRATIONS, what="answers of evaluations", durable=False)

    def get(self, key: bytes, *, age: float) -> Record | None:
        """The record under that key, if it is younger than so many seconds."""
        found = self._database.select("select body from answers where key=? and at>?", (key, time.time() - age))
        try:
            return _decode(found[0][0]) if found else None
        except msgspec.DecodeError:
            return None

    def put(self, key: bytes, record: Record) -> None:
        """Keep a record, in place of what was there. What nobody will ask for again goes."""
        body, now = _encode(record), time.time()

        def work(db: apsw.Connection) -> None:
            db.execute("insert or replace into answers values(?,?,?)", (key, now, body))
            db.execute("delete from answers where at<?", (now - FORGOTTEN,))

        self._database.write(work)

    def close(self) -> None:
        """Close the file."""
        self._database.close()
