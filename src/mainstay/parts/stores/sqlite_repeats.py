"""Which request came under which `Idempotency-Key`, and which call answers it: one SQLite file for all processes.

It holds no text: the key and the body are there as hashes, that of the body keyed with the key itself, so that nobody who reads
the file can try out bodies. The answers are in the ledger. At most `CAPACITY` are remembered, the latest.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import apsw
from msgspec import Struct

from mainstay.parts.stores.sqlite import Database

MIGRATIONS = [
    """
    create table repeats(
        number integer primary key autoincrement, key blob unique, body blob, call text, busy real, until real, private integer
    );
    create index repeats_by_end on repeats(until);
    """
]
CAPACITY = 1_000_000
SWEEP = 60.0  # seconds between two looks for what is over


class Held(Struct, frozen=True):
    """What a key stands for already: the hash of the body, the call that answers it, and until when that may run.

    `private` says that the ledger may not hold what was answered.
    """

    body: bytes
    call: str
    busy: float
    private: bool


class SqliteRepeats:
    """The file. Any thread may use it."""

    def __init__(self, path: Path | None = None) -> None:
        self._db = Database(path, MIGRATIONS, what="index of repeated requests", durable=False)
        self._swept = 0.0

    def claim(self, key: bytes, mine: Held, *, keep: float) -> Held | None:
        """Take the key for this call and so many seconds, unless it stands for something already: then that."""
        found: list[Held] = []

        def work(db: apsw.Connection) -> None:
            now = time.time()
            if now - self._swept >= SWEEP:
                self._sweep(db, now)
            rows: list[tuple[Any, ...]] = db.execute(
                "select body, call, busy, private from repeats where key=? and until>?", (key, now)
            ).fetchall()
            if rows:
                body, call, busy, private = rows[0]
                found.append(Held(body, call, busy, bool(private)))
            else:
                row = (key, mine.body, mine.call, mine.busy, now + keep, mine.private)
                db.execute("insert or replace into repeats(key, body, call, busy, until, private) values(?,?,?,?,?,?)", row)

        self._db.write(work)
        return found[0] if found else None

    def _sweep(self, db: apsw.Connection, now: float) -> None:
        db.execute("delete from repeats where until<=?", (now,))
        db.execute("delete from repeats where number<=(select max(number) from repeats)-?", (CAPACITY,))
        self._swept = now

    def free(self, key: bytes, call: str) -> None:
        """Let go of a key, if it is still that call's: whoever comes next is the first again."""

        def work(db: apsw.Connection) -> None:
            db.execute("delete from repeats where key=? and call=?", (key, call))

        self._db.write(work)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()
