"""The passages of one source in SQLite: kept in one file, or in memory, and found by their words and by their vectors.

One `write` is one transaction: who reads sees all of it or nothing, and reads on while it is written. What another process wrote
is noticed at the next search.

A document is seen by its audience: the tenants and roles that its entry names. For every term there is a list of the passages
that have it, one an audience, and a search reads the lists of the audiences that its viewer belongs to and no others. So limits,
ranks, and how rare a word is, are those of what the viewer may see; what is hidden leaves no trace in a result or its score.

Limits: a term's list is written anew when a document that has it changes. That is made for some hundred thousand passages.
"""

from __future__ import annotations

import hashlib
import math
import threading
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import apsw
import msgspec
from msgspec import Struct

from mainstay.core.errors import StoreError
from mainstay.core.evidence import Passage, Viewer
from mainstay.core.seams import Entry
from mainstay.parts.ranking import LOOKED_AT, NEAR, Candidate, Ranking
from mainstay.parts.stores.postings import Postings, best, summed
from mainstay.parts.stores.sqlite import Database
from mainstay.parts.stores.vectors import Likeness, Vectors
from mainstay.parts.terms import Style, analysed, asked

MIGRATIONS = [
    """
    create table about(name text primary key, value text not null) without rowid;
    create table audiences(number integer primary key, tenants text not null, roles text not null, unique(tenants, roles));
    create table documents(
        number integer primary key, document text unique not null, digest text not null, fault text not null,
        audience integer not null
    );
    create table passages(
        number integer primary key, id text unique not null, document integer not null, place integer not null,
        audience integer not null, style text not null, passage blob not null
    );
    create index passages_by_document on passages(document);
    create index passages_by_audience on passages(audience, style);
    create table lines(number integer primary key, section text not null, lines text not null, terms text not null);
    create table postings(term text not null, audience integer not null, numbers blob not null, impacts blob not null,
        primary key(term, audience));
    create table vectors(number integer primary key, audience integer not null, vector blob not null);
    create index vectors_by_audience on vectors(audience);
    """
]
CANDIDATES = 30  # passages that are ranked: those that share most words
NEAREST, TOGETHER = 15, 40  # and with vectors those that are nearest, and the best by words and vectors together
MORE = 10  # of each at least beyond those that are wanted
POSTINGS = 15_000  # that a search adds up at most; the commonest of a question's terms are left out before
LENGTH = 90  # terms of a usual passage
_encode = msgspec.json.Encoder(enc_hook=str).encode
_decode = msgspec.json.Decoder(Passage).decode


class Audience(Struct, frozen=True):
    """For whom documents are."""

    number: int
    tenants: frozenset[str]
    roles: frozenset[str]
    passages: int
    styles: frozenset[Style]

    def includes(self, viewer: Viewer) -> bool:
        """Whether the viewer is one of them: of its tenants, if it names any, and in one of its roles, if it names any."""
        fits = not self.tenants or viewer.tenant in self.tenants
        return fits and (not self.roles or not self.roles.isdisjoint(viewer.roles))


class Ranked(Struct, frozen=True):
    """The passages that have most to do with a query, best first, each with its relevance as a share of the best one's; and
    whether any of the first is evidence.
    """

    passages: tuple[tuple[float, Passage], ...]
    evidence: bool


class Contents(Struct, frozen=True, kw_only=True):
    """What an index holds since a write, as far as it is kept in memory; `vectors` counts each audience's."""

    generation: int = -1
    version: str = ""
    embedder: str = ""
    audiences: tuple[Audience, ...] = ()
    vectors: dict[int, int] = {}


