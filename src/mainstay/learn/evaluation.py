"""Runs cases through `serve` and scores the answers: a release, beside the one it is to replace, or each of its rungs alone.

Calls have the origin `eval` and a tenant of their own, so they fill no cache, move no breaker and count in no live figure.
Candidate and baseline are asked in turns, so a slow hour hits both. An answer that was given to the same case by the same release
from the same evidence within a day is not asked for again: a run that was interrupted goes on where it stopped, and a second one
costs nothing. How many calls are under way adapts to what the providers take.

What it does not know: whether the cases are like what users ask.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer, Event
from mainstay.core.call import Call
from mainstay.core.case import Case
from mainstay.core.errors import BadRequest, ConfigError
from mainstay.core.evidence import Passage, Slot, Viewer
from mainstay.core.feature import StaleRung
from mainstay.core.reasons import Reason
from mainstay.core.record import Record
from mainstay.core.report import Opinion, Report, Result, Side
from mainstay.learn.scoring import Ask, Scoring
from mainstay.learn.trials import Collector
from mainstay.serve.ready import Ready

TENANT = "eval"
FRESH = 86400.0  # seconds for which an answer stands for the release that gave it
AT_ONCE = 8  # calls under way at the same time, unless it is told otherwise: more would wait for each other, and be timed so
FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0  # seconds between asks of one case while the provider says that it is too much
TOO_MUCH = ("rate_limited", "overloaded")
CANDIDATE, BASELINE = "candidate", "baseline"
PASSING = (Reason.RATE_LIMITED, Reason.MODEL_UNAVAILABLE, Reason.OVER_DEADLINE, Reason.NOT_RECORDED)  # not the release's answer
LONGEST_SHOWN = 20_000  # characters of an answer that a report repeats


class Kept(Protocol):
    """Answers of earlier evaluations."""

    def get(self, key: bytes, *, age: float) -> Record | None: ...

    def put(self, key: bytes, record: Record) -> None: ...


class Stage(Struct, frozen=True, kw_only=True):
    """What an evaluation runs on: what `app.py` lends.

    `sealed` hands over the records of calls that end, `record` one by its id, `digest` the release of a feature that judges.
    """

    serve: Callable[[Call, Ready], AsyncGenerator[Event, None]]
    sealed: Collector
    scoring: Callable[[Ready], Scoring]
    record: Callable[[str], Awaitable[Record | None]]
    digest: Callable[[str], str]
    kept: Kept
    new_id: Callable[[], str]


class Progress(Struct, frozen=True, kw_only=True):
    """How far an evaluation is. `spent` is in nano-dollars, None where a price is unknown."""

    done: int
    of: int
    spent: int | None
    kept: int


class Options(Struct, frozen=True, kw_only=True):
    """How an evaluation is run. `budget` is in nano-dollars; `fresh` asks again, whatever was kept."""

    repeat: int = 1
    at_once: int = AT_ONCE
    budget: int | None = None
    fresh: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    """What is asked which cases: the candidate, the release that it would replace, and each of its rungs alone, by name."""

    cases: Sequence[Case]
    candidate: Ready
    baseline: Ready | None = None
    rungs: Mapping[str, Ready] = {}
    options: Options = Options()

    @property
    def contenders(self) -> dict[str, Ready]:
        """All that answer, by the names under which results are told apart."""
        baseline = {} if self.baseline is None else {BASELINE: self.baseline}
        return {CANDIDATE: self.candidate, **baseline, **{f"rung {name}": ready for name, ready in self.rungs.items()}}


async def evaluate(stage: Stage, plan: Plan, *, seen: Callable[[Progress], None] = lambda progress: None) -> Report:
    """Ask every contender every case, and score what they say. The report names nobody yet, and has no ruling.

    Raises `ConfigError` for an input that the feature does not take, before anything is asked.
    """
    stage.scoring(plan.candidate).check(plan.cases)
    for case in plan.cases:
        _check_input(case, plan.candidate)
    began, sitting = time.time(), _Sitting(stage, plan, seen)
    await sitting.run()
    feature = plan.candidate.feature
    return Report(
        id=stage.new_id(),
        feature=feature.name,
        at=began,
        took_s=round(time.time() - began, 3),
        who="",
        cases=tuple(plan.cases),
        candidate=sitting.side(CANDIDATE),
        baseline=None if plan.baseline is None else sitting.side(BASELINE),
        rungs={name: sitting.side(f"rung {name}") for name in plan.rungs},
        repeat=plan.options.repeat,
        slices=feature.gate.slices,
        sources={name: source.version for name, source in plan.candidate.sources.items()},
        unfinished=sitting.unfinished,
    )


class _Sitting:
    """One evaluation under way. `unfinished` says why it ended before its end."""

    def __init__(self, stage: Stage, plan: Plan, seen: Callable[[Progress], None]) -> None:
        self._stage, self._plan, self._seen = stage, plan, seen
        self._pace = _Pace(max(1, plan.options.at_once))
        self._results: dict[tuple[str, str, int], Result] = {}
        self._spent: int | None = 0
        self._dearest = self._kept = 0
        self.unfinished = ""

    async def run(self) -> None:
        """Everything, or as much of it as the budget allows."""
        plan = self._plan
        of = len(plan.cases) * len(plan.contenders) * plan.options.repeat
        queue = iter([(case, turn) for turn in range(plan.options.repeat) for case in plan.cases])

        async def worker() -> None:
            for case, turn in queue:
                if self._stopped():
                    return
                await self._case(case, turn)
                self._seen(Progress(done=len(self._results), of=of, spent=self._spent, kept=self._kept))

        workers = [asyncio.create_task(worker()) for _ in range(min(self._pace.most, of))]
        try:
            await asyncio.gather(*workers)
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if self.unfinished:
            self.unfinished = f"{self.unfinished}: {len(self._results)} of {of} answers were given"

    def side(self, name: str) -> Side:
        """What one contender said, in the order of the cases."""
        places = [(name, case.id, turn) for case in self._plan.cases for turn in range(self._plan.options.repeat)]
        found = tuple([self._results[place] for place in places if place in self._results])
        return Side(release=self._plan.contenders[name].digest, results=found)

    def _stopped(self) -> bool:
        """Whether the budget is spent, or what the calls under way may cost would pass it."""
        budget = self._plan.options.budget
        if budget is None or self.unfinished:
            return bool(self.unfinished)
        if self._spent is None:
            self.unfinished = "what a model costs is unknown, so no budget can be kept"
        elif self._spent + (self._pace.under_way + 1) * self._dearest > budget:
            self.unfinished = "the budget was spent"
        return bool(self.unfinished)

    async def _case(self, case: Case, turn: int) -> None:
        """One case: every contender answers it, the first one in turns, and then all are scored."""
        contenders = {name: _with_evidence(ready, case) for name, ready in self._plan.contenders.items()}
        order = list(contenders) if turn % 2 else list(reversed(contenders))
        answered = {name: await self._answered(case, turn, contenders[name]) for name in order}
        rival = answered[BASELINE][0] if BASELINE in answered else None
        for name, (record, kept) in answered.items():
            scoring = self._stage.scoring(contenders[name])
            scoring = msgspec.structs.replace(scoring, ask=self._judge(scoring.ask, turn))
            said = await scoring.opinions(record, case, rival if name == CANDIDATE else None)
            self._results[name, case.id, turn] = _result(case, turn, record, kept=kept, opinions=said)

    def _judge(self, ask: Ask, turn: int) -> Ask:
        """Judges as scorers ask them: on this evaluation's money, and not twice for the same answer in the same turn."""

        async def judged(feature: str, input: Mapping[str, Any]) -> Answer:
            whole = msgspec.json.encode(("judge", feature, self._stage.digest(feature), input, turn), enc_hook=str)
            key = hashlib.blake2b(whole, digest_size=20).digest()
            kept = await self._known(key)
            if kept is not None:
                return kept.outcome.answer
            answer = await ask(feature, input)
            record = await self._stage.record(answer.id)
            if record is not None:
                self._pay(record)
                outcome = msgspec.structs.replace(record.outcome, answer=answer)
                await self._keep(key, Record(begun=record.begun, outcome=outcome))
            return answer

        return judged

    async def _known(self, key: bytes) -> Record | None:
        if self._plan.options.fresh:
            return None
        return await asyncio.to_thread(self._stage.kept.get, key, age=FRESH)

    async def _keep(self, key: bytes, record: Record) -> None:
        """Keep an answer for the next run, unless it says more of this hour than of what was asked."""
        if record.outcome.answer.reason not in PASSING:
            await asyncio.to_thread(self._stage.kept.put, key, record)

    async def _answered(self, case: Case, turn: int, ready: Ready) -> tuple[Record, bool]:
        """The answer of one release to one case, and whether it was given before."""
        if ready.slots is not None and case.slots is None:  # what it would rest on may be another by now
            return await self._ask(case, ready), False
        key = _key(case, turn, ready)
        kept = await self._known(key)
        if kept is not None:
            self._kept += 1
            return kept, True
        record = await self._ask(case, ready)
        await self._keep(key, record)
        return record, False

    async def _ask(self, case: Case, ready: Ready) -> Record:
        """One answer; again, after a pause, while the provider says that it is too much."""
        wait = FIRST_WAIT
        while True:
            async with self._pace:
                record = await self._call(case, ready)
            self._pay(record)
            if not any(a.outcome in TOO_MUCH for a in record.outcome.attempts):
                self._pace.faster()
                return record
            self._pace.slower()
            if wait > LONGEST_WAIT:
                return record
            await asyncio.sleep(wait)
            wait *= 3

    async def _call(self, case: Case, ready: Ready) -> Record:
        call = Call(
            id=self._stage.new_id(),
            feature=ready.feature.name,
            input=case.input,
            history=case.history,
            locale=case.locale,
            tenant=case.tenant or TENANT,
            roles=case.roles,
            origin="eval",
            stream=ready.feature.shows_early,
        )
        self._stage.sealed.expect(call.id)
        answer: Answer | None = None
        try:
            async with aclosing(self._stage.serve(call, ready)) as events:
                async for event in events:
                    if isinstance(event, Answer):
                        answer = event
        finally:
            record = self._stage.sealed.take(call, answer)
        assert record is not None  # noqa: S101  serve ends with its answer, and seals its record before that
        return record

    def _pay(self, record: Record) -> None:
        cost = record.outcome.cost_nano_usd
        if cost is None or self._spent is None:
            self._spent = None
        else:
            self._spent += cost
            self._dearest = max(self._dearest, cost)


