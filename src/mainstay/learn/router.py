"""Learns at which rung a call may start: what each rung passed alone, of the same cases, becomes `router.json`.

    1. Texts that are the same stay together. Of each case it is known what share of its turns each choice passes.
    2. In parts: tables of words and subjects from all but one part, asked about that part; so what the weights are fitted to is
       what tables that had not seen a case say of it.
    3. For each choice but the first, by how much less it passes: least squares, drawn towards zero.
    4. The whole of this in five parts once more: whatever the card says comes from routers that had not seen a case.

It is plain Python: about a second for 500 cases. The same cases and date give the same bytes.

What it does not know: whether the cases are like what users ask, and what a wrong answer costs.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import repeat
from operator import mul
from statistics import fmean

import msgspec
from msgspec import Struct

from mainstay.core.report import Report, Side
from mainstay.core.router import FORMAT, Alone, Behind, Choice, Point, RouterCard, RouterFile, Tables
from mainstay.learn.calibration import solved
from mainstay.learn.figures import share_passed
from mainstay.learn.statistics import paired_bootstrap
from mainstay.serve.classifying import mark_of
from mainstay.serve.inputs import text_of
from mainstay.serve.router import UNKNOWN, Signals, choose, loss, shape_of, standard, value_of, words_of

LEAST = 100  # cases that can be learned from,
LEAST_TEXTS = 20  # with as many different texts,
LEAST_APART = 10  # and on as many of them one choice passes and another fails
OF_SUBJECT = 5  # cases of a category below which it is no subject, and of a field's value below which nothing is known of it
VALUES, NEARLY_ALL = 200, 0.9  # of a field at most, for it to be learned from; and the share of the cases that have one of them
FOLDS, INNER = 5, 3
PULL = 100.0  # cases that zero counts for in a weight
DRAWN = 10.0  # cases that all others count for in how far a choice is behind on a subject
FEW = 100.0  # cases that nothing counts for in how far it is behind on a word
SMOOTH = 0.1  # of a word in a subject
TEXTS = 2  # that a word has to stand in
WORDS = 8_000  # that are kept
MARGINS = 40  # points of the curve


class Seen(Struct, frozen=True, kw_only=True):
    """A case, and what share of it each choice passes. Money is in nano-dollars, time in microseconds, both of one answer.

    `values` is its input, as prompts see it.
    """

    values: Mapping[str, object]
    category: str = ""
    passed: tuple[float, ...]
    cost: tuple[float | None, ...]
    took: tuple[float, ...]


class TooFew(Struct, frozen=True, kw_only=True):
    """Why there is nothing to learn, in sentences that say what is missing."""

    missing: tuple[str, ...]


class _Cut(Struct, frozen=True, kw_only=True):
    """A case cut up; `behind` is by how much less each choice but the first passes it, `values` what it has of each field of few
    values.
    """

    words: set[str]
    shape: tuple[float, ...]
    category: str
    values: dict[str, object]
    behind: tuple[float, ...]
    group: str

    def fold(self, salt: str, folds: int) -> int:
        """In which part it is: the same for the same text."""
        return int(hashlib.sha256(f"{salt}{self.group}".encode("utf-8", "replace")).hexdigest()[:8], 16) % folds


class _Weights(Struct, frozen=True, kw_only=True):
    """Everything that is learned."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    behind: tuple[Behind, ...]
    tables: Tables

    def losses(self, one: _Cut, signals: Signals) -> list[float]:
        """What is expected of a case, as `Router.losses` does; the first choice is 0."""
        if signals.strange(one.words, one.values):
            return [0.0, *repeat(UNKNOWN, len(self.behind))]
        shape = standard(one.shape, self.mean, self.scale)
        return [0.0, *map(loss, self.behind, repeat(shape), signals.of(one.words, one.values))]


# What is learned from


def from_reports(
    reports: Iterable[Report],
    choices: Sequence[Choice],
    *,
    read: Callable[[Mapping[str, object]], Mapping[str, object] | None],
) -> list[Seen]:
    """What each choice did alone, by case; the newest report comes first, and counts where a case is in several.

    `read` gives the values of a case's input, None for one that the feature does not take. A case that one of the choices was not
    judged on says nothing.
    """
    found: dict[str, Seen] = {}
    for report in reports:
        sides = [report.rungs.get(choice.name) for choice in choices]
        if None in sides:
            continue
        told = [_by_case(side) for side in sides if side is not None]
        for case in report.cases:
            key = case.fingerprint()
            if key in found or not all(case.id in one for one in told):
                continue
            values = read(case.input)
            if values is not None:
                passed, cost, took = zip(*[one[case.id] for one in told], strict=True)
                found[key] = Seen(values=values, category=case.category, passed=passed, cost=cost, took=took)
    return list(found.values())


