"""What happened: one record a call, in two halves that are written to disk at two moments.

`Begun` is on disk before money is spent, `Outcome` before the answer is complete at the reader. Both are written once and
never changed; whatever anyone thinks of a record later is a `Score` beside it. Times are in microseconds unless named
otherwise, money in nano-dollars (None is unknown, never 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.errors import BadRequest
from mainstay.core.evidence import Slot
from mainstay.core.model import Usage
from mainstay.core.reasons import Reason

LogPolicy = Literal["full", "redacted", "none"]
STRICTER: tuple[LogPolicy, ...] = ("full", "redacted", "none")  # each than the one before it


class Begun(Struct, frozen=True, kw_only=True, tag="begun", tag_field="is"):
    """A call was accepted at `at` (seconds since 1970), to be answered by `release`."""

    id: str
    at: float
    release: str
    call: Call


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try at one rung. `outcome` is `ok`, `guarded`, `abandoned`, `overtaken`, or the kind of the error.

    `queued_us` is how long it waited for a place before it began at `at_us`.
    `estimated` marks a usage that the provider did not report: characters sent and received, rounded up.
    """

    rung: str
    outcome: str
    model: str | None = None
    at_us: int = 0
    took_us: int = 0
    queued_us: int = 0
    first_word_us: int | None = None
    usage: Usage | None = None
    cost_nano_usd: int | None = None
    estimated: bool = False
    http_status: int | None = None
    detail: str = ""


class GuardNote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A guard said something other than "allow", or had something to note."""

    guard: str
    stage: str
    action: str
    reason: Reason | None = None
    rung: str | None = None
    detail: str = ""


class Found(Struct, frozen=True, omit_defaults=True):
    """A passage that a call was given: where it is, the version of its document then, and the hash of the passage's own text."""

    source: str
    passage: str
    version: str
    digest: str = ""


class Route(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call started lower in the ladder, because of what it asked: at the rung `start`, which was expected to be behind `first`,
    where it would have started, by so much: a share of calls that pass.
    """

    start: str
    first: str
    behind: float


class Recalled(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer of an earlier call was given again: of which call, and what that had cost.

    `near` is the probability that both ask the same, where the questions were not the same; None for an exact hit.
    """

    of: str
    near: float | None = None
    cost_nano_usd: int | None = None


class Outcome(Struct, frozen=True, kw_only=True, tag="sealed", tag_field="is"):
    """How a call ended.

    `steps` are the microseconds spent in each step of the pipeline; `provider_us` is the part of `took_us` that was
    spent waiting for models, so `took_us - provider_us` is our own overhead. `shared_with` names the call whose
    production this one joined. `slots` are the facts that the answer was given, `passages` the ids and versions of what was
    found, by source; `signals` what its confidence was computed from. `route` is None where the call started at the top;
    `recalled` says whose answer came from the cache.
    """

    id: str
    answer: Answer
    took_us: int
    provider_us: int = 0
    first_word_us: int | None = None
    attempts: tuple[Attempt, ...] = ()
    guards: tuple[GuardNote, ...] = ()
    steps: dict[str, int] = {}
    cost_nano_usd: int | None = 0
    shared_with: str | None = None
    slots: tuple[Slot, ...] = ()
    passages: tuple[Found, ...] = ()
    signals: dict[str, float] = {}
    route: Route | None = None
    recalled: Recalled | None = None


class Record(Struct, frozen=True, kw_only=True):
    """Both halves. Old records stay readable for ever: fields are only added, with defaults."""

    begun: Begun
    outcome: Outcome

    @property
    def id(self) -> str:
        return self.begun.id


COLUMNS = ("feature", "tenant", "origin", "release", "status", "reason", "rung", "cohort")


def check_search(where: Mapping[str, Any], limit: int) -> None:
    """Raises `BadRequest` for what records cannot be searched by."""
    for name, value in where.items():
        if name not in COLUMNS:
            raise BadRequest(f"records have no column `{name}`; known: {', '.join(COLUMNS)}", param=name)
        if not isinstance(value, str | None):
            raise BadRequest(f"`{name}` is a text or None, not {value!r}", param=name, next=f'{name}="…"')
    if not isinstance(limit, int):
        raise BadRequest(f"`limit` is a whole number, not {limit!r}", param="limit", next="limit=20")


class Score(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="score", tag_field="is"):
    """What somebody thinks of a record: a thumb, an edit, an exact match, a judge, a reviewer.

    `value` is a number (1 is good, 0 is bad, unless `name` says otherwise) or a word. `who` is `user:…`, `judge:…`, ….
    A score may arrive before its record has reached the ledger. `id` makes sending it twice harmless.
    """

    id: str
    record: str
    at: float
    name: str
    value: float | str
    reason: str = ""
    who: str = "user"