class _Pace:
    """How many calls are under way: one more with each success, half as many when a provider has too much."""

    def __init__(self, most: int) -> None:
        self.most, self._limit, self.under_way = most, float(most), 0
        self._room = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._room:
            await self._room.wait_for(lambda: self.under_way < int(self._limit))
            self.under_way += 1

    async def __aexit__(self, *_: object) -> None:
        async with self._room:
            self.under_way -= 1
            self._room.notify_all()

    def faster(self) -> None:
        self._limit = min(self.most, self._limit + 1 / self._limit)

    def slower(self) -> None:
        self._limit = max(1.0, self._limit / 2)


class _Pinned:
    """A source that holds the passages of one case."""

    def __init__(self, passages: tuple[Passage, ...], version: str) -> None:
        self._passages, self.version = passages, version

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        return list(self._passages[:limit])

    async def passage(self, id: str, *, viewer: Viewer) -> Passage | None:
        return next((p for p in self._passages if p.id == id), None)


class _PinnedSlots:
    """The facts of one case, in place of what would be fetched."""

    private = False

    def __init__(self, slots: tuple[Slot, ...]) -> None:
        self._slots = slots

    async def fetch(self, values: Mapping[str, Any], shown: Mapping[str, Any], *, seconds: float) -> tuple[Slot, ...]:
        return self._slots


