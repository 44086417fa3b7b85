"""The application: settings -> parts -> `Mainstay`. The only place where `serve` and the parts are introduced to each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mainstay import assembling, prices, registry
from mainstay.core.answer import Answer, Event, fold
from mainstay.core.call import Call, Origin, Turn
from mainstay.core.errors import ConfigError, NotFound, nearest
from mainstay.core.project import Model, Settings
from mainstay.core.record import Record, Score
from mainstay.core.seams import Source
from mainstay.parts.http import Http
from mainstay.parts.stores.spool import Spool
from mainstay.parts.stores.sqlite_cache import SqliteCache
from mainstay.parts.stores.sqlite_ledger import SqliteLedger
from mainstay.serve.breaker import Breaker
from mainstay.serve.flights import Flights
from mainstay.serve.pipeline import serve
from mainstay.serve.ready import Parts, Ready, ServingModel
from mainstay.spec.feature_file import FILE, Folder, read_folder
from mainstay.spec.settings_file import asleep, read_settings, secret_of

log = logging.getLogger("mainstay")


class Features(msgspec.Struct, frozen=True):
    """Everything that a reload replaces, in one reference."""

    ready: Mapping[str, Ready]
    plain: Mapping[str, Ready]
    project: assembling.Project


class Mainstay:
    """A project's features, ready to answer.

    >>> app = mainstay.open(".")
    >>> answer = await app.run("handbook", question="What is a rung?")
    >>> async for event in app.stream("handbook", question="What is a rung?"): ...

    Made by `open`; close it with `await app.close()` or use it as `async with mainstay.open(".") as app`.
    """

    def __init__(self, root: Path, settings: Settings, environ: Mapping[str, str], state: Path | None = None) -> None:
        self.root, self.settings, self._environ = root, settings, environ
        self.state = state or root / settings.state
        self._http = Http()
        self._breakers: dict[str, Breaker] = {}
        self.features = self._load(settings)
        self._ledger = SqliteLedger(self.state / "ledger.db")
        self._cache = SqliteCache(self.state / "cache.db")
        self._spool = Spool(self.state / "spool", self._ledger, also=self._cache.flush)
        self._spool.adopt()
        self.observers = tuple(
            [
                registry.made(registry.part("observers", name, where="mainstay.toml observers"), {}, where=f"observer {name}")
                for name in settings.observers
            ]
        )
        self.parts = Parts(spool=self._spool, cache=self._cache, flights=Flights(), observers=self.observers)
        self._thread: _LoopThread | None = None
        self._closed = False

    # Answering

    async def run(self, feature: str, input: Mapping[str, Any] | None = None, /, **options: Any) -> Answer:
        """The answer of a feature. Keywords are its input's fields, or those of `stream`. Never raises for what a model did."""
        call = msgspec.structs.replace(self._call(feature, input, **options), stream=False)
        async with contextlib.aclosing(self.serve(call)) as events:
            return fold([event async for event in events])

    def stream(self, feature: str, input: Mapping[str, Any] | None = None, /, **options: Any) -> AsyncGenerator[Event, None]:
        """The events of a call, the last of which is its `Answer`. Raises `NotFound` for an unknown feature.

        `input`, or keywords, are the fields that the feature declares. Other keywords: `history` (earlier turns,
        `{"role": "user", "text": "…"}`), `tenant`, `user`, `session`, `locale`, `deadline` (seconds; it can only shorten the
        feature's), `origin`, and `progress` for `step` events.
        """
        return self.serve(self._call(feature, input, **options))

    def _call(
        self,
        feature: str,
        input: Mapping[str, Any] | None = None,
        /,
        *,
        history: Sequence[Turn | Mapping[str, str]] = (),
        tenant: str = "default",
        user: str | None = None,
        session: str | None = None,
        locale: str | None = None,
        deadline: float | None = None,
        origin: Origin = "user",
        progress: bool = False,
        **fields: Any,
    ) -> Call:
        return Call(
            id=new_id(),
            feature=feature,
            input={**(input or {}), **fields},
            history=tuple([t if isinstance(t, Turn) else msgspec.convert(t, Turn) for t in history]),
            tenant=tenant,
            user=user,
            session=session,
            locale=locale,
            deadline=deadline,
            origin=origin,
            stream=True,
            progress=progress,
        )

    def serve(self, call: Call) -> AsyncGenerator[Event, None]:
        """The events of a call that a door has made. Raises `NotFound`."""
        return serve(call, self.release_of(call), self.parts)

    def release_of(self, call: Call) -> Ready:
        """What answers this call."""
        known = self.features.plain if call.request is not None else self.features.ready
        ready = known.get(call.feature)
        if ready is None:
            raise NotFound(
                f'there is no {"model" if call.request else "feature"} "{call.feature}"; {nearest(call.feature, known)}'
            )
        return ready

    def run_sync(self, feature: str, input: Mapping[str, Any] | None = None, /, **options: Any) -> Answer:
        """As `run`, for code that is not async. Has an event loop of its own in a thread; may be called from any thread."""
        if self._thread is None:
            self._thread = _LoopThread()
        answer: Answer = self._thread.run(self.run(feature, input, **options))
        return answer

    # What was answered

    async def record(self, id: str) -> Record | None:
        """The record of a call, also one that ended a moment ago; None where there is none."""
        found = self._ledger.record(id)
        if found is None:
            await asyncio.to_thread(self._spool.drain)
            found = self._ledger.record(id)
        return found

    async def records(self, *, limit: int = 20, **where: Any) -> list[Record]:
        """The newest records, by any of the ledger's columns: feature, tenant, origin, release, status, reason, rung."""
        await asyncio.to_thread(self._spool.drain)
        return self._ledger.records(where=where, limit=limit)

    async def score(self, record: str, name: str, value: float | str, *, reason: str = "", who: str = "user") -> Score:
        """Keep what somebody thinks of a record. It may arrive before the record does."""
        score = Score(id=new_id(), record=record, at=time.time(), name=name, value=value, reason=reason, who=who)
        self._spool.append(msgspec.json.encode(score))
        return score

    async def scores(self, record: str) -> list[Score]:
        """What was thought of a record, oldest first."""
        await asyncio.to_thread(self._spool.drain)
        return self._ledger.scores(record)

    def metrics(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return b"".join([o.render() for o in self.observers if hasattr(o, "render")])

    def trouble(self) -> str:
        """Why records cannot be kept at the moment; empty when all is well."""
        return self._spool.trouble

    # Loading

    def reload(self) -> None:
        """Load the whole folder again and swap one reference. Raises `ConfigError`, and then nothing has changed."""
        settings = read_settings(self.root, self._environ)
        self.features = self._load(settings)
        self.settings = settings

    def _load(self, settings: Settings) -> Features:
        models, sleeping = self._models(settings)
        project = assembling.Project(
            models=models, settings=settings.models, sources=self._sources(settings), asleep=frozenset(sleeping)
        )
        ready = {f.feature.name: assembling.ready(f, project) for f in self._folders(settings)}
        plain = {name: assembling.plain(model, settings.plain, settings.models[name]) for name, model in models.items()}
        for name in ready.keys() & plain.keys():
            raise ConfigError(
                f'"{name}" is the name of a feature and of a model', where="mainstay.toml", next="rename one of them"
            )
        return Features(ready, plain, project)

    def _folders(self, settings: Settings) -> list[Folder]:
        folder = self.root / settings.features
        if not folder.is_dir():
            raise ConfigError("the folder of features is missing", where=str(folder), next="mainstay init")
        return [read_folder(p, shown=f"{settings.features}/{p.name}") for p in sorted(folder.iterdir()) if (p / FILE).is_file()]

    def _models(self, settings: Settings) -> tuple[dict[str, ServingModel], list[str]]:
        models, sleeping = {}, []
        for name, model in settings.models.items():
            if asleep(model, self._environ):
                sleeping.append(name)
                continue
            where = f"mainstay.toml models.{name}"
            kind = registry.part("providers", model.provider, where=where)
            try:
                provider = kind(model, key=secret_of(model, self._environ), http=self._http)
            except (msgspec.ValidationError, ValueError) as error:
                raise ConfigError(str(error), where=f"{where}.options") from None
            models[name] = ServingModel(
                name=name,
                provider=provider,
                model=model.model,
                max_output=model.max_output,
                price=model.price or prices.price_of(model),
                breaker=self._breakers.setdefault(_breaker_key(model), Breaker()),
            )
        return models, sleeping

    def _sources(self, settings: Settings) -> dict[str, Source]:
        sources = {}
        for name, spec in settings.sources.items():
            where = f"mainstay.toml sources.{name}"
            kind = registry.part("sources", spec.kind, where=where)
            path = str((self.root / spec.path).resolve())
            sources[name] = registry.made(kind, {"name": name, "path": path, "link": spec.link}, where=where)
        return sources

    # Ending

    async def close(self) -> None:
        """Let go of connections and write out what is left. A second time does nothing."""
        await self._http.close()
        self._end_thread()
        await asyncio.to_thread(self._shut)

    def close_sync(self) -> None:
        """As `close`, for code that is not async."""
        self._end_thread()
        self._shut()

    def _end_thread(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.close(self._http.close())

    def _shut(self) -> None:
        if not self._closed:
            self._closed = True
            self._spool.close()
            self._cache.close()
            self._ledger.close()

    async def __aenter__(self) -> Mainstay:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __enter__(self) -> Mainstay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_sync()


def open(
    path: str | os.PathLike[str] = ".",
    *,
    environ: Mapping[str, str] | None = None,
    state: str | os.PathLike[str] | None = None,
) -> Mainstay:
    """The project in that folder, ready to answer. Raises `ConfigError` with file, line, key and what was expected.

    `environ` replaces the process's environment, `state` the folder that holds ledger, cache and spool.
    """
    environ = os.environ if environ is None else environ
    root = Path(path)
    return Mainstay(root, read_settings(root, environ), environ, None if state is None else Path(state))


def history(path: Path, state: Path | None = None) -> SqliteLedger:
    """The ledger of the project in that folder, without loading its features. Close it after use."""
    return SqliteLedger((state or path / read_settings(path, os.environ).state) / "ledger.db")


class _Ids:
    """Ids that sort by time: milliseconds, then 64 random bits. The system is asked for randomness once in 512 ids."""

    def __init__(self) -> None:
        self._random: list[str] = []

    def __call__(self) -> str:
        """The next id."""
        if not self._random:
            bits = os.urandom(8 * 512).hex()
            self._random = [bits[i : i + 16] for i in range(0, len(bits), 16)]
        return f"a{time.time_ns() // 1_000_000:011x}{self._random.pop()}"


new_id = _Ids()


def _breaker_key(model: Model) -> str:
    """A model keeps its breaker over a reload, as long as it is the same model at the same place."""
    return f"{model.name}|{model.provider}|{model.url}|{model.model}"


class _LoopThread:
    """An event loop in a thread, for `run_sync`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mainstay-sync", daemon=True)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self, last: Any) -> None:
        self.run(last)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
