"""A report as JUnit XML: what the schema of CI systems allows, one suite a category, and no answer that breaks it."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainstay.core.case import Case
from mainstay.core.reasons import Reason, Status
from mainstay.core.report import Finding, Opinion, Report, Result, Ruling, Side
from mainstay.learn.reports.junit import LONGEST, junit

# What Jenkins' junit-10.xsd allows: the attributes of an element, those that it needs, and its children.
SCHEMA = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, set(), {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        {"name", "tests", "failures", "errors"},
        {"properties", "testcase"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, {"name", "value"}, set()),
    "testcase": ({"name", "classname", "time"}, {"name"}, {"failure", "error", "skipped", "system-out"}),
    "failure": ({"type", "message"}, set(), set()),
    "error": ({"type", "message"}, set(), set()),
    "skipped": ({"type", "message"}, set(), set()),
    "system-out": (set(), set(), set()),
}
YES, NO, UNTOLD = (
    Opinion(value=1.0, passed=True),
    Opinion(value=0.0, passed=False, reason="lacks 30 days"),
    Opinion(reason="too slow"),
)


def result(case: str, *opinions: Opinion, turn: int = 0, **keys: object) -> Result:
    made = Result(
        case=case,
        turn=turn,
        record=f"r-{case}-{turn}",
        status=Status.ANSWERED,
        took_us=1_500_000,
        opinions={f"scorer{i}": opinion for i, opinion in enumerate(opinions)},
    )
    return msgspec.structs.replace(made, **keys)


def report(cases: dict[str, str], *results: Result, **keys: object) -> Report:
    """A report of these cases, each with its category."""
    made = Report(
        id="rep1",
        feature="support",
        at=1_790_000_000.0,
        took_s=3.0,
        who="maria",
        cases=tuple(Case(id=id, input={"question": id}, category=category) for id, category in cases.items()),
        candidate=Side(release="c0ffee", results=results),
    )
    return msgspec.structs.replace(made, **keys)


def read(found: Report) -> ET.Element:
    """The document, parsed, each of its elements held to the schema."""
    root = ET.fromstring(junit(found))
    for element in root.iter():
        allowed, needed, children = SCHEMA[element.tag]
        assert needed <= set(element.keys()) <= allowed
        assert {child.tag for child in element} <= children
        if "time" in element.attrib:
            assert float(element.attrib["time"]) >= 0
    for suite in root.iter("testsuite"):
        outcomes = [{child.tag for child in test} - {"system-out"} for test in suite.iter("testcase")]
        assert all(len(outcome) <= 1 for outcome in outcomes)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.attrib[attribute]) == sum(tag in outcome for outcome in outcomes)
        assert int(suite.attrib["tests"]) == len(outcomes)
    return root


def test_a_suite_for_each_category_and_a_case_for_each_case():
    """CI systems group by suite; cases without a category come last, under a name that says so."""
    root = read(report({"1": "refunds", "2": "", "3": "refunds"}, *[result(id, YES) for id in "123"]))
    suites = {suite.attrib["name"]: [test.attrib["name"] for test in suite.iter("testcase")] for suite in root}
    assert list(suites.items()) == [("support.refunds", ["1", "3"]), ("support.(none)", ["2"])]
    assert (root.attrib["tests"], root.attrib["failures"], root.attrib["time"]) == ("3", "0", "4.500")
    assert root[0].attrib["timestamp"] == "2026-09-21T14:13:20"


def test_what_becomes_of_a_case():
    """A failure has the scorer's reason, an error says who could not tell, and what was not asked is skipped, never green."""
    cases = dict.fromkeys(("good", "bad", "untold", "both", "mute", "unasked"), "c")
    results = [
        result("good", YES),
        result("bad", YES, NO, shown="60 days"),
        result("untold", YES, UNTOLD),
        result("both", NO, UNTOLD),
        result("mute", status=Status.REFUSED, reason=Reason.NO_EVIDENCE),
    ]
    root = read(report(cases, *results, unfinished="the budget of 1 USD is spent"))
    found = {test.attrib["name"]: next((c for c in test if c.tag != "system-out"), None) for test in root.iter("testcase")}
    said = {name: element if element is None else (element.tag, element.attrib["message"]) for name, element in found.items()}
    assert said == {
        "good": None,
        "bad": ("failure", "scorer1: lacks 30 days"),
        "untold": ("error", "could not tell: scorer1: too slow"),
        "both": ("failure", "scorer0: lacks 30 days"),
        "mute": ("skipped", "no scorer has anything to say to this case"),
        "unasked": ("skipped", "not run: the budget of 1 USD is spent"),
    }
    assert "answer: 60 days" in (found["bad"].text or "") and 'input: {"question":"bad"}' in (found["bad"].text or "")


