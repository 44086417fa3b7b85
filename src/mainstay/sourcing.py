"""What `mainstay.toml` says of sources, as sources that can be searched. The room between `loading.py` and `indexing.py`.

A kind of source is a source of its own, or a reader whose documents are kept in an index. The indexes stay open over a reload,
so that whoever searches at that moment is not disturbed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from mainstay import indexing, registry
from mainstay.core.errors import ConfigError, MainstayError, SourceError, StoreError, nearest
from mainstay.core.evidence import Curated, Lag
from mainstay.core.project import Settings, SourceSpec
from mainstay.core.seams import Source
from mainstay.indexing import Knowledge, Report
from mainstay.parts import alignment
from mainstay.parts.http import Http
from mainstay.parts.sources.indexed import Indexed
from mainstay.parts.stores.sqlite import BrokenFile, set_aside
from mainstay.parts.stores.sqlite_index import SqliteIndex
from mainstay.spec.documents import Document

log = logging.getLogger("mainstay.knowledge")
MOST_LINES = 5  # of faults that are logged when a project is loaded; `mainstay doctor` has them all
OWN = ("tenants", "roles", "curated", "embedder", "reranker")  # what a source of one's own has to see to itself
T = TypeVar("T")

Lent = Mapping[str, Mapping[str, Any]]  # databases, embedders and rerankers that are made, by the option that names them


class Sources:
    """The sources of one project. `folder` is where their indexes are kept; None, or one that takes no file, means memory.

    `kept` are those that have an index, as of the last load, and `reports` and `troubles` what came of reading them then.
    """

    def __init__(self, root: Path, folder: Path | None, http: Http) -> None:
        self._root, self._folder, self._http = root, folder, http
        self._indexes: dict[str, SqliteIndex] = {}
        self.kept: dict[str, Knowledge] = {}
        self.reports: dict[str, Report] = {}
        self.troubles: dict[str, MainstayError] = {}

    def load(self, settings: Settings, document: Document, lent: Lent) -> dict[str, Source]:
        """Every source, ready to be searched; what is read at load is brought up to date. Raises `ConfigError`."""
        found: dict[str, Source] = {}
        if settings.sources:
            alignment.shared()  # its weights are read now, so that no answer waits for it
        kept = self.knowledge(settings, document, lent)
        for name, spec in settings.sources.items():
            place = ("sources", name)
            if name not in kept:
                found[name] = registry.made(self._kind(name, spec, document), self._given(name, spec), document, place, lent)
                continue
            knowledge = kept[name]
            reranker = _named(lent, "reranker", spec.reranker, document, name)
            found[name] = Indexed(name=name, index=knowledge.index, embedder=knowledge.embedder, reranker=reranker)
            if getattr(knowledge.reader, "at_load", False):
                self._bring_up(knowledge, document.where(place))
            elif not knowledge.index.digests():
                raise document.error(place, "it was never indexed", next=f"mainstay index {name}")
        self.kept = kept
        return found

    def knowledge(self, settings: Settings, document: Document, lent: Lent) -> dict[str, Knowledge]:
        """The sources that are kept in an index, none of them read yet. Raises `ConfigError`."""
        kinds = {name: self._kind(name, spec, document) for name, spec in settings.sources.items()}
        readers = {name: kind for name, kind in kinds.items() if hasattr(kind, "documents")}
        return {name: self._kept(name, settings.sources[name], kind, document, lent) for name, kind in readers.items()}

    async def refresh(self, name: str, **how: Any) -> Report:
        """Bring the index of that source up to date (`indexing.refresh`), on an event loop that does nothing else."""
        return await self._refreshed(self.kept[name], **how)

    async def _refreshed(self, knowledge: Knowledge, **how: Any) -> Report:
        try:
            return await indexing.refresh(knowledge, **how)
        finally:
            await self._http.close()

    async def now(self, name: str, served: Source) -> tuple[Source, Lag | None]:
        """That source as it is now, whatever its index says, and how far that one is behind; None of a source of one's own.

        Nothing is written: where the index is behind, what there is now is read into memory.
        """
        knowledge = self.kept.get(name)
        if knowledge is None:
            return served, None
        try:
            report = await indexing.refresh(knowledge, check=True)
            if report.differs:
                memory = msgspec.structs.replace(knowledge, index=SqliteIndex(":memory:"), embedder=None, lock=None)
                await indexing.refresh(memory)
                served = Indexed(name=name, index=memory.index)
        except (SourceError, StoreError) as error:
            return served, Lag(source=name, trouble=f"{error.what}; it is compared as it was indexed")
        loaded = self.reports.get(name)  # when the project was opened, the index may have been brought up to date
        mended = not report.differs and loaded is not None and loaded.differs and loaded.unchanged + len(loaded.changed) > 0
        differs = loaded if mended and loaded is not None else report
        return served, Lag(
            source=name,
            added=differs.added,
            changed=differs.changed,
            removed=differs.removed,
            faults=tuple([fault.line for fault in report.faults]),
            overdue=report.overdue,
            mended=mended,
        )

    def close(self) -> None:
        """Close the indexes."""
        for index in self._indexes.values():
            index.close()
        self._indexes = {}

    def _kind(self, name: str, spec: SourceSpec, document: Document) -> Any:
        """The class of a source, or of the reader that one is made from."""
        place = ("sources", name)
        kind = registry.part("sources", spec.kind, where=document.where((*place, "kind")))
        if not hasattr(kind, "documents"):
            for key in OWN:
                if getattr(spec, key):
                    what = f'the kind "{spec.kind}" finds its passages itself, and cannot be held to this'
                    raise document.error((*place, key), what, next="remove it, and see to it in the source")
        return kind

    def _kept(self, name: str, spec: SourceSpec, kind: Any, document: Document, lent: Lent) -> Knowledge:
        given = self._given(name, spec)
        if registry.takes(kind, "http"):
            given["http"] = self._http
        return Knowledge(
            name=name,
            reader=registry.made(kind, given, document, ("sources", name), lent),
            index=self._index(name),
            embedder=_named(lent, "embedder", spec.embedder, document, name),
            tenants=spec.tenants,
            roles=spec.roles,
            curated=None if spec.curated is None else Curated(approver=spec.curated.approver, review=spec.curated.review),
            lock=self._file(name, "lock"),
        )

    def _given(self, name: str, spec: SourceSpec) -> dict[str, Any]:
        """The keywords that a source or a reader is made with."""
        path = None if spec.path is None else str((self._root / spec.path).resolve())
        given = {"name": name, "path": path, "url": spec.url, "database": spec.database, "link": spec.link, **spec.options}
        return {key: value for key, value in given.items() if value is not None}

    def _file(self, name: str, ending: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{quote(name, safe='')}.{ending}"

    def _index(self, name: str) -> SqliteIndex:
        """The index of that source. It can be made anew, so a broken one is put aside; one without a place is in memory."""
        if name not in self._indexes:
            file = self._file(name, "db")
            try:
                self._indexes[name] = SqliteIndex(file or ":memory:")
            except BrokenFile as error:
                assert file is not None  # noqa: S101
                log.error("the index of %s is made anew; the old one is %s: %s", name, set_aside(file), error.what)
                self._indexes[name] = SqliteIndex(file)
            except StoreError as error:
                log.warning("the index of %s is kept in memory: %s", name, error.what)
                self._folder = None
                self._indexes[name] = SqliteIndex(":memory:")
        return self._indexes[name]

    def _bring_up(self, knowledge: Knowledge, where: str) -> None:
        """Read a source anew. What keeps it from being read is an error only where nothing of it was ever read."""
        name, new = knowledge.name, not knowledge.index.digests()
        self.troubles.pop(name, None)
        try:
            try:
                report = _waited(lambda: self._refreshed(knowledge, again=False, wait=new))
            except indexing.NoVectors as error:
                if not new:
                    raise
                log.error("%s: it is searched by its words alone: %s", name, error.what)
                self.troubles[name] = error
                report = _waited(lambda: self._refreshed(msgspec.structs.replace(knowledge, embedder=None)))
        except indexing.Busy:
            log.info("%s: another process indexes it at the moment", name)
        except (SourceError, StoreError) as error:
            if new:
                raise ConfigError(error.what, where=where, next=error.next) from error
            log.error("%s: it is served as it was: %s", name, error.what)
            self.troubles[name] = error
        else:
            self.reports[name] = report
            for line in indexing.lines(report.faults, MOST_LINES):
                log.warning("%s: %s", name, line)


def _named(lent: Lent, option: str, name: str | None, document: Document, source: str) -> Any:
    """The embedder or the reranker that a source names, if it names one."""
    if name is None:
        return None
    known = lent.get(option, {})
    if name not in known:
        hint = f"add [{option}s.{name}] to mainstay.toml"
        raise document.error(("sources", source, option), f'there is no {option} "{name}"; {nearest(name, known)}', next=hint)
    return known[name]


def _waited(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What the work gives, done on an event loop of its own: whoever loads a project may be on one already."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(asyncio.run(work()))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="mainstay-index", daemon=True).start()
    return done.result()
