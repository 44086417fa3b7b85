"""A report on a terminal: everything a release manager asks for, on a hundred columns, and nothing that steers the terminal."""

from __future__ import annotations

import msgspec
import pytest
from bench.reports import made_up

from mainstay.core.report import Finding, Ruling, Side
from mainstay.doors.cli.reporting import print_report


def printed(capsys: pytest.CaptureFixture[str], **changes: object) -> str:
    """What is printed of an invented report with these changes."""
    print_report(msgspec.structs.replace(made_up(300), **changes))
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def hundred_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")


def test_the_verdict_and_its_reasons_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Who reads two lines knows whether it goes live; each reason names its slice, its rule and its cases."""
    lines = printed(capsys).splitlines()
    assert lines[0] == "Blocked: This release may not go live."
    assert "category=refunds: fell from 91.0 % to 84.0 %" in lines[3]
    assert "no_category_may_fall_by" in "".join(lines[3:5]) and "cases: case-" in lines[5]


def test_everything_fits_a_hundred_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Tables are not broken by the terminal, and nothing is coloured where nobody sees it."""
    out = printed(capsys)
    assert max(map(len, out.splitlines())) <= 100
    assert "\x1b" not in out


def test_figures_stand_beside_the_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    """Each slice with its change, and the baseline's time and money; without a baseline no empty columns."""
    out = printed(capsys)
    assert "baseline  change" in out and "\n  baseline  " in out
    alone = printed(capsys, baseline=None, ruling=None)
    assert "baseline" not in alone and "change" not in alone and alone.startswith("No verdict: ")


def test_each_rung_is_shown_with_the_recommendation(capsys: pytest.CaptureFixture[str]) -> None:
    """A model or a rule? Quality, cost and time of each by category, and what follows from it."""
    out = printed(capsys)
    assert "Each rung alone" in out and out.count("\nrules  ") == out.count("\nsmall  ") == 10
    assert "\nAll cases: small, which passes 80% at $0.0005.\ncategory=refunds: rules, at no cost.\n" in out


def test_nothing_run_is_said_and_not_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    """A report without results has no figures, and says why."""
    empty = Side(release="c", results=())
    out = printed(capsys, candidate=empty, baseline=None, rungs={}, unfinished="the budget is spent")
    assert "Not every case was run: the budget is spent" in out
    assert "all cases  0      –" in out


def test_a_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """An escape sequence, or half a character, in a case's name or a finding is shown as unprintable."""
    finding = Finding(
        outcome="blocked", rule="must", slice="category=\x1b[2J", what="\ud800 \u202e failed", cases=("\x1b]0;x\x07",)
    )
    out = printed(capsys, ruling=Ruling(outcome="blocked", findings=(finding,)))
    assert not {"\x1b", "\ud800", "\u202e", "\x07"} & set(out)
    assert "category=\ufffd[2J" in out
