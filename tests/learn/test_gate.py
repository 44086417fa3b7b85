"""The gate: what it rules of a report, by which reasons, with which cases behind each."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pytest
from bench.gate import drawn, ruled

from mainstay.core.case import Case
from mainstay.core.feature import Gate
from mainstay.core.reasons import Status
from mainstay.core.report import Finding, Opinion, Report, Result, Ruling, Side
from mainstay.core.units import Seconds, Usd
from mainstay.learn.gate import detectable, noise_of, rule

CATEGORIES = ("refunds", "orders", "delivery", "account", "prices", "shops", "other")
YES, NO, UNKNOWN = Opinion(value=1, passed=True), Opinion(value=0, passed=False), Opinion(reason="the judge was late")


def gate(**keys: Any) -> Gate:
    return Gate(**{"at_least": 50, **keys})


def cases(each: int = 15, categories: Iterable[str] = CATEGORIES) -> tuple[Case, ...]:
    return tuple(Case(id=f"{c}-{i}", input={"question": f"{c} {i}"}, category=c) for c in categories for i in range(each))


def side(
    given: Iterable[Case],
    failing: Iterable[str] = (),
    *,
    name: str = "new",
    special: Mapping[str, Any] | None = None,
    **each: Any,
) -> Side:
    """One turn a case: those in `failing` fail, and `special` has the opinions of single cases."""
    failing, special = set(failing), special or {}
    results = []
    for case in given:
        opinions = special.get(case.id, {"exact": NO if case.id in failing else YES})
        results.append(Result(case=case.id, record="r", status=Status.ANSWERED, opinions=opinions, **each))
    return Side(release=name, results=tuple(results))


def report(given: tuple[Case, ...], candidate: Side, baseline: Side | None = None, **more: Any) -> Report:
    return Report(
        id="report", feature="desk", at=0, took_s=0, who="test", cases=given, candidate=candidate, baseline=baseline, **more
    )


def only(ruling: Ruling) -> Finding:
    assert len(ruling.findings) == 1, ruling
    return ruling.findings[0]


def ids(category: str, *numbers: int) -> list[str]:
    return [f"{category}-{i}" for i in numbers]


# What passes


def test_an_equal_release_passes() -> None:
    """A release that answers as the live one does goes through, with nothing to read."""
    given = cases()
    ruling = rule(report(given, side(given, ["refunds-1"]), side(given, ["refunds-1"], name="live")), gate())
    assert ruling == Ruling(outcome="passed", findings=())


def test_a_better_release_passes() -> None:
    """Cases that got better never count against a release, however many."""
    given = cases()
    failing = [c.id for c in given[:40]]
    assert rule(report(given, side(given), side(given, failing, name="live")), gate()).outcome == "passed"


def test_a_first_release_is_judged_by_its_floors_alone() -> None:
    """Without a live release there is nothing to fall against, even where `detect` is stated."""
    given = cases()
    assert rule(report(given, side(given)), gate(pass_rate=0.9, detect=0.1)).outcome == "passed"
    assert detectable(report(given, side(given))) == {}


def test_the_same_report_is_always_ruled_alike() -> None:
    """The ruling is a pure function: nothing is drawn that is not seeded."""
    drawn_report = drawn(random.Random(1), 7, 15, 0.2, lost=6)
    assert rule(drawn_report, gate()) == rule(drawn_report, gate())


# Falls


def test_a_broken_category_blocks_though_the_average_rises() -> None:
    """Five of fifteen lost in one category is a block that names the category and its cases, while every other one rose."""
    given = cases()
    before = [f"{c}-{i}" for c in CATEGORIES[1:] for i in range(5)]
    lost = ids("refunds", 2, 5, 7, 8, 11)
    found = only(rule(report(given, side(given, lost), side(given, before, name="live")), gate()))
    assert (found.outcome, found.rule, found.slice) == ("blocked", "no_category_may_fall_by", "category=refunds")
    assert set(found.cases) == set(lost)
    assert "from 100 % to 66.7 %, by 33.3 points" in found.what and "5 got worse and 0 better" in found.what


def test_a_lost_category_of_a_restless_feature_is_not_shown() -> None:
    """Where half of the cases change anyway, as many for the worse as for the better, five lost cases are no proof."""
    given = cases()
    lost = [f"{c}-{i}" for c in CATEGORIES[1:] for i in range(4)] + ids("refunds", *range(5))
    gained = [f"{c}-{i}" for c in CATEGORIES[1:] for i in range(5, 9)]
    assert rule(report(given, side(given, lost), side(given, gained, name="live")), gate()).outcome != "blocked"


def test_a_drop_that_is_not_shown_is_inconclusive() -> None:
    """Four of fifteen lost and nothing else changed is suspicious and not proven: a person, or a canary, has to look."""
    given = cases()
    found = [
        f
        for f in rule(report(given, side(given, ids("refunds", 0, 1, 2, 3)), side(given, name="live")), gate()).findings
        if f.slice == "category=refunds"
    ]
    assert [f.outcome for f in found] == ["inconclusive"]
    assert "Not shown to be real" in found[0].what


def test_one_lost_case_is_what_small_slices_do() -> None:
    """One case of fifteen is a drop of seven points and no reason at all."""
    given = cases()
    assert rule(report(given, side(given, ["refunds-3"]), side(given, name="live")), gate()).outcome == "passed"


def test_a_drop_within_the_tolerance_is_allowed() -> None:
    """However real: who allows forty points gets no finding for thirty-three."""
    given = cases()
    lost = report(given, side(given, ids("refunds", 0, 1, 2, 3, 4)), side(given, name="live"))
    assert rule(lost, gate(no_category_may_fall_by=0.4)).outcome == "passed"
    assert rule(lost, gate(no_category_may_fall_by=0.3)).outcome == "blocked"


def test_answers_are_compared_by_case_and_not_by_place() -> None:
    """The baseline's results in another order change nothing: they are paired by the case's id."""
    given = cases()
    live = side(given, ids("refunds", *range(8)), name="live")
    shuffled = Side(release="live", results=live.results[::-1])
    moved = side(given, ids("refunds", *range(7, 15)))
    assert rule(report(given, moved, live), gate()) == rule(report(given, moved, shuffled), gate())
    assert rule(report(given, side(given, ids("refunds", *range(8))), shuffled), gate()).outcome == "passed"


def test_repeats_are_averaged_for_each_case() -> None:
    """A category whose cases pass in three turns of five instead of all is found, by shares and not by single turns."""
    given = cases()

    def turned(share: int) -> Side:
        results = []
        for case in given:
            for turn in range(5):
                passed = turn < share or case.category != "refunds"
                opinions = {"exact": YES if passed else NO}
                results.append(Result(case=case.id, turn=turn, record="r", status=Status.ANSWERED, opinions=opinions))
        return Side(release=f"{share}", results=tuple(results))

    findings = rule(report(given, turned(3), turned(5), repeat=5), gate()).findings
    found = {f.slice: f for f in findings}["category=refunds"]
    assert found.outcome == "blocked" and "by 40 points" in found.what
    assert len(found.cases) == 15


def test_worst_cases_come_first() -> None:
    """Who reads a finding sees the case that fell the most before the one that fell a little."""
    given = cases(60, ["refunds"])

    def turns(fails: Mapping[str, int], name: str) -> Side:
        return Side(
            release=name,
            results=tuple(
                Result(
                    case=c.id,
                    turn=t,
                    record="r",
                    status=Status.ANSWERED,
                    opinions={"exact": NO if t < fails.get(c.id, 0) else YES},
                )
                for c in given
                for t in range(3)
            ),
        )

    fails = {f"refunds-{i}": 1 + i % 3 for i in range(12)}
    findings = rule(report(given, turns(fails, "new"), turns({}, "live"), repeat=3), gate()).findings
    assert [fails[id] for id in only(Ruling(outcome="blocked", findings=findings)).cases] == sorted(fails.values(), reverse=True)


def test_equal_releases_are_seldom_stopped_and_broken_ones_are() -> None:
    """By simulation, seven categories of fifteen: hardly ever a block for nothing, seldom a doubt, and a lost one is seen."""
    good = ruled(21, 150, 7, 15, 0.1)
    assert good["blocked"] <= 12 and good["inconclusive"] <= 40
    bad = ruled(22, 60, 7, 15, 0.05, lost=7)
    assert bad["blocked"] >= 48 and bad["passed"] <= 4


# What the cases could show


def test_a_slice_that_cannot_show_what_it_must_is_inconclusive() -> None:
    """`detect` is kept: the sentence says what these cases show and how many would be enough; more cases are enough."""
    given = cases()
    found = {f.slice: f for f in rule(report(given, side(given), side(given, name="live")), gate(detect=0.2)).findings}
    assert set(found) == {f"category={c}" for c in CATEGORIES}
    assert all(f.outcome == "inconclusive" and f.rule == "detect" for f in found.values())
    assert "`detect` asks for 20 points" in found["category=refunds"].what
    many = cases(60)
    assert rule(report(many, side(many), side(many, name="live")), gate(detect=0.2)).outcome == "passed"


def test_a_slice_that_fell_is_not_called_blind() -> None:
    """What was found needs no more cases, even where `detect` asks for more."""
    given = cases()
    findings = rule(report(given, side(given, ids("refunds", *range(9))), side(given, name="live")), gate(detect=0.2)).findings
    assert [f.rule for f in findings if f.slice == "category=refunds"] == ["no_category_may_fall_by"]


def test_every_slice_says_what_it_could_detect() -> None:
    """The figure that reports print: smaller for more cases, for each slice and the whole."""
    given = (*cases(60, ["refunds"]), *cases(15, ["orders"]))
    visible = detectable(report(given, side(given), side(given, name="live")))
    assert visible[""] < visible["category=refunds"] < visible["category=orders"] < 1


# Floors and musts


def test_the_whole_below_its_floor_blocks() -> None:
    """A pass rate under `pass_rate` blocks, the worst cases first; exactly on it passes, also where it is no exact fraction."""
    given = cases(10, CATEGORIES)
    failing = [c.id for c in given[:7]]
    found = only(rule(report(given, side(given, failing)), gate(pass_rate=0.91)))
    assert (found.outcome, found.rule, found.slice, set(found.cases)) == ("blocked", "pass_rate", "", set(failing))
    assert "63 of 70 pass, 90 %" in found.what
    half = Result(case=failing[0], turn=1, record="r", status=Status.ANSWERED, opinions={"exact": YES})
    repeated = Side(release="new", results=(*side(given, failing).results, half))
    assert only(rule(report(given, repeated, repeat=2), gate(pass_rate=0.95))).cases[-1] == failing[0]
    assert rule(report(given, side(given, failing)), gate(pass_rate=0.9)).outcome == "passed"


def test_a_category_below_its_floor_blocks() -> None:
    """Each slice has its own floor, and cases without a category form one."""
    given = tuple(msgspec.structs.replace(c, category="" if c.category == "other" else c.category) for c in cases())
    found = only(rule(report(given, side(given, ids("other", 0, 1, 2))), gate(pass_rate=0.9, no_category_below=0.85)))
    assert (found.rule, found.slice) == ("no_category_below", "category=(none)")


def test_every_declared_tag_has_its_slices() -> None:
    """A language that falls is found although no category does."""
    given = tuple(msgspec.structs.replace(c, language="de" if int(c.id.split("-")[1]) < 1 else "en") for c in cases())
    german = [c.id for c in given if c.language == "de"]
    ruling = rule(report(given, side(given, german), side(given, name="live"), slices=("category", "language")), gate())
    assert "language=de" in {f.slice for f in ruling.findings if f.outcome == "blocked"}


def test_one_must_that_fails_in_one_turn_blocks() -> None:
    """An average does not excuse a `must`, nor does a failing live release."""
    given = tuple(msgspec.structs.replace(c, must=c.id == "refunds-4") for c in cases())
    good = side(given)
    again = Result(case="refunds-4", turn=1, record="r", status=Status.ANSWERED, opinions={"exact": NO})
    candidate = Side(release="new", results=(*good.results, again))
    found = only(rule(report(given, candidate, side(given, ["refunds-4"], name="live"), repeat=2), gate()))
    assert (found.outcome, found.rule, found.cases) == ("blocked", "must", ("refunds-4",))


def test_the_worst_must_comes_first_and_is_named_once() -> None:
    """A `must` that failed in every turn stands before one that failed in one, and a failed one is not called unknown too."""
    given = tuple(msgspec.structs.replace(c, must=c.id in ids("refunds", 1, 2)) for c in cases())
    first = side(given, ["refunds-1", "refunds-2"])
    again = (
        Result(case="refunds-1", turn=1, record="r", status=Status.ANSWERED, opinions={"exact": YES}),
        Result(case="refunds-2", turn=1, record="r", status=Status.ANSWERED, opinions={"exact": NO}),
        Result(case="refunds-2", turn=2, record="r", status=Status.ANSWERED, opinions={"judged:tone": UNKNOWN}),
    )
    ruling = rule(report(given, Side(release="new", results=(*first.results, *again)), repeat=3), gate())
    assert [(f.rule, f.cases) for f in ruling.findings] == [("must", ("refunds-2", "refunds-1")), ("unscored", ("refunds-2",))]


def test_a_must_that_nobody_could_score_is_inconclusive() -> None:
    """A judge that failed on a `must` case leaves the matter open."""
    given = tuple(msgspec.structs.replace(c, must=c.id == "refunds-4") for c in cases())
    ruling = rule(report(given, side(given, special={"refunds-4": {"judged:tone": UNKNOWN}})), gate())
    assert ruling.outcome == "inconclusive"
    assert [f.rule for f in ruling.findings] == ["unscored", "must"]


# Enough to judge by


def test_too_few_cases_are_inconclusive() -> None:
    """The least number of cases is enforced, and the sentence says how many are missing."""
    given = cases(5)
    found = only(rule(report(given, side(given)), gate(at_least=100)))
    assert (found.outcome, found.rule) == ("inconclusive", "at_least")
    assert "35 cases, 65 fewer than the 100" in found.what


def test_unscored_cases_are_listed_and_are_no_zero() -> None:
    """A scorer that failed makes its case unknown, on either side; the others are still judged."""
    given = cases()
    odd = {"refunds-1": {"judged:tone": UNKNOWN}, "refunds-2": {}}
    found = only(rule(report(given, side(given, special=odd)), gate(pass_rate=1.0)))
    assert (found.outcome, found.rule, found.cases) == ("inconclusive", "unscored", ("refunds-1", "refunds-2"))
    assert "judged:tone could not tell (the judge was late)" in found.what
    assert "the live release's" in only(rule(report(given, side(given), side(given, special=odd, name="live")), gate())).what


def test_a_failure_that_one_scorer_found_needs_no_other() -> None:
    """Where one scorer says no, it does not matter that another could not tell."""
    given = cases()
    ruling = rule(report(given, side(given, special={"refunds-1": {"exact": NO, "judged:tone": UNKNOWN}})), gate())
    assert ruling.outcome == "passed"


def test_a_case_that_was_never_run_is_unscored() -> None:
    """Results that are missing are missed, even if nothing says that the evaluation stopped."""
    given = cases()
    found = only(rule(report(given, side(given[:-1])), gate()))
    assert found.cases == (given[-1].id,) and "it has no answer" in found.what


def test_an_unfinished_evaluation_is_inconclusive() -> None:
    """A spent budget is said in the ruling, beside whatever else is known."""
    given = cases()
    found = only(rule(report(given, side(given), unfinished="the budget of 1 USD is spent"), gate()))
    assert (found.outcome, found.rule) == ("inconclusive", "unfinished") and "1 USD" in found.what


def test_a_block_outweighs_a_doubt_and_comes_first() -> None:
    """The outcome is the worst of the findings, and what blocks is read first."""
    given = cases()
    ruling = rule(report(given, side(given, [c.id for c in given[:50]]), unfinished="stopped"), gate(pass_rate=0.9))
    assert ruling.outcome == "blocked"
    assert [f.outcome for f in ruling.findings] == ["blocked", "inconclusive"]


def test_no_case_at_all_is_inconclusive() -> None:
    """An empty report is no reason to go live, and no crash."""
    empty = report((), Side(release="new", results=()), Side(release="live", results=()))
    assert (
        rule(empty, gate(pass_rate=0.9, no_category_below=0.9, detect=0.1, cost=Usd(5)), first_word=1.0).outcome == "inconclusive"
    )


# Time and money


def test_slow_answers_block() -> None:
    """The 95th percentile is held against `p95`, and the live release's is told beside it."""
    given = cases()
    quick, slow = side(given, took_us=100_000), side(given, name="live", took_us=3_000_000)
    assert rule(report(given, quick, slow), gate(p95=Seconds(2))).outcome == "passed"
    found = only(rule(report(given, slow, quick), gate(p95=Seconds(2))))
    assert (found.outcome, found.rule) == ("blocked", "p95")
    assert "within 3 s (the live release: 0.1 s); 2 s is the limit" in found.what


