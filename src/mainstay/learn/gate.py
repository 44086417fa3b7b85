"""The gate: may this release go live? Read `rule` first; each rule below it is one question, with its figures in its sentence.

The gate looks at a report and at nothing else: the same report and the same `[gate]` give the same ruling for ever. It says what
the cases show; whether they are the right cases it does not know.

It says one of three things. *Blocked*: the cases demonstrate a reason. *Inconclusive*: nobody can say, because cases are too few,
a scorer could not tell, or a fall is suspicious and not shown. *Passed*: neither. How it decides, what it can detect and how
often it errs are in `docs/statistics.md`, with figures from `bench/gate.py`.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from mainstay.core.case import NOT, Case
from mainstay.core.feature import Gate
from mainstay.core.report import Finding, Outcome, Report, Result, Ruling, Side
from mainstay.core.units import Usd
from mainstay.learn import statistics

REAL = 0.05  # equally good releases are blocked for a drop at most so often, over all slices together
SUSPICIOUS = 0.2  # and called inconclusive for one at most so often
SEED = 20  # of the intervals in sentences, so that a report is always read alike
COIN = 0.5  # a scorer that flips half of its verdicts says nothing
OF_THE_CALL = frozenset({"latency", "cost"})  # scorers of how an answer came about: two verdicts on one text may rightly differ
_ROUNDING = 1e-9  # shares are sums of fractions


def rule(report: Report, gate: Gate, *, first_word: float | None = None) -> Ruling:
    """What the gate says of the candidate of this report; `first_word` is the feature's objective for it, in seconds.

    Findings that block come first, then those that leave it open, each in the order of the questions here.
    """
    comparison = Comparison.of(report)
    findings = [
        # 1. Is there enough to judge by?
        *_unfinished(report),
        *_too_few(report, gate),
        *_unscored(report),
        *_coins(report),
        # 2. Does it do what it must?
        *_must(report),
        # 3. Is it good enough, as a whole and in each slice?
        *_pass_rate(comparison, gate),
        *_slices_below(comparison, gate),
        # 4. Is it as good as what is live, and could we tell?
        *_falls(comparison, gate),
        *_blind(comparison, gate),
        # 5. Is it fast and cheap enough?
        *_late(report, "p95", gate.p95, "the whole answer", lambda result: result.took_us),
        *_late(report, "first_word", first_word, "the first word", lambda result: result.first_word_us),
        *_dear(report, gate),
    ]
    blocked = [finding for finding in findings if finding.outcome == "blocked"]
    open_ = [finding for finding in findings if finding.outcome == "inconclusive"]
    outcome: Outcome = "blocked" if blocked else "inconclusive" if open_ else "passed"
    return Ruling(outcome=outcome, findings=(*blocked, *open_))


# What the cases show


class Verdict(Struct, frozen=True, kw_only=True):
    """The share of a case's turns that passed on one side.

    `flip` is how often such a verdict is the wrong one, because a scorer is not always of one mind.
    """

    passed: float
    flip: float

    @property
    def fair(self) -> float:
        """The share, the scorers' noise taken out; right on average over many cases, for one it may lie beyond 0 and 1."""
        return statistics.without_noise(self.passed, self.flip)

    @property
    def best(self) -> float:
        """The most that the share can be: a failure that is no matter of opinion stays one."""
        return 1.0 if self.flip else self.passed


class Pair(Struct, frozen=True, kw_only=True):
    """One case as it went now, and with the baseline; None where that is not known."""

    case: Case
    now: Verdict
    before: Verdict | None

    @property
    def drop(self) -> float:
        """By how much the case fell as it was scored; negative where it rose."""
        return 0.0 if self.before is None else self.before.passed - self.now.passed

    @property
    def fair_drop(self) -> float:
        """The same, the scorers' noise taken out."""
        return 0.0 if self.before is None else self.before.fair - self.now.fair


