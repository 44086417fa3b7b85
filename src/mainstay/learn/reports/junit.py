"""A report as JUnit XML, as GitLab, Jenkins, and the reporters of other CI systems read it.

A test suite for each category, a test case for each case: a `failure` where a scorer does not accept the answer, an `error` where
one could not tell, `skipped` where nothing was said. What the gate found is a suite of its own, because it may block a release
whose cases all pass. The elements and attributes are those of Jenkins' schema (`junit-10.xsd`).
"""

from __future__ import annotations

import datetime
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from xml.etree import ElementTree as ET

import msgspec

from mainstay.core.case import Case
from mainstay.core.report import Finding, Report, Result, Ruling
from mainstay.learn.figures import NONE, SliceFigures, slices_of
from mainstay.learn.reports import words

LONGEST = 4_000  # characters of one answer or reason
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 cannot hold, escaped or not


def junit(report: Report) -> str:
    """The whole document. Characters that XML cannot hold are left out; texts over `LONGEST` characters are cut, and say so."""
    results: dict[str, list[Result]] = defaultdict(list)
    for result in report.candidate.results:
        results[result.case].append(result)
    by_category: dict[str, list[Case]] = defaultdict(list)
    for case in report.cases:
        by_category[case.category].append(case)
    figures = {found.slice: found for found in slices_of(report)}
    suites = []
    for category in sorted(by_category, key=lambda category: (not category, category)):
        facts = _facts_of(figures.get(f"category={category or NONE}"))
        name = f"{report.feature}.{category or NONE}"
        tests = [_test(report, name, case, results.get(case.id, [])) for case in by_category[category]]
        suites.append(_suite(report, name, tests, facts))
    if report.ruling is not None:
        suites.append(_gate(report, report.ruling))
    whole = ET.Element("testsuites", {"name": _text(report.feature), **_totals(suites)})
    whole.extend(suites)
    ET.indent(whole)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(whole, encoding="unicode")}\n'


def _facts_of(figures: SliceFigures | None) -> dict[str, str]:
    """What is said of a category as a whole, where the report looks at categories."""
    if figures is None:
        return {}
    cost = words.dollars(figures.cost_nano_usd)
    return {"passed": words.percent(figures.passed), "p95": words.duration(figures.p95_us), "cost": cost}


def _suite(report: Report, name: str, tests: Sequence[ET.Element], facts: Mapping[str, str]) -> ET.Element:
    """A suite around its test cases, with the facts of the report and its own."""
    at = datetime.datetime.fromtimestamp(report.at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    suite = ET.Element("testsuite", {"name": _text(name), "timestamp": at})
    known = {
        "report": report.id,
        "release": report.candidate.release,
        "baseline": "" if report.baseline is None else report.baseline.release,
        "commit": report.commit,
        "who": report.who,
        **facts,
    }
    properties = ET.SubElement(suite, "properties")
    for key, value in known.items():
        if value:
            ET.SubElement(properties, "property", {"name": key, "value": _text(value)})
    suite.extend(tests)
    suite.attrib.update(_counts(tests))
    return suite


def _counts(tests: Iterable[ET.Element]) -> dict[str, str]:
    tests = list(tests)
    counts = {"tests": len(tests)}
    for attribute, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        counts[attribute] = sum(test.find(element) is not None for test in tests)
    seconds = sum(float(test.get("time", "0")) for test in tests)
    return {**{name: str(count) for name, count in counts.items()}, "time": f"{seconds:.3f}"}


def _totals(suites: Iterable[ET.Element]) -> dict[str, str]:
    """What the outermost element counts: it has no `skipped` in the schema."""
    counts = _counts(test for suite in suites for test in suite.iter("testcase"))
    return {name: counts[name] for name in ("tests", "failures", "errors", "time")}


def _test(report: Report, suite: str, case: Case, results: Sequence[Result]) -> ET.Element:
    seconds = sum(result.took_us for result in results) / 1e6
    test = ET.Element("testcase", {"name": _text(case.id), "classname": _text(suite), "time": f"{seconds:.3f}"})
    failed = [result for result in results if result.passed is False]
    untold = [result for result in results if result.passed is None and result.opinions]
    of = f" in {len(failed)} of {len(results)} turns" if len(results) > 1 else ""
    if failed:
        _outcome(test, "failure", "must" if case.must else "case", _reasons(failed, passed=False) + of, _detail(case, failed))
    elif untold:
        _outcome(test, "error", "scorer", f"could not tell: {_reasons(untold, passed=None)}", _detail(case, untold))
    elif not results:
        ET.SubElement(test, "skipped", {"message": _text(f"not run: {report.unfinished or 'there is no result'}")})
    elif any(result.passed is None for result in results):
        ET.SubElement(test, "skipped", {"message": "no scorer has anything to say to this case"})
    if results:
        ET.SubElement(test, "system-out").text = _text("\n".join(_facts(result) for result in results))
    return test


def _outcome(test: ET.Element, kind: str, type: str, message: str, detail: str) -> None:
    ET.SubElement(test, kind, {"type": type, "message": _text(message)}).text = _text(detail)


def _reasons(results: Iterable[Result], *, passed: bool | None) -> str:
    """Which scorers said so, and why; each reason once."""
    said = [
        f"{name}: {opinion.reason}" if opinion.reason else name
        for result in results
        for name, opinion in result.opinions.items()
        if opinion.passed is passed
    ]
    return "; ".join(dict.fromkeys(said))


def _detail(case: Case, results: Iterable[Result]) -> str:
    asked = msgspec.json.encode(case.input).decode()
    expected = msgspec.json.encode(case.expect).decode()
    answers = [f"answer: {_cut(result.shown)}" for result in results]
    return "\n".join([f"input: {_cut(asked)}", f"expected: {_cut(expected)}", *dict.fromkeys(answers)])


def _facts(result: Result) -> str:
    """One answer in a line: what became of it, by what, when, for how much, and where its record is."""
    became = f"{result.status} ({result.reason})" if result.reason else str(result.status)
    facts = [
        became,
        f"by {result.rung}" if result.rung else "",
        words.duration(result.took_us),
        words.dollars(result.cost_nano_usd),
    ]
    return ", ".join(fact for fact in [*facts, f"record {result.record}", "kept" if result.kept else ""] if fact)


def _gate(report: Report, ruling: Ruling) -> ET.Element:
    """The gate's findings as a suite: blocked fails, inconclusive is an error, and without any the gate has passed."""
    name = f"{report.feature}.gate"
    tests = [_finding(name, finding) for finding in ruling.findings]
    if not any(finding.outcome == ruling.outcome for finding in ruling.findings):
        tests.insert(0, _finding(name, Finding(outcome=ruling.outcome, rule="gate", what=words.verdict(report)[1])))
    return _suite(report, name, tests, {"outcome": ruling.outcome})


def _finding(suite: str, finding: Finding) -> ET.Element:
    called = f"{finding.rule} {finding.slice}".strip()
    test = ET.Element("testcase", {"name": _text(called), "classname": _text(suite), "time": "0.000"})
    if finding.outcome != "passed":
        kind = "failure" if finding.outcome == "blocked" else "error"
        cases = f"cases: {', '.join(finding.cases)}" if finding.cases else ""
        _outcome(test, kind, finding.rule, finding.what, "\n".join(filter(None, [finding.what, cases])))
    return test


def _text(text: str) -> str:
    return _FORBIDDEN.sub("", _cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … ({len(text) - LONGEST} more characters)"