def test_a_few_slow_answers_do_not_block() -> None:
    """Five of a hundred may be slow: that is what a 95th percentile is; the sixth may not."""
    given = cases(100, ["refunds"])
    limit = gate(p95=Seconds(2))

    def slow(n: int) -> Report:
        results = [msgspec.structs.replace(r, took_us=9_000_000 + i if i < n else 1) for i, r in enumerate(side(given).results)]
        return report(given, Side(release="new", results=tuple(results)))

    assert rule(slow(5), limit).outcome == "passed"
    assert only(rule(slow(6), limit)).cases == tuple(ids("refunds", 5, 4, 3, 2, 1, 0))


def test_a_late_first_word_blocks_and_an_unmeasured_one_is_open() -> None:
    """The objective for the first word is part of the verdict."""
    given = cases()
    assert only(rule(report(given, side(given, first_word_us=900_000)), gate(), first_word=0.5)).outcome == "blocked"
    assert only(rule(report(given, side(given)), gate(), first_word=0.5)).outcome == "inconclusive"
    assert rule(report(given, side(given, first_word_us=400_000)), gate(), first_word=0.5).outcome == "passed"


def test_dear_answers_block_and_unknown_costs_are_open() -> None:
    """The mean cost is held against `cost`; an unknown cost is never nothing, and known ones may be too much already."""
    given, limit = cases(), gate(cost=Usd.parse("0.01 USD"))
    found = only(rule(report(given, side(given, cost_nano_usd=20_000_000), side(given, name="live", cost_nano_usd=5)), limit))
    assert (found.outcome, found.rule) == ("blocked", "cost") and "0.02" in found.what and "the live release" in found.what
    assert only(rule(report(given, side(given, cost_nano_usd=None)), limit)).outcome == "inconclusive"
    assert rule(report(given, side(given, cost_nano_usd=None)), gate()).outcome == "passed"
    known = list(side(given, cost_nano_usd=20_000_000).results)
    known[0] = msgspec.structs.replace(known[0], cost_nano_usd=None)
    assert only(rule(report(given, Side(release="new", results=tuple(known))), limit)).outcome == "blocked"


