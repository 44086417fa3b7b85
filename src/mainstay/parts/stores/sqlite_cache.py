"""The answer cache on SQLite, with the most recent values in memory in front of it.

`put` returns at once: the value is in memory for this process, and `flush`, which the spool's thread calls, writes what was put
since to the file for the others. A lost flush loses cached answers, nothing else. The file holds at most `CAPACITY` answers, the
newest; the keys of all of them are in memory, so that a miss (the common case) costs no query. Keys that another process
wrote are noticed within `NOTICE` seconds.

A file that is no cache of ours when it is opened (something else, damaged, of a later version) is set aside, and a new one begun:
no more is lost than answers that can be made again.

Its tables only ever grow at their end and have no index beside their number, because keys are hashes: an index over them
would write a page for each. A key that is put again gets a new number, and the old one goes with the next sweep.
"""

from __future__ import annotations

import logging
import threading
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from mainstay.core.errors import StoreError
from mainstay.core.near import Question
from mainstay.parts.stores.memory import MemoryCache
from mainstay.parts.stores.sqlite import BrokenFile, Database, insert, set_aside

log = logging.getLogger("mainstay.stores")
MIGRATIONS = [
    """
    create table keys(number integer primary key autoincrement, key blob, until real);
    create table answers(number integer primary key, stored real, until real, value blob);
    """,
    "create table dropped(number integer primary key autoincrement, key blob, at real, until real);",
    """
    create table questions(
        number integer primary key autoincrement, key blob, until real, partition blob, text text, vector blob
    );
    """,
]
_KEYS_SINCE = "select number, key from keys where number>max(?, (select coalesce(max(number), 0) from keys)-?) order by number"
_ASKED_SINCE = "select number, key, partition, text, vector from questions where number>? and until>? order by number limit ?"
_DROPPED_SINCE = "select number, key, at from dropped where number>? order by number"
CAPACITY = 100_000
RECENT = 2_000
SWEEP = 60.0
NOTICE = 1.0
REMEMBERED = 3600.0  # seconds beyond the end of what was dropped
SOME, REST = 32, 0.001  # answers in one transaction, and seconds between two, for which the processor is left to others


class _New(NamedTuple):
    """What was put and is not written yet."""

    key: bytes
    stored: float
    until: float
    value: bytes
    asked: Question | None


