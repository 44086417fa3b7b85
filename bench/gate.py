"""How often do the gate and the canary err? Reports and traffic are drawn at random, and ruled on by the real functions.

Equal releases: of a case's two answers a share `changing` differs, either way alike. A regression: in one category so many more
of the cases that passed fail, and in each other category one more passes, so that the average hides it. Canary: users come one
by one, each with 1 to 5 calls spread over the next ones; all users are alike, or each has a pass rate of its own. The canary
is asked for a decision after every 50 calls, until the most calls.
"""

from __future__ import annotations

import random
import statistics
from collections import Counter
from collections.abc import Iterator

from mainstay.core.case import Case
from mainstay.core.feature import Gate
from mainstay.core.reasons import Status
from mainstay.core.report import Opinion, Report, Result, Side
from mainstay.learn.canary import decide
from mainstay.learn.gate import REAL, rule
from mainstay.learn.statistics import cut_off, detectable_drop

GATE = Gate(at_least=50)
PASSES = 0.85  # of the cases, in the baseline
ASKED_EVERY, MOST_CALLS = 50, 6000
Verdicts = list[list[bool]]  # of one release: of each case, of each turn


def report_of(before: Verdicts, now: Verdicts, categories: int) -> Report:
    """The report of two releases on the same cases, which are dealt to the categories in turn."""
    cases = tuple(Case(id=str(i), input={}, category=f"c{i % categories}") for i in range(len(now)))
    candidate, baseline = (Side(release=name, results=tuple(results(side))) for name, side in (("new", now), ("live", before)))
    return Report(id="r", feature="f", at=0, took_s=0, who="bench", cases=cases, candidate=candidate, baseline=baseline)


PASSED, FAILED = Opinion(value=1, passed=True), Opinion(value=0, passed=False)


def results(verdicts: Verdicts) -> Iterator[Result]:
    for i, turns in enumerate(verdicts):
        for turn, passed in enumerate(turns):
            opinions = {"exact": PASSED if passed else FAILED}
            yield Result(case=str(i), turn=turn, record="", status=Status.ANSWERED, opinions=opinions)


def drawn(rng: random.Random, categories: int, size: int, changing: float, *, lost: int = 0, turns: int = 1) -> Report:
    """A report of equal releases, but for the cases that the first category has lost."""
    before, now = [], []
    for _ in range(categories * size):
        # A case answered twice differs with probability 2s(1 - s), where s is how steady it is.
        unsteady = (1 - (1 - 2 * changing) ** 0.5) / 2
        usual = rng.random() < PASSES
        before.append([usual != (rng.random() < unsteady) for _ in range(turns)])
        now.append([usual != (rng.random() < unsteady) for _ in range(turns)])
    if lost:
        passing = [i for i in range(0, len(now), categories) if all(now[i])]
        for i in rng.sample(passing, min(lost, len(passing))):
            now[i] = [False] * turns
        for category in range(1, categories):
            failing = [i for i in range(category, len(now), categories) if not all(now[i])]
            for i in failing[:1]:
                now[i] = [True] * turns
    return report_of(before, now, categories)


def ruled(seed: int, rounds: int, categories: int, size: int, changing: float, *, lost: int = 0, turns: int = 1) -> Counter[str]:
    """How often the gate says what."""
    rng = random.Random(seed)
    reports = (drawn(rng, categories, size, changing, lost=lost, turns=turns) for _ in range(rounds))
    return Counter(rule(report, GATE).outcome for report in reports)


def canary(rng: random.Random, passes: float, drop: float, *, alike: bool) -> tuple[str, int]:
    """One canary: what was decided, and after how many calls."""
    arms: tuple[dict[int, list[bool]], dict[int, list[bool]]] = ({}, {})
    due: list[tuple[int, int, int, float]] = []  # when, which arm, whose, and how likely it goes well
    users = 0
    for call in range(1, MOST_CALLS + 1):
        if due and due[0][0] <= call:
            _, arm, user, likely = due.pop(0)
        else:
            arm, user, users = users % 2 if rng.random() < 0.8 else rng.randrange(2), users, users + 1
            mean = passes - drop * arm
            likely = mean if alike else rng.betavariate(4 * mean, 4 * (1 - mean))
            due += [(call + rng.randrange(1, 200), arm, user, likely) for _ in range(rng.randrange(5))]
            due.sort()
        arms[arm].setdefault(user, []).append(rng.random() < likely)
        if call % ASKED_EVERY == 0:
            control, tried = ([statistics.fmean(calls) for calls in arm.values()] for arm in arms)
            outcome = decide(control, tried).outcome
            if outcome != "go_on":
                return outcome, call
    return "go_on", MOST_CALLS