# Noise


def judged(given: tuple[Case, ...], failing: Iterable[str], name: str = "new") -> Side:
    said = set(failing)
    return side(given, name=name, special={c.id: {"judged:tone": NO if c.id in said else YES} for c in given})


def test_a_judges_noise_is_taken_out_of_a_floor() -> None:
    """Nine of ten judged good by a judge that is wrong once in twenty is a share of 94 %, which is over the floor."""
    given = cases(10)
    failing = [c.id for c in given[:7]]
    assert rule(report(given, judged(given, failing)), gate(pass_rate=0.92)).outcome == "blocked"
    assert rule(report(given, judged(given, failing), noise={"judged:tone": 0.05}), gate(pass_rate=0.92)).outcome == "passed"
    found = only(rule(report(given, judged(given, failing), noise={"judged:tone": 0.05}), gate(pass_rate=0.96)))
    assert "94.4 % (taken out: scorers that are wrong in 5 % of these verdicts)" in found.what


def test_a_judges_noise_makes_a_drop_larger() -> None:
    """Noise hides a part of each drop: what is shown as 28 points is more, and passes no tolerance that it should not."""
    given = cases(40, ["refunds", "orders"])
    live, new = judged(given, [], "live"), judged(given, ids("refunds", *range(11)))
    assert rule(report(given, new, live), gate(no_category_may_fall_by=0.3)).outcome == "passed"
    noisy = report(given, new, live, noise={"judged:tone": 0.1})
    found = {f.slice: f for f in rule(noisy, gate(no_category_may_fall_by=0.3)).findings}["category=refunds"]
    assert "by 34.4 points" in found.what


