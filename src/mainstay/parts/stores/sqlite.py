"""SQLite as Mainstay uses it: WAL, one writer connection and one for readers, numbered migrations that only go forward.

All application data goes through apsw and only apsw: two SQLite libraries on one file break its locks. A `Database` must not
be carried over a fork.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import apsw

from mainstay.core.errors import StoreError

log = logging.getLogger("mainstay.stores")
BUSY_MS = 5000
TOGETHER = 8  # rows a statement
DAMAGED = (apsw.NotADBError, apsw.CorruptError, apsw.FormatError, apsw.SQLError)  # it is the file; not its disk, rights or locks


class BrokenFile(StoreError):
    """What is in the file is no database of this program's: something else, damaged, or of a later version."""


class Database:
    """One file, which any thread may read and write: one at a time each.

    `what` names it in errors. With `durable` what was written survives a power cut, otherwise it survives the end of the
    process only. A file that is deleted or replaced while it is open is noticed by the next write, which goes to the file that
    is there now; `opened` counts how often that was. With `path` None it is in memory, and gone when it is closed. Whoever has to
    wait for another process waits for `busy` milliseconds at most.
    """

    def __init__(self, path: Path | None, migrations: Sequence[str], *, what: str, durable: bool, busy: int = BUSY_MS) -> None:
        self._path, self._migrations, self._what, self._busy = path, migrations, what, busy
        self._sync = "full" if durable else "normal"
        self._writing = threading.Lock()
        self._reading = self._writing if path is None else threading.Lock()  # in memory there is one connection
        self._idle: list[apsw.Connection] = []  # of those that `reading` lends
        self.opened = 0
        self._open()

    def _open(self) -> None:
        if self._path is None:
            self._writer = self._reader = apsw.Connection(":memory:")
            migrate(self._writer, self._migrations, where="memory")
        else:
            self._writer = _connect(self._path, self._sync)
            try:
                migrate(self._writer, self._migrations, where=str(self._path))
                self._reader = _connect(self._path, self._sync)
            except StoreError:
                self._writer.close()
                raise
            for db in (self._writer, self._reader):
                db.set_busy_timeout(self._busy)
        self._file = _identity(self._path)
        self.opened += 1

    def select(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises `StoreError`."""
        try:
            with self._reading:
                return self._reader.execute(sql, tuple(values)).fetchall()
        except apsw.Error as error:
            raise _failed(f"the {self._what} cannot be read", error, self._path) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """A connection that sees the file as it is at this moment, and no later write, until the end of the `with`.

        Several threads may have one each; in memory they wait for each other. Raises `StoreError`.
        """
        with contextlib.ExitStack() as stack:
            try:
                if self._path is None:
                    stack.enter_context(self._writing)
                    db = self._writer
                else:
                    if _identity(self._path) not in (None, self._file):
                        with self._writing:
                            self._reopen()
                    opened = self.opened
                    db = self._idle.pop() if self._idle else _connect(self._path, self._sync)
                    stack.callback(lambda: self._idle.append(db) if opened == self.opened else db.close())
                db.execute("begin")
                stack.callback(db.execute, "rollback")
                yield db
            except apsw.Error as error:
                raise _failed(f"the {self._what} cannot be read", error, self._path) from error

    def write(self, work: Callable[[apsw.Connection], None]) -> None:
        """Do this work in one transaction: all of it is kept or nothing. Raises `StoreError` if the file takes nothing."""
        try:
            with self._writing:
                if self._file is None or _identity(self._path) != self._file:
                    self._reopen()
                with _transaction(self._writer):
                    work(self._writer)
        except (apsw.Error, OSError) as error:
            raise _failed(f"the {self._what} takes nothing", error, self._path) from error

    def version(self) -> int:
        """Differs when another connection has written, or the file was replaced. Raises `StoreError` where there is no file."""
        identity = _identity(self._path)
        if identity is None:
            raise StoreError(f"the {self._what} was deleted", where=str(self._path), next="put it back from a backup")
        if identity != self._file:
            with self._writing:
                self._reopen()
        return self.opened << 32 | int(self.select("pragma data_version")[0][0])

    def _reopen(self) -> None:
        log.error("the %s %s was deleted or replaced while open; going on in what is there now", self._what, self._path)
        with self._reading:
            self._file = None  # so that the next write tries again if this one fails
            for db in (self._writer, self._reader, *self._lent()):
                db.close()
            self._open()

    def close(self) -> None:
        """Close both connections."""
        with self._writing:
            self._writer.close()
        with self._reading:
            for db in (self._reader, *self._lent()):
                db.close()

    def _lent(self) -> list[apsw.Connection]:
        """The idle ones of those that `reading` lends, which are then nobody's."""
        idle, self._idle = self._idle, []
        return idle


def insert(db: apsw.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, several with each statement: `insert(db, "insert into t", [(1, "a"), (2, "b")])`.

    SQLite lets go of the interpreter once a statement, and on a busy process waits for it each time for as long as
    `sys.getswitchinterval()`: row by row, the writing thread falls behind at a thousand rows a second.
    """
    if rows:
        values = f"({','.join('?' * len(rows[0]))})"
        whole = len(rows) - len(rows) % TOGETHER
        packs = [tuple(chain.from_iterable(rows[i : i + TOGETHER])) for i in range(0, whole, TOGETHER)]
        db.executemany(f"{into} values {','.join([values] * TOGETHER)}", packs)
        db.executemany(f"{into} values {values}", rows[whole:])


def _connect(path: Path, sync: str) -> apsw.Connection:
    """A connection in WAL mode. Raises `StoreError` with the file's name. What is made here is for this user alone."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        db = apsw.Connection(str(path))
        db.set_busy_timeout(BUSY_MS)
        _to_wal(db)
        db.execute(f"pragma synchronous={sync}")
    except (apsw.Error, OSError) as error:
        raise _failed("the database cannot be opened", error, path) from error
    return db


def _to_wal(db: apsw.Connection) -> None:
    """Change a file to WAL. Where another process does so at this moment, SQLite says "busy" at once, and does not wait."""
    end = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            db.execute("pragma journal_mode=wal")
            return
        except apsw.BusyError:
            if time.monotonic() > end:
                raise
            time.sleep(0.005)


def _failed(what: str, error: Exception, path: Path | str | None) -> StoreError:
    """The error of ours for one of SQLite's or of the disk's."""
    kind = BrokenFile if isinstance(error, DAMAGED) else StoreError
    return kind(f"{what}: {error}", where=str(path or "memory"), next="mainstay doctor")


def set_aside(path: Path) -> Path:
    """Give a database that nobody can use another name, in the place of what had it before; gives that name."""
    aside = path.with_name(f"{path.name}.broken")
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):  # another process may have been faster
            Path(f"{path}{suffix}").replace(f"{aside}{suffix}")
    return aside


@contextlib.contextmanager
def _transaction(db: apsw.Connection) -> Iterator[None]:
    """All or nothing. The write lock is taken at the start, where SQLite waits for it."""
    db.execute("begin immediate")
    try:
        yield
        db.execute("commit")
    finally:
        if db.in_transaction:
            db.execute("rollback")


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Which file stands at that path now; None where there is none."""
    if path is None:
        return 0, 0
    with contextlib.suppress(FileNotFoundError):
        stat = path.stat()
        return stat.st_dev, stat.st_ino
    return None


def migrate(db: apsw.Connection, migrations: Sequence[str], *, where: str) -> None:
    """Bring a file up to date. A file of a later version is refused, never guessed at."""
    try:
        if _version(db, migrations, where) == len(migrations):
            return
        with _transaction(db):
            version = _version(db, migrations, where)  # another process may have been faster
            for number, statements in enumerate(migrations[version:], version + 1):
                db.execute(statements)
                db.execute(f"pragma user_version={number}")
    except apsw.Error as error:
        raise _failed("the database cannot be migrated", error, where) from error


def _version(db: apsw.Connection, migrations: Sequence[str], where: str) -> int:
    found: Any = db.execute("pragma user_version").fetchall()[0][0]
    version = int(found)
    if version > len(migrations):
        raise BrokenFile(
            f"the file is of version {version}, this program knows {len(migrations)}",
            where=where,
            next="pip install --upgrade mainstay",
        )
    return version
