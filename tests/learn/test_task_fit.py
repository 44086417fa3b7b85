"""Which rung suits which slice: the cheapest of those that are as good as the best."""

from __future__ import annotations

from pathlib import Path

from releasing import working, write_project

from mainstay.core.case import Case
from mainstay.core.reasons import Status
from mainstay.core.report import Opinion, Report, Result, Side
from mainstay.learn.releasing import Wanted
from mainstay.learn.task_fit import fits, recommendation

NANO = 1_000_000


def side(passed: dict[str, bool], cost: int | None, took_us: int = 1000) -> Side:
    """What one rung alone said: which cases pass, and what each answer costs."""
    results = [
        Result(
            case=case,
            record=f"r-{case}",
            status=Status.ANSWERED,
            took_us=took_us,
            cost_nano_usd=cost,
            opinions={"exact": Opinion(value=float(ok), passed=ok)},
        )
        for case, ok in passed.items()
    ]
    return Side(release="d", results=tuple(results))


def report(**rungs: Side) -> Report:
    """A report of rungs on forty cases, half of them hard."""
    cases = [Case(id=f"c{n}", input={}, category="easy" if n < 20 else "hard") for n in range(40)]
    some = next(iter(rungs.values()))
    return Report(id="r", feature="f", at=0, took_s=0, who="", cases=tuple(cases), candidate=some, rungs=rungs)


def up_to(n: int, *, of: int = 40) -> dict[str, bool]:
    """The first so many cases pass."""
    return {f"c{i}": i < n for i in range(of)}


def test_a_rule_wins_where_it_is_as_good_and_the_model_where_it_is_not():
    """The recommendation differs by slice, and says with what figures."""
    found = {fit.slice: fit for fit in fits(report(rules=side(up_to(20), 0), model=side(up_to(40), NANO)), tolerance=0.02)}
    assert (found["category=easy"].rung, found["category=hard"].rung, found[""].rung) == ("rules", "model", "model")
    said = recommendation(list(found.values()))
    assert said.startswith("All cases: model, which passes 100% at $0.001 an answer") and "category=easy: rules" in said


def test_a_difference_that_may_be_chance_does_not_pay_for_a_dearer_rung():
    """Two more of forty are no reason to pay; half of them are."""
    chosen = {fit.slice: fit for fit in fits(report(small=side(up_to(36), 1), large=side(up_to(38), NANO)), tolerance=0.02)}[""]
    assert (chosen.rung, chosen.best) == ("small", "large") and "may be chance" in chosen.sentence
    assert fits(report(small=side(up_to(20), 1), large=side(up_to(38), NANO)), tolerance=0.02)[0].rung == "large"


def test_an_unknown_price_is_the_highest_and_time_decides_between_equals():
    """Whoever does not know what a rung costs is not told to take it."""
    assert fits(report(a=side(up_to(30), None), b=side(up_to(30), NANO)), tolerance=0.02)[0].rung == "b"
    assert fits(report(a=side(up_to(30), 1, 900), b=side(up_to(30), 1, 100)), tolerance=0.02)[0].rung == "b"


def test_nothing_is_said_of_too_few_cases_or_of_rungs_that_pass_none():
    """No figure, no advice."""
    none = fits(report(a=side(up_to(0), 0)), tolerance=0.02)
    assert {fit.rung for fit in none} == {None} and "no rung passes any case" in none[0].sentence
    small = Report(id="r", feature="f", at=0, took_s=0, who="", cases=(), candidate=side({}, 0), rungs={"a": side({}, 0)})
    assert "too few to tell" in fits(small, tolerance=0.02)[0].sentence


async def test_the_report_of_a_release_stays_one_of_the_gate(tmp_path: Path):
    """A release that also looked at each rung is borne by its report, and the checklist finds it."""
    root = write_project(tmp_path, skills=("a", "b", "c"))
    async with working(root) as app:
        done = await app.desk.release("desk", Wanted(rungs=True))
        assert done.report is not None and done.report.rungs
        assert app.releases.reports("desk", kind="gate") == [done.report.id]
