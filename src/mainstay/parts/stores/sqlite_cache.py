"""The answer cache on SQLite, with the most recent values in memory in front of it.

`put` returns at once: the value is in memory for this process, and `flush`, which the spool's thread calls, writes what was put
since to the file for the others. A lost flush loses cached answers, nothing else.
"""

from __future__ import annotations

import time
from pathlib import Path

import apsw

from mainstay.core.errors import StoreError
from mainstay.parts.stores.memory import MemoryCache
from mainstay.parts.stores.sqlite import connect, migrate

MIGRATIONS = [
    """
    create table answers(key blob primary key, stored real, until real, value blob) without rowid;
    create index answers_by_end on answers(until);
    """,
]
SWEEP = 60.0


class SqliteCache:
    """Answers in one SQLite file. `flush` is called by one other thread."""

    def __init__(self, path: Path) -> None:
        self._where = str(path)
        self._reader, self._writer = connect(path), connect(path)
        migrate(self._writer, MIGRATIONS, where=self._where)
        self._recent = MemoryCache(2000)
        self._new: list[tuple[bytes, float, float, bytes]] = []
        self._swept = 0.0

    def get(self, key: bytes) -> tuple[float, bytes] | None:
        found = self._recent.get(key)
        if found is not None:
            return found
        try:
            rows = self._reader.execute("select stored, until, value from answers where key=? and until>=?", (key, time.time())).fetchall()
        except apsw.Error as error:
            raise StoreError(f"the cache cannot be read: {error}", where=self._where, next="mainstay doctor") from error
        if not rows:
            return None
        stored, until, value = rows[0]
        self._recent.insert(key, stored, until, value)
        return stored, value

    def put(self, key: bytes, value: bytes, *, keep: float) -> None:
        now = time.time()
        self._recent.insert(key, now, now + keep, value)
        self._new.append((key, now, now + keep, value))

    def flush(self) -> None:
        """Write what was put since the last time, and drop what has ended."""
        new, self._new = self._new, []
        now = time.time()
        if not new and now - self._swept < SWEEP:
            return
        try:
            with self._writer:
                self._writer.executemany("insert or replace into answers(key, stored, until, value) values(?,?,?,?)", new)
                if now - self._swept >= SWEEP:
                    self._writer.execute("delete from answers where until<?", (now,))
                    self._swept = now
        except apsw.Error as error:
            raise StoreError(f"the cache takes nothing: {error}", where=self._where, next="mainstay doctor") from error

    def close(self) -> None:
        """Close both connections."""
        self._reader.close()
        self._writer.close()
