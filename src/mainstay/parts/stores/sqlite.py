"""SQLite as Mainstay uses it: WAL, one writer connection and one for readers, numbered migrations that only go forward.

All application data goes through apsw and only apsw: two SQLite libraries on one file break its locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from mainstay.core.errors import StoreError

BUSY_MS = 5000


def connect(path: Path) -> apsw.Connection:
    """A connection in WAL mode. Raises `StoreError` with the file's name."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = apsw.Connection(str(path))
        db.set_busy_timeout(BUSY_MS)
        db.execute("pragma journal_mode=wal; pragma synchronous=normal")
    except (apsw.Error, OSError) as error:
        raise StoreError(f"the database cannot be opened: {error}", where=str(path), next="mainstay doctor") from error
    return db


def select(db: apsw.Connection, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return db.execute(sql, tuple(values)).fetchall()


def migrate(db: apsw.Connection, migrations: Sequence[str], *, where: str) -> None:
    """Bring a file up to date. A file of a later version is refused, never guessed at."""
    try:
        db.execute("begin immediate")
        version: int = select(db, "pragma user_version")[0][0]
        if version > len(migrations):
            raise StoreError(
                f"the file is of version {version}, this program knows {len(migrations)}",
                where=where,
                next="pip install --upgrade mainstay",
            )
        for number, statements in enumerate(migrations[version:], version + 1):
            db.execute(statements)
            db.execute(f"pragma user_version={number}")
        db.execute("commit")
    except apsw.Error as error:
        raise StoreError(f"the database cannot be migrated: {error}", where=where, next="mainstay doctor") from error
    finally:
        if db.in_transaction:
            db.execute("rollback")