def _with_evidence(ready: Ready, case: Case) -> Ready:
    """The release, with the evidence that the case brings."""
    if case.slots is not None:
        ready = msgspec.structs.replace(ready, slots=_PinnedSlots(case.slots))
    if case.passages is None:
        return ready
    by_source = {
        name: _Pinned(tuple([p for p in case.passages if p.source == name]), case.fingerprint()) for name in ready.sources
    }
    return msgspec.structs.replace(ready, sources=by_source)


def _key(case: Case, turn: int, ready: Ready) -> bytes:
    """Everything that an answer to a case depends on."""
    versions = [source.version for source in ready.sources.values()]
    rungs = [rung.name for rung in ready.rungs]
    whole = msgspec.json.encode((ready.digest, rungs, case.fingerprint(), turn, versions, ready.feature.shows_early))
    return hashlib.blake2b(whole, digest_size=20).digest()


def _result(case: Case, turn: int, record: Record, *, kept: bool, opinions: dict[str, Opinion]) -> Result:
    outcome, answer = record.outcome, record.outcome.answer
    return Result(
        case=case.id,
        turn=turn,
        record=record.id,
        status=answer.status,
        reason=answer.reason,
        rung=answer.rung,
        shown=answer.shown[:LONGEST_SHOWN],
        took_us=outcome.took_us,
        first_word_us=outcome.first_word_us,
        cost_nano_usd=outcome.cost_nano_usd,
        opinions=opinions,
        kept=kept,
        confidence=answer.confidence,
        signals=outcome.signals,
    )


def _check_input(case: Case, ready: Ready) -> None:
    try:
        ready.read_input(case.input)
    except BadRequest as error:
        if case.expect.get("refused") is None:  # a case may well be about what is refused
            raise ConfigError(f"the case {case.id} is not one that the feature takes: {error.what}", where=case.source) from None
    if len(case.history) > ready.feature.history:
        raise ConfigError(
            f"the case {case.id} has {len(case.history)} earlier turns; the feature declares {ready.feature.history}",
            where=case.source,
            next=f"history = {len(case.history)}",
        )


def each_rung(ready: Ready) -> dict[str, Ready]:
    """The release with each of its rungs alone above the last one, which needs nothing. `stale` has nothing of its own to say."""
    *rungs, last = ready.rungs
    return {
        rung.name: msgspec.structs.replace(ready, rungs=(rung, last), asleep=False)
        for rung in rungs
        if not isinstance(rung.spec, StaleRung)
    }