def test_a_judges_noise_hides_small_drops() -> None:
    """What cases can show shrinks with the noise of their scorer, and more of them are needed."""
    given = cases()
    live, new = judged(given, [], "live"), judged(given, [])
    steady, noisy = report(given, new, live), report(given, new, live, noise={"judged:tone": 0.2})
    assert detectable(noisy)["category=refunds"] > detectable(steady)["category=refunds"] * 1.5

    def needed(of: Report) -> int:
        found = {f.slice: f.what for f in rule(of, gate(detect=0.1)).findings}["category=refunds"]
        return int(found.split("About ")[1].split()[0])

    assert needed(noisy) > 1.5 * needed(steady)


def test_a_steady_scorers_failure_is_not_softened() -> None:
    """Noise of a judge does not excuse what an exact scorer found: that verdict is certain."""
    given = cases(10)
    special = {c.id: {"judged:tone": YES, "exact": NO if i < 14 else YES} for i, c in enumerate(given)}
    found = only(rule(report(given, side(given, special=special), noise={"judged:tone": 0.05}), gate(pass_rate=0.81)))
    assert found.outcome == "blocked" and "56 of 70 pass, 80 %" in found.what


def test_a_scorer_that_is_a_coin_leaves_the_matter_open() -> None:
    """Verdicts that contradict themselves half of the time are not evidence."""
    given = cases()
    found = only(rule(report(given, judged(given, []), noise={"judged:tone": 0.5}), gate()))
    assert found.outcome == "inconclusive" and "judged:tone" in found.what


def test_noise_is_measured_on_equal_answers_only() -> None:
    """Verdicts that differ on one text are noise; verdicts that differ because the texts do, or on time, are none."""
    given = cases(20, ["refunds"])
    results = []
    for i, case in enumerate(given):
        for turn in range(2):
            opinions = {
                "judged:tone": NO if turn and i < 5 else YES,
                "not-judged:rude": YES,
                "latency": NO if turn else YES,
                "exact": NO if turn and i >= 10 else YES,
            }
            shown = "a" if i < 10 or not turn else "b"
            results.append(Result(case=case.id, turn=turn, record="r", status=Status.ANSWERED, shown=shown, opinions=opinions))
    measured = noise_of(report(given, Side(release="new", results=tuple(results)), repeat=2))
    assert measured == {"judged:tone": pytest.approx(0.5)}
    assert noise_of(report(given, side(given))) == {}
