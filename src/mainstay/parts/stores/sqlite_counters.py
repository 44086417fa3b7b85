"""Counters on SQLite: exact over all processes of one machine, and kept over a restart.

What was taken of a counter with an end stays taken, whatever becomes of the process that took it: that is the worst case of what
it may have spent. What has no end is written down under its holder, and free again once the holder is dead: a holder has a file
beside the database that it keeps locked (flock), and the kernel drops that lock with the process. So a process that was stopped
for an hour is not taken for dead, and one that was killed is, at once. Limits: a power cut may take the last changes back, and
with them some seconds' worth of counting; a clock that was wrong by more than `GRACE` when a window ended counts it anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from mainstay.core.errors import StoreError
from mainstay.core.seams import Lacking, Take
from mainstay.parts.stores.sqlite import Database

BEAT = 3.0  # seconds between two looks at who is dead
BUSY = 1000  # milliseconds for which another process is waited for
GRACE = 3600  # seconds that a counter is kept after its end, for a clock that is set back

MIGRATIONS = (
    """
    create table counters (name text primary key, taken integer not null, ends integer) without rowid;
    create index counters_by_end on counters (ends) where ends is not null;
    create table borrowed (holder text not null, name text not null, amount integer not null, primary key (holder, name))
        without rowid;
    create table holders (holder text primary key, seen real not null) without rowid;
    """,
    "drop table holders;",
)

ADD = "insert into counters values (?1, ?2, ?3) on conflict do update set taken = taken + ?2"
BORROW = "insert into borrowed values (?, ?, ?) on conflict do update set amount = amount + excluded.amount"


class _Lacks(Exception):
    """Takes the transaction back."""

    def __init__(self, lacking: Lacking) -> None:
        super().__init__(lacking.counter)
        self.lacking = lacking


class SqliteCounters:
    """One file for all processes; in memory, without a path. Any thread may use it; it must not be carried over a fork."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._holder = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._folder = None if path is None else path.with_name(f"{path.name}.holders")
        self._lock: int | None = None
        self._locking = threading.Lock()
        self._looked = 0.0
        self._opened: Database | None = None
        self._opening = threading.Lock()
        with contextlib.suppress(StoreError):  # whoever takes from it is told
            self._db  # noqa: B018

    @property
    def _db(self) -> Database:
        """The file. One that could not be opened is tried again each time. Raises `StoreError`."""
        with self._opening:
            if self._opened is None:
                self._opened = Database(self._path, MIGRATIONS, what="counters", durable=False, busy=BUSY)
            return self._opened

    def take(self, takes: Sequence[Take]) -> tuple[int, ...] | Lacking:
        given: list[int] = []
        if any(take.ends is None for take in takes):
            self._live()
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
            given.append(amount)

    def give(self, back: Mapping[str, int]) -> None:
        def work(db: apsw.Connection) -> None:
            for counter, amount in back.items():
                endless = db.execute("select ends is null from counters where name = ?", (counter,)).fetchall() == [(1,)]
                returned = min(amount, self._borrowed(db, counter)) if endless else amount
                db.execute("update counters set taken = max(0, taken - ?) where name = ?", (returned, counter))
                if endless:
                    _unborrow(db, self._holder, counter, returned)

        self._db.write(work)

    def _borrowed(self, db: apsw.Connection, counter: str) -> int:
        """What is written down under this holder."""
        sql = "select amount from borrowed where holder = ? and name = ?"
        rows: list[tuple[Any, ...]] = db.execute(sql, (self._holder, counter)).fetchall()
        return int(rows[0][0]) if rows else 0

    def taken(self, counters: Sequence[str]) -> tuple[int, ...]:
        marks = ",".join("?" * len(counters))
        rows = dict(self._db.select(f"select name, taken from counters where name in ({marks})", tuple(counters)))  # noqa: S608
        return tuple([int(rows.get(counter, 0)) for counter in counters])

    def all(self) -> list[tuple[str, int]]:
        """Every counter whose end has not come, and how much was taken of it."""
        now = int(time.time())
        rows = self._db.select("select name, taken from counters where (ends is null or ends > ?) and taken > 0", (now,))
        return [(str(name), int(taken)) for name, taken in rows]

    def tend(self) -> None:
        if (now := time.monotonic()) - self._looked < BEAT:
            return
        self._looked = now
        over = int(time.time()) - GRACE
        old = self._db.select("select 1 from counters where ends is not null and ends < ? limit 1", (over,))
        if old:
            self._db.write(lambda db: _forget(db, over))
        for (holder,) in self._db.select("select distinct holder from borrowed where holder != ?", (self._holder,)):
            self._if_dead(holder, functools.partial(_bury, holder=holder))

    def _live(self) -> None:
        """Hold the lock by which others see that this process lives. Raises `StoreError`."""
        with self._locking:
            if self._folder is None or self._lock is not None:
                return
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                lock = os.open(self._folder / self._holder, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                what = f"no file can be locked: {error.strerror or error}"
                raise StoreError(what, where=str(self._folder), next="mainstay doctor") from error
            self._lock = lock

    def _if_dead(self, holder: str, work: Callable[[apsw.Connection], None]) -> None:
        """Do this, unless that holder lives; its file, if it still has one, is locked meanwhile, and then removed."""
        if self._folder is None:
            return
        path = self._folder / holder
        try:
            lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            self._db.write(work)
            return
        try:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._db.write(work)
                path.unlink(missing_ok=True)
        finally:
            os.close(lock)

    def close(self) -> None:
        """Let go of the file, and of what was borrowed without an end."""
        if self._lock is not None:
            with contextlib.suppress(Exception):  # then another process does it
                self._db.write(lambda db: _bury(db, holder=self._holder))
            (self._folder or Path()).joinpath(self._holder).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None
        if self._opened is not None:
            self._opened.close()


def _taken(db: apsw.Connection, counter: str) -> int:
    rows: list[tuple[Any, ...]] = db.execute("select taken from counters where name = ?", (counter,)).fetchall()
    return int(rows[0][0]) if rows else 0


def _unborrow(db: apsw.Connection, holder: str, counter: str, amount: int) -> None:
    db.execute("update borrowed set amount = amount - ? where holder = ? and name = ?", (amount, holder, counter))
    db.execute("delete from borrowed where holder = ? and name = ? and amount <= 0", (holder, counter))
    db.execute("delete from counters where name = ? and taken = 0 and ends is null", (counter,))


def _bury(db: apsw.Connection, *, holder: str) -> None:
    """Give back all that is written down under this holder."""
    lent: list[tuple[Any, ...]] = db.execute("select name, amount from borrowed where holder = ?", (holder,)).fetchall()
    for name, amount in lent:
        db.execute("update counters set taken = max(0, taken - ?) where name = ?", (amount, name))
        _unborrow(db, holder, name, amount)


def _forget(db: apsw.Connection, over: int) -> None:
    db.execute("delete from counters where ends is not null and ends < ?", (over,))
