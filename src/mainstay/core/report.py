"""What an evaluation found: the raw results, from which every figure, table and plot is derived.

A report is written once and never changed. Times are in microseconds, money in nano-dollars (None is unknown, never 0).
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from mainstay.core.case import Case
from mainstay.core.reasons import Reason, Status

Outcome = Literal["passed", "blocked", "inconclusive"]


class Opinion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a scorer says of one answer.

    `value` is between 0 and 1, 1 is good. `passed` says whether that is good enough. A scorer that failed, or that lacks what it
    needs to tell, says None to both and why in `reason`; that is neither a pass nor a zero.
    """

    value: float | None = None
    passed: bool | None = None
    reason: str = ""


def accepts(reason: str = "", *, value: float = 1.0) -> Opinion:
    """The answer is good enough."""
    return Opinion(value=value, passed=True, reason=reason)


def rejects(reason: str, *, value: float = 0.0) -> Opinion:
    """The answer is not good enough."""
    return Opinion(value=value, passed=False, reason=reason)


def cannot_tell(reason: str) -> Opinion:
    """The scorer lacks what it needs to judge this answer: neither a pass nor a zero."""
    return Opinion(reason=reason)


class Result(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer to one case, and what the scorers say of it.

    `turn` counts repeats of the same case from 0. `kept` says that the answer was given in an earlier evaluation of the same
    release. `shown` is the text, or the data as JSON. `first_word_us` is None where nothing was streamed. `signals` are what the
    answer's `confidence` was measured by.
    """

    case: str
    turn: int = 0
    record: str
    status: Status
    reason: Reason | None = None
    rung: str | None = None
    shown: str = ""
    took_us: int = 0
    first_word_us: int | None = None
    cost_nano_usd: int | None = 0
    opinions: dict[str, Opinion] = {}
    kept: bool = False
    confidence: float | None = None
    signals: dict[str, float] = {}

    @property
    def passed(self) -> bool | None:
        """Whether every scorer accepts the answer; None where one of them could not tell, or there is none."""
        said = [opinion.passed for opinion in self.opinions.values()]
        if False in said:
            return False
        return None if None in said or not said else True


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reason of a ruling.

    `rule` is the key of the feature file that it comes from, or `must`, `unscored`, `unfinished`. `slice` is such as
    `category=refunds`, empty for all cases. `cases` are the ones behind it, worst first.
    """

    outcome: Outcome
    rule: str
    slice: str = ""
    what: str
    cases: tuple[str, ...] = ()


class Ruling(Struct, frozen=True, kw_only=True):
    """What the gate says of a release: the worst of its findings, `passed` where there is none."""

    outcome: Outcome
    findings: tuple[Finding, ...] = ()


class Side(Struct, frozen=True, kw_only=True):
    """One release under evaluation: its digest, and its results in the order of the cases."""

    release: str
    results: tuple[Result, ...]


class Report(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Scores of many cases, beside those of a baseline.

    `at` is in seconds since 1970, `took_s` in seconds. `sources` are the versions of the evidence at that time. `rungs` holds one
    side for each rung alone, by its name. `commit` is the git commit, with `+` where files were changed since. `unfinished` says
    why not every case was run, such as a spent budget.
    """

    id: str
    feature: str
    at: float
    took_s: float
    who: str
    commit: str = ""
    cases: tuple[Case, ...]
    candidate: Side
    baseline: Side | None = None
    rungs: dict[str, Side] = {}
    repeat: int = 1
    slices: tuple[str, ...] = ("category",)
    sources: dict[str, str] = {}
    ruling: Ruling | None = None
    noise: dict[str, float] = {}
    unfinished: str = ""
    notes: dict[str, Any] = {}