class Slice(Struct, frozen=True, kw_only=True):
    """Cases that share a tag, such as `category=refunds`; the whole set has the empty name."""

    name: str
    pairs: tuple[Pair, ...]

    @property
    def title(self) -> str:
        return self.name or "all cases"

    @property
    def compared(self) -> tuple[Pair, ...]:
        """The cases that the baseline answered too."""
        return tuple(pair for pair in self.pairs if pair.before is not None)

    @property
    def flip(self) -> float:
        """How often a verdict of this slice is the wrong one, on average."""
        return _mean(pair.now.flip for pair in self.pairs)

    @property
    def share(self) -> float:
        """How many of the cases pass, the scorers' noise taken out."""
        return max(0.0, min(_mean(pair.now.fair for pair in self.pairs), _mean(pair.now.best for pair in self.pairs)))

    @property
    def drop(self) -> float:
        """By how much that share fell against the baseline, the scorers' noise taken out."""
        return min(1.0, _mean(pair.fair_drop for pair in self.compared))

    @property
    def p(self) -> float:
        """How likely equally good releases show such a drop in this slice."""
        return statistics.sign_flip([-pair.drop for pair in self.compared])


class Comparison(Struct, frozen=True, kw_only=True):
    """The scored cases of a report: all of them, and by each tag that the report is split by."""

    everything: Slice
    slices: tuple[Slice, ...]

    @classmethod
    def of(cls, report: Report) -> Comparison:
        """Pair the answers of both sides by case; a case that could not be scored is left out (see `_unscored`)."""
        flips = {name: flip for name, flip in report.noise.items() if flip < COIN}
        now, before = _turns(report.candidate), _turns(report.baseline)
        pairs = []
        for case in report.cases:
            verdict = _verdict(now.get(case.id, ()), flips)
            if verdict is not None:
                pairs.append(Pair(case=case, now=verdict, before=_verdict(before.get(case.id, ()), flips)))
        return cls(everything=Slice(name="", pairs=tuple(pairs)), slices=tuple(_split(pairs, report.slices)))

    @property
    def parts(self) -> tuple[Slice, ...]:
        """What is compared with the baseline: everything, and each part of it that is not the same again."""
        smaller = (part for part in self.slices if len(part.pairs) < len(self.everything.pairs))
        return tuple(part for part in (self.everything, *smaller) if part.compared)

    @property
    def discordance(self) -> float:
        """The share of cases that differ between equal releases, in which as many get worse as get better but for chance.

        What tips the scale beyond chance (the mean distance of a fair walk, the root of 2n/pi) is a rise or a fall, and no noise.
        """
        drops = [pair.drop for pair in self.everything.compared]
        worse, better = sum(d > _ROUNDING for d in drops), sum(d < -_ROUNDING for d in drops)
        changed = worse + better
        tipped = max(0.0, abs(worse - better) - math.sqrt(2 * changed / math.pi))
        return (changed - tipped) / max(1, len(drops))


def _turns(side: Side | None) -> dict[str, list[Result]]:
    """The answers of one release by case."""
    turns: dict[str, list[Result]] = defaultdict(list)
    for result in () if side is None else side.results:
        turns[result.case].append(result)
    return turns


def _share(results: Sequence[Result]) -> float | None:
    """The share of a case's turns that passed; None where one of them could not be scored, or there is none."""
    passed = [result.passed for result in results]
    return None if None in passed or not passed else passed.count(True) / len(passed)


def _verdict(results: Sequence[Result], flips: Mapping[str, float]) -> Verdict | None:
    share = _share(results)
    return None if share is None else Verdict(passed=share, flip=_mean(_flip(result, flips) for result in results))


def _flip(result: Result, flips: Mapping[str, float]) -> float:
    """How often the verdict on this answer is the wrong one.

    A failure that a steady scorer found stands whatever the others say. Else the verdict turns when any unsteady one does.
    """
    unsteady = {name: flips.get(name.removeprefix(NOT), 0.0) for name in result.opinions}
    if any(opinion.passed is False and not unsteady[name] for name, opinion in result.opinions.items()):
        return 0.0
    return min(0.49, 1 - math.prod(1 - flip for flip in unsteady.values()))


def _split(pairs: Sequence[Pair], tags: Iterable[str]) -> Iterator[Slice]:
    """The slices of each tag; cases without it are one of their own."""
    for tag in tags:
        parts: dict[str, list[Pair]] = defaultdict(list)
        for pair in pairs:
            parts[pair.case.slice(tag)].append(pair)
        for value, members in sorted(parts.items()):
            yield Slice(name=f"{tag}={value or '(none)'}", pairs=tuple(members))


