"""The seams: what a part has to be. Each is one method where possible; one conformance suite a seam runs on every part.

A part is found by entry point (`mainstay.providers`, `.sources`, `.guards`, `.scorers`, `.observers`; ours come in by the same
door) or named by path, `"shop.guards:NoCompetitors"`. Parts import `core` and `wire`, and never each other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Protocol

from msgspec import Struct

from mainstay.core.answer import Answer, Citation
from mainstay.core.case import Case
from mainstay.core.draft import Draft, Verdict
from mainstay.core.evidence import Passage
from mainstay.core.model import Chunk, ModelRequest
from mainstay.core.record import Record, Score
from mainstay.core.release import Attestation, Change, Link, Release, State
from mainstay.core.report import Opinion, Outcome, Report


class Provider(Protocol):
    """Asks one model.

    Made as `Part(model, key=key, http=http)`: `model` are its settings (`core/project.py`), `key` is its secret as the
    environment holds it, empty where none is named or set, and `http` the HTTP client that all parts share (`parts/http.py`).
    """

    def generate(self, request: ModelRequest, *, stream: bool) -> AsyncGenerator[Chunk, None]:
        """Yield what the model writes, one chunk a read; the last carries `finish`.

        With `stream` false one chunk holds everything. Raises a `ModelError`, and nothing else, when there is no usable
        answer. It may be closed at any chunk and then lets go of its connection. It sets no time limit of its own:
        whoever awaits it does.
        """
        ...


class Hold(Enum):
    """How much text a guard has to see before the words in it may leave."""

    NOTHING = "nothing"
    SENTENCE = "sentence"
    WHOLE = "whole"


class Guard(Protocol):
    """Judges a draft, or an input. Made with the options of the feature file as keywords.

    `hold` is a number of characters, or a `Hold`: that much at the end of an unfinished text stays back. What a guard says of
    a growing text must agree with what it says of the whole: it stops or changes nothing in an unfinished text that more text
    could still make right, and holds back enough to say so in time. One that raises stops the draft.
    """

    hold: int | Hold

    async def check(self, draft: Draft) -> Verdict:
        """Say what of this draft may go out. It may be called many times for one growing text."""
        ...


class Source(Protocol):
    """Finds evidence.

    Made with keywords: `name`, and from its table in mainstay.toml `path` (made absolute), `link`, and each of the `options`, as
    far as they are given.
    """

    @property
    def version(self) -> str:
        """Changes whenever the content changes; part of every cache key."""
        ...

    async def search(self, query: str, *, limit: int) -> list[Passage]:
        """The passages that answer the query, best first; none at all where nothing does."""
        ...


class Cache(Protocol):
    """Keeps answers. Values are bytes; whoever reads one decides whether it is still fresh."""

    def get(self, key: bytes) -> tuple[float, bytes] | None:
        """When it was stored (seconds since 1970) and what; None if there is nothing."""
        ...

    def put(self, key: bytes, value: bytes, *, keep: float) -> None:
        """Keep this for so many seconds. May return before it is on disk."""
        ...


class LedgerRow(Struct, frozen=True):
    """What is written at once: both halves of a record, or a score, as the bytes that the spool holds."""

    id: str
    begun: bytes = b""
    sealed: bytes = b""
    score: bytes = b""


class Ledger(Protocol):
    """Keeps records and scores for ever. Writing a record or score twice changes nothing."""

    def write(self, rows: Iterable[LedgerRow]) -> None:
        """Store these, all or none. Blocking: called from the spool's own thread."""
        ...

    def record(self, id: str) -> Record | None:
        """One record by its id."""
        ...

    def records(self, *, where: Mapping[str, Any], limit: int) -> list[Record]:
        """The newest records whose columns have these values."""
        ...

    def scores(self, record: str) -> list[Score]:
        """What was thought of a record, oldest first."""
        ...


