"""`sqlite`: a SQLite file that is only read.

It is opened read-only, and an authorizer lets a statement select, read and call functions, and nothing else: no writing, no
ATTACH, no PRAGMA, no loading of extensions, no look at `sqlite_schema`. Of one query one statement runs, with named parameters
(`:name`), in a thread of its own, and is stopped when its time is over, whatever it does. A file that is replaced by another is
opened anew; so is every connection that gave an error.

Limits: a value of more than `LONGEST` bytes is an error. What waits for a disk that does not answer cannot be stopped: its thread
is left behind, and `MANY` of those make every further query fail at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apsw

from mainstay.core.errors import ConfigError, SourceError
from mainstay.core.project import Service
from mainstay.core.seams import Rows

MANY = 32  # queries that have not returned
IDLE = 8  # connections that are kept open
STEPS = 5_000  # of SQLite's machine between two looks at the clock: some tenths of a millisecond
MARGIN = 0.1  # seconds that a thread has to end by itself once its time is over
LONGEST = 10_000_000  # bytes of one value or row
LONGEST_STATEMENT = 100_000
PATTERN = 1_000  # characters of a LIKE pattern, which no clock can stop

_READS = frozenset({apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_RECURSIVE})
_FORBIDDEN = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "zipfile", "lsmode", "fsdir"})
_SCHEMA = re.compile(r"(?i)sqlite_(temp_)?(schema|master)|dbstat|sqlite_dbpage|sqlite_stmt|pragma_.*")
_NOTHING = re.compile(r"(?s)(\s|;|--[^\n]*(\n|\Z)|/\*.*?(\*/|\Z))*\Z")
_LIMITS = {
    apsw.SQLITE_LIMIT_LENGTH: LONGEST,
    apsw.SQLITE_LIMIT_SQL_LENGTH: LONGEST_STATEMENT,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: PATTERN,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}
Identity = tuple[int, int, int]


class SQLite:
    """One database file; made like every database, with its table of mainstay.toml."""

    def __init__(self, service: Service, *, key: str = "", http: object = None) -> None:
        self._where = f"database {service.name}"
        if not service.path:
            raise ConfigError("a SQLite database needs the `path` of its file", next='path = "shop.db"')
        if service.options:
            raise ConfigError(f"a SQLite database has no options, and here is `{next(iter(service.options))}`")
        if not Path(service.path).is_file():
            raise ConfigError(f"there is no file {service.path}", next="correct the `path`, which is seen from mainstay.toml")
        self._path = service.path
        self._lock = threading.Lock()
        self._idle: list[tuple[Identity, apsw.Connection]] = []
        self._running = 0

    async def query(self, sql: str, values: Mapping[str, Any], *, limit: int, timeout: float) -> Rows:
        """The rows of one reading statement. Raises `SourceError`."""
        if self._running >= MANY:
            raise SourceError(
                f"{self._running} queries have not returned", where=self._where, next="see whether its disk answers"
            )
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Rows] = loop.create_future()
        query = _Query(sql, dict(values), limit, time.monotonic() + timeout)

        def work() -> None:
            rows, error = None, None
            try:
                rows = self._read(query)
            except BaseException as raised:
                error = self._translated(raised, query, timeout)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._settle, done, rows, error)

        threading.Thread(target=work, name=f"mainstay-{self._where}", daemon=True).start()
        self._running += 1
        try:
            await asyncio.wait([done], timeout=timeout + MARGIN)
        finally:
            query.end = 0.0  # whoever asked is gone, or it is late: the statement stops at the next look at the clock
        if not done.done():
            done.cancel()
            raise self._too_slow(timeout)
        return done.result()

    def _settle(self, done: asyncio.Future[Rows], rows: Rows | None, error: SourceError | None) -> None:
        self._running -= 1
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
            done.exception()  # looked at, should the one who asked be gone
        elif rows is not None:
            done.set_result(rows)

    # In the thread

    def _read(self, query: _Query) -> Rows:
        identity, connection = self._take()
        try:
            connection.set_progress_handler(query.late, STEPS)
            connection.set_busy_handler(query.wait)
            rows = query.run(connection)
            connection.set_progress_handler(None)
        except BaseException:
            connection.close(True)
            raise
        with self._lock:
            if len(self._idle) < IDLE:
                self._idle.append((identity, connection))
        return rows

    def _take(self) -> tuple[Identity, apsw.Connection]:
        """A connection to the file as it is now, and in this process: none of them outlives a fork."""
        there = Path(self._path).stat()
        identity = (os.getpid(), there.st_dev, there.st_ino)
        with self._lock:
            self._idle = [(known, connection) for known, connection in self._idle if known == identity]
            if self._idle:
                return self._idle.pop()
        return identity, _connected(self._path)

    def _translated(self, error: BaseException, query: _Query, timeout: float) -> SourceError:
        """What went wrong, in one family. The statement itself is in the file, so it is not repeated; nor are the parameters."""
        said = str(error)
        if isinstance(error, SourceError):
            return SourceError(error.what, where=self._where, next=error.next)
        if isinstance(error, apsw.InterruptError) or query.late():
            return self._too_slow(timeout)
        if isinstance(error, apsw.AuthError) or "prohibited" in said or "not authorized" in said:
            what = "the statement does more than read" + (f": {query.denied}" if query.denied else "")
            return SourceError(what, where=self._where, next="write one SELECT over the tables of this database")
        if isinstance(error, apsw.SQLError):
            return SourceError(said.removeprefix("SQLError: "), where=self._where, next="correct the statement")
        if isinstance(error, apsw.BindingsError | KeyError | TypeError | ValueError | OverflowError):
            return SourceError(f"a parameter cannot be used: {said}", where=self._where, next="name each parameter as :name")
        if isinstance(error, OSError):
            return SourceError(f"the file cannot be opened: {error.strerror}", where=self._where, next=f"look at {self._path}")
        if isinstance(error, apsw.BusyError | apsw.LockedError):
            return SourceError("another program has it locked", where=self._where, next="use write-ahead logging there")
        return SourceError(f"it cannot be read: {said or type(error).__name__}", where=self._where, next=f"look at {self._path}")

    def _too_slow(self, timeout: float) -> SourceError:
        next = "give the statement an index, or raise `timeout`"
        return SourceError(f"the statement was stopped after {timeout:g} s", where=self._where, next=next)


class _Query:
    """One query while it runs. `end` is the moment (`time.monotonic()`) at which it has to be over."""

    def __init__(self, sql: str, values: dict[str, Any], limit: int, end: float) -> None:
        self._sql, self._values, self._limit, self.end = sql, values, limit, end
        self.denied = ""
        self._begun = False
        self._columns: tuple[str, ...] = ()

    def late(self) -> bool:
        """Whether its time is over; SQLite asks this all the while and stops where it is."""
        return time.monotonic() >= self.end

    def wait(self, turn: int) -> bool:
        """Whether to go on waiting for a lock."""
        time.sleep(min(0.02, 0.001 * (turn + 1)))
        return not self.late()

    def run(self, connection: apsw.Connection) -> Rows:
        """The rows, with no other statement run."""
        connection.authorizer = self._allow
        cursor = connection.cursor()
        cursor.exec_trace = self._only_one
        try:
            found = []
            for row in cursor.execute(self._sql, self._values):
                found.append(row)
                if len(found) > self._limit:
                    break
                if self.late():
                    raise apsw.InterruptError("interrupted")
            if not self._begun:
                raise SourceError("there is no statement", next="write one SELECT")
        finally:
            cursor.close(True)
            connection.authorizer = None
        return Rows(columns=self._columns, rows=tuple(found[: self._limit]), more=len(found) > self._limit)

    def _only_one(self, cursor: apsw.Cursor, statement: str, values: Any) -> bool:
        """Called before a statement runs, with its text."""
        if _NOTHING.match(statement):  # a comment, or what stands behind the last semicolon
            return True
        if self._begun or not _NOTHING.match(self._sql, self._sql.find(statement) + len(statement)):
            raise SourceError("there is more than one statement", next="write one SELECT")
        self._begun = True
        if cursor.is_explain or not cursor.is_readonly:
            raise SourceError("the statement does more than read", next="write one SELECT")
        self._columns = tuple([str(column[0]) for column in cursor.get_description()])
        return True

    def _allow(self, action: int, first: str | None, second: str | None, database: str | None, inner: str | None) -> int:
        """Asked of everything that a statement would do, before it runs."""
        if action == apsw.SQLITE_PRAGMA and first == "data_version" and second is None and self._begun:
            return apsw.SQLITE_OK  # a full-text table asks it of itself
        if action not in _READS:
            self.denied = str(apsw.mapping_authorizer_function[action]).removeprefix("SQLITE_").replace("_", " ")
        elif action == apsw.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN:
            self.denied = f"the function {second}"
        elif action == apsw.SQLITE_READ and _SCHEMA.fullmatch(first or ""):
            self.denied = f"the table {first}"
        else:
            return apsw.SQLITE_OK
        return apsw.SQLITE_DENY


def _connected(path: str) -> apsw.Connection:
    """A connection that can only read."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
    connection.execute("pragma query_only = 1")
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0)
    for limit, most in _LIMITS.items():
        connection.limit(limit, most)
    return connection
