"""Figures of a report, by slice: what is counted, what is left out, and what is not known."""

from __future__ import annotations

import pytest

from mainstay.core.case import Case
from mainstay.core.reasons import Status
from mainstay.core.report import Opinion, Report, Result, Side
from mainstay.learn.figures import rungs_of, side_figures, slices_of

CASES = (
    Case(id="a", input={"q": "1"}, category="refunds", language="en"),
    Case(id="b", input={"q": "2"}, category="refunds", language="de"),
    Case(id="c", input={"q": "3"}, category="delivery", language="en"),
    Case(id="d", input={"q": "4"}, language="en"),
)


def result(case: str, passed: bool | None, *, turn: int = 0, **fields: object) -> Result:
    """An answer of which one scorer says this."""
    said = Opinion(value=None if passed is None else float(passed), passed=passed)
    return Result(case=case, turn=turn, record=f"r-{case}-{turn}", status=Status.ANSWERED, opinions={"exact": said}, **fields)  # type: ignore[arg-type]


def report(*results: Result, baseline: tuple[Result, ...] | None = None, **fields: object) -> Report:
    """A report on `CASES` with these results."""
    theirs = None if baseline is None else Side(release="old", results=baseline)
    return Report(
        id="1",
        feature="support",
        at=0.0,
        took_s=1.0,
        who="me",
        cases=CASES,
        candidate=Side(release="new", results=results),
        baseline=theirs,
        **fields,  # type: ignore[arg-type]
    )


def test_slices_are_all_cases_then_each_value_and_those_without() -> None:
    """The order is what tables show: everything first, values by name, `(none)` last, each tag in its turn."""
    every = [result(case.id, True) for case in CASES]
    found = slices_of(report(*every, slices=("language", "category")))
    assert [(figures.slice, figures.cases) for figures in found] == [
        *(("", 4), ("language=de", 1), ("language=en", 3)),
        *(("category=delivery", 1), ("category=refunds", 2), ("category=(none)", 1)),
    ]


def test_a_tag_that_no_case_has_makes_no_slice() -> None:
    """A slice that is all cases under another name would be judged twice."""
    assert [figures.slice for figures in slices_of(report(result("a", True), slices=("tier",)))] == [""]


def test_a_case_counts_once_however_often_it_was_repeated() -> None:
    """The share is of cases, each the mean of its turns: a repeated case weighs no more than another."""
    turns = [result("a", passed, turn=turn) for turn, passed in enumerate((True, True, True, False))]
    figures = slices_of(report(*turns, result("b", False)))[0]
    assert (figures.cases, figures.passed) == (2, 0.375)
    once, twice = (slices_of(report(*(result("a", True, turn=turn) for turn in range(repeat))))[0] for repeat in (1, 2))
    assert (once.low, once.high) == (twice.low, twice.high)


def test_what_could_not_be_told_is_left_out_and_counted() -> None:
    """A scorer that failed is neither a pass nor a zero."""
    figures = slices_of(report(result("a", True), result("b", None), result("c", None), result("c", False, turn=1)))[0]
    assert (figures.cases, figures.unscored, figures.passed) == (3, 1, 0.5)
    assert figures.scorers == {"exact": 0.5}
    nothing = slices_of(report(result("a", None)))[0]
    assert (nothing.passed, nothing.low, nothing.high, nothing.unscored) == (None, None, None, 1)


def test_the_interval_is_wilsons() -> None:
    """Known values: 0 of 1 and 2 of 3 (Wilson 1927, 95 %)."""
    none, some = slices_of(report(result("a", False)))[0], slices_of(report(*(result(c, c != "c") for c in "abc")))[0]
    assert (none.low, none.high) == (0.0, pytest.approx(0.79345, abs=1e-4))
    assert (some.low, some.high) == (pytest.approx(0.20766, abs=1e-4), pytest.approx(0.93851, abs=1e-4))


def test_an_unknown_price_makes_the_cost_unknown() -> None:
    """A mean over the answers whose price happens to be known would be too low."""
    known = report(result("a", True, cost_nano_usd=100), result("b", True, cost_nano_usd=300))
    unknown = report(result("a", True, cost_nano_usd=100), result("b", True, cost_nano_usd=None))
    assert slices_of(known)[0].cost_nano_usd == 200
    assert slices_of(unknown)[0].cost_nano_usd is None


def test_times_are_percentiles_of_all_answers() -> None:
    """p50, p95 and p99 are times that really happened, and the first word is that of streamed answers only."""
    turns = [result("a", True, turn=n, took_us=n + 1, first_word_us=7 if n == 0 else None) for n in range(100)]
    figures = slices_of(report(*turns))[0]
    assert (figures.p50_us, figures.p95_us, figures.p99_us, figures.first_word_us) == (50, 95, 99, 7)
    silent = slices_of(report())[0]
    assert (silent.cases, silent.p50_us, silent.first_word_us, silent.cost_nano_usd) == (0, None, None, None)


def test_each_slice_stands_beside_the_baselines() -> None:
    """A slice is compared with the same slice; where the baseline answered none of it, with nothing."""
    ours = [result(case.id, True) for case in CASES]
    found = {figures.slice: figures for figures in slices_of(report(*ours, baseline=(result("a", False), result("b", True))))}
    assert found["category=refunds"].change == 0.5
    assert found[""].baseline is not None and found[""].baseline.cases == 2
    assert found["category=delivery"].baseline is None and found["category=delivery"].change is None


def test_a_rung_alone_tells_what_it_answered_itself() -> None:
    """Answers of the ladder's fixed message, and refusals, are not the rung's own."""
    own = (result("a", True, rung="rules"), result("b", False, rung="message"))
    refused = Result(case="c", record="r", status=Status.REFUSED, rung="rules")
    found = rungs_of(report(rungs={"rules": Side(release="rules", results=(*own, refused))}))
    assert [(rung.rung, rung.figures.slice, rung.itself) for rung in found] == [
        ("rules", "", pytest.approx(1 / 3)),
        ("rules", "category=delivery", 0.0),
        ("rules", "category=refunds", 0.5),
    ]
    assert [figures.slice for figures in side_figures(report(), Side(release="x", results=()))] == [""]
