"""Is a judge worth what people say? Calibrates the verdicts of a judge against human labels.

A calibration file is JSON lines (gzipped if its name ends in `.gz`), a row each, with these columns:

- `human`: what people said: `first`, `second` or `tie` of two answers, `passed` or `failed` of one; or a list, one a person;
- `question`, and `first` and `second`, or `answer`: what a judge is asked about; or `lengths`, their characters, in their place;
- `judge`: its verdict, `swapped`: its verdict when the two were shown in the other order, and `repeats`: its verdicts when it was
  asked the first again. All of them name the row's answers, not the places where they were shown; null is no verdict;
- `id`, and `category`, by which agreement is split too.

What most people say is the truth here; where no verdict has most voices, two answers are a tie, and a row about one answer is
left out. A judge that was asked in both orders and did not say the same is counted as a tie, as the scorer `judged` does; one
that gave no verdict disagrees with everybody. Intervals are bootstrapped over rows, at 95 %, with a fixed seed.
"""

from __future__ import annotations

import asyncio
import gzip
import math
import random
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer
from mainstay.core.errors import ConfigError
from mainstay.learn.length_bias import Judgement, LengthBias, LengthPrior, by_length_alone, corrected, fit_prior, length_bias
from mainstay.learn.statistics import wilson
from mainstay.parts.scorers.judged import TURNED, NoVerdict, pairwise, pointwise

Verdict = Literal["first", "second", "tie", "passed", "failed"]
VOTES: dict[str, int] = {"first": 1, "passed": 1, "tie": 0, "failed": -1, "second": -1}
NONE = "no verdict"
DRAWS = 1000  # of the bootstrap
FEWEST = 20  # rows from which a length prior is fitted
AT_ONCE = 4

Ask = Callable[[str, Mapping[str, Any]], Awaitable[Answer]]


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One row of a calibration file."""

    id: str = ""
    category: str = ""
    human: Verdict | tuple[Verdict, ...]
    judge: Verdict | None = None
    swapped: Verdict | None = None
    repeats: tuple[Verdict | None, ...] = ()
    question: str = ""
    first: str = ""
    second: str = ""
    answer: str = ""
    lengths: tuple[int, ...] = ()

    @property
    def people(self) -> tuple[Verdict, ...]:
        """What each person said."""
        return (self.human,) if isinstance(self.human, str) else self.human

    @property
    def compares(self) -> bool:
        """Whether it is about two answers."""
        return not {"passed", "failed"} & set(self.people)

    def label(self) -> Verdict | None:
        """What most people say; without a majority, a tie between two answers, and None of one."""
        (best, votes), *others = Counter(self.people).most_common()
        if others and others[0][1] == votes:
            return "tie" if self.compares else None
        return best

    def characters(self) -> tuple[int, ...]:
        """How long the answers are; nothing where the row does not say."""
        texts = (self.first, self.second) if self.compares else (self.answer,)
        return self.lengths or (tuple(map(len, texts)) if any(texts) else ())


class Estimate(Struct, frozen=True, kw_only=True):
    """A figure with its interval."""

    value: float
    low: float
    high: float


class Agreement(Struct, frozen=True, kw_only=True):
    """How often a judge says what people say. `kappa` is Cohen's; None where only one label occurs and it means nothing."""

    n: int
    agreement: Estimate
    kappa: Estimate | None


class Position(Struct, frozen=True, kw_only=True):
    """What the order does: `flips` is the share of rows whose verdict changes with it, `first` the share of decided verdicts for
    the answer that was shown first (0.5 is none of it)."""

    n: int
    flips: Estimate
    first: Estimate | None


class Calibration(Struct, frozen=True, kw_only=True):
    """What a judge is worth on these rows.

    `people` is the mean kappa between two people, None where each row has one label: more than that no judge can reach. `decided`
    is the agreement where people did not call it a tie. `silent` counts rows without a verdict, `contested` rows that were left
    out because people were divided. `noise` is the share of repeats that said something else. `by_length` is the agreement of
    length alone, without any judge, and `corrected` that of the judge's votes corrected for length, both fitted without the row
    in question; `prior` is fitted on all rows. They are None, as `length` is, where lengths are not known or rows are fewer than
    20. `verified` says that the verdicts are those of a real model.
    """

    judge: str
    compares: bool
    n: int
    verified: bool
    silent: int
    contested: int
    people: float | None
    overall: Agreement
    decided: Agreement | None
    categories: dict[str, Agreement]
    position: Position | None
    noise: Estimate | None
    length: LengthBias | None
    prior: LengthPrior | None
    by_length: Agreement | None
    corrected: Agreement | None


# Reading


def read_calibration(path: Path) -> list[Row]:
    """The rows of a calibration file. Raises `ConfigError` with the line that is wrong."""
    rows: list[Row] = []
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    rows.append(_row(line, f"{path}:{number}"))
    except (OSError, EOFError) as error:
        raise ConfigError(f"it cannot be read: {getattr(error, 'strerror', None) or error}", where=str(path)) from None
    if not rows:
        raise ConfigError(
            "it holds no rows", where=str(path), next='{"human": "first", "question": "…", "first": "…", "second": "…"}'
        )
    if len({row.compares for row in rows}) > 1:
        raise ConfigError("some rows are about one answer and some about two", where=str(path), next="split it into two files")
    return rows


