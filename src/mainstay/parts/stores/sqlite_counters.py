"""Counters on SQLite: exact over all processes of one machine, and kept over a restart.

What was taken of a counter with an end stays taken, whatever becomes of the process that took it: that is the worst case of what
it may have spent. What has no end is written down under its holder, and free again when the holder has not been heard of for
`LEASE` seconds. Limits: a power cut may take the last changes back, and with them some seconds' worth of counting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from mainstay.core.seams import Lacking, Take
from mainstay.parts.stores.sqlite import Database

LEASE = 10.0  # seconds without a sign of life after which a process counts as dead
BEAT = 3.0  # seconds between two signs of life

MIGRATIONS = (
    """
    create table counters (name text primary key, taken integer not null, ends integer) without rowid;
    create index counters_by_end on counters (ends) where ends is not null;
    create table borrowed (holder text not null, name text not null, amount integer not null, primary key (holder, name))
        without rowid;
    create table holders (holder text primary key, seen real not null) without rowid;
    """,
)

ADD = "insert into counters values (?1, ?2, ?3) on conflict do update set taken = taken + ?2"
BORROW = "insert into borrowed values (?, ?, ?) on conflict do update set amount = amount + excluded.amount"
LIVE = "insert into holders values (?, ?) on conflict do update set seen = excluded.seen"


class _Lacks(Exception):
    """Takes the transaction back."""

    def __init__(self, lacking: Lacking) -> None:
        super().__init__(lacking.counter)
        self.lacking = lacking


class SqliteCounters:
    """One file for all processes. Any thread may use it; it must not be carried over a fork."""

    def __init__(self, path: Path | None = None) -> None:
        self._db = Database(path, MIGRATIONS, what="counters", durable=False)
        self._holder = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._beat = 0.0

    def take(self, takes: Sequence[Take]) -> tuple[int, ...] | Lacking:
        given: list[int] = []
        try:
            self._db.write(lambda db: self._take(db, takes, given))
        except _Lacks as lacks:
            return lacks.lacking
        return tuple(given)

    def _take(self, db: apsw.Connection, takes: Sequence[Take], given: list[int]) -> None:
        for take in takes:
            taken = _taken(db, take.counter)
            amount = take.granted(taken)
            if amount is None:
                raise _Lacks(Lacking(take.counter, taken))
            db.execute(ADD, (take.counter, amount, take.ends))
            if take.ends is None:
                db.execute(BORROW, (self._holder, take.counter, amount))
                db.execute(LIVE, (self._holder, time.time()))
            given.append(amount)

    def give(self, back: Mapping[str, int]) -> None:
        def work(db: apsw.Connection) -> None:
            for counter, amount in back.items():
                endless = db.execute("select ends is null from counters where name = ?", (counter,)).fetchall() == [(1,)]
                returned = min(amount, self._borrowed(db, counter)) if endless else amount
                db.execute("update counters set taken = max(0, taken - ?) where name = ?", (returned, counter))
                db.execute(
                    "update borrowed set amount = amount - ? where holder = ? and name = ?", (returned, self._holder, counter)
                )

        self._db.write(work)

    def _borrowed(self, db: apsw.Connection, counter: str) -> int:
        """What is written down under this holder: nothing any more, where it was taken for dead."""
        sql = "select amount from borrowed where holder = ? and name = ?"
        rows: list[tuple[Any, ...]] = db.execute(sql, (self._holder, counter)).fetchall()
        return int(rows[0][0]) if rows else 0

    def taken(self, counters: Sequence[str]) -> tuple[int, ...]:
        marks = ",".join("?" * len(counters))
        rows = dict(self._db.select(f"select name, taken from counters where name in ({marks})", tuple(counters)))  # noqa: S608
        return tuple([int(rows.get(counter, 0)) for counter in counters])

    def tend(self) -> None:
        if (now := time.time()) - self._beat >= BEAT:
            self._db.write(lambda db: self._clear_up(db, now))
            self._beat = now

    def _clear_up(self, db: apsw.Connection, now: float) -> None:
        db.execute(LIVE, (self._holder, now))
        dead = db.execute("select holder from holders where seen < ?", (now - LEASE,)).fetchall()
        for (holder,) in dead:
            lent = db.execute("select name, amount from borrowed where holder = ?", (holder,)).fetchall()
            db.executemany("update counters set taken = max(0, taken - ?) where name = ?", [(n, name) for name, n in lent])
            db.execute("delete from borrowed where holder = ?", (holder,))
            db.execute("delete from holders where holder = ?", (holder,))
        db.execute("delete from counters where ends is not null and ends < ?", (int(now),))

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _taken(db: apsw.Connection, counter: str) -> int:
    rows: list[tuple[Any, ...]] = db.execute("select taken from counters where name = ?", (counter,)).fetchall()
    return int(rows[0][0]) if rows else 0