def _by_case(side: Side) -> dict[str, tuple[float, float | None, float]]:
    """What share of a case's turns passes, what an answer costs and how long it takes, on average."""
    turns = defaultdict(list)
    for result in side.results:
        turns[result.case].append(result)
    found = {}
    for case, results in turns.items():
        share = share_passed(results)
        if share is not None:
            costs = [result.cost_nano_usd for result in results]
            known = [cost for cost in costs if cost is not None]
            cost = fmean(known) if len(known) == len(costs) else None
            found[case] = (share, cost, fmean(result.took_us for result in results))
    return found


def lacking(seen: Sequence[Seen], choices: Sequence[Choice], names: Sequence[str]) -> tuple[str, ...]:
    """What these cases lack to be learned from, in sentences; empty where they are enough."""
    if len(choices) < 2:
        return (
            "the ladder has only one rung at which a call could start; a router chooses between `model`, `steps` and `search`",
        )
    if len(seen) < LEAST:
        return (f"{len(seen)} cases were judged for every rung alone; it takes {LEAST}, so add {LEAST - len(seen)} or more",)
    texts = len({mark_of(text_of(one.values, names)) for one in seen})
    if texts < LEAST_TEXTS:
        what = f"the {len(seen)} cases have {texts} different texts"
        return (f"{what}; it takes {LEAST_TEXTS} to try a router on texts that it has not seen",)
    apart = sum(max(one.passed) - min(one.passed) > 0 for one in seen)
    if apart < LEAST_APART:
        what = f"on {apart} of {len(seen)} cases one rung passes and another fails; it takes {LEAST_APART} to tell them apart"
        return (f"{what}. Where the cheaper rung is as good, put it first in the ladder",)
    return ()


# Learning


def learn(
    seen: Sequence[Seen],
    choices: Sequence[Choice],
    *,
    names: Sequence[str],
    feature: str,
    date: str,
    reports: Sequence[str] = (),
    told: Callable[[int, int], None] = lambda done, of: None,
) -> RouterFile | TooFew:
    """A router of these cases, with its card; or what they lack. `names` are the input's fields that hold text; `told(done, of)`
    is told of progress.
    """
    missing = lacking(seen, choices, names)
    if not missing and not any(_price(seen, rung) < _price(seen, 0) for rung in range(1, len(choices))):
        missing = (f"no rung below `{choices[0].name}` is cheaper, so there is nothing to save",)
    if missing:
        return TooFew(missing=missing)
    fields = _fields(seen)
    cut = [_cut(one, names, fields) for one in seen]
    expected: list[list[float]] = [[] for _ in seen]
    for fold in range(FOLDS):
        learned = _learned([one for one in cut if one.fold("outer", FOLDS) != fold])
        signals = Signals(learned.tables, len(choices) - 1)
        for i, one in enumerate(cut):
            if one.fold("outer", FOLDS) == fold:
                expected[i] = learned.losses(one, signals)
        told(fold + 1, FOLDS + 1)
    alone = _alone(seen, len(choices))
    card = RouterCard(
        feature=feature,
        fitted=date,
        cases=len(seen),
        reports=tuple(reports),
        folds=FOLDS,
        apgr=_apgr(expected, seen, alone),
        curve=curve(expected, seen, alone),
    )
    file = _file(cut, choices, alone, card)
    told(FOLDS + 1, FOLDS + 1)
    return file


def without_card(seen: Sequence[Seen], choices: Sequence[Choice], *, names: Sequence[str]) -> RouterFile:
    """A router whose worth nobody has measured: for who measures it on cases of their own. It starts every call at the top."""
    nowhere = Point(margin=-1.0, loss=0.0, low=0.0, high=0.0, cost_nano_usd=None, took_us=0.0, starts=(0.0,) * len(choices))
    card = RouterCard(feature="", fitted="", cases=len(seen), reports=(), folds=0, apgr=None, curve=(nowhere,))
    fields = _fields(seen)
    return _file([_cut(one, names, fields) for one in seen], choices, _alone(seen, len(choices)), card)