class SqliteIndex:
    """An index in one file. Any thread may use it."""

    def __init__(self, path: Path | str) -> None:
        file = None if str(path) == ":memory:" else Path(path)
        self._database = Database(file, MIGRATIONS, what="index", durable=True)
        self._contents = Contents()
        self._vectors: tuple[int, Vectors] | None = None
        self._loading = threading.Lock()

    @property
    def version(self) -> str:
        """Changes whenever the content does, and is the same for the same content."""
        with self._database.reading() as db:
            return self._now(db).version

    @property
    def embedder(self) -> str:
        """The name of the embedder that its vectors are from; empty where it has none."""
        with self._database.reading() as db:
            return self._now(db).embedder

    def digests(self) -> dict[str, str]:
        """The digest of every document that it holds."""
        with self._database.reading() as db:
            return dict(_rows(db, "select document, digest from documents"))

    def faults(self) -> dict[str, str]:
        """Why documents could not be read the last time, by document."""
        with self._database.reading() as db:
            return dict(_rows(db, "select document, fault from documents where fault<>'' order by document"))

    def entry(self, document: str) -> Entry | None:
        """All that it holds of a document; None where it holds nothing of it."""
        about = (
            "select documents.number, digest, fault, tenants, roles from documents join audiences on audience=audiences.number"
        )
        held = "select passage, vector from passages left join vectors using(number) where document=? order by place"
        with self._database.reading() as db:
            for number, digest, fault, tenants, roles in _rows(db, f"{about} where document=?", (_text(document),)):
                rows = _rows(db, held, (number,))
                vectors = tuple([vector for _, vector in rows if vector])
                return Entry(
                    document=document,
                    digest=digest,
                    passages=tuple([_decode(passage) for passage, _ in rows]),
                    vectors=vectors if len(vectors) == len(rows) else (),
                    tenants=tuple(msgspec.json.decode(tenants)),
                    roles=tuple(msgspec.json.decode(roles)),
                    fault=fault,
                )
        return None

    def write(self, entries: Iterable[Entry], *, gone: Iterable[str] = (), embedder: str = "") -> None:
        """Put these in the place of what it held of their documents, and take away those that are gone: all in one step."""
        self._database.write(lambda db: _Writing(db).all(entries, gone, embedder))

    def search(self, query: str, vector: bytes, *, limit: int, viewer: Viewer) -> list[Passage]:
        """The passages that answer, best first, at most one a section; `score` is the share of the question they cover.

        None at all where none of the first is evidence, which words decide: a vector that is near says what a passage is about,
        and not that it answers.
        """
        found = self.ranked(query, vector, limit=limit, viewer=viewer)
        return [passage for relevance, passage in found.passages if relevance >= NEAR] if found.evidence else []

    def ranked(self, query: str, vector: bytes, *, limit: int, viewer: Viewer) -> Ranked:
        """What `search` chooses from."""
        with self._database.reading() as db:
            contents = self._now(db)
            seen = [audience for audience in contents.audiences if audience.includes(viewer)]
            search = _Search(db, query, seen)
            if vector and contents.vectors:
                search.near = self._vectors_of(db, contents).likeness(vector, [audience.number for audience in seen])
            return search.found(limit)

    def passage(self, id: str, *, viewer: Viewer) -> Passage | None:
        """The passage with that id, if this viewer may see it."""
        with self._database.reading() as db:
            seen = {audience.number for audience in self._now(db).audiences if audience.includes(viewer)}
            rows = _rows(db, "select passage, audience from passages where id=?", (_text(id),))
            return next((_decode(body) for body, audience in rows if audience in seen), None)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _now(self, db: apsw.Connection) -> Contents:
        """What it holds at this moment, read anew if it was written since."""
        about = dict(_rows(db, "select name, value from about"))
        generation = int(about.get("generation", 0))
        contents = self._contents
        if contents.generation != generation:
            sizes: Counter[int] = Counter()
            styles: defaultdict[int, set[Style]] = defaultdict(set)
            for audience, style, count in _rows(db, "select audience, style, count(*) from passages group by 1, 2"):
                sizes[audience] += count
                styles[audience].add(style)
            contents = self._contents = Contents(
                generation=generation,
                version=about.get("version", "empty"),
                embedder=about.get("embedder", ""),
                audiences=tuple(
                    [
                        Audience(
                            n,
                            frozenset(msgspec.json.decode(t)),
                            frozenset(msgspec.json.decode(r)),
                            sizes[n],
                            frozenset(styles[n]),
                        )
                        for n, t, r in _rows(db, "select number, tenants, roles from audiences")
                        if sizes[n]
                    ]
                ),
                vectors=dict(_rows(db, "select audience, count(*) from vectors group by 1")),
            )
        return contents

    def _vectors_of(self, db: apsw.Connection, contents: Contents) -> Vectors:
        """The vectors as they are at this moment."""
        with self._loading:
            if self._vectors is None or self._vectors[0] != contents.generation:
                self._vectors = None  # two generations at once would take twice the memory
                rows = db.execute("select audience, number, vector from vectors order by audience, number")
                self._vectors = contents.generation, Vectors(cast(Any, rows), contents.vectors)
            return self._vectors[1]