class Subject(Struct, frozen=True, kw_only=True):
    """What a scorer looks at: a sealed record, and the case that it answers where there is one.

    `expected` is what the case says under this scorer's name, None where it says nothing; for a live call there is no case.
    `unwanted` says that the name stands under `not-` there: the opinion will be inverted, so whoever takes a list looks for any
    of it and not for all.
    `rival` is the record of the baseline's answer to the same case, for scorers that compare.
    `look_up` gives the passage that a citation names, as its source holds it now, or None. `ask` runs another feature (a judge)
    with this input, within the scorer's share of time and money.
    """

    record: Record
    case: Case | None = None
    expected: Any = None
    unwanted: bool = False
    rival: Record | None = None
    look_up: Callable[[Citation], Awaitable[Passage | None]]
    ask: Callable[[str, Mapping[str, Any]], Awaitable[Answer]]

    @property
    def answer(self) -> Answer:
        """The answer that is scored."""
        return self.record.outcome.answer


class Scorer(Protocol):
    """Says what it thinks of an answer, offline and online alike. Made with the options of the feature file as keywords.

    It may have a second method, `check_expected(expected) -> None`, that raises `ValueError` with a sentence for what a case
    cannot expect of it. It is called with every expectation before any money is spent.
    """

    async def score(self, subject: Subject) -> Opinion | None:
        """An opinion; None where the scorer has nothing to say to such a call. What it raises becomes an opinion that says so."""
        ...


class Shows(Protocol):
    """A source that can show again what it found: needed to check citations."""

    async def passage(self, id: str) -> Passage | None:
        """The passage with that id as it is now; None where there is none any more."""
        ...


class Observer(Protocol):
    """Watches sealed records. It cannot steer: what it raises is logged and forgotten."""

    def observe(self, record: Record) -> None:
        """See one record. Called on the event loop: return within microseconds."""
        ...


class Function(Protocol):
    """What a `call` rung names: takes the call's input, plain or async; returns text, data, or None to pass."""

    def __call__(self, **fields: Any) -> Any: ...


class Evidenced(Struct, frozen=True, kw_only=True):
    """What a report is evidence for: that this release was evaluated, then, with this outcome (None: nobody ruled)."""

    report: str
    feature: str
    release: str
    outcome: Outcome | None
    at: float
    seal: str


class Releases(Protocol):
    """Keeps releases, reports and the chain of changes that says what is served."""

    def keep(self, release: Release) -> None:
        """Keep a release; twice changes nothing."""
        ...

    def release(self, feature: str, digest: str) -> Release | None:
        """The release with that digest, or with the only digest that begins so."""
        ...

    def releases(self, feature: str) -> list[Release]:
        """All releases of a feature, the newest first."""
        ...

    def keep_report(self, report: Report, kind: str) -> str:
        """Keep a report; gives the seal over what was kept."""
        ...

    def report(self, id: str) -> Report | None:
        """A report by its id."""
        ...

    def evidence(self, id: str) -> Evidenced | None:
        """What the report with that id is evidence for."""
        ...

    def reports(self, feature: str, *, kind: str | None = None, limit: int = 20) -> list[str]:
        """The ids of a feature's newest reports."""
        ...

    def attest(self, attestation: Attestation) -> None:
        """Keep evidence that is no report."""
        ...

    def attestation(self, id: str) -> Attestation | None:
        """Evidence that is no report, by its id."""
        ...

    def attestations(self, feature: str, kind: str, *, limit: int = 20) -> list[Attestation]:
        """The newest evidence of that kind for a feature."""
        ...

    def links(self, after: int = 0) -> list[Link]:
        """The changes after the one with that number, in order."""
        ...

    def add(self, feature: str, change: Change, *, who: str, check: Callable[[State], None] = ...) -> Link:
        """Make a change, in one step with `check` of the state that it follows."""
        ...

    def version(self) -> int:
        """Differs when another process has written."""
        ...

    def lease(self, name: str, holder: str, seconds: float) -> bool:
        """Whether this holder has the lease of that name for so long: at most one at a time has."""
        ...
