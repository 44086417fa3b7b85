"""The application: settings -> parts -> `Mainstay`. The only place where `serve` and the parts are introduced to each other."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import os
import re
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from mainstay.caretaking import Caretaker
from mainstay.core.answer import Answer, Event, fold
from mainstay.core.call import Call, Origin, Priority, Turn
from mainstay.core.errors import BadRequest, NotFound, NotReleased, Refused, StoreError, nearest
from mainstay.core.keys import Key
from mainstay.core.limits import Unit
from mainstay.core.model import ModelRequest
from mainstay.core.project import Model, Settings, TenantSpec
from mainstay.core.record import STRICTER, LogPolicy, Record, Score
from mainstay.core.release import State, Switched
from mainstay.core.release import fold as folded
from mainstay.core.report import Opinion
from mainstay.following import Follower
from mainstay.ids import new_id
from mainstay.learn.doubting import Doubts
from mainstay.learn.minding import Minding
from mainstay.learn.trials import Collector, Trials, checked, stand_of
from mainstay.loading import ALIGNER, NEARNESS, Features, Loader
from mainstay.loop_thread import LoopThread
from mainstay.parts.http import Http
from mainstay.parts.stores.memory import MemoryCache
from mainstay.parts.stores.spool import Spool
from mainstay.parts.stores.sqlite_cache import SqliteCache
from mainstay.parts.stores.sqlite_counters import SqliteCounters
from mainstay.parts.stores.sqlite_ledger import SqliteLedger
from mainstay.parts.stores.sqlite_releases import SqliteReleases
from mainstay.parts.stores.sqlite_repeats import SqliteRepeats
from mainstay.repeating import Joined, Repeats, Trouble
from mainstay.serve.flights import Flights
from mainstay.serve.lanes import Lanes
from mainstay.serve.limiting import Limiting
from mainstay.serve.loops import Loops
from mainstay.serve.nearing import Nearby
from mainstay.serve.pipeline import serve
from mainstay.serve.ready import Parts, Ready, ServingModel
from mainstay.serve.redaction import score_for_log
from mainstay.serve.spending import Account, Purse, Room
from mainstay.spec.settings_file import absent_keys, read_settings
from mainstay.state_folder import CACHE, COUNTERS, INDEXES, LEDGER, RELEASES, REPEATS, SPOOL
from mainstay.warming import Warming

if TYPE_CHECKING:
    from mainstay.learn.releasing import Desk
    from mainstay.workshop import Workshop

log = logging.getLogger("mainstay")
FORKED, AFTER_FORK = "this process was forked from the one that opened the project", "open the project after the fork"
T = TypeVar("T")
EXAMPLES = {  # of what `run` and `score` take, for who gave something else; all the rest are texts
    "input": 'a mapping, or keywords: question="…"',
    "history": 'history=[{"role": "user", "text": "…"}]',
    "deadline": "deadline=2.0, in seconds",
    "priority": 'priority="batch"',
    "origin": 'origin="user"',
    "progress": "progress=True",
    "value": "a number, 1 for good and 0 for bad, or a word",
}


class Mainstay:
    """A project's features, ready to answer.

    >>> app = mainstay.open(".")
    >>> answer = await app.run("handbook", question="What is a rung?")
    >>> async for event in app.stream("handbook", question="What is a rung?"): ...

    Made by `open`; close it with `await app.close()` or use it as `async with mainstay.open(".") as app`.
    """

    def __init__(
        self,
        root: Path,
        settings: Settings,
        environ: Mapping[str, str],
        state: Path | None = None,
        *,
        dev: bool = False,
        indexes: Path | None = None,
    ) -> None:
        self.root, self.settings, self.environ = root.absolute(), settings, environ  # the process may change its folder
        self.state, self.dev = (state or root / settings.state).absolute(), dev
        self._http = Http()
        self.loader = Loader(self.root, environ, self._http, (indexes or self.state / INDEXES).absolute())
        self.releases = SqliteReleases(self.state / RELEASES)
        self.features = self._load(settings)
        self._ledger = SqliteLedger(self.state / LEDGER)
        self._cache = SqliteCache(self.state / CACHE)
        self._spool = Spool(self.state / SPOOL, self._ledger, also=self._cache.flush)
        self._adopt()
        self._counters = SqliteCounters(self.state / COUNTERS)
        self._lanes = Lanes(settings.server.at_once, lambda: self.loader.weights)
        self._limiting = Limiting(Purse(self._counters), settings, self._caps_of)
        self.observers = self.loader.observers(settings)
        for observer in self.observers:
            if hasattr(observer, "queues"):
                observer.queues = self._queues
        self._sealed = Collector()
        self._doubts = Doubts(self._serve_with, new_id=new_id, aligner=ALIGNER, keep=self._keep)
        self.parts = self._introduced()
        self._following, self._obeying = threading.Lock(), threading.Lock()
        self._obeyed, self._replaced = self.features.state, ""
        self._thread: LoopThread | None = None
        self._starting = threading.Lock()
        self._closed, self._process = False, os.getpid()
        self.trials = Trials(
            self._serve_with,
            collector=self._sealed,
            new_id=new_id,
            scoring=lambda ready: self.workshop.scoring(ready, ready.feature.gate.online),
            keep=self._keep,
        )
        self._caretaker = Caretaker(
            self,
            stand=lambda canary: self._fresh(stand_of, canary, self._ledger),
            start=lambda work: self._own_loop().start(work),
        )
        self._minding = Minding(
            self.parts.nearby, cache=self._cache, ledger=self._ledger, store=self.releases, leads=self._caretaker.leads
        )
        self._warming: Any = None
        self._warm()
        self._follower = Follower(version=self.releases.version, obey=self._obey, follow=self.follow, tend=self.tend)

    def _introduced(self) -> Parts:
        """What every call needs, of which `serve` knows the seams alone."""
        return Parts(
            spool=self._spool,
            cache=self._cache,
            unwritten=MemoryCache(),
            flights=Flights(),
            loops=Loops(),
            observers=(*self.observers, self._sealed),
            without_secrets=self._without_secrets,
            off=self._off,
            ask=self._ask,
            account=self._limiting.account,
            lanes=self._lanes,
            aligner=ALIGNER,
            nearby=Nearby(NEARNESS),
            doubt=self._doubts.hit,
        )

    # Answering

    async def run(self, feature: str, input: Mapping[str, Any] | None = None, /, **options: Any) -> Answer:
        """The answer of a feature. Keywords are its input's fields, or those of `stream`. Never raises for what a model did."""
        call = msgspec.structs.replace(self._call(feature, input, **options), stream=False)
        async with contextlib.aclosing(self.serve(call)) as events:
            return fold([event async for event in events])

    def stream(self, feature: str, input: Mapping[str, Any] | None = None, /, **options: Any) -> AsyncGenerator[Event, None]:
        """The events of a call, the last of which is its `Answer`. Raises `NotFound` for an unknown feature, and `BadRequest`
        for an input that is no mapping and for a keyword whose value is of the wrong type; `param` names it.

        `input`, or keywords, are the fields that the feature declares. Other keywords: `history` (earlier turns,
        `{"role": "user", "text": "…"}`), `tenant`, `user`, `roles`, `session`, `locale`, `deadline` (seconds; it can only shorten
        the feature's), `priority` (it can only lower the feature's), `origin`, and `progress` for `step` events.
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
        roles: Sequence[str] = (),
        session: str | None = None,
        locale: str | None = None,
        deadline: float | None = None,
        priority: Priority | None = None,
        origin: Origin = "user",
        progress: bool = False,
        **fields: Any,
    ) -> Call:
        call = {
            "id": new_id(),
            "feature": feature,
            "input": fields if input is None else {**input, **fields} if isinstance(input, Mapping) else input,
            "history": tuple(history) if isinstance(history, Iterable) else history,
            "tenant": tenant,
            "user": user,
            "roles": tuple(roles) if isinstance(roles, list) else roles,
            "session": session,
            "locale": locale,
            "deadline": deadline,
            "priority": priority,
            "origin": origin,
            "stream": True,
            "progress": progress,
        }
        return _typed(call, Call)

    def serve(self, call: Call) -> AsyncGenerator[Event, None]:
        """The events of a call that a door has made. Raises `NotFound`, and `StoreError` in a process that was forked."""
        self._check_process()
        ready, features = self.release_of(call), self.features
        canary, shadow = features.canaries.get(call.feature), features.shadows.get(call.feature)
        if call.origin != "user" or call.request is not None or (canary is None and shadow is None and not checked(call, ready)):
            return serve(call, ready, self.parts)
        return self.trials.serve(call, ready, canary, shadow)

    async def again(self, call: Call, key: bytes, body: bytes) -> Joined | Trouble:
        """As `serve`, for a request that names a key under which it may come again: what answers it is the first call's."""
        self._check_process()
        ready, canary = self.release_of(call), self.features.canaries.get(call.feature)
        served = [ready] if canary is None else [ready, canary.ready]
        private = any(one.hides or one.feature.log != "full" for one in served)
        seconds = max(float(one.feature.deadline) for one in served)
        return await self._repeats.join(call, key, body, seconds=min(seconds, call.deadline or seconds), private=private)

    def _serve_with(self, call: Call, ready: Ready) -> AsyncGenerator[Event, None]:
        return serve(call, ready, self.parts)

    @functools.cached_property
    def _repeats(self) -> Repeats:
        return Repeats(SqliteRepeats(self.state / REPEATS), serve=self.serve, record=self.record)

    async def _ask(self, asking: Call, account: Account, seconds: float, feature: str, input: Mapping[str, Any]) -> Answer:
        """What another feature says, asked by a guard of that call: for its tenant, on its account, in its time, and one deep."""
        if asking.parent is not None:
            raise BadRequest(f"{asking.feature} was itself asked by a call, and calls within calls are one deep")
        call = self._call(feature, input, tenant=asking.tenant, origin="judge", deadline=seconds)
        call = msgspec.structs.replace(call, parent=asking.id, stream=False)
        self._check_process()
        async with contextlib.aclosing(serve(call, self.release_of(call), self.parts, account)) as events:
            return fold([event async for event in events])

    def release_of(self, call: Call) -> Ready:
        """What answers this call, where no trial says otherwise."""
        features = self.features
        known = features.plain if call.request is not None else features.ready
        ready = known.get(call.feature)
        if ready is not None:
            return ready
        if call.request is None and call.feature in features.missing:
            why = features.missing[call.feature]
            raise NotReleased(why.what, where=why.where, next=f"{why.next}, or mainstay serve --dev")
        raise NotFound(f'there is no {"model" if call.request else "feature"} "{call.feature}"; {nearest(call.feature, known)}')

    def run_sync(self, feature: str, input: Mapping[str, Any] | None = None, /, **options: Any) -> Answer:
        """As `run`, for code that is not async. Has an event loop of its own in a thread; may be called from any other thread.

        `close` cancels what is still waited for; afterwards there is no event loop any more, which is a `StoreError`.
        """
        self._check_process()
        thread = self._own_loop()
        if thread.here:
            raise BadRequest(
                "`run_sync` was called by what `run_sync` runs, which would wait for itself", next="await app.run(…)"
            )
        answer: Answer = thread.run(self.run(feature, input, **options))
        return answer

    def _own_loop(self) -> LoopThread:
        """The event loop in a thread of its own, which is started when it is first needed. Raises `StoreError`."""
        with self._starting:
            if self._closed:
                raise StoreError("this project was closed", next="mainstay.open(…)")
            if self._thread is None:
                self._thread = LoopThread()
            return self._thread

    def _warm(self) -> None:
        """Look after the models whose settings ask for it, from now on."""
        if self._warming is None and any(m.metrics or m.keep_warm or m.cold_after for m in self.settings.models.values()):
            warming = Warming(self._to_warm, http=self._http, ask=self._probe)
            self._warming = self._own_loop().start(warming.run())

    def _to_warm(self) -> dict[str, tuple[Model, ServingModel]]:
        project = self.features.project
        return {name: (project.settings[name], serving) for name, serving in project.models.items()}

    async def _probe(self, model: str, request: ModelRequest) -> None:
        """The smallest call to a model by its own name: recorded, and paid, like any other."""
        call = Call(id=new_id(), feature=model, request=request, origin="probe")
        async with contextlib.aclosing(self.serve(call)) as events:
            async for _ in events:
                pass

    @property
    def _forked(self) -> bool:
        """Whether this is a child of the process that opened the project: databases, files and threads do not outlive a fork."""
        return os.getpid() != self._process

    def _check_process(self) -> None:
        """Raises `StoreError` in a child that was forked."""
        if self._forked:
            raise StoreError(FORKED, next=AFTER_FORK)

    # What was answered

    async def record(self, id: str) -> Record | None:
        """The record of a call, also one that ended a moment ago; None where there is none."""
        return await asyncio.to_thread(self._ended, id)

    async def records(self, *, limit: int = 20, **where: Any) -> list[Record]:
        """The newest records, by any of the ledger's columns: feature, tenant, origin, release, status, reason, rung."""
        return await asyncio.to_thread(self._fresh, self._ledger.records, where=where, limit=limit)

    async def score(
        self, record: str, name: str, value: float | str, *, reason: str = "", who: str = "user", id: str | None = None
    ) -> Score:
        """Keep what somebody thinks of a record. It may arrive before the record does; what has the same `id` is kept once.

        Its texts obey the feature's log policy. Raises `BadRequest` for what is of the wrong type, and `StoreError` when it
        cannot be written.
        """
        given = {"id": id or new_id(), "record": record, "at": time.time(), "name": name, "value": value}
        score = _typed({**given, "reason": reason, "who": who, "is": "score"}, Score)
        if isinstance(value, float) and not math.isfinite(value):
            raise BadRequest(f"expected a number, got {value}", param="value", where="value", next=EXAMPLES["value"])
        self._spool.append(msgspec.json.encode(score_for_log(score, await self._log_policy(record))))
        return score

    async def scores(self, record: str) -> list[Score]:
        """What was thought of a record, oldest first."""
        return await asyncio.to_thread(self._fresh, self._ledger.scores, record)

    def _ended(self, id: str) -> Record | None:
        self._check_process()
        return self._ledger.record(id) or self._fresh(self._ledger.record, id)

    def _fresh(self, read: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """What the ledger says with everything in it that has happened; without the latest, if it takes nothing just now."""
        self._check_process()
        if not self._spool.trouble:
            with contextlib.suppress(StoreError):
                self._spool.drain()
        return read(*args, **kwargs)

    async def _keep(self, record: str, name: str, opinion: Opinion) -> None:
        """An opinion about a live answer becomes a score of its record."""
        await self.workshop.keep(record, name, opinion)

    async def _log_policy(self, record: str) -> LogPolicy:
        """The policy of the feature that a record belongs to; the strictest there is, where that is not known."""
        releases = [*self.features.ready.values(), *self.features.plain.values()]
        strictest = max([r.feature.log for r in releases], key=STRICTER.index, default=STRICTER[0])
        found = None if strictest == "full" else await self.record(record)
        policies = [r.feature.log for r in releases if found is not None and r.feature.name == found.begun.call.feature]
        return policies[0] if policies else strictest

    def metrics(self) -> bytes:
        """All metrics in Prometheus' text format."""
        limits = self._limiting.metrics({name: ready.feature.limits for name, ready in self.features.ready.items()})
        return b"".join([*[o.render() for o in self.observers if hasattr(o, "render")], limits])

    def _queues(self) -> Iterator[tuple[str, int, Mapping[Priority, int]]]:
        """Of the process and of each model: the places that are taken, and who waits in which lane."""
        yield "", self._lanes.running, self._lanes.depths()
        for name, model in self.features.project.models.items():
            yield name, model.lanes.running, model.lanes.depths()

    def trouble(self) -> str:
        """Why records cannot be kept at the moment, or which release is refused; empty when all is well."""
        if self._forked:
            return f"{FORKED}; {AFTER_FORK}"
        refused = [f"{error.where}: {error.what}" for error in self.features.missing.values() if isinstance(error, Refused)]
        counting = self._limiting.purse.trouble
        return "; ".join(filter(None, [self._spool.trouble, counting, self._follower.trouble, self._replaced, *refused]))

    def _off(self, call: Call) -> Switched | None:
        return self._obeyed.off(call)

    # Who comes in

    @property
    def keys(self) -> Mapping[str, Key]:
        """The keys that were made and not revoked, by their ids. Whether one has expired is for whoever uses it to see."""
        return self._obeyed.keys

    @property
    def locked(self) -> bool:
        """Whether there is, or ever was, a key: then nobody comes in without one."""
        return self._obeyed.locked

    def room(self, call: Call) -> dict[Unit, Room]:
        """What is left of the narrowest limits on calls and tokens that bind this call, as far as this process knows."""
        return self._limiting.narrowest(call, self.release_of(call))

    def _caps_of(self, key: str) -> TenantSpec | None:
        found = self._obeyed.keys.get(key)
        return None if found is None else found.caps

    # Loading

    def _load(self, settings: Settings) -> Features:
        """Everything that is served: of the folder in development, else what was released."""
        if self.dev:
            state = folded(self.releases.links())
            return msgspec.structs.replace(self.loader.folder(settings), state=state)
        features = self.loader.released(settings, folded(self.releases.links()), self.releases)
        if keyless := self.loader.keyless(features):
            log.error("no key is set for %s: rungs that need it fail, and the ladder goes on below them", ", ".join(keyless))
        return features

    def reload(self) -> None:
        """Load the whole folder again and swap one reference. Raises `ConfigError`, and then nothing has changed."""
        settings = read_settings(self.root, self.environ)
        with self._following:
            self.features = self._load(settings)
            self.settings = settings
            self._limiting.take_up(settings)
            self._lanes.resize(settings.server.at_once)
        self._warm()

    def follow(self) -> None:
        """Take up the changes of what is served that were made since, here or by another process."""
        self._obey()  # which waits for no release that is being loaded
        with self._following:
            features, state = self.features, self._obey()
            if state.head == features.state.head:
                return
            if self.dev:
                self.features = msgspec.structs.replace(features, state=state)
            else:
                self.features = self.loader.followed(features, self.settings, state, self.releases)

    def _obey(self) -> State:
        """What all changes until now amount to. What is switched bites from here on; what is released has to be loaded first."""
        with self._obeying:
            last = self._obeyed
            links = self.releases.links(max(0, last.number - 1))
            if last.number and (not links or links[0].hash != last.head):
                self._obeyed = self._another_chain(last)
            else:
                self._obeyed = folded(links[1:] if last.number else links, last)
            return self._obeyed

    def _another_chain(self, last: State) -> State:
        """The store was deleted or replaced: what was released goes on being served, what its chain says now counts.

        A key that it does not hold opens nothing any more, and no door opens for the lack of keys.
        """
        self._replaced = f"{self.state / RELEASES}: the chain of changes was replaced or cut off; it goes on with what it served"
        log.error("%s", self._replaced)
        state = folded(self.releases.links())
        return msgspec.structs.replace(state, standings={**last.standings, **state.standings}, locked=last.locked or state.locked)

    def tend(self) -> None:
        """Give back unspent slices, look after near hits, and do what is due for all processes. Raises `MainstayError`."""
        self._limiting.tend()
        self._minding.tend(self.features.ready)
        if not self.dev:
            self._caretaker.tend()

    def _adopt(self) -> None:
        """Bring in what a dead process left. A ledger that takes nothing at the moment is no reason not to answer."""
        try:
            self._spool.adopt()
        except StoreError as error:
            log.error("the records of a dead process wait: %s", error)

    def _without_secrets(self, text: str) -> str:
        for secret in self.loader.secrets:
            text = text.replace(secret, "[secret]")
            cut = next((n for n in range(len(secret) - 1, 3, -1) if text.endswith(secret[:n])), 0)  # long messages are cut
            text = f"{text[:-cut]}[secret]" if cut else text
        return text

    # Evaluating and releasing

    @functools.cached_property
    def workshop(self) -> Workshop:
        """Where features are evaluated, drilled and stressed. It is imported when it is first used: serving needs none of it."""
        made: Workshop = import_module("mainstay.workshop").Workshop(self, sealed=self._sealed, new_id=new_id)
        return made

    @property
    def desk(self) -> Desk:
        """Where features are evaluated, released, tried, switched and taken back."""
        return self.workshop.desk

    # Ending

    async def close(self) -> None:
        """Let go of connections and write out what is left. A second time does nothing."""
        if not self._closed:
            self._closed = True
            if "_repeats" in vars(self):
                await self._repeats.close()
            await self.trials.close()
            await self._doubts.close()
            await self._http.close()
            await asyncio.to_thread(self._shut)

    def close_sync(self) -> None:
        """As `close`, for code that is not async."""
        if not self._closed:
            self._closed = True
            if "_repeats" in vars(self) and not self._forked:
                self._repeats.close_sync()
            self._shut()

    def _shut(self) -> None:
        if self._forked:
            return  # everything is the parent's
        self._follower.close()
        if self._thread is not None:
            self._thread.close(self._http.close())
        self._spool.close()
        self._cache.close()
        with contextlib.suppress(StoreError):  # what was borrowed ahead stays spent until its window ends
            self._limiting.purse.close()
        self._counters.close()
        self._ledger.close()
        self.releases.close()
        self.loader.close()
        if "workshop" in vars(self):
            self.workshop.close()

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
    dev: bool = False,
) -> Mainstay:
    """The project in that folder, ready to answer. Raises `ConfigError` with file, line, key and what was expected.

    What answers are the releases that are live; with `dev`, the folder as it is. `environ` replaces the process's environment,
    `state` the folder that holds ledger, cache, spool and releases.
    """
    environ = os.environ if environ is None else environ
    root = Path(path)
    return Mainstay(root, read_settings(root, environ), environ, None if state is None else Path(state), dev=dev)