class _Search:
    """One search, of what these audiences may see; `near` says how near passages are by their vectors, where they are known."""

    def __init__(self, db: apsw.Connection, query: str, seen: Sequence[Audience]) -> None:
        self._db = db
        self._audiences = [audience.number for audience in seen]
        self._size = sum(audience.passages for audience in seen)
        self._question = asked(query, {style for audience in seen for style in audience.styles} or {"stems"})
        self._terms = {unit.term for unit in self._question.units}
        self._known: dict[str, int] = {}  # terms whose frequency was looked up, with those that stand nowhere
        self._sections: dict[int, str] = {}  # of each candidate
        self.near: Likeness | None = None

    def found(self, limit: int) -> Ranked:
        """The best passages, and whether any of them is evidence."""
        candidates = self._candidates(limit + MORE)
        terms = self._terms
        headings = [set(candidate.lines[0].split()) for candidate in candidates]
        known = self._frequencies(terms.union(*[heading for heading in headings if not heading.isdisjoint(terms)]))
        ranking = Ranking(self._question, known, self._size)
        ranked = sorted(
            zip(ranking.relevance(candidates), candidates, strict=True), key=lambda entry: (-entry[0], entry[1].number)
        )
        best: dict[str, tuple[float, Candidate]] = {}
        for relevance, candidate in ranked:
            best.setdefault(self._sections[candidate.number], (relevance, candidate))
        first = list(best.values())
        passages = self._passages([candidate.number for _, candidate in first[:limit]])
        evidence = any(ranking.answers(candidate.lines) for _, candidate in first[:LOOKED_AT])
        most = max((relevance for relevance, _ in first), default=0.0) or 1.0  # of a question without words all have none
        scored = [
            (relevance / most, msgspec.structs.replace(passages[n], score=round(ranking.covered(candidate.lines), 4)))
            for relevance, candidate in first[:limit]
            for n in [candidate.number]
        ]
        return Ranked(tuple(scored), evidence)

    def _candidates(self, least: int) -> list[Candidate]:
        """The passages that share most with the question, the rarer the term the more (BM25), those that are nearest, and those
        that are best by both together.
        """
        lists, near = self._lists(), dict[int, float]()
        if self.near is None:
            sums = summed(lists)
            numbers = best(sums, max(CANDIDATES, least))
            highest = sums[numbers[0]] if numbers else 1.0
            shares = {number: sums[number] / highest for number in numbers}
        else:
            words, nearest, both = [max(usual, least) for usual in (CANDIDATES, NEAREST, TOGETHER)]
            shares, near = self.near.joined(lists, words=words, near=nearest, both=both)
            numbers = list(shares)
        sql = "select number, section, lines from lines where number in (select value from json_each(?))"
        rows = _rows(self._db, sql, (_array(numbers),))
        self._sections = {number: section for number, section, _ in rows}
        lines = {number: text for number, _, text in rows}
        return [Candidate(n, shares[n], near.get(n, 0.0), tuple(lines[n].split("\n"))) for n in numbers]

    def _lists(self) -> list[Postings]:
        """The lists of the question's terms, the rarest first: of all, or of the rarest that may be added up."""
        chosen: dict[str, float] = {}
        left = POSTINGS
        for size, term in sorted((size, term) for term, size in self._frequencies(self._terms).items()):
            left -= size
            if left < 0 and chosen:
                break
            chosen[term] = math.log(1 + (self._size - size + 0.5) / (size + 0.5))
        sql = (
            "select term, numbers, impacts from postings where term in (select value from json_each(?1))"
            " and audience in (select value from json_each(?2))"
        )
        found: defaultdict[str, list[Postings]] = defaultdict(list)
        for term, numbers, impacts in _rows(self._db, sql, (_array(list(chosen)), _array(self._audiences))):
            found[term].append(Postings(chosen[term], numbers, impacts))
        return [postings for term in chosen for postings in found[term]]

    def _frequencies(self, terms: Iterable[str]) -> dict[str, int]:
        """In how many of the passages that are seen each of them stands, of those that stand in any."""
        new = [term for term in terms if term not in self._known]
        sql = (
            "select term, sum(length(impacts)) from postings where term in (select value from json_each(?1))"
            " and audience in (select value from json_each(?2)) group by term"
        )
        if new:
            self._known |= dict.fromkeys(new, 0) | dict(_rows(self._db, sql, (_array(new), _array(self._audiences))))
        return {term: self._known[term] for term in terms if self._known[term]}

    def _passages(self, numbers: Sequence[int]) -> dict[int, Passage]:
        sql = "select number, passage from passages where number in (select value from json_each(?))"
        return {number: _decode(body) for number, body in _rows(self._db, sql, (_array(numbers),))}


