"""The report as a page: whole, inert whatever the cases hold, and usable in a real browser (where chromium is installed)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bench import browser
from bench.reports import made_up

from mainstay.core.case import Case
from mainstay.core.reasons import Status
from mainstay.core.report import Finding, Opinion, Report, Result, Ruling, Side
from mainstay.learn.reports.html import LONGEST, html

EVIL = (
    '</script><script>alert(1)</script><img src=x onerror="alert(2)"><!-- <svg onload=alert(3)> {{ 1 }} ]]> & '
    "\u2028 \ud800 \"'<img src=y onerror=alert(4)>"
)
ARABIC = "مرحبا\u202e abc"


def hostile() -> Report:
    """A report in which every text that somebody else wrote tries to be markup."""
    said = {EVIL: Opinion(value=0.0, passed=False, reason=EVIL)}
    answer = Result(case=EVIL, record=EVIL, status=Status.ANSWERED, rung=EVIL, shown=EVIL, opinions=said)
    case = Case(
        id=EVIL, input={EVIL: EVIL, "more": [EVIL]}, expect={EVIL: EVIL}, category=EVIL, notes=EVIL, source=EVIL, locale=EVIL
    )
    side = Side(release=EVIL, results=(answer,))
    return Report(
        id=EVIL,
        feature=EVIL,
        at=0.0,
        took_s=1.0,
        who=EVIL,
        commit=EVIL,
        cases=(case,),
        candidate=side,
        baseline=side,
        rungs={EVIL: side},
        sources={EVIL: EVIL},
        ruling=Ruling(outcome="blocked", findings=(Finding(outcome="blocked", rule=EVIL, slice=EVIL, what=EVIL, cases=(EVIL,)),)),
        noise={EVIL: 0.1},
        unfinished=EVIL,
        notes={EVIL: EVIL, "recommendation": EVIL},
    )


class Elements(HTMLParser):
    """The attributes of all elements of a page, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note them."""
        self.attributes += attrs


def embedded(page: str) -> list[Any]:
    """What the page's JSON elements hold: the index, then the blocks."""
    return [json.loads(text) for text in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)]


