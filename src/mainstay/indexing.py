"""Brings the index of a source up to date with what its reader finds. The room below `loading.py`.

What did not change is not parsed, cut or embedded again: a digest over a document's bytes, its audience and how it is read
says so. Everything new is made first and then written in one step, so whoever searches sees the index as it was or as it is,
also when this process dies in between. A document that cannot be read keeps the passages that it had, and becomes a line of
the report. A reader that cannot say what there is changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import functools
import hashlib
import importlib.metadata
import os
import re
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from mainstay.core.errors import ModelError, SourceError
from mainstay.core.evidence import Curated, Passage
from mainstay.core.seams import Embedder, Entry, Index, Raw, Reader
from mainstay.parts.parsing import documents
from mainstay.parts.parsing.documents import Parsed
from mainstay.parts.parsing.safely import Parser

BATCH = 64  # texts that are embedded at once
TRIES = 3  # of one batch
PAUSE = 1.0  # seconds before the second try, twice as long before the third
LONGEST_PAUSE = 30.0  # seconds that an embedder may ask us to wait
LOOK = 0.1  # seconds between two looks at the lock of another process

_NUMBERED = re.compile(r"~(\d+)$")


class Fault(Struct, frozen=True, kw_only=True):
    """A document that could not be read, and why: what is wrong, and what to do."""

    document: str
    what: str

    @property
    def line(self) -> str:
        """On one line: `document: what; next: ...`."""
        return f"{self.document}: {self.what}"


class Report(Struct, frozen=True, kw_only=True):
    """What a run changed, or with `check` would change, of how many `documents`.

    `added`, `changed` and `removed` name documents; `unchanged` and `passages`, those that were cut anew, are counts. Of the
    `faults` the old passages, if there were any, are still found. `overdue` are documents whose review should have happened.
    """

    source: str
    documents: int = 0
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0
    passages: int = 0
    faults: tuple[Fault, ...] = ()
    overdue: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def differs(self) -> bool:
        """Whether anything changed, or would."""
        return bool(self.added or self.changed or self.removed)


class Step(Struct, frozen=True, kw_only=True):
    """How far a run is: `doing` is `waiting`, `reading`, `embedding` or `writing`; `of` is None while nobody knows."""

    source: str
    doing: str
    done: int = 0
    of: int | None = None


class Knowledge(Struct, frozen=True, kw_only=True):
    """A source that is kept in an index: where it is read from, where it is kept, and what holds for all of its documents.

    `lock` is a file that one process at a time holds while it indexes; None for an index that no other process has.
    """

    name: str
    reader: Reader
    index: Index
    embedder: Embedder | None = None
    tenants: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    curated: Curated | None = None
    lock: Path | None = None


def _unseen(step: Step) -> None:
    """Nobody watches."""


async def refresh(
    knowledge: Knowledge, *, seen: Callable[[Step], None] = _unseen, check: bool = False, again: bool = True, wait: bool = True
) -> Report:
    """Bring the index up to date; with `check` only say what would change.

    `again` tries documents anew that could not be parsed the last time, though they are the same. While another process indexes
    the same source this one waits, or without `wait` raises `Busy`. Raises `SourceError`, and then nothing changed: the reader
    cannot say what there is, or the embedder fails. Raises `StoreError` where the index takes nothing.
    """
    began = time.monotonic()
    async with _locked(knowledge, seen, wait=wait and not check):
        run = _Run(knowledge, again=again)
        with Parser() as parser:
            async for raw in _read(knowledge):
                await run.take(raw, parser)
                seen(Step(source=knowledge.name, doing="reading", done=run.count))
        report = run.report()
        if not run.count:
            raise SourceError("there are no documents", where=knowledge.name, next="see what it reads")
        if not check and (run.entries or run.gone or run.moved):
            entries = await _embedded(run.all_entries(), knowledge, seen)
            seen(Step(source=knowledge.name, doing="writing", of=len(entries)))
            name = "" if knowledge.embedder is None else knowledge.embedder.name
            await asyncio.to_thread(knowledge.index.write, entries, gone=run.gone, embedder=name)
    return msgspec.structs.replace(report, seconds=round(time.monotonic() - began, 3))


async def _read(knowledge: Knowledge) -> AsyncIterator[Raw]:
    """What the reader gives. Whatever it raises is a `SourceError` that names the source."""
    try:
        async for raw in knowledge.reader.documents():
            yield raw
    except SourceError as error:
        where = f"{knowledge.name}, {error.where}" if error.where else knowledge.name
        raise SourceError(error.what, where=where, next=error.next) from error
    except Exception as error:
        what = f"its reader failed: {type(error).__name__}: {error}"
        raise SourceError(what, where=knowledge.name, next="mainstay doctor") from error


class Busy(SourceError):
    """Another process indexes this source at the moment."""


class NoVectors(SourceError):
    """The embedder failed."""


class _Run:
    """One run over the documents of a source: what is new, what is as it was, what cannot be read."""

    def __init__(self, knowledge: Knowledge, *, again: bool) -> None:
        self._knowledge, self._again = knowledge, again
        self._known, self._broken = knowledge.index.digests(), knowledge.index.faults()
        wanted = "" if knowledge.embedder is None else knowledge.embedder.name
        self.moved = bool(self._known) and knowledge.index.embedder != wanted  # to another space of vectors
        self.entries: dict[str, Entry] = {}
        self._met: set[str] = set()
        self._same: list[str] = []
        self._faults: list[Fault] = []
        self._overdue: list[str] = []
        self._today = datetime.date.today().isoformat()

    @property
    def count(self) -> int:
        """How many documents the reader gave."""
        return len(self._met)

    @property
    def gone(self) -> list[str]:
        """The documents that there are no more."""
        return [document for document in self._known if document not in self._met]

    async def take(self, raw: Raw, parser: Parser) -> None:
        """Look at one document, and make it anew if it changed."""
        if raw.id in self._met:
            self._faults.append(Fault(document=raw.id, what="there is a second document with this id; next: give each its own"))
            return
        self._met.add(raw.id)
        raw = _narrowed(raw, self._knowledge)
        if raw.curated is not None and raw.curated.overdue(self._today):
            self._overdue.append(raw.id)
        if raw.fault:
            self._keep(raw, "", raw.fault)
            return
        digest = digest_of(raw)
        known = self._known.get(raw.id) == digest
        if known and (raw.id not in self._broken or not self._again):
            self._same.append(raw.id)
            if raw.id in self._broken:
                self._faults.append(Fault(document=raw.id, what=self._broken[raw.id]))
            return
        try:
            parsed = await asyncio.to_thread(parser.parse, raw.media, raw.data)
        except SourceError as error:
            self._keep(raw, digest, f"{error.what}; next: {error.next}")
            return
        passages = tuple(passages_of(raw, parsed, self._knowledge.name))
        self.entries[raw.id] = Entry(document=raw.id, digest=digest, passages=passages, tenants=raw.tenants, roles=raw.roles)

    def _keep(self, raw: Raw, digest: str, fault: str) -> None:
        """Keep what there was of a document that cannot be read now. Nobody sees it who was not to see it then, or is not now."""
        fault = " ".join(fault.split())
        self._faults.append(Fault(document=raw.id, what=fault))
        if self._broken.get(raw.id) == fault and self._known.get(raw.id) == digest:
            self._same.append(raw.id)
            return
        old = self._knowledge.index.entry(raw.id) or Entry(document=raw.id, digest="", passages=())
        tenants, roles = _both(old.tenants, raw.tenants), _both(old.roles, raw.roles)
        if tenants is None or roles is None:
            old = Entry(document=raw.id, digest="", passages=())
        self.entries[raw.id] = msgspec.structs.replace(old, digest=digest, fault=fault, tenants=tenants or (), roles=roles or ())

    def all_entries(self) -> list[Entry]:
        """What is to be written. Where all vectors have to be made anew, that is also what did not change."""
        found = list(self.entries.values())
        if not self.moved:
            return found
        same = [self._knowledge.index.entry(document) for document in self._same]
        return [msgspec.structs.replace(entry, vectors=()) for entry in [*found, *same] if entry is not None]

    def report(self) -> Report:
        """What was found."""
        read = {document: entry for document, entry in self.entries.items() if not entry.fault}
        return Report(
            source=self._knowledge.name,
            documents=self.count,
            added=tuple([document for document in read if document not in self._known]),
            changed=tuple([document for document in read if document in self._known]),
            removed=tuple(self.gone),
            unchanged=len([document for document in self._same if document not in self._broken]),
            passages=sum(len(entry.passages) for entry in read.values()),
            faults=tuple(self._faults),
            overdue=tuple(self._overdue),
        )


def digest_of(raw: Raw) -> str:
    """A hash over all that a document's entry is made from: what it is, who sees it, and what reads it."""
    kind, _ = documents.kind_of(raw.media)
    reads = f"{documents.VERSION} {_version_of(documents.PACKAGES.get(kind, ''))}"
    about = (reads, raw.id, raw.media, raw.title, raw.link, raw.tenants, raw.roles, raw.curated)
    return hashlib.sha256(msgspec.msgpack.encode(about) + hashlib.sha256(raw.data).digest()).hexdigest()[:32]