class _Writing:
    """One write, within its transaction."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._added: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        self._removed: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
        self._free: list[int] = []
        last: Any = db.execute("select coalesce(max(number), 0) from passages").fetchall()
        self._last = int(last[0][0])

    def all(self, entries: Iterable[Entry], gone: Iterable[str], embedder: str) -> None:
        before = _rows(self._db, "select value from about where name='embedder'")
        if before and before[0][0] != embedder:  # what one embedder made cannot be compared with what another does
            self._db.execute("delete from vectors")
        for document in gone:
            self._remove(_text(document))
        for entry in entries:
            self._remove(_text(entry.document))
            self._add(entry)
        self._put_postings()
        rows: list[Any] = _rows(
            self._db,
            "select document, digest, fault, tenants, roles from documents"
            " join audiences on audience=audiences.number order by document",
        )
        version = hashlib.sha256(msgspec.json.encode([embedder, rows])).hexdigest()[:16]
        self._db.execute("insert or replace into about values('version', ?), ('embedder', ?)", (version, embedder))
        self._db.execute(
            "insert into about values('generation', 1) on conflict(name) do update set value = cast(value as integer) + 1"
        )

    def _remove(self, document: str) -> None:
        for (number,) in _rows(self._db, "select number from documents where document=?", (document,)):
            sql = "select passages.number, audience, terms from passages join lines using(number) where document=?"
            for passage, audience, terms in _rows(self._db, sql, (number,)):
                for term in terms.split(" "):
                    self._removed[term, audience].add(passage)
                self._free.append(passage)
                for table in ("passages", "lines", "vectors"):
                    self._db.execute(f"delete from {table} where number=?", (passage,))  # noqa: S608  the tables are named above
            self._db.execute("delete from documents where number=?", (number,))

    def _add(self, entry: Entry) -> None:
        if entry.vectors and len(entry.vectors) != len(entry.passages):
            raise StoreError(f"{len(entry.passages)} passages have {len(entry.vectors)} vectors", where=entry.document)
        audience = self._audience(entry)
        sql = "insert into documents(document, digest, fault, audience) values(?, ?, ?, ?)"
        self._db.execute(sql, (_text(entry.document), entry.digest, entry.fault, audience))
        document = self._db.last_insert_rowid()
        for i, passage in enumerate(entry.passages):
            number = self._number()
            parts = analysed(passage)
            body = (number, _text(passage.id), document, i, audience, parts.style, _encode(passage))
            self._db.execute("insert into passages values(?, ?, ?, ?, ?, ?, ?)", body)
            section = "\0".join([passage.document, *passage.heading]) if passage.heading else passage.id
            row = (number, _text(section), parts.lines, " ".join(parts.terms))
            self._db.execute("insert into lines values(?, ?, ?, ?)", row)
            if entry.vectors:
                self._db.execute("insert into vectors values(?, ?, ?)", (number, audience, entry.vectors[i]))
            for term, count in parts.terms.items():
                self._added[term, audience].append((number, _impact(count, parts.length)))

    def _number(self) -> int:
        if self._free:
            return self._free.pop()
        self._last += 1
        return self._last

    def _audience(self, entry: Entry) -> int:
        names = [msgspec.json.encode(sorted(set(names))).decode() for names in (entry.tenants, entry.roles)]
        self._db.execute("insert or ignore into audiences(tenants, roles) values(?, ?)", names)
        return int(_rows(self._db, "select number from audiences where tenants=? and roles=?", names)[0][0])

    def _put_postings(self) -> None:
        """Write the lists of every term that was added or taken away."""
        for term, audience in self._added.keys() | self._removed.keys():
            rows = _rows(self._db, "select numbers, impacts from postings where term=? and audience=?", (term, audience))
            removed = self._removed.get((term, audience), ())
            kept = [entry for n, i in rows for entry in zip(array("I", n), i, strict=True) if entry[0] not in removed]
            both = sorted(kept + self._added.get((term, audience), []))
            if both:
                numbers, impacts = array("I", [n for n, _ in both]).tobytes(), bytes([i for _, i in both])
                self._db.execute("insert or replace into postings values(?, ?, ?, ?)", (term, audience, numbers, impacts))
            else:
                self._db.execute("delete from postings where term=? and audience=?", (term, audience))


def _rows(db: apsw.Connection, sql: str, values: Sequence[Any] = ()) -> list[Any]:
    return db.execute(sql, tuple(values)).fetchall()


def _array(values: Sequence[Any]) -> str:
    """Values as one parameter of a query, for `json_each`."""
    return msgspec.json.encode(values).decode()


def _text(value: str) -> str:
    """A text as SQLite can take it: half a pair of surrogates is none."""
    return value.encode("utf-8", "replace").decode()


def _impact(count: int, length: int) -> int:
    """What a term is worth in a passage of that length (BM25), in steps of a hundredth."""
    return round(100 * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / LENGTH)))