# 1. Is there enough to judge by?


def _unfinished(report: Report) -> Iterator[Finding]:
    if report.unfinished:
        yield Finding(outcome="inconclusive", rule="unfinished", what=f"The evaluation did not finish: {report.unfinished}.")


def _too_few(report: Report, gate: Gate) -> Iterator[Finding]:
    if len(report.cases) < gate.at_least:
        missing = gate.at_least - len(report.cases)
        what = f"There are {_cases(len(report.cases))}, {missing} fewer than the {gate.at_least} that `at_least` asks for."
        yield Finding(outcome="inconclusive", rule="at_least", what=what)


def _unscored(report: Report) -> Iterator[Finding]:
    """A case that no scorer could judge is neither a pass nor a failure, on either side."""
    for side, name in ((report.candidate, "the candidate's"), (report.baseline, "the live release's")):
        if side is not None:
            turns = _turns(side)
            cases = [case.id for case in report.cases if _share(turns.get(case.id, ())) is None]
            if cases:
                why = _why_unscored(turns.get(cases[0], ()))
                what = f"{_cases(len(cases))} could not be scored on {name} side. The first of them: {why}."
                yield Finding(outcome="inconclusive", rule="unscored", what=what, cases=tuple(cases))


def _why_unscored(results: Sequence[Result]) -> str:
    if not results:
        return "it has no answer"
    for result in results:
        for name, opinion in result.opinions.items():
            if result.passed is None and opinion.passed is None:
                return f"{name} could not tell ({opinion.reason or 'it gave no reason'})"
    return "no scorer has anything to say to it"


def _coins(report: Report) -> Iterator[Finding]:
    for name, flip in report.noise.items():
        if flip >= COIN:
            what = f"The scorer {name} contradicts itself on the same answer as often as a coin would; its verdicts show nothing."
            yield Finding(outcome="inconclusive", rule="unscored", what=what)


# 2. Does it do what it must?


def _must(report: Report) -> Iterator[Finding]:
    """One turn of a `must` case that fails is enough to block; an average does not excuse it."""
    turns = _turns(report.candidate)
    musts = [case.id for case in report.cases if case.must]
    failed = [id for id in musts if any(result.passed is False for result in turns.get(id, ()))]
    unknown = [id for id in musts if id not in failed and _share(turns.get(id, ())) is None]
    if failed:
        failed.sort(key=lambda id: _mean(result.passed is True for result in turns[id]))
        what = f"{len(failed)} of {_cases(len(musts))} marked `must` did not pass in every turn."
        yield Finding(outcome="blocked", rule="must", what=what, cases=tuple(failed))
    if unknown:
        what = f"{len(unknown)} of {_cases(len(musts))} marked `must` could not be scored."
        yield Finding(outcome="inconclusive", rule="must", what=what, cases=tuple(unknown))


# 3. Is it good enough, as a whole and in each slice?


def _pass_rate(comparison: Comparison, gate: Gate) -> Iterator[Finding]:
    yield from _below(comparison.everything, gate.pass_rate, "pass_rate")


def _slices_below(comparison: Comparison, gate: Gate) -> Iterator[Finding]:
    for part in comparison.slices:
        yield from _below(part, gate.no_category_below, "no_category_below")


def _below(part: Slice, floor: float | None, name: str) -> Iterator[Finding]:
    """A floor is meant for the cases as they are, so what they show counts, without any margin."""
    if floor is None or not part.pairs or part.share >= floor - _ROUNDING:
        return
    n, passed = len(part.pairs), sum(pair.now.passed for pair in part.pairs)
    low, high = (min(1.0, max(0.0, statistics.without_noise(end, part.flip))) for end in statistics.wilson(passed, n))
    what = (
        f"{_upper(part.title)}: {passed:.4g} of {n} pass, {_percent(part.share)}{_corrected(part.flip)}, below {_percent(floor)} "
        f"(other cases of this kind: between {_percent(low)} and {_percent(high)})."
    )
    failing = sorted((pair for pair in part.pairs if pair.now.passed < 1), key=lambda pair: (pair.now.passed, not pair.case.must))
    yield Finding(outcome="blocked", rule=name, slice=part.name, what=what, cases=tuple(pair.case.id for pair in failing))