@functools.cache
def _version_of(package: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError):
        return importlib.metadata.version(package)
    return ""


def passages_of(raw: Raw, parsed: Parsed, source: str) -> Iterator[Passage]:
    """A document's passages. One of them is called `document#anchor`, the next below the same anchor `document#anchor~2`."""
    named = _NUMBERED.sub(r"%7E\1", raw.id.replace("#", "%23"))  # so that no two documents share a passage's name
    title, taken = raw.title or parsed.title, set[str]()
    for section in parsed.sections:
        place = f"{named}#{section.anchor}" if section.anchor else named
        id, number = place, 1
        while id in taken:
            number += 1
            id = f"{place}~{number}"
        taken.add(id)
        headed = not title or section.heading[:1] == (title,)
        yield Passage(
            id=id,
            source=source,
            document=raw.id,
            text=section.text,
            heading=section.heading if headed else (title, *section.heading),
            link=_linked(raw.link, section.anchor),
            version=parsed.version,
            start=section.start,
            end=section.end,
            curated=raw.curated,
        )


def _linked(link: str | None, anchor: str) -> str | None:
    """The link to a place in a document. One that leads to a place already stays as it is."""
    if not link or not anchor or "#" in link.rpartition("/")[2]:
        return link
    return f"{link}#{quote(anchor, safe='/=')}"