def test_a_case_that_fails_sometimes_says_how_often():
    """With `--repeat` one bad turn is a failure, and its message has the share."""
    root = read(report({"1": "c"}, result("1", YES), result("1", NO, turn=1), result("1", YES, turn=2)))
    assert root.find(".//failure").attrib["message"] == "scorer0: lacks 30 days in 1 of 3 turns"
    assert (root.find(".//system-out").text or "").count("record r-1-") == 3


@pytest.mark.parametrize(
    ("outcome", "findings", "counts"),
    [
        ("passed", (), ("1", "0", "0")),
        ("blocked", (Finding(outcome="blocked", rule="p95", what="2.4 s, at most 2 s", cases=("1",)),), ("1", "1", "0")),
        (
            "blocked",
            (
                Finding(outcome="blocked", rule="must", what="1 fails", cases=("1",)),
                Finding(outcome="inconclusive", rule="at_least", slice="category=c", what="3 of 50 cases"),
            ),
            ("2", "1", "1"),
        ),
        ("inconclusive", (), ("1", "0", "1")),
    ],
)
def test_the_gate_is_a_suite_of_its_own(outcome: str, findings: tuple[Finding, ...], counts: tuple[str, str, str]):
    """A release that is blocked for its p95 is not green in CI, though each case passes; inconclusive is not green either."""
    root = read(report({"1": "c"}, result("1", YES), ruling=Ruling(outcome=outcome, findings=findings)))
    gate = root[-1]
    assert gate.attrib["name"] == "support.gate"
    assert tuple(gate.attrib[name] for name in ("tests", "failures", "errors")) == counts


def test_a_suite_tells_of_the_release():
    """Whoever reads a red suite finds the report, the release and its baseline."""
    found = report(
        {"1": "c"},
        result("1", YES),
        commit="4f2a+",
        baseline=Side(release="ba5e", results=(result("1", YES),)),
        slices=("category",),
    )
    facts = {element.attrib["name"]: element.attrib["value"] for element in read(found).iter("property")}
    assert facts == {
        "report": "rep1",
        "release": "c0ffee",
        "baseline": "ba5e",
        "commit": "4f2a+",
        "who": "maria",
        "passed": "100.0 %",
        "p95": "1.50 s",
        "cost": "$0",
    }


@settings(deadline=None, max_examples=200)
@given(
    text=st.text(max_size=30) | st.sampled_from(["\x00", "\ud800", "]]>", "<![CDATA[", "\ufffe", "&amp;", "\x1b[31m", "a\r\nb"])
)
def test_no_text_breaks_the_document(text: str):
    """Models answer with terminal codes, half characters and markup; XML takes none of it raw."""
    bad = Opinion(value=0.0, passed=False, reason=text)
    found = report({"1": text}, result("1", bad, shown=text), who=text, commit=text, feature=text, unfinished=text)
    ruled = Ruling(outcome="blocked", findings=(Finding(outcome="blocked", rule="must", slice=text, what=text, cases=(text,)),))
    whole = junit(msgspec.structs.replace(found, ruling=ruled))
    assert ET.fromstring(whole.encode()).tag == "testsuites"
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", whole)


def test_a_long_answer_is_cut_and_says_so():
    """A report of thousands of cases stays readable for the CI system."""
    root = read(report({"1": "c"}, result("1", NO, shown="x" * 100_000)))
    text = root.find(".//failure").text or ""
    assert len(text) < LONGEST + 200 and "more characters)" in text