def _row(line: bytes, where: str) -> Row:
    try:
        row = msgspec.json.decode(line, type=Row)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the row is not readable: {error}", where=where, next='"human": "first", or "second", "tie"') from None
    if not row.people or (not row.compares and set(row.people) & {"first", "second", "tie"}):
        raise ConfigError("`human` is `first`, `second` or `tie` of two answers, `passed` or `failed` of one", where=where)
    of_judge = {row.judge, row.swapped, *row.repeats} - {None}
    if of_judge & ({"passed", "failed"} if row.compares else {"first", "second", "tie"}) or (row.swapped and not row.compares):
        raise ConfigError("`judge` is not about as many answers as `human`", where=where)
    if row.lengths and (len(row.lengths) != 1 + row.compares or min(row.lengths) < 0):
        raise ConfigError(f"`lengths` holds {1 + row.compares} number(s) of characters", where=where)
    return row


# Asking


async def calibrate(
    ask: Ask,
    judge: str,
    rows: Sequence[Row],
    *,
    repeats: int = 1,
    verified: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Calibration:
    """Run a judge over the rows, in both orders where they compare, and calibrate it.

    `repeats` more verdicts are asked for in the first order, to measure noise. `progress` is called with how many rows are done,
    and of how many; `verified`, once all are, says whether it was real models that spoke. Raises what `ask` raises.
    """
    said = await judged(ask, judge, rows, repeats=repeats, progress=progress)
    return calibration(said, judge=judge, verified=verified())


async def judged(
    ask: Ask, judge: str, rows: Sequence[Row], *, repeats: int = 1, progress: Callable[[int, int], None] = lambda done, of: None
) -> list[Row]:
    """The rows with what the judge says of them, in place of what they held."""
    room, done = asyncio.Semaphore(AT_ONCE), 0

    async def one(row: Row) -> Row:
        nonlocal done
        async with room:
            said = await _said(ask, judge, row, repeats)
        done += 1
        progress(done, len(rows))
        return said

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(row)) for row in rows]
    return [task.result() for task in tasks]


async def _said(ask: Ask, judge: str, row: Row, repeats: int) -> Row:
    input = {"question": row.question}
    input |= {"first": row.first, "second": row.second} if row.compares else {"answer": row.answer}
    verdict = await _verdict(ask, judge, input)
    swapped = None
    if row.compares:
        turned = await _verdict(ask, judge, {**input, "first": row.second, "second": row.first})
        verdict, swapped = (None, None) if turned is None else (verdict, TURNED[turned])  # half a verdict is none
    again = [await _verdict(ask, judge, input) for _ in range(repeats)]
    return msgspec.convert({**msgspec.to_builtins(row), "judge": verdict, "swapped": swapped, "repeats": again}, Row)


async def _verdict(ask: Ask, judge: str, input: Mapping[str, Any]) -> str | None:
    answer = await ask(judge, input)
    try:
        if "answer" in input:
            return "passed" if pointwise(answer).passed else "failed"
        return pairwise(answer).better
    except NoVerdict:
        return None


# Calibrating


def calibration(rows: Sequence[Row], *, judge: str, verified: bool = False) -> Calibration:
    """What the verdicts in these rows are worth. Raises `ValueError` where there is no row with a human label."""
    labelled = [(row, label) for row in rows if (label := row.label()) is not None]
    if not labelled:
        raise ValueError("there is no row of which people say the same")
    pairs = [(label, verdict_of(row)) for row, label in labelled]
    split: dict[str, list[tuple[str, str]]] = {}
    for (row, _), pair in zip(labelled, pairs, strict=True):
        split.setdefault(row.category, []).append(pair)
    decided = [pair for pair in pairs if pair[0] != "tie"]
    length, prior, alone, after = _length(labelled)
    kept = [row for row, _ in labelled]
    return Calibration(
        judge=judge,
        compares=kept[0].compares,
        n=len(labelled),
        verified=verified,
        silent=sum(said == NONE for _, said in pairs),
        contested=len(rows) - len(labelled),
        people=_among_people(rows),
        overall=agreement(pairs),
        decided=agreement(decided) if decided and len(decided) < len(pairs) else None,
        categories={name: agreement(split[name]) for name in sorted(split)} if len(split) > 1 else {},
        position=_position(kept),
        noise=_noise(kept),
        length=length,
        prior=prior,
        by_length=alone,
        corrected=after,
    )


def verdict_of(row: Row) -> str:
    """What the judge says after all: a tie where its verdict changes with the order, and `no verdict` where one is missing."""
    if row.judge is None:
        return NONE
    return row.judge if row.swapped in (None, row.judge) else "tie"


def kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa: how far two raters agree beyond chance, 1 is always. None where both only ever use one same label."""
    return _kappa(Counter(pairs))


def agreement(pairs: Sequence[tuple[str, str]]) -> Agreement:
    """Agreement and kappa of human labels and verdicts, each with its interval. Raises `ValueError` where there are none."""
    if not pairs:
        raise ValueError("there is nothing to compare")
    table = Counter(pairs)
    draw, rows = random.Random(0).choices, [*table.elements()]
    shares, kappas = [], []
    for _ in range(DRAWS):
        drawn = Counter(draw(rows, k=len(rows)))
        shares.append(_agreeing(drawn))
        if (value := _kappa(drawn)) is not None:
            kappas.append(value)
    value = _kappa(table)
    return Agreement(
        n=len(pairs),
        agreement=_between(_agreeing(table), shares),
        kappa=None if value is None else _between(value, kappas),
    )


def _agreeing(table: Counter[tuple[str, str]]) -> float:
    return sum(n for (one, other), n in table.items() if one == other) / table.total()


def _kappa(table: Counter[tuple[str, str]]) -> float | None:
    n = table.total()
    ours: Counter[str] = Counter()
    theirs: Counter[str] = Counter()
    for (one, other), count in table.items():
        ours[one] += count
        theirs[other] += count
    by_chance = sum(ours[label] * theirs[label] for label in ours) / n**2
    return None if by_chance == 1 else (_agreeing(table) - by_chance) / (1 - by_chance)


def _between(value: float, drawn: list[float]) -> Estimate:
    """The value, and where 95 % of the drawn ones lie."""
    drawn = sorted(drawn) or [value]
    at = [drawn[min(len(drawn) - 1, int(len(drawn) * q))] for q in (0.025, 0.975)]
    return Estimate(value=value, low=min(value, at[0]), high=max(value, at[1]))


def _share(hits: Sequence[bool]) -> Estimate | None:
    """A share with its interval by Wilson, which says something of few rows too; None of nothing."""
    n = len(hits)
    if not n:
        return None
    low, high = wilson(sum(hits), n)
    return Estimate(value=sum(hits) / n, low=low, high=high)


def _among_people(rows: Sequence[Row]) -> float | None:
    """The mean kappa of each two people, by their places in the rows."""
    crowd = max(len(row.people) for row in rows)
    found = []
    for one, other in combinations(range(crowd), 2):
        both = [(row.people[one], row.people[other]) for row in rows if len(row.people) > other]
        if both and (value := kappa(both)) is not None:
            found.append(value)
    return statistics.fmean(found) if found else None


def _position(rows: Sequence[Row]) -> Position | None:
    both = [(row.judge, row.swapped) for row in rows if row.judge is not None and row.swapped is not None]
    flips = _share([one != other for one, other in both])
    if flips is None:
        return None
    first = [one == "first" for one, _ in both if one != "tie"] + [other == "second" for _, other in both if other != "tie"]
    return Position(n=len(both), flips=flips, first=_share(first))


def _noise(rows: Sequence[Row]) -> Estimate | None:
    return _share([again != row.judge for row in rows if row.judge is not None for again in row.repeats if again is not None])


def _length(
    labelled: Sequence[tuple[Row, str]],
) -> tuple[LengthBias | None, LengthPrior | None, Agreement | None, Agreement | None]:
    """The length bias, the prior fitted on all rows, and the agreement of length alone and of the corrected votes."""
    known = [(row, label) for row, label in labelled if row.characters() and verdict_of(row) != NONE]
    if len(known) < FEWEST:
        return None, None, None, None
    pulls = [_pull(row) for row, _ in known]
    middle = 0.0 if known[0][0].compares else statistics.fmean(pulls)
    rows = [
        Judgement(vote=_vote(row), human=VOTES[label], pull=pull - middle)
        for (row, label), pull in zip(known, pulls, strict=True)
    ]
    names = {VOTES[name]: name for name in (("first", "tie", "second") if known[0][0].compares else ("passed", "tie", "failed"))}
    silent = [(label, NONE) for row, label in labelled if verdict_of(row) == NONE]

    def against(votes: Sequence[int]) -> Agreement:
        return agreement([*((label, names[vote]) for (_, label), vote in zip(known, votes, strict=True)), *silent])

    after = corrected(rows)
    return length_bias(rows, after), fit_prior(rows), against(by_length_alone(rows)), against(after)


def _pull(row: Row) -> float:
    lengths = [math.log2(max(1, n)) for n in row.characters()]
    return lengths[0] - lengths[1] if row.compares else lengths[0]


def _vote(row: Row) -> float:
    """All that the judge said of a row, as one figure; each order counts the same, however often it was asked for."""
    ahead = [VOTES[said] for said in (row.judge, *row.repeats) if said is not None]
    orders = [statistics.fmean(ahead)] if ahead else []
    if row.swapped is not None:
        orders.append(VOTES[row.swapped])
    return statistics.fmean(orders) if orders else 0.0