# 4. Is it as good as what is live, and could we tell?


def _falls(comparison: Comparison, gate: Gate) -> Iterator[Finding]:
    """A drop beyond the tolerance blocks if equal releases would hardly ever show one like it, in any slice.

    If they would show it once in a while, it is open. If they would often, it is what small slices do, and no reason.
    """
    for part, p in _surprises(comparison):
        if part.drop > gate.no_category_may_fall_by + _ROUNDING and p <= SUSPICIOUS:
            worse = sorted((pair for pair in part.compared if pair.drop > _ROUNDING), key=lambda pair: -pair.drop)
            yield Finding(
                outcome="blocked" if p <= REAL else "inconclusive",
                rule="no_category_may_fall_by",
                slice=part.name,
                what=_fall(part, p),
                cases=tuple(pair.case.id for pair in worse),
            )


def _surprises(comparison: Comparison) -> list[tuple[Slice, float]]:
    """Each comparison, with how likely equally good releases show a drop as surprising as its own in any of them."""
    parts = comparison.parts
    corrected = statistics.holm([part.p for part in parts], [len(part.compared) for part in parts], comparison.discordance)
    return list(zip(parts, corrected, strict=True))


def _fall(part: Slice, p: float) -> str:
    pairs = part.compared
    before, now = _mean(pair.before.passed for pair in pairs if pair.before), _mean(pair.now.passed for pair in pairs)
    worse, better = sum(pair.drop > _ROUNDING for pair in pairs), sum(pair.drop < -_ROUNDING for pair in pairs)
    low, high = (_points(end) for end in statistics.paired_bootstrap([pair.fair_drop for pair in pairs], seed=SEED))
    shown = "Equally good releases show this" if p <= REAL else "Not shown to be real: equally good releases show this"
    return (
        f"{_upper(part.title)} fell from {_percent(before)} to {_percent(now)}, by {_points(part.drop)}{_corrected(part.flip)}: "
        f"of {_cases(len(pairs))} {worse} got worse and {better} better (a drop between {low} and {high}). "
        f"{shown}, in any slice, in {_percent(p)} of comparisons."
    )


def _blind(comparison: Comparison, gate: Gate) -> Iterator[Finding]:
    """Where the file says which drop each slice has to show, a slice that could not show it leaves the matter open."""
    if gate.detect is None:
        return
    alpha = _alpha(comparison)
    shown = {part.name for part, p in _surprises(comparison) if p <= REAL}
    for part in comparison.parts:
        visible = _visible(part, comparison.discordance, alpha)
        if visible > gate.detect + _ROUNDING and part.name not in shown:
            needed = statistics.cases_needed(gate.detect * (1 - 2 * part.flip), comparison.discordance, alpha)
            what = (
                f"{_upper(part.title)}: {_cases(len(part.compared))} show a drop of {_points(visible)} four times in five, and "
                f"`detect` asks for {_points(gate.detect)}. About {needed} would."
            )
            yield Finding(outcome="inconclusive", rule="detect", slice=part.name, what=what)


def detectable(report: Report) -> dict[str, float]:
    """By slice, the smallest drop that its cases would show four times in five; empty without a baseline.

    The empty name is the whole set. 1 means that not even a collapse would be shown.
    """
    comparison = Comparison.of(report)
    if not comparison.parts:
        return {}
    alpha = _alpha(comparison)
    return {part.name: _visible(part, comparison.discordance, alpha) for part in comparison.parts}


def _alpha(comparison: Comparison) -> float:
    """The p-value that one slice has to show to be found fallen among all of them."""
    sizes = [len(part.compared) for part in comparison.parts]
    return statistics.cut_off(REAL, sizes, comparison.discordance)


def _visible(part: Slice, discordance: float, alpha: float) -> float:
    seen = statistics.detectable_drop(len(part.compared), discordance, alpha)
    return min(1.0, statistics.drop_without_noise(seen, part.flip))


# 5. Is it fast and cheap enough?


