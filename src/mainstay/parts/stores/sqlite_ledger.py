"""The ledger on SQLite: records and scores in one file.

A record is two blobs, the bytes of its halves as the spool holds them, beside the few columns that are searched. Old records
stay readable for ever: fields are only ever added to the types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from mainstay.core.errors import StoreError
from mainstay.core.later import later
from mainstay.core.record import Begun, Outcome, Record, Score, check_search
from mainstay.core.seams import LedgerRow
from mainstay.parts.stores.sqlite import Database, insert

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
    """
    alter table records add column cohort text;
    create index records_by_cohort on records(cohort) where cohort is not null;
    """,
]
COLUMNS = "id, at, feature, tenant, origin, release, status, reason, rung, took_us, cost_nano_usd, begun, sealed, cohort"
MOST = 1_000_000  # records given at once, whatever is asked for
LARGEST = 2**63 - 1  # that SQLite can count to; the blob holds the true figure
T = TypeVar("T")


class _Call(msgspec.Struct):
    feature: str
    tenant: str = "default"
    origin: str = "user"
    cohort: str | None = None


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
_whole_begun = later(lambda: msgspec.json.Decoder(Begun))
_whole_outcome = later(lambda: msgspec.json.Decoder(Outcome))
_whole_score = later(lambda: msgspec.json.Decoder(Score))


class SqliteLedger:
    """Records and scores in one SQLite file. Any thread may write and read."""

    def __init__(self, path: Path) -> None:
        self._where = str(path)
        self._database = Database(path, MIGRATIONS, what="ledger", durable=True)

    def write(self, rows: Iterable[LedgerRow]) -> None:
        records, scores = [], []
        for row in rows:
            if row.score:
                scores.append(_score_row(row))
            else:
                records.append(_record_row(row))
        if not records and not scores:
            return

        def work(db: apsw.Connection) -> None:
            insert(db, f"insert or ignore into records({COLUMNS})", records)
            insert(db, "insert or ignore into scores", scores)

        self._database.write(work)

    def record(self, id: str) -> Record | None:
        found = self._database.select("select begun, sealed from records where id=?", (id,))
        return self._record(*found[0]) if found else None

    def records(self, *, where: Mapping[str, Any], limit: int) -> list[Record]:
        check_search(where, limit)
        conditions = "".join(f" and {column} is ?" for column in where)
        found = self._database.select(
            f"select begun, sealed from records where true{conditions} order by at desc, id desc limit ?",  # noqa: S608  columns are checked
            (*where.values(), max(0, min(limit, MOST))),
        )
        return [self._record(*row) for row in found]

    def scores(self, record: str) -> list[Score]:
        found = self._database.select("select body from scores where record=? order by at, id", (record,))
        return [self._decoded(_whole_score.decode, row[0]) for row in found]

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _record(self, begun: bytes, sealed: bytes) -> Record:
        return Record(begun=self._decoded(_whole_begun.decode, begun), outcome=self._decoded(_whole_outcome.decode, sealed))

    def _decoded(self, decode: Callable[[bytes], T], blob: bytes) -> T:
        try:
            return decode(blob)
        except msgspec.DecodeError as error:
            raise StoreError(
                f"a record was written by another version: {error}", where=self._where, next="pip install --upgrade mainstay"
            ) from error


def _record_row(row: LedgerRow) -> tuple[Any, ...]:
    b, s = _read_begun(row.begun), _read_sealed(row.sealed)
    call, answer = b.call, s.answer
    return (
        row.id,
        b.at,
        call.feature,
        call.tenant,
        call.origin,
        b.release,
        answer.status,
        answer.reason,
        answer.rung,
        s.took_us,
        s.cost_nano_usd if s.cost_nano_usd is None else min(s.cost_nano_usd, LARGEST),
        row.begun,
        row.sealed,
        call.cohort,
    )


def _score_row(row: LedgerRow) -> tuple[Any, ...]:
    s = _read_score(row.score)
    return row.id, s.record, s.at, s.name, row.score
