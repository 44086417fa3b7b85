"""The seams: what a part has to be. Each is one method where possible; one conformance suite a seam runs on every part.

A part is found by entry point (`mainstay.providers`, `.sources`, `.readers`, `.embedders`, `.rerankers`, `.classifiers`,
`.guards`, `.scorers`, `.observers`; ours come in by the same door) or named by path, `"shop.guards:NoCompetitors"`. Parts import
`core` and `wire`, and never each other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

from msgspec import Struct

from mainstay.core.answer import Answer, Citation
from mainstay.core.case import Case
from mainstay.core.draft import Draft, Verdict
from mainstay.core.evidence import Curated, Evidence, Passage, Support, Viewer
from mainstay.core.model import Chunk, ModelRequest
from mainstay.core.near import Likely, Question
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

        With `stream` false one chunk holds everything. A chunk with nothing but the `quota` that the head of the answer told may
        come before, so that the provider is not asked for more than it allows. Raises a `ModelError`, and nothing else, when
        there is no usable answer. It may be closed at any chunk and then lets go of its connection. It sets no time limit of its
        own: whoever awaits it does.
        """
        ...


class Hold(Enum):
    """How much text a guard has to see before the words in it may leave."""

    NOTHING = "nothing"
    SENTENCE = "sentence"
    WHOLE = "whole"


class Guard(Protocol):
    """Judges a draft, or an input. Made with the options of the feature file as keywords; an option called `classifier` or
    `database` names one of `mainstay.toml`, and the guard is given the thing itself; one called `file` names a file beside
    feature.toml, and the guard is given its bytes.

    `hold` is a number of characters, or a `Hold`: that much at the end of an unfinished text stays back. What a guard says of
    a growing text must agree with what it says of the whole: it stops or changes nothing in an unfinished text that more text
    could still make right, and holds back enough to say so in time. One that raises stops the draft.

    A guard that keeps private what a call brings says so with the attribute `hides = True`: until it has seen the input, nothing
    of the call's texts is recorded or logged.
    One with the class attribute `passages = True` is also shown each passage that was found, before any model is. One with
    `experimental = True` is below the operating point that its card states.
    """

    hold: int | Hold

    async def check(self, draft: Draft) -> Verdict:
        """Say what of this draft may go out. It may be called many times for one growing text."""
        ...


class Source(Protocol):
    """Finds evidence: an index that Mainstay keeps of what a `Reader` reads, or a search service of your own.

    Your own is made with keywords: `name`, and from its table in mainstay.toml `path` (made absolute), `link`, and each of the
    `options`, as far as they are given.
    """

    @property
    def version(self) -> str:
        """Changes whenever the content changes; part of every cache key."""
        ...

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        """The passages that answer the query and that this viewer may see, best first; none at all where nothing does."""
        ...


class Timely(Protocol):
    """A source that asks others on its way, and does without those that fail or are late."""

    async def search_until(self, query: str, *, limit: int, viewer: Viewer, until: float) -> tuple[list[Passage], Sequence[str]]:
        """As `search`, done by that moment (`time.monotonic()`); and a sentence for the record about each that did not help."""
        ...


class Shows(Protocol):
    """A source that can show again what it found: needed to open a citation, and to check it."""

    async def passage(self, id: str, *, viewer: Viewer) -> Passage | None:
        """The passage with that id as it is now; None where there is none any more, or none for this viewer."""
        ...


class Opens(Protocol):
    """A source that can show a document whole: what stands around a citation, and what is gone rather than hidden."""

    async def document(self, id: str, *, viewer: Viewer | None) -> list[Passage]:
        """The passages of a document in their order, as far as this viewer may see them; none where there is no such document.

        None as the viewer stands for whoever looks after the sources, who sees everything. It never comes from outside.
        """
        ...


class Raw(Struct, frozen=True, kw_only=True):
    """A document as a reader finds it: its `id` in the source, its bytes, and what kind of bytes they are.

    `media` is a media type (`text/markdown`, `application/pdf`, …), by which it is parsed. Only these `tenants` and `roles` see
    it; none named means all. `link` opens it. A document that is there and cannot be read says why in `fault`, and the index
    keeps what it had of it.
    """

    id: str
    data: bytes = b""
    media: str = "text/plain"
    title: str = ""
    link: str | None = None
    tenants: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    curated: Curated | None = None
    fault: str = ""


class Entry(Struct, frozen=True, kw_only=True):
    """A document as an index holds it: in passages, with a vector each (little-endian float32) where there is an embedder.

    `digest` is over all that it was made from, so that what did not change is not made again. Only these `tenants` and `roles`
    see it; none named means all. `fault` says why it could not be read the last time; its passages are those of the time before.
    """

    document: str
    digest: str
    passages: tuple[Passage, ...]
    vectors: tuple[bytes, ...] = ()
    tenants: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    fault: str = ""


class Index(Protocol):
    """Keeps the passages of one source and finds them."""

    @property
    def version(self) -> str:
        """Changes whenever the content does."""
        ...

    @property
    def embedder(self) -> str:
        """The name of the embedder that its vectors are from; empty where it has none."""
        ...

    def digests(self) -> dict[str, str]:
        """The digest of every document that it holds."""
        ...

    def faults(self) -> dict[str, str]:
        """Why documents could not be read the last time, by document."""
        ...

    def entry(self, document: str) -> Entry | None:
        """All that it holds of a document; None where it holds nothing of it."""
        ...

    def write(self, entries: Iterable[Entry], *, gone: Iterable[str] = (), embedder: str = "") -> None:
        """Put these in the place of what it held of their documents, and take away those that are gone: all in one step.

        Whoever reads sees all of it or nothing, and a process that dies here changes nothing. Raises `StoreError`.
        """
        ...

    def search(self, query: str, vector: bytes, *, limit: int, viewer: Viewer) -> list[Passage]:
        """The passages that answer the query, best first; `vector` is the query's, empty where there is no embedder. Blocking."""
        ...

    def passage(self, id: str, *, viewer: Viewer) -> Passage | None:
        """The passage with that id, if this viewer may see it."""
        ...


