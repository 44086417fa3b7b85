"""The ledger on SQLite: records and scores in one file.

A record is two blobs, the bytes of its halves as the spool holds them, beside the few columns that are searched. Old records
stay readable for ever: fields are only ever added to the types.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import apsw
import msgspec

from mainstay.core.errors import BadRequest, StoreError
from mainstay.core.record import Begun, Outcome, Record, Score
from mainstay.core.seams import LedgerRow
from mainstay.parts.stores.sqlite import connect, migrate, select

MIGRATIONS = [
    """
    create table records(
        id text primary key, at real, feature text, tenant text, origin text, release text,
        status text, reason text, rung text, took_us integer, cost_nano_usd integer,
        begun blob, sealed blob
    );
    create index records_by_time on records(at);
    create table scores(
        id text primary key, record text, at real, name text, body blob
    );
    create index scores_by_record on scores(record, at);
    """,
]
_INSERT_RECORD = f"insert or ignore into records values({','.join('?' * 13)})"
_INSERT_SCORE = "insert or ignore into scores values(?,?,?,?,?)"
COLUMNS = ("feature", "tenant", "origin", "release", "status", "reason", "rung")


class _Call(msgspec.Struct):
    feature: str
    tenant: str = "default"
    origin: str = "user"


class _Begun(msgspec.Struct):
    """The columns that come from the first half."""

    at: float
    release: str
    call: _Call


class _Answer(msgspec.Struct):
    status: str
    reason: str | None = None
    rung: str | None = None


class _Sealed(msgspec.Struct):
    """The columns that come from the second half."""

    answer: _Answer
    took_us: int
    cost_nano_usd: int | None = None


class _Score(msgspec.Struct):
    record: str
    at: float
    name: str


_read_begun = msgspec.json.Decoder(_Begun).decode
_read_sealed = msgspec.json.Decoder(_Sealed).decode
_read_score = msgspec.json.Decoder(_Score).decode
_whole_begun = msgspec.json.Decoder(Begun).decode
_whole_outcome = msgspec.json.Decoder(Outcome).decode
_whole_score = msgspec.json.Decoder(Score).decode


class SqliteLedger:
    """Records and scores in one SQLite file. One thread writes, one reads."""

    def __init__(self, path: Path) -> None:
        self._where = str(path)
        self._writer, self._reader = connect(path), connect(path)
        migrate(self._writer, MIGRATIONS, where=self._where)

    def write(self, rows: Iterable[LedgerRow]) -> None:
        rows = list(rows)
        records = [_record_row(row) for row in rows if row.sealed]
        scores = [_score_row(row) for row in rows if row.score]
        try:
            with self._writer:
                self._writer.executemany(_INSERT_RECORD, records)
                self._writer.executemany(_INSERT_SCORE, scores)
        except apsw.Error as error:
            raise StoreError(f"the ledger takes no records: {error}", where=self._where, next="mainstay doctor") from error

    def record(self, id: str) -> Record | None:
        found = self._select("select begun, sealed from records where id=?", (id,))
        return _record(*found[0]) if found else None

    def records(self, *, where: Mapping[str, Any], limit: int) -> list[Record]:
        for column in where:
            if column not in COLUMNS:
                raise BadRequest(f"records have no column `{column}`; known: {', '.join(COLUMNS)}", param=column)
        conditions = "".join(f" and {column}=?" for column in where)
        found = self._select(
            f"select begun, sealed from records where true{conditions} order by at desc limit ?",  # noqa: S608  columns are checked
            (*where.values(), limit),
        )
        return [_record(*row) for row in found]

    def scores(self, record: str) -> list[Score]:
        return [_whole_score(row[0]) for row in self._select("select body from scores where record=? order by at, id", (record,))]

    def close(self) -> None:
        """Close both connections."""
        self._reader.close()
        self._writer.close()

    def _select(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            return select(self._reader, sql, values)
        except apsw.Error as error:
            raise StoreError(f"the ledger cannot be read: {error}", where=self._where, next="mainstay doctor") from error


def _record_row(row: LedgerRow) -> tuple[Any, ...]:
    b, s = _read_begun(row.begun), _read_sealed(row.sealed)
    return (
        *(row.id, b.at, b.call.feature, b.call.tenant, b.call.origin, b.release),
        *(s.answer.status, s.answer.reason, s.answer.rung, s.took_us, s.cost_nano_usd, row.begun, row.sealed),
    )


def _score_row(row: LedgerRow) -> tuple[Any, ...]:
    s = _read_score(row.score)
    return row.id, s.record, s.at, s.name, row.score


def _record(begun: bytes, sealed: bytes) -> Record:
    return Record(begun=_whole_begun(begun), outcome=_whole_outcome(sealed))
