"""The answer cache on SQLite, with the most recent values in memory in front of it.

`put` returns at once: the value is in memory for this process, and `flush`, which the spool's thread calls, writes what was put
since to the file for the others. A lost flush loses cached answers, nothing else. The file holds at most `CAPACITY` answers, the
newest; the keys of all of them are in memory, so that a miss (the common case) costs no query. Keys that another process
wrote are noticed within `NOTICE` seconds.
"""

from __future__ import annotations

import time
from pathlib import Path

import apsw

from mainstay.core.errors import StoreError
from mainstay.parts.stores.memory import MemoryCache
from mainstay.parts.stores.sqlite import connect, migrate, select

MIGRATIONS = [
    "create table answers(number integer primary key autoincrement, key blob unique, stored real, until real, value blob)"
]
CAPACITY = 100_000
RECENT = 2_000
SWEEP = 60.0
NOTICE = 1.0


class SqliteCache:
    """Answers in one SQLite file. `flush` is called by one other thread."""

    def __init__(self, path: Path) -> None:
        self._where = str(path)
        self._reader, self._writer = connect(path), connect(path)
        migrate(self._writer, MIGRATIONS, where=self._where)
        self._recent = MemoryCache(RECENT)
        self._new: list[tuple[bytes, float, float, bytes]] = []
        self._keys: set[bytes] = set()
        self._last = 0
        self._noticed = self._swept = 0.0

    def get(self, key: bytes) -> tuple[float, bytes] | None:
        found = self._recent.get(key)
        if found is not None:
            return found
        try:
            self._notice()
            if key not in self._keys:
                return None
            rows = select(self._reader, "select stored, until, value from answers where key=? and until>=?", (key, time.time()))
        except apsw.Error as error:
            raise StoreError(f"the cache cannot be read: {error}", where=self._where, next="mainstay doctor") from error
        if not rows:
            self._keys.discard(key)
            return None
        stored, until, value = rows[0]
        self._recent.insert(key, stored, until, value)
        return stored, value

    def _notice(self) -> None:
        """Learn the keys that were written since the last look, by whichever process."""
        now = time.monotonic()
        if now - self._noticed < NOTICE:
            return
        self._noticed = now
        for number, key in select(self._reader, "select number, key from answers where number>? order by number", (self._last,)):
            self._keys.add(key)
            self._last = number

    def put(self, key: bytes, value: bytes, *, keep: float) -> None:
        now = time.time()
        self._recent.insert(key, now, now + keep, value)
        self._new.append((key, now, now + keep, value))

    def flush(self) -> None:
        """Write what was put since the last time; now and then drop what has ended, and the oldest above `CAPACITY`."""
        new, self._new = self._new, []
        now = time.time()
        sweep = now - self._swept >= SWEEP
        if not new and not sweep:
            return
        try:
            with self._writer:
                self._writer.executemany("insert or replace into answers(key, stored, until, value) values(?,?,?,?)", new)
                if sweep:
                    self._writer.execute("delete from answers where until<?", (now,))
                    self._writer.execute("delete from answers where number <= (select max(number) from answers) - ?", (CAPACITY,))
                    self._swept = now
        except apsw.Error as error:
            raise StoreError(f"the cache takes nothing: {error}", where=self._where, next="mainstay doctor") from error

    def close(self) -> None:
        """Close both connections."""
        self._reader.close()
        self._writer.close()