class SqliteCache:
    """Answers in one SQLite file. Any thread may use it; one at a time may `flush`."""

    def __init__(self, path: Path, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._recent = MemoryCache(min(RECENT, capacity))
        self._new: list[_New] = []
        self._numbers: dict[bytes, int] = {}  # of each key, the oldest first
        self._gone: dict[bytes, float] = {}  # when keys were dropped lately
        self._last = self._last_drop = self._opened = self._asked_of = 0
        self._noticed = self._swept = 0.0
        self._noticing = threading.Lock()
        try:
            self._open(path)
        except BrokenFile as error:
            log.error("the cache begins anew, and what was there is now %s: %s", set_aside(path), error.what)
            self._open(path)

    def _open(self, path: Path) -> None:
        self._database = Database(path, MIGRATIONS, what="cache", durable=False)
        try:
            self._notice()
        except StoreError:
            self._database.close()
            raise

    def get(self, key: bytes) -> tuple[float, bytes] | None:
        if time.monotonic() - self._noticed >= NOTICE:
            self._notice()
        found = self._recent.get(key)
        if found is not None:
            return found
        number = self._numbers.get(key)
        if number is None:
            return None
        rows = self._database.select("select stored, until, value from answers where number=? and until>?", (number, time.time()))
        if not rows:
            self._numbers.pop(key, None)
            return None
        stored, until, value = rows[0]
        self._recent.insert(key, stored, until, value)
        return stored, value

    def _notice(self) -> None:
        """Learn the keys that were written since the last look, by whichever process."""
        with self._noticing:
            self._noticed = time.monotonic()
            if self._opened != self._database.opened:
                self._opened, self._last, self._last_drop = self._database.opened, 0, 0
                self._numbers.clear()
            for number, key, at in self._database.select(_DROPPED_SINCE, (self._last_drop,)):
                self._last_drop = number
                self._forget(key, at)
            rows = self._database.select(_KEYS_SINCE, (self._last, self._capacity))
            for number, key in rows:
                self._numbers.pop(key, None)
                self._numbers[key] = self._last = number
            while len(self._numbers) > self._capacity:
                del self._numbers[next(iter(self._numbers))]

    def put(self, key: bytes, value: bytes, *, keep: float, asked: Question | None = None) -> None:
        now = time.time()
        self._recent.insert(key, now, now + keep, value)
        self._new.append(_New(key, now, now + keep, value, asked))

    def asked(self, after: int, limit: int) -> list[tuple[int, bytes, Question]]:
        """As the seam says; this process's own are among them once they are written. A file that was replaced begins anew."""
        if self._asked_of != self._database.opened:
            self._asked_of, after = self._database.opened, 0
        rows = self._database.select(_ASKED_SINCE, (after, time.time(), limit))
        return [
            (number, key, Question(partition=partition, text=text, vector=None if vector is None else tuple(array("f", vector))))
            for number, key, partition, text, vector in rows
        ]

    def items(self) -> Iterator[tuple[bytes, float, bytes]]:
        self._notice()
        seen = set()
        for key, stored, value in self._recent.items():
            seen.add(key)
            yield key, stored, value
        for key, number in [*self._numbers.items()]:
            if key not in seen:
                for stored, value in self._database.select(
                    "select stored, value from answers where number=? and until>?", (number, time.time())
                ):
                    yield key, stored, value

    def drop(self, keys: Iterable[bytes]) -> None:
        """At once here and in the file. What another process put and has not flushed yet goes when it notices."""
        now = time.time()
        gone = dict.fromkeys(keys, now)
        for key in gone:
            self._forget(key, now)
        if gone:
            self._database.write(lambda db: _drop(db, gone))

    def _forget(self, key: bytes, at: float) -> None:
        """Let go of what was stored under a key up to that moment, also of what is still on its way to the file."""
        self._gone[key] = at
        self._numbers.pop(key, None)
        held = self._recent.get(key)
        if held is not None and held[0] <= at:
            self._recent.drop([key])

    def flush(self) -> None:
        """Write what was put since the last time; now and then drop what has ended, and the oldest above the capacity."""
        if self._new:
            self._notice()  # what others dropped meanwhile is not written
        new, self._new = [entry for entry in self._new if entry.stored > self._gone.get(entry.key, 0.0)], []
        now = time.time()
        sweep = now - self._swept >= SWEEP

        for start in range(0, len(new), SOME):
            some = new[start : start + SOME]
            self._database.write(lambda db, some=some: _insert(db, some))  # type: ignore[misc]
            time.sleep(REST)
        if sweep:
            self._database.write(lambda db: self._sweep(db, now))
            self._swept = now
            self._gone = {key: at for key, at in [*self._gone.items()] if now - at < SWEEP}

    def _sweep(self, db: apsw.Connection, now: float) -> None:
        db.execute("delete from answers where number in (select number from keys where until<=?)", (now,))
        db.execute("delete from keys where until<=?", (now,))
        db.execute("delete from dropped where until<=?", (now,))
        db.execute("delete from questions where until<=?", (now,))
        oldest = db.execute("select number from keys order by number desc limit 1 offset ?", (self._capacity,)).fetchall()
        for table in ("answers", "keys") if oldest else ():
            db.execute(f"delete from {table} where number<=?", oldest[0])  # noqa: S608  the tables are named above
        db.execute("delete from questions where number<=(select max(number) from questions)-?", (self._capacity,))

    def close(self) -> None:
        """Close the file. What was put and not flushed is not in it."""
        self._database.close()


def _drop(db: apsw.Connection, gone: Mapping[bytes, float]) -> None:
    held: list[Any] = db.execute("select number, key, until from keys").fetchall()
    until = dict(gone)
    for number, key, ends in held:
        if key in gone:
            until[key] = max(until[key], ends)
            db.execute("delete from answers where number=?", (number,))
            db.execute("delete from keys where number=?", (number,))
    asked: list[Any] = db.execute("select number, key from questions").fetchall()
    db.executemany("delete from questions where number=?", [(number,) for number, key in asked if key in gone])
    rows = [(key, at, until[key] + REMEMBERED) for key, at in gone.items()]
    db.executemany("insert into dropped(key, at, until) values(?, ?, ?)", rows)


def _insert(db: apsw.Connection, new: list[_New]) -> None:
    first: Any = db.execute("select coalesce(max(seq), 0) + 1 from sqlite_sequence where name='keys'").fetchall()[0][0]
    insert(db, "insert into keys", [(n, one.key, one.until) for n, one in enumerate(new, first)])
    insert(db, "insert into answers", [(n, one.stored, one.until, one.value) for n, one in enumerate(new, first)])
    questions = [
        (one.key, one.until, one.asked.partition, one.asked.text, None if one.asked.vector is None else _packed(one.asked.vector))
        for one in new
        if one.asked is not None
    ]
    insert(db, "insert into questions(key, until, partition, text, vector)", questions)


def _packed(vector: Sequence[float]) -> bytes:
    return array("f", vector).tobytes()