@pytest.mark.parametrize("report", [hostile(), made_up(1200, repeat=2)], ids=["hostile", "made up"])
def test_the_page_is_whole_and_refers_to_nothing_outside(report: Report) -> None:
    """One file that can be sent by mail: it names no address, and nothing in it runs but our own script."""
    page = html(report)
    page.encode("utf-8")
    elements = Elements()
    elements.feed(page)
    assert {name for name, _ in elements.attributes if name.startswith(("on", "src")) or name in ("action", "style")} == set()
    assert {value for name, value in elements.attributes if name == "href"} == {"data:,", "#cases"}
    blocks = 1 + -(-len(report.cases) // 500)
    assert len(re.findall(r"<script\b", page)) == len(re.findall(r"</script", page)) == blocks + 1
    assert "<!--" not in page
    assert any(name == "content" and (value or "").startswith("default-src 'none'") for name, value in elements.attributes)


def test_every_case_is_in_the_page() -> None:
    """The blocks together hold the cases in the order of the index, with every turn of both sides."""
    report = made_up(1200, repeat=2)
    index, *blocks = embedded(html(report))
    cases = [case for block in blocks for case in block]
    assert [row[0] for row in index["cases"]] == [case.id for case in report.cases]
    assert [case[0] for case in cases] == [[["question", case.input["question"]]] for case in report.cases]
    assert [turn[0] for case in cases for turn in case[3]] == [result.record for result in report.candidate.results]
    assert [turn[4] for case in cases for turn in case[4]] == [
        result.shown for result in (report.baseline or report.candidate).results
    ]


def test_what_others_wrote_survives_unchanged() -> None:
    """Escaping loses nothing: the page's script reads the very text, halves of characters included."""
    index, block = embedded(html(hostile()))
    assert index["cases"][0][0] == index["findings"][0][0] == EVIL
    assert block[0][0][0] == [EVIL, EVIL] and block[0][3][0][4] == EVIL


def test_a_text_of_any_length_is_cut_and_says_so() -> None:
    """A pasted book does not make the page unusable."""
    base = made_up(1)
    case = msgspec.structs.replace(base.cases[0], input={"question": "x" * (LONGEST + 5)})
    _, block = embedded(html(msgspec.structs.replace(base, cases=(case,))))
    assert block[0][0][0][1].endswith("x… (5 more characters are not in this file)")


@pytest.mark.parametrize("part", ["baseline", "rungs", "ruling", "results", "cases"])
def test_a_report_that_lacks_a_part_is_a_page_without_it(part: str) -> None:
    """No baseline, no gate, nothing run: each is an honest page and not an error."""
    base = made_up(3)
    lacking: dict[str, dict[str, Any]] = {
        "baseline": {"baseline": None},
        "rungs": {"rungs": {}},
        "ruling": {"ruling": None},
        "results": {"candidate": Side(release="c", results=()), "unfinished": "the budget is spent"},
        "cases": {"cases": (), "candidate": Side(release="c", results=()), "baseline": None, "rungs": {}, "ruling": None},
    }
    page = html(msgspec.structs.replace(base, **lacking[part]))
    assert ("Baseline</th>" in page) == (part in ("rungs", "ruling", "results"))
    assert ("Each rung alone" in page) == (part not in ("rungs", "cases"))
    assert ("No verdict" in page) == (part in ("ruling", "cases"))
    assert ("the budget is spent" in page) == (part == "results")


# In a browser


@pytest.fixture
def tab() -> Iterator[browser.Page]:
    """A tab of chromium."""
    if browser.CHROMIUM is None:
        pytest.skip("there is no chromium here")
    with browser.page() as page:
        yield page


def written(folder: Path, report: Report) -> Path:
    """The report as a file."""
    path = folder / "report.html"
    path.write_text(html(report), encoding="utf-8")
    return path


def rows(tab: browser.Page) -> list[str]:
    """The ids of the cases that are shown."""
    return list(tab.run("[...document.querySelectorAll('#rows > tr > th button')].map((button) => button.textContent)"))


def chosen(tab: browser.Page, what: str, value: str) -> str:
    """Choose an entry of a filter, as a hand would; says how many cases are left."""
    tab.run(
        f"{{ const list = document.getElementById({json.dumps(what)});"
        f"list.selectedIndex = [...list.options].findIndex((option) => option.text === {json.dumps(value)});"
        "list.dispatchEvent(new Event('change', {bubbles: true})) }"
    )
    return str(tab.run("document.getElementById('count').textContent"))


@pytest.mark.slow
def test_ten_thousand_cases_open_page_and_filter(tab: browser.Page, tmp_path: Path) -> None:
    """A big report can be used: 50 rows at a time, the last page too, by slice, outcome, change, finding and words."""
    report = made_up(10_000)
    assert tab.open(written(tmp_path, report)) < 30
    assert rows(tab) == [case.id for case in report.cases[:50]]
    tab.run("document.querySelector('[data-go=last]').click()")
    until = "new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))"
    tab.run(until)
    assert rows(tab) == [case.id for case in report.cases[-50:]]
    tab.run("document.querySelector('[data-go=back]').click()")
    assert tab.run("document.getElementById('where').textContent") == "Page 199 of 200"

    assert report.baseline is not None
    ours = {result.case: result for result in report.candidate.results}
    theirs = {result.case: result for result in report.baseline.results}
    refunds = [case.id for case in report.cases if case.category == "refunds"]
    failing = [case for case in refunds if ours[case].passed is False]
    newly = [case for case in failing if theirs[case].passed is True]
    assert chosen(tab, "slice", "category=refunds") == f"{len(refunds):,} of 10,000 cases"
    assert chosen(tab, "outcome", "failed") == f"{len(failing):,} of 10,000 cases"
    assert chosen(tab, "change", "newly failing") == f"{len(newly):,} of 10,000 cases"
    assert rows(tab) == newly[:50]

    tab.run("document.getElementById('clear').click()")
    tab.run(f"document.getElementById('search').value = {json.dumps(theirs['case-09876'].record.upper())}")
    tab.run("document.getElementById('filters').requestSubmit()")
    assert rows(tab) == ["case-09876"]
    tab.run("document.querySelector('[data-finding]').click()")
    assert report.ruling is not None and rows(tab) == list(report.ruling.findings[0].cases)
    assert tab.run("document.activeElement.id") == "cases"
    tab.run("document.querySelector('[data-slice=\"language=de\"]').click()")
    assert tab.run("document.getElementById('slice').value") == "language=de"
    assert tab.messages == [] and tab.requests == [(tmp_path / "report.html").as_uri()]


def test_a_case_opens_with_both_answers_compared(tab: browser.Page, tmp_path: Path) -> None:
    """An open row shows input, expectation, what differs between the answers, opinions and records; it closes again."""
    base = made_up(1)
    assert base.baseline is not None
    new = msgspec.structs.replace(base.candidate.results[0], shown="You have thirty days, and no more.")
    old = msgspec.structs.replace(base.baseline.results[0], shown="You have sixty days, and no more.")
    sides = {"candidate": Side(release="new", results=(new,)), "baseline": Side(release="old", results=(old,))}
    tab.open(written(tmp_path, msgspec.structs.replace(base, **sides)))
    tab.run("document.querySelector('#rows button').click()")
    assert tab.run("document.querySelector('.opened ins').textContent") == "thirty"
    assert tab.run("[...document.querySelectorAll('.opened del')].map((part) => part.textContent)") == ["sixty"]
    shown = tab.run("document.querySelector('.opened').textContent")
    assert all(text in shown for text in (base.cases[0].input["question"], new.record, old.record, "not-contains", "thirty days"))
    assert tab.run("[...document.querySelectorAll('.opened .text')].every((part) => part.dir === 'auto')")
    tab.run("document.querySelector('#rows button').click()")
    assert tab.run("document.querySelector('.opened')") is None and tab.messages == []


def test_what_others_wrote_is_only_ever_text(tab: browser.Page, tmp_path: Path) -> None:
    """No text of a case, an answer, a scorer or a finding becomes an element, runs, or asks the network for anything."""
    tab.open(written(tmp_path, hostile()))
    tab.run("document.querySelector('#rows button').click()")
    tab.run("document.querySelector('[data-finding]').click(); document.querySelector('#rows button').click()")
    assert tab.run("document.images.length + document.querySelectorAll('[onload], [onerror]').length") == 0
    assert tab.run("document.querySelector('.opened .sides .text').textContent") == EVIL.replace("\u2028", "U+2028").replace(
        "\ud800", "U+D800"
    )
    assert tab.messages == [] and tab.requests == [(tmp_path / "report.html").as_uri()]


def test_texts_in_any_direction_stay_in_their_place(tab: browser.Page, tmp_path: Path) -> None:
    """Right-to-left text takes its own direction, and what would turn the text behind it is shown by its number."""
    base = made_up(1)
    case = msgspec.structs.replace(base.cases[0], input={"question": ARABIC})
    tab.open(written(tmp_path, msgspec.structs.replace(base, cases=(case,))))
    tab.run("document.querySelector('#rows button').click()")
    assert tab.run("getComputedStyle(document.querySelector('.opened .pairs .text')).direction") == "rtl"
    assert tab.run("document.querySelector('.opened .pairs .text').textContent") == ARABIC.replace("\u202e", "U+202E")


def test_a_long_text_is_shown_in_part_until_all_of_it_is_asked_for(tab: browser.Page, tmp_path: Path) -> None:
    """A long answer does not bury the rest of its case, and nothing of it is out of reach."""
    base = made_up(1)
    case = msgspec.structs.replace(base.cases[0], input={"question": "word " * 2000})
    tab.open(written(tmp_path, msgspec.structs.replace(base, cases=(case,))))
    tab.run("document.querySelector('#rows button').click()")
    text = "document.querySelector('.opened .pairs .text').textContent.length"
    assert tab.run(text) == 4000
    tab.run(
        "[...document.querySelectorAll('.opened button')].find((button) => button.textContent.startsWith('Show all')).click()"
    )
    assert tab.run(text) == 10_000


def test_a_narrow_screen_needs_no_sideways_scrolling(tab: browser.Page, tmp_path: Path) -> None:
    """On a phone the page is as wide as the screen; wide tables scroll in a frame of their own."""
    tab.send("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True)
    tab.open(written(tmp_path, made_up(60)))
    tab.run("document.querySelector('#rows button').click()")
    assert tab.run("document.documentElement.scrollWidth") <= 360


def test_every_control_has_a_name_and_every_colour_enough_contrast(tab: browser.Page, tmp_path: Path) -> None:
    """Who cannot see well can use it: names on controls, headers on tables, and contrast of 4.5 to 1 in light and dark."""
    for scheme in ("light", "dark"):
        tab.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        tab.open(written(tmp_path, made_up(60)))
        tab.run("document.querySelector('#rows button').click()")
        assert tab.run(NAMELESS) == []
        assert (
            tab.run("[...document.querySelectorAll('table')].filter((table) => !table.querySelector('th[scope=col]')).length")
            == 0
        )
        assert tab.run(PALE) == []


NAMELESS = """[...document.querySelectorAll("button, input, select, [role=region], [role=img], nav, form")].filter((one) =>
    !(one.matches("button") && one.textContent.trim()) && !one.labels?.length && !one.getAttribute("aria-label")
    && !document.getElementById(one.getAttribute("aria-labelledby"))).map((one) => one.outerHTML)"""
PALE = """(() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
    const ground = (one) => {
        for (; one; one = one.parentElement) {
            const colour = numbers(getComputedStyle(one).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const pale = new Set();
    for (const one of document.querySelectorAll("body *")) {
        if (!one.offsetWidth || ![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
        const [a, b] = [light(numbers(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => b - a);
        if ((a + 0.05) / (b + 0.05) < 4.5 && !one.disabled) pale.add(`${one.tagName}.${one.className}`);
    }
    return [...pale];
})()"""
