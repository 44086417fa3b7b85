"""What is noted while a call runs: the step times, the attempts, what guards said.

A `Trace` is the one mutable thing that travels with a call; it decides nothing. A production that several calls share has a
trace of its own, which the call that pays for it takes over.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from mainstay.core.answer import Answer
from mainstay.core.call import PRIORITIES, Call, Priority
from mainstay.core.draft import Verdict
from mainstay.core.errors import NotFound
from mainstay.core.evidence import Evidence, Slot
from mainstay.core.model import Chunk, Usage
from mainstay.core.reasons import Finish
from mainstay.core.record import Attempt, Begun, Found, GuardNote, LogPolicy, Recalled, Route
from mainstay.serve.lanes import Shed
from mainstay.serve.ready import Ready
from mainstay.serve.spending import Account, Short

Lend = Callable[[Call, Account, float, str, Mapping[str, Any]], Awaitable[Answer]]


class AttemptNotes:
    """One attempt while it runs; becomes an `Attempt` when it is over.

    `first` is the moment of the first sign of life, `wrote` whether anything came that is an answer: spaces and thoughts are
    none. `over` says that the provider has nothing open any more. `queued` is how long it waited before, in seconds. A `usage`
    that nobody can believe is as good as none.
    """

    __slots__ = ("at", "finish", "first", "model", "over", "queued", "rung", "usage", "waited", "wrote")

    def __init__(self, rung: str, model: str, at: float) -> None:
        self.rung, self.model, self.at = rung, model, at
        self.first: float | None = None
        self.usage: Usage | None = None
        self.finish: Finish | None = None
        self.waited = self.queued = 0.0
        self.wrote = self.over = False

    def add(self, chunk: Chunk) -> None:
        """More was written."""
        if chunk.usage is not None and chunk.usage.believable:
            self.usage = chunk.usage
        self.finish = chunk.finish or self.finish
        if not self.wrote:
            self.wrote = bool(chunk.tool_calls or chunk.refusal or (chunk.text and not chunk.text.isspace()))


class Trace:
    """The notes of one call, or of one production. `off` says that rungs that need a model are switched off for it; `lend` runs
    another feature for a call; `placeholders` are what stands for personal data that the caller gave, and `bare` says that the
    guards that put them there have not seen the input yet. `high` says that the stakes of the call are: the feature's are, or a
    guard has raised them. `account` is what it may spend, and `short` why it may ask no model: a limit, or a full house; nor may
    it where it is `looping`: the same request has failed too often. `next` is what a guard tells the user to do instead,
    `recalled` whose answer was found in the cache, and `vector` what an embedder makes of its question.
    """

    __slots__ = (
        "_mark",
        "account",
        "at",
        "attempts",
        "bare",
        "begun",
        "budget",
        "call",
        "deadline",
        "first_word",
        "guards",
        "high",
        "lend",
        "looping",
        "next",
        "off",
        "on_disk",
        "passages",
        "placeholders",
        "provider_s",
        "ready",
        "recalled",
        "route",
        "running",
        "short",
        "signals",
        "slots",
        "start",
        "steps",
        "vector",
    )

    def __init__(self, call: Call, ready: Ready, lend: Lend | None = None, account: Account | None = None) -> None:
        self.call, self.ready, self.lend, self.account = call, ready, lend, account or Account()
        self.at = time.time()
        self.start = self._mark = time.monotonic()
        feature = ready.feature
        self.budget = feature.deadline if call.deadline is None else max(0.0, min(call.deadline, feature.deadline))
        self.deadline = self.start + self.budget
        self.steps: dict[str, int] = {}
        self.attempts: list[Attempt] = []
        self.guards: list[GuardNote] = []
        self.running: list[AttemptNotes] = []
        self.provider_s = 0.0
        self.first_word: float | None = None
        self.begun: Begun | None = None
        self.on_disk = self.off = self.looping = False
        self.short: Short | Shed | None = None
        self.high = feature.stakes == "high"
        self.next: str | dict[str, str] = ""
        self.slots: tuple[Slot, ...] = ()
        self.passages: tuple[Found, ...] = ()
        self.signals: dict[str, float] = {}
        self.route: Route | None = None
        self.placeholders: dict[str, str] = {}
        self.bare = ready.hides
        self.recalled: Recalled | None = None
        self.vector: tuple[float, ...] | None = None

    def fork(self) -> Trace:
        """The trace of the production that this call starts: the same call, clock and deadline, its own notes."""
        fork = Trace(self.call, self.ready, self.lend, self.account)
        fork.short, fork.looping, fork.vector = self.short, self.looping, self.vector
        fork.start, fork.deadline, fork.on_disk, fork.off = self.start, self.deadline, self.on_disk, self.off
        fork.bare, fork.slots, fork.high, fork.next = self.bare, self.slots, self.high, self.next
        return fork

    @property
    def priority(self) -> Priority:
        """Which lane it waits in: its feature's, or a lower one that the call asks for. Whoever is no user waits behind users."""
        if self.call.origin != "user":
            return "batch"
        own, asked = self.ready.feature.priority, self.call.priority
        return own if asked is None else max(own, asked, key=PRIORITIES.index)

    @property
    def streams(self) -> bool:
        """Whether words are shown as they come."""
        return self.call.stream and self.ready.feature.shows_early

    @property
    def log(self) -> LogPolicy:
        """What may be kept of its texts: nothing, before the guards that hide what is private have seen them."""
        return "none" if self.bare else self.ready.feature.log

    def failed(self, log: logging.Logger, what: str, error: BaseException) -> None:
        """Tell the program's log that something of the team's, or of ours, raised. Where the feature's log policy keeps no texts,
        the error's message, which may quote them, stays out of it too.
        """
        if self.log == "full":
            log.error("%s", what, exc_info=error)
        else:
            log.error("%s: %s\n%s", what, type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))

    def queued(self, seconds: float) -> None:
        """It waited so long for a place: neither our work nor a step's."""
        self.provider_s += seconds
        self._mark += seconds

    def spoke(self) -> None:
        """Something was shown to the reader."""
        if self.first_word is None:
            self.first_word = time.monotonic()

    def step(self, name: str) -> None:
        """The step of this name ends now."""
        now = time.monotonic()
        self.steps[name] = self.steps.get(name, 0) + int((now - self._mark) * 1e6)
        self._mark = now

    def resume(self) -> None:
        """What was waited for until now belongs to no step of this trace."""
        self._mark = time.monotonic()

    async def ask(self, feature: str, input: Mapping[str, Any]) -> Answer:
        """What another feature says to this, for this call and in the time that it has left."""
        if self.lend is None:
            raise NotFound("there is no other feature to ask here")
        return await self.lend(self.call, self.account, max(0.0, self.deadline - time.monotonic()), feature, input)

    def found(self, evidence: Evidence) -> None:
        """This is what the call is given to rest on."""
        self.slots = evidence.slots
        self.passages = tuple([Found(p.source, p.id, p.version, p.digest) for p in evidence.passages])

    def guard(self, guard: str, stage: str, verdict: Verdict, rung: str | None = None) -> None:
        """A guard said something other than "allow", or has something to note: that once, however often it saw a growing text."""
        said = GuardNote(guard=guard, stage=stage, action=verdict.action, reason=verdict.reason, rung=rung, detail=verdict.detail)
        if verdict.action != "allow" or said not in self.guards:
            self.guards.append(said)

    def skipped(self, rung: str, outcome: str, detail: str = "") -> None:
        """A rung was passed over, and why."""
        self.attempts.append(Attempt(rung=rung, outcome=outcome, at_us=self.since_start(time.monotonic()), detail=detail))

    def hung(self) -> None:
        """What runs will not end, though it was cancelled; what it costs is unknown."""
        now = time.monotonic()
        for notes in self.running:
            self.attempts.append(
                Attempt(
                    rung=notes.rung,
                    outcome="abandoned",
                    model=notes.model,
                    at_us=self.since_start(notes.at),
                    took_us=int((now - notes.at) * 1e6),
                    detail="it was cancelled and did not end",
                )
            )

    def wrote(self, rung: str, detail: str) -> None:
        """A rung that asks no model wrote a draft, and how."""
        self.attempts.append(Attempt(rung=rung, outcome="ok", at_us=self.since_start(time.monotonic()), detail=detail))

    def since_start(self, moment: float) -> int:
        """Microseconds from the start of the call."""
        return int((moment - self.start) * 1e6)

    def take_over(self, production: Trace) -> None:
        """This call pays for that production: its attempts, guards and step times become ours."""
        self.attempts, self.provider_s = [*self.attempts, *production.attempts], production.provider_s
        self.guards += production.guards
        self.slots, self.passages, self.signals = production.slots, production.passages, production.signals
        self.route = production.route
        self.steps |= production.steps

    def usages(self) -> Iterator[Usage]:
        """What each attempt used, where it is known."""
        return (a.usage for a in self.attempts if a.usage is not None)

    def cost(self) -> int | None:
        """Nano-dollars of all attempts; None as soon as one of them is unknown."""
        total = 0
        for a in self.attempts:
            if a.model is not None and a.cost_nano_usd is None and (a.usage is not None or a.outcome == "abandoned"):
                return None
            total += a.cost_nano_usd or 0
        return total
