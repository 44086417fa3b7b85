"""A release made ready to be served, and the parts that serve it: the two frozen bundles that every step receives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct, field
from msgspec.structs import force_setattr

from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.confidence import UNCALIBRATED, Calibration
from mainstay.core.draft import Draft, Verdict
from mainstay.core.evidence import Passage, Slot
from mainstay.core.feature import Feature, Rung
from mainstay.core.project import Price
from mainstay.core.release import Switched
from mainstay.core.seams import Aligner, Cache, Embedder, Guard, Observer, Provider, Source
from mainstay.serve.breaker import Breaker
from mainstay.serve.complaints import Complaints
from mainstay.serve.lanes import Lanes
from mainstay.serve.pace import Pace
from mainstay.serve.router import Router
from mainstay.serve.spending import Account
from mainstay.serve.tempo import Tempo
from mainstay.serve.warmth import Warmth

SENTENCE = 2**31  # a hold wider than any number of characters that a guard may ask for
WHOLE = 2**62


class ServingModel(Struct, frozen=True, kw_only=True):
    """One model, its price and its health. `price` is in nano-dollars per million tokens; None is unknown. `image_tokens` is the
    most that one image can be. Who asks it takes a place in its `lanes`; `tempo` is how fast it usually answers, `warmth` whether
    it has to start first.
    """

    name: str
    provider: Provider
    model: str
    max_output: int
    price: Price | None
    breaker: Breaker
    image_tokens: int = 50_000
    lanes: Lanes = field(default_factory=Lanes)
    tempo: Tempo = field(default_factory=Tempo)
    warmth: Warmth = field(default_factory=Warmth)


class ReadyGuard(Struct, frozen=True):
    """A guard under its name. `hold` is in characters, `SENTENCE`, or `WHOLE`."""

    name: str
    guard: Guard
    hold: int

    async def check(self, draft: Draft) -> Verdict:
        """What it says of the draft."""
        return await self.guard.check(draft)

    @property
    def hides(self) -> bool:
        """Whether nothing of a call's texts may be kept before it has seen them."""
        return getattr(self.guard, "hides", False) is True


class ReadyRung(Struct, frozen=True, kw_only=True):
    """A rung of the ladder: what the file says, the models it asks, and how its drafts are written."""

    name: str
    spec: Rung
    tries: int
    models: tuple[ServingModel, ...]
    writer: Callable[..., Any]
    pace: Pace


class Facts(Protocol):
    """Where the slots of a feature come from. `private` says that they may depend on the call's user."""

    @property
    def private(self) -> bool: ...

    async def fetch(self, values: Mapping[str, Any], shown: Mapping[str, Any], *, seconds: float) -> tuple[Slot, ...]:
        """The facts for these values of the input, whatever becomes of each, in so many seconds. A record may hold `shown`."""
        ...


class Near(Struct, frozen=True, kw_only=True):
    """From which probability on a near question is a hit; `checked` is the share of hits that are answered anew beside.
    `measurement` tells the file in which that was measured from another one.
    """

    measurement: str
    threshold: float
    checked: float
    embedder: Embedder | None = None


class Ready(Struct, frozen=True, kw_only=True):
    """A release that can answer: templates compiled, guards made, rungs bound to their models.

    `digest` names the release; `sources` are the ones its evidence comes from, `slots` its facts; `read_input` checks a call's
    input and gives the values that templates see. `passage_guards` are those guards that look at what was found too. `keeps` is
    for how many seconds an answer is stored: as long as the cache or a `stale` rung may want it. `asleep` says that rungs are
    missing because their model's key is not set. `laddered` is false for a plain model, which has one rung that may fail.
    `curated` is the guard of calls whose stakes are high, behind all others; `calibration` makes the confidence of an answer;
    `router` says how far behind the first a cheaper rung would be, None where every call starts at the top.
    `near` is in force where near hits are on; `near_off` says why they are not, where they are asked for;
    `ahead` is the list of what is answered before it is asked, where the feature has one. `hides` says whether an input guard
    keeps private what a call brings; it follows from the guards.
    """

    digest: str
    feature: Feature
    rungs: tuple[ReadyRung, ...]
    input_guards: tuple[ReadyGuard, ...]
    output_guards: tuple[ReadyGuard, ...]
    sources: Mapping[str, Source]
    read_input: Callable[[Mapping[str, Any]], dict[str, Any]]
    keeps: float
    slots: Facts | None = None
    passage_guards: tuple[ReadyGuard, ...] = ()
    asleep: bool = False
    laddered: bool = True
    curated: ReadyGuard | None = None
    calibration: Calibration = UNCALIBRATED
    router: Router | None = None
    near: Near | None = None
    near_off: str = ""
    ahead: str = ""
    hides: bool = False

    def __post_init__(self) -> None:
        force_setattr(self, "hides", any(guard.hides for guard in self.input_guards))


class Spool(Protocol):
    """Where the two halves of a record are appended."""

    def append(self, *lines: bytes) -> None:
        """On disk (in the kernel's hands) when it returns. Raises `StoreError` when the disk will not take it."""
        ...

    def owe(self, *lines: bytes) -> None:
        """Keep these in memory and append them when the disk takes them again."""
        ...


class Parts(Struct, frozen=True, kw_only=True):
    """Everything with a life of its own that the steps use.

    `unwritten` is a cache that never reaches a disk. `without_secrets` takes the project's keys out of a text. `off` gives the
    switch that a call is off by, `account` what it may spend, and `loops` says which calls repeat what keeps failing. `ask` runs
    another feature for a call, on its account and in so many seconds. `lanes` are the places in which answers are worked on.
    `aligner` says how far evidence bears what is written. `nearby` finds near questions that were answered, and `doubt` is told
    of each near hit.
    """

    spool: Spool
    cache: Cache
    unwritten: Cache
    flights: Any
    loops: Any
    observers: tuple[Observer, ...] = ()
    complaints: Complaints = field(default_factory=Complaints)
    without_secrets: Callable[[str], str] = str
    off: Callable[[Call], Switched | None] = lambda call: None
    ask: Callable[[Call, Account, float, str, Mapping[str, Any]], Awaitable[Answer]] | None = None
    account: Callable[[Call, Ready], Account] = lambda call, ready: Account()
    lanes: Lanes = field(default_factory=Lanes)
    aligner: Aligner | None = None
    nearby: Any = None
    doubt: Callable[[Call, Ready, Answer], None] = lambda call, ready, answer: None


class Found(Struct, frozen=True):
    """A cached answer, its age in seconds, the passages that it was given, and what it had cost in nano-dollars."""

    answer: Answer
    age: float
    passages: tuple[Passage, ...] = ()
    cost: int | None = None