def _late(
    report: Report, name: str, limit: float | None, what: str, time_of: Callable[[Result], int | None]
) -> Iterator[Finding]:
    """The 95th percentile against its limit in seconds; a kept answer took what it took when it was given."""
    if limit is None:
        return
    times = _times(report.candidate, time_of)
    if not times:
        yield Finding(outcome="inconclusive", rule=name, what=f"No answer tells when {what} came, and {limit:g} s is the limit.")
        return
    p95 = _p95(times)
    if p95 > limit:
        slow = [case for seconds, case in sorted(times, reverse=True) if seconds > limit]
        live = _times(report.baseline, time_of)
        beside = f" (the live release: {_p95(live):.3g} s)" if live else ""
        sentence = f"In 95 % of the answers {what} came within {p95:.3g} s{beside}; {limit:g} s is the limit."
        yield Finding(outcome="blocked", rule=name, what=sentence, cases=tuple(dict.fromkeys(slow)))


def _times(side: Side | None, time_of: Callable[[Result], int | None]) -> list[tuple[float, str]]:
    """Seconds and case of each answer that has this time."""
    results = () if side is None else side.results
    return [(us / 1e6, result.case) for result in results if (us := time_of(result)) is not None]


def _p95(times: Sequence[tuple[float, str]]) -> float:
    return statistics.percentile([seconds for seconds, _ in times], 0.95)


def _dear(report: Report, gate: Gate) -> Iterator[Finding]:
    """The mean cost of an answer. One whose cost is unknown cost at least nothing, so the others alone may be enough to block."""
    results = report.candidate.results
    if gate.cost is None or not results:
        return
    unknown = [result.case for result in results if result.cost_nano_usd is None]
    mean = _mean(result.cost_nano_usd or 0 for result in results)
    if mean > gate.cost:
        dear = sorted(results, key=lambda result: -(result.cost_nano_usd or 0))
        cases = dict.fromkeys(result.case for result in dear if (result.cost_nano_usd or 0) > gate.cost)
        what = f"An answer costs {Usd(mean)} on average{_live_cost(report)}; {gate.cost} is the limit."
        yield Finding(outcome="blocked", rule="cost", what=what, cases=tuple(cases))
    elif unknown:
        what = f"What {len(unknown)} of {len(results)} answers cost is not known, and {gate.cost} is the limit on average."
        yield Finding(outcome="inconclusive", rule="cost", what=what, cases=tuple(dict.fromkeys(unknown)))


def _live_cost(report: Report) -> str:
    costs = [] if report.baseline is None else [result.cost_nano_usd for result in report.baseline.results]
    known = [cost for cost in costs if cost is not None]
    return f" (the live release: {Usd(_mean(known))})" if known and len(known) == len(costs) else ""


# How steady are the scorers?


def noise_of(report: Report) -> dict[str, float]:
    """How often each scorer says the opposite of what it mostly says, measured on repeated cases; steady ones are left out.

    Only turns that showed the same answer are compared: where the answers differ, a scorer that says so is right. Verdicts on
    time and money are not compared at all. So a release that never answers alike twice says nothing here, and `--repeat` of
    a deterministic one says most.
    """
    pairs, differ = Counter[str](), Counter[str]()
    for side in (report.candidate, report.baseline):
        for turns in _turns(side).values():
            for one, other in itertools.combinations(turns, 2):
                if (one.status, one.shown) == (other.status, other.shown):
                    for name, same in _agreements(one, other):
                        pairs[name] += 1
                        differ[name] += not same
    return {name: statistics.flip_rate(differ[name] / pairs[name]) for name in sorted(pairs) if differ[name]}


def _agreements(one: Result, other: Result) -> Iterator[tuple[str, bool]]:
    """For each scorer that had a verdict on both, its name without `not-`, and whether the verdicts are the same."""
    for said, opinion in one.opinions.items():
        name, again = said.removeprefix(NOT), other.opinions.get(said)
        if name not in OF_THE_CALL and again is not None and None not in (opinion.passed, again.passed):
            yield name, opinion.passed == again.passed


# Words and figures


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return math.fsum(known) / len(known) if known else 0.0


def _cases(n: int) -> str:
    return "1 case" if n == 1 else f"{n} cases"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _points(drop: float) -> str:
    return f"{100 * drop:.3g} points"


def _corrected(flip: float) -> str:
    return f" (taken out: scorers that are wrong in {_percent(flip)} of these verdicts)" if flip else ""


def _upper(title: str) -> str:
    return title[0].upper() + title[1:] if "=" not in title else title
