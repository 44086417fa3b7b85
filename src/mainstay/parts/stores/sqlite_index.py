"""The passages of one source in SQLite: kept in one file, or in memory, and found by their words.

One `write` is one transaction: who reads sees all of it or nothing. Another process notices a new version by SQLite's
`data_version`, which is asked at every search and costs microseconds.

A passage is seen by its document's audience: the tenants and roles that the entry names.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apsw
import msgspec

from mainstay.core.errors import StoreError
from mainstay.core.evidence import Passage, Viewer
from mainstay.core.seams import Entry
from mainstay.parts.fulltext import FullText
from mainstay.parts.stores.sqlite import Database

MIGRATIONS = [
    """
    create table about(name text primary key, value text not null) without rowid;
    create table audiences(number integer primary key, tenants text not null, roles text not null, unique(tenants, roles));
    create table documents(
        number integer primary key, document text unique not null, digest text not null, fault text not null,
        audience integer not null
    );
    create table passages(
        number integer primary key, id text unique not null, document integer not null, audience integer not null,
        passage blob not null, vector blob not null
    );
    create index passages_by_document on passages(document);
    """
]
_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode = msgspec.json.Decoder(Passage).decode


class SqliteIndex:
    """An index in one file. Any thread may use it."""

    def __init__(self, path: Path | str) -> None:
        file = None if str(path) == ":memory:" else Path(path)
        self._database = Database(file, MIGRATIONS, what="index", durable=True)
        self._lock = threading.Lock()
        self._seen: int | None = None
        self._about: dict[str, str] = {}
        self._audiences: list[tuple[int, tuple[str, ...], tuple[str, ...]]] = []
        self._texts: dict[tuple[int, ...], FullText] = {}

    @property
    def version(self) -> str:
        """Changes whenever the content does."""
        return self._state().get("version", "empty")

    @property
    def embedder(self) -> str:
        """The name of the embedder that its vectors are from; empty where it has none."""
        return self._state().get("embedder", "")

    def digests(self) -> dict[str, str]:
        """The digest of every document that it holds."""
        rows: list[Any] = self._database.select("select document, digest from documents")
        return dict(rows)

    def faults(self) -> dict[str, str]:
        """Why documents could not be read the last time, by document."""
        rows: list[Any] = self._database.select("select document, fault from documents where fault<>'' order by document")
        return dict(rows)

    def entry(self, document: str) -> Entry | None:
        """All that it holds of a document; None where it holds nothing of it."""
        about = (
            "select documents.number, digest, fault, tenants, roles from documents join audiences on audience=audiences.number"
        )
        for number, digest, fault, tenants, roles in self._database.select(f"{about} where document=?", (document,)):
            held = self._database.select("select passage, vector from passages where document=? order by number", (number,))
            vectors: tuple[Any, ...] = tuple([vector for _, vector in held])
            return Entry(
                document=document,
                digest=str(digest),
                passages=tuple([_decode(passage) for passage, _ in held]),
                vectors=vectors if any(vectors) else (),
                tenants=tuple(msgspec.json.decode(tenants)),
                roles=tuple(msgspec.json.decode(roles)),
                fault=str(fault),
            )
        return None

    def write(self, entries: Iterable[Entry], *, gone: Iterable[str] = (), embedder: str = "") -> None:
        """Put these in the place of what it held of their documents, and take away those that are gone: all in one step."""

        def work(db: apsw.Connection) -> None:
            for document in gone:
                _remove(db, document)
            for entry in entries:
                _remove(db, entry.document)
                _add(db, entry)
            rows: list[Any] = db.execute(
                "select document, digest, fault, tenants, roles from documents join audiences on audience=audiences.number"
                " order by document"
            ).fetchall()
            version = hashlib.sha256(msgspec.json.encode([embedder, rows])).hexdigest()[:16]
            db.execute("insert or replace into about values('version', ?), ('embedder', ?)", (version, embedder))

        self._database.write(work)
        self._seen = None

    def search(self, query: str, vector: bytes, *, limit: int, viewer: Viewer) -> list[Passage]:
        """The passages that answer the query, best first."""
        self._state()
        seen = tuple([number for number, tenants, roles in self._audiences if _sees(viewer, tenants, roles)])
        with self._lock:
            texts = self._texts.get(seen)
            if texts is None:
                texts = self._texts[seen] = FullText()
                rows = self._database.select("select audience, passage from passages order by number")
                texts.add(_decode(body) for audience, body in rows if audience in seen)
            return texts._search(query, limit)

    def passage(self, id: str, *, viewer: Viewer) -> Passage | None:
        """The passage with that id, if this viewer may see it."""
        self._state()
        rows = self._database.select("select passage, audience from passages where id=?", (id,))
        for body, audience in rows:
            for number, tenants, roles in self._audiences:
                if number == audience and _sees(viewer, tenants, roles):
                    return _decode(body)
        return None

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _state(self) -> dict[str, str]:
        version = self._database.version()
        if version != self._seen:
            with self._lock:
                self._about = dict(self._database.select("select name, value from about"))
                rows = self._database.select("select number, tenants, roles from audiences")
                self._audiences = [(n, tuple(msgspec.json.decode(t)), tuple(msgspec.json.decode(r))) for n, t, r in rows]
                self._texts.clear()
                self._seen = version
        return self._about


def _sees(viewer: Viewer, tenants: tuple[str, ...], roles: tuple[str, ...]) -> bool:
    return (not tenants or viewer.tenant in tenants) and (not roles or not set(roles).isdisjoint(viewer.roles))


def _remove(db: apsw.Connection, document: str) -> None:
    for (number,) in db.execute("select number from documents where document=?", (document,)).fetchall():
        db.execute("delete from passages where document=?", (number,))
        db.execute("delete from documents where number=?", (number,))


def _add(db: apsw.Connection, entry: Entry) -> None:
    names = [msgspec.json.encode(sorted(set(names))).decode() for names in (entry.tenants, entry.roles)]
    db.execute("insert or ignore into audiences(tenants, roles) values(?, ?)", names)
    audience: Any = db.execute("select number from audiences where tenants=? and roles=?", names).fetchall()[0][0]
    db.execute(
        "insert into documents(document, digest, fault, audience) values(?, ?, ?, ?)",
        (entry.document, entry.digest, entry.fault, audience),
    )
    document = db.last_insert_rowid()
    vectors = entry.vectors or (b"",) * len(entry.passages)
    if len(vectors) != len(entry.passages):
        raise StoreError(f"{len(entry.passages)} passages have {len(vectors)} vectors", where=entry.document)
    db.executemany(
        "insert into passages(id, document, audience, passage, vector) values(?, ?, ?, ?, ?)",
        [(p.id, document, audience, _encode(p), vector) for p, vector in zip(entry.passages, vectors, strict=True)],
    )
