"""Releases, reports and the chain of changes in one SQLite file, beside the ledger.

The chain is the only truth about what is served: a change is added in one transaction that reads the state it follows, so two
processes never add two that exclude each other. Other processes see it by SQLite's `data_version`, which costs microseconds.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from mainstay.core.errors import StoreError
from mainstay.core.later import later
from mainstay.core.release import Attestation, Change, Link, Release, State, fold
from mainstay.core.report import Report
from mainstay.core.seams import Evidenced
from mainstay.parts.stores.sqlite import Database, insert

MIGRATIONS = [
    """
    create table releases(digest text, feature text, at real, body blob, primary key(feature, digest));
    create table reports(id text primary key, feature text, release text, kind text, outcome text, at real, seal text, body blob);
    create index reports_by_feature on reports(feature, at);
    create table attestations(id text primary key, feature text, kind text, at real, body blob);
    create table changes(number integer primary key, body blob);
    create table leases(name text primary key, holder text, until real);
    """,
]
T = TypeVar("T")
_link = msgspec.json.Decoder(Link).decode
_release = later(lambda: msgspec.msgpack.Decoder(Release))
_report = later(lambda: msgspec.json.Decoder(Report))
_attestation = later(lambda: msgspec.json.Decoder(Attestation))
_encode = msgspec.json.Encoder(enc_hook=str).encode


def _report_in(body: bytes) -> Report:
    return _report.decode(zlib.decompress(body))


class SqliteReleases:
    """The store. Any thread may use it."""

    def __init__(self, path: Path) -> None:
        self._where = str(path)
        self._database = Database(path, MIGRATIONS, what="store of releases", durable=True)

    # What is frozen

    def keep(self, release: Release) -> None:
        """Keep a release. Keeping it twice changes nothing."""
        body = msgspec.msgpack.encode(release)

        def work(db: apsw.Connection) -> None:
            row = (release.digest, release.feature, release.at, body)
            db.execute("insert or ignore into releases values(?,?,?,?)", row)

        self._database.write(work)

    def release(self, feature: str, digest: str) -> Release | None:
        """The release with that digest, or with the only digest that begins so."""
        found = self._database.select(
            "select body from releases where feature=? and substr(digest, 1, ?)=? limit 2", (feature, len(digest), digest)
        )
        return self._read(_release.decode, found[0][0]) if len(found) == 1 else None

    def releases(self, feature: str) -> list[Release]:
        """All releases of a feature, the newest first."""
        found = self._database.select("select body from releases where feature=? order by at desc", (feature,))
        return [self._read(_release.decode, row[0]) for row in found]

    # What was found

    def keep_report(self, report: Report, kind: str) -> str:
        """Keep a report under its kind (`gate`, `eval`, `check`, …); gives the seal over what was kept."""
        body = zlib.compress(_encode(report), 3)
        seal, outcome = hashlib.sha256(body).hexdigest(), report.ruling.outcome if report.ruling else ""

        def work(db: apsw.Connection) -> None:
            row = (report.id, report.feature, report.candidate.release, kind, outcome, report.at, seal, body)
            db.execute("insert into reports values(?,?,?,?,?,?,?,?)", row)

        self._database.write(work)
        return seal

    def report(self, id: str) -> Report | None:
        """A report by its id."""
        found = self._database.select("select body from reports where id=?", (id,))
        return self._read(_report_in, found[0][0]) if found else None

    def evidence(self, id: str) -> Evidenced | None:
        """What a report is evidence for, read from the report itself: no column beside it is believed."""
        found = self._database.select("select body from reports where id=?", (id,))
        if not found:
            return None
        body: bytes = found[0][0]
        report = self._read(_report_in, body)
        outcome = report.ruling.outcome if report.ruling else None
        return Evidenced(
            report=report.id,
            feature=report.feature,
            release=report.candidate.release,
            outcome=outcome,
            at=report.at,
            seal=hashlib.sha256(body).hexdigest(),
        )

    def reports(self, feature: str, *, kind: str | None = None, limit: int = 20) -> list[str]:
        """The ids of the newest reports of a feature, of one kind or of all."""
        found = self._database.select(
            "select id from reports where feature=? and (? is null or kind=?) order by at desc limit ?",
            (feature, kind, kind, limit),
        )
        return [row[0] for row in found]

    def attest(self, attestation: Attestation) -> None:
        """Keep evidence that is no report."""
        row = (attestation.id, attestation.feature, attestation.kind, attestation.at, _encode(attestation))
        self._database.write(lambda db: insert(db, "insert or ignore into attestations", [row]))

    def attestation(self, id: str) -> Attestation | None:
        """Evidence that is no report, by its id."""
        found = self._database.select("select body from attestations where id=?", (id,))
        return self._read(_attestation.decode, found[0][0]) if found else None

    def attestations(self, feature: str, kind: str, *, limit: int = 20) -> list[Attestation]:
        """The newest evidence of that kind for a feature."""
        found = self._database.select(
            "select body from attestations where feature=? and kind=? order by at desc limit ?", (feature, kind, limit)
        )
        return [self._read(_attestation.decode, row[0]) for row in found]

    # What is served

    def links(self, after: int = 0) -> list[Link]:
        """The changes after the one with that number, in order."""
        found = self._database.select("select body from changes where number>? order by number", (after,))
        return [self._read(_link, row[0]) for row in found]

    def add(self, feature: str, change: Change, *, who: str, check: Callable[[State], None] = lambda state: None) -> Link:
        """Make a change. `check` sees the state that it follows, and raises where the change must not be made."""
        added: list[Link] = []

        def work(db: apsw.Connection) -> None:
            rows: list[tuple[Any, ...]] = db.execute("select body from changes order by number").fetchall()
            state = fold([self._read(_link, row[0]) for row in rows])
            check(state)
            link = Link(
                number=state.number + 1, at=time.time(), who=who, feature=feature, change=change, before=state.head
            ).sealed()
            db.execute("insert into changes values(?,?)", (link.number, msgspec.json.encode(link)))
            added.append(link)

        self._database.write(work)
        return added[0]

    def version(self) -> int:
        """A number that differs when another connection has written. Raises `StoreError` where the file is gone."""
        return self._database.version()

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Whether this holder has, or now takes, the lease of that name for so long. One that ends later than any lease that
        begins now was taken before the clock was set back, and counts for nothing.
        """
        self.version()  # a file that is gone is not made anew for this
        taken: list[bool] = []

        def work(db: apsw.Connection) -> None:
            now = time.time()
            db.execute(
                "insert into leases values(?,?,?) on conflict(name) do update set holder=excluded.holder, until=excluded.until"
                " where holder=excluded.holder or until<? or until>?",
                (name, holder, now + seconds, now, now + seconds),
            )
            taken.append(bool(db.changes()))

        self._database.write(work)
        return taken[0]

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _read(self, decode: Callable[[bytes], T], blob: bytes) -> T:
        try:
            return decode(blob)
        except (msgspec.DecodeError, UnicodeDecodeError, zlib.error) as error:
            what = f"a release, report or change was damaged, or written by another version: {error}"
            raise StoreError(what, where=self._where, next="mainstay audit verify") from error