def _file(cut: Sequence[_Cut], choices: Sequence[Choice], alone: tuple[Alone, ...], card: RouterCard) -> RouterFile:
    weights = _learned(cut)
    return RouterFile(
        format=FORMAT,
        card=card,
        choices=tuple(choices),
        alone=alone,
        behind=weights.behind,
        mean=weights.mean,
        scale=weights.scale,
        tables=weights.tables,
    )


def written(file: RouterFile) -> bytes:
    """The file's bytes: one word a line, so that a difference can be read."""
    rows = []
    for name in file.__struct_fields__:
        value = msgspec.json.encode(getattr(file, name))
        if name == "tables":
            value = b"{\n" + b",\n".join(_table(file.tables, field) for field in file.tables.__struct_fields__) + b"\n}"
        elif name in ("card", "choices", "alone"):
            value = msgspec.json.format(value, indent=1)
        rows.append(msgspec.json.encode(name) + b": " + value)
    return b"{\n" + b",\n".join(rows) + b"\n}\n"


def _table(tables: Tables, field: str) -> bytes:
    value = getattr(tables, field)
    if not isinstance(value, dict):
        return msgspec.json.encode(field) + b": " + msgspec.json.encode(value)
    rows = b",\n".join(msgspec.json.encode(word) + b":" + msgspec.json.encode(row) for word, row in value.items())
    return msgspec.json.encode(field) + b": {\n" + rows + b"\n}"


def _cut(seen: Seen, names: Sequence[str], fields: Sequence[str]) -> _Cut:
    first, *others = seen.passed
    text = text_of(seen.values, [name for name in names if name not in fields])
    return _Cut(
        words=words_of(text),
        shape=shape_of(text),
        category=seen.category,
        values={name: seen.values.get(name) for name in fields},
        behind=tuple([first - other for other in others]),
        group=mark_of(text_of(seen.values, names)),
    )


def _fields(seen: Sequence[Seen]) -> tuple[str, ...]:
    """The input fields that say what kind of call it is: of few values, and nearly all cases have one that is there often."""
    found = []
    for name in sorted({name for one in seen for name in one.values}):
        count = Counter(value_of(one.values.get(name)) for one in seen)
        often = [n for value, n in count.items() if value is not None and n >= OF_SUBJECT]
        if 2 <= len(often) <= VALUES and sum(often) >= NEARLY_ALL * len(seen):
            found.append(name)
    return tuple(found)


def _learned(cut: Sequence[_Cut]) -> _Weights:
    """Tables of all cases, and weights that were fitted to what tables without a case say of it."""
    others = len(cut[0].behind)
    columns = list(zip(*[one.shape for one in cut], strict=True))
    mean = tuple([round(fmean(column), 6) for column in columns])
    scale = tuple([_scale(column, m) for column, m in zip(columns, mean, strict=True)])
    fields = tuple(cut[0].values)
    rows: list[list[list[float]]] = [[] for _ in range(others)]
    labels: list[list[float]] = [[] for _ in range(others)]
    for part in range(INNER):
        inside = [one for one in cut if one.fold("inner", INNER) == part]
        signals = Signals(_tables([one for one in cut if one.fold("inner", INNER) != part], others, fields), others)
        for one in inside:
            shape, told = standard(one.shape, mean, scale), signals.of(one.words, one.values)
            for i in range(others):
                rows[i].append([*shape, *told[i]])
                labels[i].append(one.behind[i])
    behind = []
    for own, wanted in zip(rows, labels, strict=True):
        bias, weights = _fitted(own, wanted)
        own_weights = tuple([round(weight, 5) for weight in weights])
        shape_weights, (subject, words, *of_fields) = own_weights[: len(mean)], own_weights[len(mean) :]
        behind.append(Behind(bias=round(bias, 5), shape=shape_weights, subject=subject, words=words, fields=tuple(of_fields)))
    return _Weights(mean=mean, scale=scale, behind=tuple(behind), tables=_tables(cut, others, fields))


def _scale(column: Sequence[float], mean: float) -> float:
    """The standard deviation; 1 for what is always the same."""
    return round(math.sqrt(fmean((value - mean) ** 2 for value in column)), 6) or 1.0