@contextlib.asynccontextmanager
async def rehearsal(path: str | os.PathLike[str] = ".", *, environ: Mapping[str, str] | None = None) -> AsyncIterator[Mainstay]:
    """The project in that folder, to be drilled: with a state folder of its own that goes with it, no observers, and no need
    for any key. Raises `ConfigError`.
    """
    root, environ = Path(path), {**absent_keys(Path(path)), **(os.environ if environ is None else environ)}
    settings = msgspec.structs.replace(read_settings(root, environ), observers=())
    indexes = root / settings.state / INDEXES  # a query or an address is not read again for a rehearsal
    with tempfile.TemporaryDirectory(prefix="mainstay-drill-") as state:
        async with Mainstay(root, settings, environ, Path(state), dev=True, indexes=indexes if indexes.is_dir() else None) as app:
            yield app


def _typed(given: Mapping[str, Any], kind: type[T]) -> T:
    """What a program handed over, as ours. Raises `BadRequest`, which names what is of the wrong type and shows a right one."""
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at ")
        param = place.rpartition("$.")[2].rstrip("`")
        name = re.split(r"[.\[]", param)[0]
        what, next = what[:1].lower() + what[1:], EXAMPLES.get(name, f'{name}="…"')
        raise BadRequest(what, param=param, where=param, next=next) from None