class Reader(Protocol):
    """Reads the documents of a source, to be indexed.

    Made with keywords like a `Source`, and with `http`, the shared HTTP client, or `database`, one of mainstay.toml, where its
    signature has them. One whose class says `at_load = True` is read whenever the project is loaded; others by `mainstay index`.
    """

    def documents(self) -> AsyncIterator[Raw]:
        """Every document that there is now. Raises `SourceError` when it cannot say what there is: the index stays as it was."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors of one length. Made as `Part(service, key=key, http=http)`, `service` as in `core/project.py`.

    `name` tells one embedding space from another: where it changes, everything is embedded anew.
    """

    @property
    def name(self) -> str: ...

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """One vector a text, in their order. Raises a `ModelError`."""
        ...


class Reranker(Protocol):
    """Says how well passages answer a question. Made like an `Embedder`."""

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """One number a text, in their order; the higher the better. Raises a `ModelError`."""
        ...


class TextClassifier(Protocol):
    """A trained classifier, on this machine or behind an address, that guards may use. Made like an `Embedder`."""

    async def classify(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        """For each text the probability of each label, between 0 and 1. Raises a `ModelError`."""
        ...


class Aligner(Protocol):
    """Says how far evidence bears sentences, fast enough to be asked of every answer."""

    def support(self, sentences: Sequence[str], evidence: Evidence) -> list[Support]:
        """One a sentence, in their order."""
        ...


class Nearness(Protocol):
    """Says whether two questions ask the same, fast enough to be asked of each call."""

    @property
    def name(self) -> str:
        """Tells one way of comparing from another: thresholds are fitted anew where it changes."""
        ...

    def terms(self, text: str) -> Mapping[str, float]:
        """What a question is looked up by, each with how much it counts."""
        ...

    def same(self, asked: str, kept: str, likeness: float | None = None) -> Likely:
        """How probably both ask the same; `likeness` is the cosine of their vectors, where there are any."""
        ...


class Rows(Struct, frozen=True, kw_only=True):
    """What a query gave: the names of its columns, and its rows; `more` says that there were more than asked for."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool = False


class Database(Protocol):
    """A system of record that is only read. Made like an `Embedder`."""

    async def query(self, sql: str, values: Mapping[str, Any], *, limit: int, timeout: float) -> Rows:
        """The rows of one reading statement. Raises `SourceError`: what is wrong with it, that it may not be, or was too slow.

        It cannot write, whatever the statement says.
        """
        ...


class Cache(Protocol):
    """Keeps answers. Values are bytes; whoever reads one decides whether it is still fresh."""

    def get(self, key: bytes) -> tuple[float, bytes] | None:
        """When it was stored (seconds since 1970) and what; None if there is nothing."""
        ...

    def put(self, key: bytes, value: bytes, *, keep: float, asked: Question | None = None) -> None:
        """Keep this for so many seconds. May return before it is on disk. `asked` is what it answers, where others may be given
        it who ask nearly the same.
        """
        ...

    def asked(self, after: int, limit: int) -> list[tuple[int, bytes, Question]]:
        """The questions that others of the machine have asked, or this process before it began: each with its number and key, in
        the order of their numbers, from the one behind `after`. Nothing where nobody else writes here.
        """
        ...

    def items(self) -> Iterator[tuple[bytes, float, bytes]]:
        """What it holds: each key, when it was stored, and what. Another process's latest may be missing."""
        ...

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget these. Another process that uses the same cache gives them for a second more at most."""
        ...


AHEAD = 8  # what is taken ahead of the need is at most this part of what is left


class Take(Struct, frozen=True):
    """So much of a counter whose cap is `most`: `need` at least, and up to `want`, but ahead of the need only a part of the rest.

    `ends` is the moment (seconds since 1970) after which nobody asks for the counter any more. Where it is None, what was taken
    is given back by whoever took it, and by `tend` once that process is dead.
    """

    counter: str
    need: int
    want: int
    most: int
    ends: int | None

    def granted(self, taken: int) -> int | None:
        """How much is given where so much has been taken; None where the need would pass the cap."""
        left = self.most - taken
        return None if self.need > left else max(self.need, min(self.want, left // AHEAD))


class Lacking(Struct, frozen=True):
    """A counter from which the need could not be taken, and what had been taken of it before."""

    counter: str
    taken: int


class Counters(Protocol):
    """Counts that all processes of a project share. No counter ever passes its cap, whoever takes and whoever dies.

    What was taken of a counter with an end is spent for good, unless it is given back before. Blocking. All raise `StoreError`.
    """

    def take(self, takes: Sequence[Take]) -> tuple[int, ...] | Lacking:
        """Take from all of these, in one step: how much of each, at least its need; or nothing at all."""
        ...

    def give(self, back: Mapping[str, int]) -> None:
        """Give back what was taken here and not used. Of a counter without an end no more than was taken here is given back."""
        ...

    def taken(self, counters: Sequence[str]) -> tuple[int, ...]:
        """How much was taken of each, by all processes together, until well after their end."""
        ...

    def all(self) -> list[tuple[str, int]]:
        """Every counter that something was taken of and whose end has not come, and how much."""
        ...

    def tend(self) -> None:
        """Clear up after processes that are dead, and what has long ended. Called once a second: cheap where nothing is."""
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
