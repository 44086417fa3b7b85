"""A report as Markdown: the verdict first, never larger than a comment may be, and texts that stay texts."""

from __future__ import annotations

import re

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from test_junit import NO, YES, report, result

from mainstay.core.case import Case
from mainstay.core.report import Finding, Opinion, Report, Ruling, Side
from mainstay.learn.reports.markdown import LONGEST, markdown


def rows(text: str, title: str) -> list[list[str]]:
    """The cells of the table under a heading, its head and rule left out."""
    part = text.partition(f"## {title}\n\n")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in part.splitlines()[2:]]


def blocked(**keys: object) -> Report:
    """A report of three cases beside a baseline, blocked for two reasons."""
    made = report(
        {"r1": "refunds", "r2": "refunds", "d1": "delivery"},
        *(result("r1", YES), result("r2", NO, cost_nano_usd=2_000_000), result("d1", YES)),
        baseline=Side(release="ba5eba5eba5eba5e", results=tuple(result(id, YES) for id in ("r1", "r2", "d1"))),
        ruling=Ruling(
            outcome="blocked",
            findings=(
                Finding(outcome="blocked", rule="no_category_below", slice="category=refunds", what="50 % pass", cases=("r2",)),
                Finding(outcome="inconclusive", rule="at_least", what="3 of 100 cases."),
            ),
        ),
    )
    return msgspec.structs.replace(made, **keys)


def test_the_verdict_comes_first_and_each_finding_has_its_cases():
    """Whoever opens a red run reads why in the first lines."""
    lines = markdown(blocked()).splitlines()
    assert lines[0] == "# support: blocked" and lines[2] == "This release may not go live."
    assert lines[3] == "Release `c0ffee` beside `ba5eba5eba5e`: 3 cases, in 3.0 s, by maria."
    found = [line for line in lines if line.startswith("- **")]
    assert found == [
        "- **blocked** `no_category_below` category=refunds: 50 % pass.  ",
        "- **inconclusive** `at_least`: 3 of 100 cases.",
    ]
    assert lines[lines.index(found[0]) + 1] == "  Cases: `r2`."


def test_each_slice_is_beside_the_baseline():
    """Share, interval, change, cost and p95 of each slice, all cases first."""
    table = rows(markdown(blocked()), "By slice")
    assert [row[0] for row in table] == ["**all**", "category=delivery", "category=refunds"]
    assert table[2] == [
        *("category=refunds", "2", "50.0 %", "9.5 to 90.5 %", "100.0 %", "−50.0"),
        *("\\$0.00100", "\\$0", "1.50 s", "1.50 s"),
    ]
    alone = rows(markdown(blocked(baseline=None)), "By slice")
    assert alone[2] == ["category=refunds", "2", "50.0 %", "9.5 to 90.5 %", "\\$0.00100", "1.50 s"]


def test_cases_that_fail_are_listed_those_that_must_first():
    """A must that fails is what has to be looked at."""
    found = report({"a": "x", "b": "y"}, result("a", NO), result("b", NO, NO))
    must = tuple(msgspec.structs.replace(case, must=case.id == "b") for case in found.cases)
    table = rows(markdown(msgspec.structs.replace(found, cases=must)), "Cases that fail")
    assert table == [
        ["`b` **must**", "y", "scorer0: lacks 30 days; scorer1: lacks 30 days"],
        ["`a`", "x", "scorer0: lacks 30 days"],
    ]


def test_a_report_without_a_verdict_or_results_is_said_so():
    """An evaluation that a budget ended has its figures, and says that it is not whole."""
    text = markdown(report({"1": "c"}, unfinished="the budget is spent"))
    assert text.startswith("# support: no verdict\n") and "**Unfinished:** the budget is spent" in text
    assert rows(text, "By slice")[0][:4] == ["**all**", "0", "–", "–"]


def test_each_rung_has_its_line():
    """A model or a rule? The figures of each rung alone, and what they recommend."""
    rules = Side(release="rules", results=(result("1", YES, rung="rules", took_us=900, cost_nano_usd=0),))
    found = report({"1": "c"}, result("1", YES), rungs={"rules": rules}, notes={"recommendation": "Ask the rules."})
    text = markdown(found)
    assert rows(text, "Each rung alone") == [["rules", "100.0 %", "20.7 to 100.0 %", "100.0 %", "\\$0", "900 µs"]]
    assert "\nAsk the rules.\n" in text


def test_a_large_report_stays_small_and_counts_what_it_left_out():
    """A step summary and a comment have limits; what is cut is counted, and the verdict and findings are never what is cut."""
    cases = {f"case-{i}": f"category-{i % 400}" for i in range(5000)}
    long = Opinion(value=0.0, passed=False, reason="ü" * 5000)
    found = report(cases, *[result(id, long) for id in cases])
    finding = Finding(outcome="blocked", rule="must", what="all fail", cases=tuple(cases))
    text = markdown(msgspec.structs.replace(found, ruling=Ruling(outcome="blocked", findings=(finding,))))
    assert len(text.encode()) <= LONGEST
    assert "`case-9`, and 4990 more." in text
    left = re.search(r"Left out, for there is no room here: (\d+) failing cases\.", text)
    assert left and int(left[1]) + len(rows(text, "Cases that fail")) == 5000
    many = Ruling(outcome="blocked", findings=(finding,) * 5000)
    text = markdown(msgspec.structs.replace(found, ruling=many))
    assert len(text.encode()) <= LONGEST and re.search(r"here: \d{4} findings, \d+ slices, \d{4} failing cases", text)
    assert rows(text, "By slice")[0][0] == "**all**" and len(rows(text, "Cases that fail")) > 5


HOSTILE = [
    *("a|b", "a\nb", "</td><script>", "`code`", "[x](http://y)", "![x](y)", "# head", "@team", "#12", "**b**", "$x$", "a\\|b"),
    *("| --- |", "<!--", "&lt;", "~~x~~", "\u2028", "\u202e", "\x1b[31m", "\ud800", "www.example.com", "https://example.com"),
]


@settings(deadline=None, max_examples=300)
@given(text=st.sampled_from(HOSTILE) | st.text(max_size=30))
def test_a_text_stays_a_text(text: str):
    """What a model wrote cannot end a cell, become markup, notify a team, or make the page be something else."""
    found = report({"1": "c"}, result("1", Opinion(value=0.0, passed=False, reason=text)), who=text, unfinished=text)
    case = Case(id="1", input={}, category=text)
    ruled = Ruling(outcome="blocked", findings=(Finding(outcome="blocked", rule="must", slice=text, what=text, cases=(text,)),))
    whole = markdown(msgspec.structs.replace(found, cases=(case,), ruling=ruled))
    whole.encode()  # no half characters
    table = rows(whole, "Cases that fail")
    assert len(table) == 1 and len(table[0]) == 3
    outside = re.sub(r"`[^`\n]*`", "", whole)
    for markup in (r"(?<!\\)<(?!!-- -->)", r"(?<!\\)\]\(", r"(?<!\\)`", r"@(?!<!-- -->)", r"#\d", r"://"):
        assert not re.search(markup, outside)
    headings = [line for line in whole.splitlines() if line.startswith("#")]
    assert [line.split(" ", 1)[1] for line in headings[1:]] == ["What the gate found", "By slice", "By scorer", "Cases that fail"]
    assert not re.search("[\x00-\x09\x0b-\x1f\u202a-\u202e\u2066-\u2069]", whole)