def _tables(cut: Sequence[_Cut], others: int, fields: Sequence[str]) -> Tables:
    """What is known of words, subjects and fields."""
    if not cut:
        return Tables(of_field={name: {} for name in fields})
    texts = Counter(word for one in cut for word in one.words)
    kept = {word for word, n in texts.most_common(WORDS) if n >= TEXTS}
    overall = [fmean(one.behind[i] for one in cut) for i in range(others)]
    sums: dict[str, list[float]] = {word: [0.0] * others for word in kept}
    for one in cut:
        for i, mean in enumerate(overall):
            more = one.behind[i] - mean
            for word in one.words & kept:
                sums[word][i] += more
    of_rung = {}
    for word in sorted(kept):
        n = texts[word]
        of_rung[word] = tuple([round(total / (n + FEW) * math.sqrt(n / (n + FEW)), 4) for total in sums[word]])
    of_field = {name: _of_values(name, cut, overall) for name in fields}
    return _with_subjects(cut, kept, overall, Tables(of_rung=of_rung, of_field=of_field))


def _of_values(field: str, cut: Sequence[_Cut], overall: Sequence[float]) -> dict[str, tuple[float, ...]]:
    """By how much more than on all cases each choice is behind on those with a value of the field, drawn towards nothing."""
    own: dict[str, list[_Cut]] = defaultdict(list)
    for one in cut:
        value = value_of(one.values[field])
        if value is not None:
            own[value].append(one)
    return {
        value: tuple(
            [round(sum(one.behind[i] - mean for one in cases) / (len(cases) + DRAWN), 4) for i, mean in enumerate(overall)]
        )
        for value, cases in sorted(own.items())
        if len(cases) >= OF_SUBJECT
    }


def _with_subjects(cut: Sequence[_Cut], kept: set[str], overall: Sequence[float], tables: Tables) -> Tables:
    """The tables with what is known of subjects, where there are two or more."""
    count = Counter(one.category for one in cut if one.category)
    subjects = tuple(sorted(name for name, n in count.items() if n >= OF_SUBJECT))
    if len(subjects) < 2:
        return tables
    place = {name: i for i, name in enumerate(subjects)}
    own = [one for one in cut if one.category in place]
    words: dict[str, Counter[int]] = defaultdict(Counter)
    size = [SMOOTH * len(kept)] * len(subjects)
    sums = [[DRAWN * mean] * len(subjects) for mean in overall]
    for one in own:
        subject = place[one.category]
        for word in one.words & kept:
            words[word][subject] += 1
            size[subject] += 1
        for i, behind in enumerate(one.behind):
            sums[i][subject] += behind
    rows = {
        word: tuple([value for subject, n in sorted(counted.items()) for value in (subject, round(math.log1p(n / SMOOTH), 2))])
        for word, counted in sorted(words.items())
    }
    return msgspec.structs.replace(
        tables,
        subjects=subjects,
        share=tuple([round(math.log(count[name] / len(own)), 4) for name in subjects]),
        unseen=tuple([round(math.log(SMOOTH / total), 4) for total in size]),
        behind=tuple(
            [tuple([round(total / (count[name] + DRAWN), 4) for total, name in zip(row, subjects, strict=True)]) for row in sums]
        ),
        of_subject=rows,
    )


def _fitted(rows: Sequence[Sequence[float]], labels: Sequence[float]) -> tuple[float, list[float]]:
    """The bias, and weights by least squares that zero draws (ridge regression). What is always the same gets the weight 0."""
    columns = list(zip(*rows, strict=True))
    means = [fmean(column) for column in columns]
    scales = [_scale(column, mean) for column, mean in zip(columns, means, strict=True)]
    scaled = [[(value - m) / s for value in column] for column, m, s in zip(columns, means, scales, strict=True)]
    mean = fmean(labels)
    more = [label - mean for label in labels]
    bend = [[0.0] * len(scaled) for _ in scaled]
    for i, one in enumerate(scaled):
        for j, other in enumerate(scaled[: i + 1]):
            bend[i][j] = bend[j][i] = sum(map(mul, one, other))
        bend[i][i] += PULL
    weights = [weight / s for weight, s in zip(solved(bend, [sum(map(mul, one, more)) for one in scaled]), scales, strict=True)]
    return mean - sum(map(mul, weights, means)), weights


