"""Confidence against what came true: the figures by hand and on known distributions, and the weights that are fitted to it."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from click.testing import CliRunner

import mainstay
from mainstay.core.case import Case
from mainstay.core.confidence import UNCALIBRATED
from mainstay.core.reasons import Status
from mainstay.core.record import Score
from mainstay.core.report import Opinion, Report, Result, Side
from mainstay.doors.cli.main import main
from mainstay.learn.calibration import Judged, TooFew, fit, from_reports, from_scores, of_side, reliability
from mainstay.learn.reports.html import html
from mainstay.learn.reports.markdown import markdown


def test_the_figures_by_hand():
    """Two ranges: |0.9 - 0.5| for two answers and |0.25 - 0| for two others."""
    found = reliability([(0.9, True), (0.9, False), (0.2, False), (0.3, False)])
    assert found.answers == 4
    assert found.error == pytest.approx((2 * 0.4 + 0.2 + 0.3) / 4)
    assert found.brier == pytest.approx((0.01 + 0.81 + 0.04 + 0.09) / 4)
    assert [(r.low, r.answers, r.passed) for r in found.ranges] == [(0.2, 1, 0.0), (0.3, 1, 0.0), (0.9, 2, 0.5)]
    assert reliability([]) is None
    assert reliability([(1.0, True)]).error == 0


def test_the_figures_of_known_distributions():
    """Who says what is true has no calibration error and a Brier score of p(1-p) on average; who always says 1 has the rest."""
    chance = random.Random(3)
    said = [chance.random() for _ in range(20_000)]
    honest = reliability([(p, chance.random() < p) for p in said])
    assert honest.error < 0.02
    assert honest.brier == pytest.approx(1 / 6, abs=0.01)
    boastful = reliability([(1.0, chance.random() < 0.7) for _ in range(20_000)])
    assert boastful.error == pytest.approx(0.3, abs=0.02) and boastful.brier == pytest.approx(0.3, abs=0.02)


def result(
    case: str, confidence: float | None, passed: bool | None, status: Status = Status.ANSWERED, **signals: float
) -> Result:
    opinion = Opinion(reason="?") if passed is None else Opinion(value=float(passed), passed=passed)
    return Result(
        case=case, record=f"r{case}", status=status, confidence=confidence, opinions={"exact": opinion}, signals=signals
    )


def report(*results: Result) -> Report:
    cases = tuple(Case(id=r.case, input={"question": "?"}) for r in results)
    side = Side(release="d" * 64, results=results)
    return Report(id="r", feature="answers", at=0.0, took_s=1.0, who="ann", cases=cases, candidate=side)


def test_only_judged_answers_with_a_confidence_count():
    """A refusal's confidence is not an answer's, and what no scorer could judge proves nothing."""
    side = report(
        result("a", 0.9, True), result("b", None, False), result("c", 0.1, None), result("d", 0.8, True, Status.REFUSED)
    ).candidate
    assert of_side(side).answers == 1
    assert of_side(report(result("b", None, True)).candidate) is None


def test_reports_show_it():
    """The figures are in every form of a report, with their number; a report without any shows none."""
    shown = report(result("a", 0.9, True), result("b", 0.8, False))
    sentence = "Confidence of 2 answers: calibration error 0.450, Brier score 0.325"
    assert sentence in html(shown) and 'id="confidence"' in html(shown)
    assert "Confidence of 2 answers" in markdown(shown)
    bare = report(result("a", None, True))
    assert 'id="confidence"' not in html(bare) and "Confidence" not in markdown(bare)


def made_up(n: int) -> list[Judged]:
    """Answers that are right the more often, the better the evidence bears them; retrieval says nothing."""
    chance = random.Random(5)
    found = []
    for i in range(n):
        support = chance.random()
        signals = {"support": support, "retrieval": chance.random(), "repairs": 0.0}
        found.append(Judged(signals=signals, right=chance.random() < 0.1 + 0.8 * support, group=f"case {i}"))
    return found


def test_fitted_weights_make_the_confidence_true():
    """On answers that they had not seen, error and Brier score are better than before; the same answers give the same weights."""
    judged = made_up(600)
    found = fit(judged, date="2026-11-21")
    assert found.card.brier < found.card.before[0] and found.card.error < found.card.before[1]
    assert found.card.error < 0.08
    assert found.weights["support"] > 2 > abs(found.weights["retrieval"])
    assert found.weights["sure"] == UNCALIBRATED.weights["sure"]
    assert fit(judged, date="2026-11-21") == found


def test_too_few_answers_fit_nothing():
    """Twenty answers, or none that is wrong, say so instead of a number."""
    assert isinstance(fit(made_up(20), date="d"), TooFew)
    right = [Judged(signals={"support": 0.5}, right=True, group=str(i)) for i in range(100)]
    assert "100 of them right" in fit(right, date="d").missing


def test_what_counts_as_a_judgement():
    """Evaluations count each answer once; of scores only those of users and reviewers, between 0 and 1."""
    shown = report(result("a", 0.9, True, support=0.9), result("b", 0.9, None, support=0.9), result("c", 0.9, False))
    assert [(one.group, one.right) for one in from_reports([shown, shown])] == [("case a", True)]

    def score(value: float | str, who: str) -> Score:
        return Score(id=f"{value}{who}", record="x", at=0.0, name="thumb", value=value, who=who)

    live = [score(0, "user:1"), score(1, "judge:tone"), score(7, "user:2"), score("nice", "user:3")]
    assert from_scores({"support": 0.4}, live, "x").right is False
    assert from_scores({"support": 0.4}, [score(1, "judge:tone")], "x") is None
    assert from_scores({}, [score(1, "user:1")], "x") is None
    assert from_scores({"support": 0.4}, [score(1, "user:1"), score(0, "user:2")], "x") is None


FEATURE = """
summary = "Answers"
[grounding]
sources = ["guide"]
[[ladder]]
search = "guide"
[[ladder]]
message = "Sorry."
[confidence]
file = "sure.json"
"""
SETTINGS = '[sources.guide]\nkind = "folder"\npath = "guide"\n'


def test_the_command_learns_from_users_scores(project):
    """Thumbs on live answers become a calibration beside the feature file, which the next answer's confidence comes from. The
    file that the feature names need not be there yet.
    """
    pages = {f"guide/p{i}.md": f"# Topic{i}\n\nTopic{i} and matter{i} cost {i} euros.\n" for i in range(40)}
    start = FEATURE.replace('[confidence]\nfile = "sure.json"\n', "")
    root = project(SETTINGS, start, pages)
    with mainstay.open(root, dev=True) as app:
        for i in range(40):
            answer = app.run_sync(
                "answers", question=f"What does topic{i} cost?" if i % 2 else f"topic{i} matter{i} with unheard words"
            )
            assert answer.confidence is not None
            asyncio.run(app.score(answer.id, "thumb", float(i % 2), who="user:1"))
        before = app.run_sync("answers", question="What does topic3 cost?").confidence
    (root / "features/answers/feature.toml").write_text(start + '[confidence]\nfile = "sure.json"\n')
    run = CliRunner().invoke(main, ["learn", "confidence", "answers", "--project", str(root)])
    assert run.exit_code == 0, run.output
    assert "fitted on 40 judged answers, 20 of them right" in run.output
    written = json.loads((root / "features/answers/sure.json").read_text())
    assert written["card"]["answers"] == 40
    with mainstay.open(root, dev=True) as app:
        assert app.run_sync("answers", question="What does topic3 cost?").confidence != before


def test_the_command_says_what_is_lacking(project):
    """Without judged answers nothing is written, and the exit code says inconclusive."""
    root = project(SETTINGS, FEATURE.replace('[confidence]\nfile = "sure.json"\n', ""), {"guide/a.md": "# A\n\nA is one.\n"})
    run = CliRunner().invoke(main, ["learn", "confidence", "answers", "--project", str(root)])
    assert (run.exit_code, "0 judged answers" in run.output) == (3, True)
    assert not (root / "features/answers/confidence.json").exists()
