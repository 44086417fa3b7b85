"""Releases on trial: a canary that answers a share of the calls beside an equal control, and a shadow that nobody sees.

Which arm a call falls in depends on its user alone, so nobody's answers change sides in the middle of a conversation. Canary and
control both begin with nothing in the cache. What happens after an answer (online scorers, the shadow's run) happens off the
call's path, bounded in number, and is left out where too much of it is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer, Event
from mainstay.core.call import Call
from mainstay.core.reasons import Status
from mainstay.core.record import Record
from mainstay.core.release import TrialBegan, portion
from mainstay.core.report import Opinion
from mainstay.core.seams import Ledger
from mainstay.learn.background import Background
from mainstay.learn.canary import Decision, decide, values_of
from mainstay.learn.scoring import Scoring
from mainstay.learn.statistics import percentile
from mainstay.serve.ready import Ready

log = logging.getLogger("mainstay.trials")
MOST = 20_000  # calls of an arm that are looked at
UNDER_WAY = 16  # runs of shadows and online scorers at the same time
ANSWERED = (Status.ANSWERED, Status.CACHED)
ROUTED = "router:"  # before a release's digest: the cohort of answers from the top to calls that started lower
T = TypeVar("T")
Serve = Callable[[Call, Ready], AsyncGenerator[Event, None]]


class OnTrial(Struct, frozen=True):
    """A release on trial, and the trial."""

    trial: TrialBegan
    ready: Ready

    def arm(self, call: Call) -> str | None:
        """`canary`, `control`, or None for a call that does not take part."""
        place = portion(self.trial.id, call)
        if place < self.trial.share:
            return "canary"
        return "control" if place < 2 * self.trial.share else None


class Counted(Struct, frozen=True, kw_only=True):
    """A canary as it stands: the decision, and how many calls of either arm it rests on."""

    decision: Decision
    canary_calls: int
    control_calls: int


def stand_of(trial: TrialBegan, ledger: Ledger) -> Counted:
    """How a canary stands beside its control, by the records and scores of both."""
    arms = {arm: ledger.records(where={"cohort": f"{trial.id}:{arm}"}, limit=MOST) for arm in ("canary", "control")}
    values = {arm: values_of([(record, ledger.scores(record.id)) for record in records]) for arm, records in arms.items()}
    return Counted(
        decision=decide(values["control"], values["canary"]),
        canary_calls=len(arms["canary"]),
        control_calls=len(arms["control"]),
    )


class Beside(Struct, frozen=True, kw_only=True):
    """A shadow beside the answers that users got to the same calls. Times are in microseconds, money in nano-dollars.

    `answered` counts how often each was an answer of the rung where the ladder started; `scores` are means over the calls that
    have such a score, of the shadow and of what was live.
    """

    calls: int
    answered: tuple[int, int]
    scores: dict[str, tuple[float, float | None]]
    p95_us: tuple[float, float]
    cost_nano_usd: tuple[int | None, int | None]


def beside(trial: TrialBegan, ledger: Ledger) -> Beside | None:
    """How a shadow does, by its records and those of the calls that it shadowed; None before there are any."""
    shadows = ledger.records(where={"cohort": f"{trial.id}:shadow"}, limit=MOST)
    pairs = [(record, ledger.record(record.begun.call.parent or "")) for record in shadows]
    both = [(ours, theirs) for ours, theirs in pairs if theirs is not None]
    if not both:
        return None
    sides = [list(side) for side in zip(*both, strict=True)]
    means = [_mean_scores(side, ledger) for side in sides]
    return Beside(
        calls=len(both),
        answered=_both(sides, lambda side: sum(r.outcome.answer.status in ANSWERED for r in side)),
        scores={name: (value, means[1].get(name)) for name, value in means[0].items()},
        p95_us=_both(sides, lambda side: percentile([float(r.outcome.took_us) for r in side], 0.95)),
        cost_nano_usd=_both(sides, _cost),
    )


def _both(sides: list[list[Record]], of: Callable[[list[Record]], T]) -> tuple[T, T]:
    return of(sides[0]), of(sides[1])


def _cost(records: list[Record]) -> int | None:
    costs = [record.outcome.cost_nano_usd for record in records]
    return None if None in costs else sum(cost or 0 for cost in costs)


def _mean_scores(records: list[Record], ledger: Ledger) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for record in records:
        for score in ledger.scores(record.id):
            if not isinstance(score.value, str):
                values.setdefault(score.name, []).append(float(score.value))
    return {name: sum(found) / len(found) for name, found in values.items()}


def checked(call: Call, ready: Ready) -> bool:
    """Whether the first rung answers this call too, if the router lets it start lower: a share of the calls, wherever scorers
    judge what becomes of them.
    """
    router = ready.router
    return router is not None and bool(ready.feature.gate.online) and call.origin == "user" and _lot(call) < router.check


def _lot(call: Call) -> float:
    """Where a call falls between 0 and 1, whoever makes it."""
    return int.from_bytes(hashlib.blake2b(call.id.encode(errors="replace"), digest_size=8).digest(), "big") / 2**64


class Collector:
    """An observer that hands over the records of the calls that it was told to expect."""

    def __init__(self) -> None:
        self._expected: OrderedDict[str, Record | None] = OrderedDict()

    def expect(self, id: str) -> None:
        """The record of this call will be taken."""
        self._expected[id] = None

    def observe(self, record: Record) -> None:
        if record.id in self._expected:
            self._expected[record.id] = record

    def take(self, call: Call, answer: Answer | None, *, hidden: bool = False) -> Record | None:
        """The record of this call, with call and answer as they were before any log policy was applied; as it was written, where
        the release keeps private (`hidden`) what a call brings, from scorers and judges too.

        To be called however the call ended, also without an answer, because its reader left: what is expected is kept until then.
        """
        record = self._expected.pop(call.id, None)
        if record is None or answer is None or hidden:
            return record if answer is not None else None
        replace = msgspec.structs.replace
        return Record(begun=replace(record.begun, call=call), outcome=replace(record.outcome, answer=answer))


class Trials:
    """Serves the calls of features that have a release on trial, and those that a router's worth is measured by."""

    def __init__(
        self,
        serve: Serve,
        *,
        collector: Collector,
        new_id: Callable[[], str],
        scoring: Callable[[Ready], Scoring],
        keep: Callable[[str, str, Opinion], Awaitable[None]],
    ) -> None:
        self._serve, self._collector, self._new_id = serve, collector, new_id
        self._scoring, self._keep = scoring, keep
        self.behind = Background(UNDER_WAY, log=log, what="what follows an answer")
        self.close = self.behind.close

    async def serve(self, call: Call, live: Ready, canary: OnTrial | None, shadow: OnTrial | None) -> AsyncGenerator[Event, None]:
        """The events of a call, answered by the live release or by the canary, as its user falls."""
        arm = None if canary is None else canary.arm(call)
        ready = live if canary is None or arm != "canary" else canary.ready
        if canary is not None and arm is not None:
            call = msgspec.structs.replace(call, cohort=f"{canary.trial.id}:{arm}")
        seen = shadow if shadow is not None and portion(shadow.trial.id, call) < shadow.trial.share else None
        check = checked(call, ready)
        answer: Answer | None = None
        if arm is not None or check:
            self._collector.expect(call.id)
        try:
            async with contextlib.aclosing(self._serve(call, ready)) as events:
                async for event in events:
                    if isinstance(event, Answer):
                        answer = event
                    yield event
        finally:
            record = self._collector.take(call, answer, hidden=ready.hides)
            routed = check and record is not None and record.outcome.route is not None
            if record is not None and ready.feature.gate.online and (arm is not None or routed):
                self.behind.start(self._score(record, ready))
            if seen is not None and answer is not None:
                self.behind.start(self._shadow(call, seen.ready, f"{seen.trial.id}:shadow"))
            if routed:
                self.behind.start(self._shadow(call, ready, f"{ROUTED}{ready.digest[:12]}"))

    async def _score(self, record: Record, ready: Ready) -> None:
        """What the online scorers say becomes scores of the record. They are made in a thread: that may take a while."""
        scoring = await asyncio.to_thread(self._scoring, ready)
        for name, opinion in (await scoring.opinions(record)).items():
            if opinion.value is not None:
                await self._keep(record.id, name, opinion)

    async def _shadow(self, call: Call, shadow: Ready, cohort: str) -> None:
        """The same call, answered from the top of that release's ladder. It leaves a record of its own, and nobody sees it."""
        again = msgspec.structs.replace(call, id=self._new_id(), origin="shadow", cohort=cohort, parent=call.id, progress=False)
        self._collector.expect(again.id)
        answer: Answer | None = None
        try:
            async with contextlib.aclosing(self._serve(again, shadow)) as events:
                async for event in events:
                    if isinstance(event, Answer):
                        answer = event
        finally:
            record = self._collector.take(again, answer, hidden=shadow.hides)
        if record is not None:
            await self._score(record, shadow)