def _narrowed(raw: Raw, knowledge: Knowledge) -> Raw:
    """A document with what its source says of all of them: it is seen by those that both allow."""
    tenants, roles = _both(knowledge.tenants, raw.tenants), _both(knowledge.roles, raw.roles)
    curated = raw.curated or knowledge.curated
    if tenants is not None and roles is not None:
        return msgspec.structs.replace(raw, tenants=tenants, roles=roles, curated=curated)
    what = "tenants" if tenants is None else "roles"
    fault = raw.fault or f"nobody may see it: none of its {what} is among those of the source; next: correct its {what}"
    return msgspec.structs.replace(raw, curated=curated, fault=fault)


def _both(some: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...] | None:
    """Those that are in both, where none named means all; None where nobody is."""
    if not some or not others:
        return some or others
    return tuple(sorted(set(some) & set(others))) or None


async def _embedded(entries: list[Entry], knowledge: Knowledge, seen: Callable[[Step], None]) -> list[Entry]:
    """The entries with their vectors. What has some already, kept from before, keeps them."""
    embedder = knowledge.embedder
    if embedder is None:
        return [msgspec.structs.replace(entry, vectors=()) for entry in entries]
    wanting = [entry for entry in entries if len(entry.vectors) != len(entry.passages)]
    texts = [text_of(passage) for entry in wanting for passage in entry.passages]
    vectors: list[bytes] = []
    for at in range(0, len(texts), BATCH):
        vectors += await _vectors(embedder, texts[at : at + BATCH], knowledge.name)
        seen(Step(source=knowledge.name, doing="embedding", done=len(vectors), of=len(texts)))
    made = iter(vectors)
    with_vectors = {e.document: tuple([next(made) for _ in e.passages]) for e in wanting}
    return [msgspec.structs.replace(e, vectors=with_vectors.get(e.document, e.vectors)) for e in entries]


def text_of(passage: Passage) -> str:
    """What is embedded of a passage: its text below the path of its headings."""
    return "\n".join([" > ".join(passage.heading), passage.text]) if passage.heading else passage.text


async def _vectors(embedder: Embedder, texts: Sequence[str], source: str) -> list[bytes]:
    for attempt in range(TRIES):
        try:
            found = await embedder.embed(texts)
            break
        except ModelError as error:
            if not error.retryable or attempt == TRIES - 1:
                what = f"the embedder {embedder.name} failed: {error.what}"
                raise NoVectors(what, where=source, next=error.next or f"mainstay index {source}") from error
            await asyncio.sleep(min(error.retry_after or PAUSE * 2**attempt, LONGEST_PAUSE))
    if len(found) != len(texts):
        what = f"the embedder {embedder.name} gave {len(found)} vectors for {len(texts)} texts"
        raise NoVectors(what, where=source, next="check its model")
    return [struct.pack(f"<{len(vector)}f", *vector) for vector in found]


@contextlib.asynccontextmanager
async def _locked(knowledge: Knowledge, seen: Callable[[Step], None], *, wait: bool) -> AsyncIterator[None]:
    """Alone, as far as the processes of this machine go. The system drops the lock with the process."""
    if knowledge.lock is None:
        yield
        return
    file = os.open(knowledge.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _taken(file):
            if not wait:
                raise Busy("another process indexes it at the moment", where=knowledge.name, next="wait for it")
            seen(Step(source=knowledge.name, doing="waiting"))
            await asyncio.sleep(LOOK)
        yield
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def lines(faults: Iterable[Fault], most: int) -> list[str]:
    """The faults, a line each; what is more than `most` is counted."""
    found = [fault.line for fault in faults]
    return found if len(found) <= most else [*found[:most], f"and {len(found) - most} more"]