def _alone(seen: Sequence[Seen], choices: int) -> tuple[Alone, ...]:
    """What each choice did."""
    found = []
    for rung in range(choices):
        cost, took = _price(seen, rung)
        known = None if math.isinf(cost) else round(cost, 1)
        passed = round(fmean(one.passed[rung] for one in seen), 4)
        found.append(Alone(passed=passed, cost_nano_usd=known, took_us=round(took, 1)))
    return tuple(found)


def _price(seen: Sequence[Seen], rung: int) -> tuple[float, float]:
    """The mean cost and time of an answer; a cost that is unknown of any is infinite."""
    costs = [one.cost[rung] for one in seen]
    known = [cost for cost in costs if cost is not None]
    return (fmean(known) if len(known) == len(costs) else math.inf, fmean(one.took[rung] for one in seen))


# What it is worth


def curve(expected: Sequence[Sequence[float]], seen: Sequence[Seen], alone: Sequence[Alone]) -> tuple[Point, ...]:
    """What each margin amounts to, from one that starts no call lower to one that starts all of them lower."""
    behind = sorted(value for told in expected for value in told[1:])
    at = {round(behind[min(len(behind) - 1, i * len(behind) // MARGINS)], 4) for i in range(MARGINS + 1)}
    inside = {margin for margin in at if -1 < margin < 1}
    return tuple([_point(margin, expected, seen, alone) for margin in sorted(inside | {-1.0, 1.0})])


def _point(margin: float, expected: Sequence[Sequence[float]], seen: Sequence[Seen], alone: Sequence[Alone]) -> Point:
    starts = [choose(told, alone, margin, range(len(alone))) for told in expected]
    losses = [one.passed[0] - one.passed[rung] for one, rung in zip(seen, starts, strict=True)]
    low, high = paired_bootstrap(losses, seed=1, rounds=500)
    costs = [one.cost[rung] for one, rung in zip(seen, starts, strict=True)]
    known = [cost for cost in costs if cost is not None]
    count = Counter(starts)
    return Point(
        margin=margin,
        loss=round(fmean(losses), 4),
        low=round(low, 4),
        high=round(high, 4),
        cost_nano_usd=round(fmean(known), 1) if len(known) == len(costs) else None,
        took_us=round(fmean(one.took[rung] for one, rung in zip(seen, starts, strict=True)), 1),
        starts=tuple([round(count[rung] / len(seen), 4) for rung in range(len(alone))]),
    )


def apgr(scores: Sequence[float], weak: Sequence[float], strong: Sequence[float]) -> tuple[float, float, float]:
    """The area under the share of the gain that is had (APGR), and the least share of strong calls for a half and for four
    fifths of it (CPT50, CPT80); calls with the highest scores go to the strong one first. Equal scores are taken together.

    `nan` where the strong one gains nothing. Source: Ong and others 2024, RouteLLM.
    """
    gains = sorted(((score, s - w) for score, w, s in zip(scores, weak, strong, strict=True)), key=lambda pair: -pair[0])
    whole, n = sum(gain for _, gain in gains), len(gains)
    if whole <= 0:
        return math.nan, math.nan, math.nan
    had = area = 0.0
    reached: dict[float, float] = {}
    i = 0
    while i < n:
        j = i
        while j < n and gains[j][0] == gains[i][0]:
            j += 1
        more = sum(gain for _, gain in gains[i:j])
        area += (j - i) * (2 * had + more) / 2
        for share in (0.5, 0.8):
            if share not in reached and had + more >= share * whole:
                reached[share] = (i + (j - i) * (share * whole - had) / more) / n
        had, i = had + more, j
    return area / whole / n, reached.get(0.5, 1.0), reached.get(0.8, 1.0)


def _apgr(expected: Sequence[Sequence[float]], seen: Sequence[Seen], alone: Sequence[Alone]) -> float | None:
    """Between the first choice and the cheapest; None where the first gains nothing."""
    cheap = min(range(len(alone)), key=lambda rung: alone[rung].price)
    area, _, _ = apgr([told[cheap] for told in expected], [one.passed[cheap] for one in seen], [one.passed[0] for one in seen])
    return None if math.isnan(area) else round(area, 4)