def canaries(seed: int, rounds: int, passes: float, drop: float, *, alike: bool) -> tuple[Counter[str], list[int]]:
    """What was decided how often, and the calls that each took, fewest first."""
    rng = random.Random(seed)
    decided = [canary(rng, passes, drop, alike=alike) for _ in range(rounds)]
    return Counter(outcome for outcome, _ in decided), sorted(calls for _, calls in decided)


def table(head: str, rows: Iterator[tuple[object, ...]]) -> None:
    columns = head.split("|")
    print(f"\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |", flush=True)


def share(counted: Counter[str], outcome: str) -> str:
    return f"{100 * counted[outcome] / counted.total():.1f} %"


def outcomes(counted: Counter[str]) -> tuple[str, ...]:
    return tuple(share(counted, outcome) for outcome in ("blocked", "inconclusive", "passed"))


def equal_releases(rounds: int) -> Iterator[tuple[object, ...]]:
    for categories, size in ((1, 200), (7, 15), (20, 10), (7, 60)):
        for changing in (0.05, 0.1, 0.2):
            yield categories, size, f"{changing:.0%}", 1, *outcomes(ruled(4, rounds, categories, size, changing))
    yield 7, 15, "10%", 5, *outcomes(ruled(4, rounds // 2, 7, 15, 0.1, turns=5))


def regressions(rounds: int) -> Iterator[tuple[object, ...]]:
    for categories, size, lost in ((7, 15, 3), (7, 15, 5), (7, 15, 7), (7, 60, 6), (7, 60, 12)):
        for changing in (0.0, 0.05, 0.1, 0.2):
            counted = ruled(2, rounds, categories, size, changing, lost=lost)
            yield categories, size, f"{lost} ({lost / size:.0%})", f"{changing:.0%}", 1, *outcomes(counted)
    yield 7, 15, "5 (33%)", "10%", 5, *outcomes(ruled(2, rounds // 2, 7, 15, 0.1, lost=5, turns=5))


def sizes() -> Iterator[tuple[object, ...]]:
    for changing in (0.02, 0.05, 0.1, 0.2):
        shown = []
        for n in (15, 30, 60, 100, 200, 400):
            alpha = cut_off(REAL, [n] * 7 + [7 * n], changing)
            shown.append(f"{100 * detectable_drop(n, changing, alpha):.0f} points")
        yield f"{changing:.0%}", *shown


def all_canaries(rounds: int) -> Iterator[tuple[object, ...]]:
    for passes in (0.85, 0.6, 0.95):
        for alike in (True, False):
            for drop in (0.1, 0.05, 0.0, -0.04) if alike else (0.1, 0.0):
                counted, calls = canaries(3, rounds, passes, drop, alike=alike)
                made = (share(counted, outcome) for outcome in ("roll_back", "promote", "go_on"))
                late = calls[int(0.95 * len(calls))]
                yield (
                    f"{passes:.0%}",
                    "alike" if alike else "differ",
                    f"{-100 * drop + 0:+.0f}",
                    *made,
                    calls[len(calls) // 2],
                    late,
                )


def main(rounds: int = 600) -> None:
    print("Equal releases: how often the gate blocks, or cannot say")
    table("categories|cases in each|cases that change anyway|turns|blocked|inconclusive|passed", equal_releases(rounds))
    print("\nOne category lost some of its cases, each other one gained one: how often the gate sees it")
    table(
        "categories|cases in each|lost in one|cases that change anyway|turns|blocked|inconclusive|passed",
        regressions(rounds // 6),
    )
    print("\nSeven categories: the drop that one of them shows four times in five")
    table("cases that change anyway|15 in each|30|60|100|200|400", sizes())
    print(f"\nThe canary, asked after every {ASKED_EVERY} calls of both arms together, for at most {MOST_CALLS}")
    table("control passes|users|canary, in points|rolled back|promoted|undecided|median calls|95 % within", all_canaries(200))


if __name__ == "__main__":
    main()
