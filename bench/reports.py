"""How long the report of 10,000 cases takes: to write, and to open in a browser (where chromium is there).

`made_up` is also what the tests of the report look at: every kind of result that an evaluation leaves.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path

from bench import browser
from mainstay.core.case import Case
from mainstay.core.reasons import Reason, Status
from mainstay.core.report import Finding, Opinion, Report, Result, Ruling, Side
from mainstay.learn.reports.html import html

WORDS = (
    "the parcel is sent back within thirty days of delivery and the money returns to the card that paid for it unless "
    "a size was wrong then we change it at no cost please keep the label and tell us your order number"
).split()
CATEGORIES = ("refunds", "delivery", "sizes", "payment", "accounts", "")
OPENINGS = 5
PAGED = """(() => {
    const began = performance.now();
    document.querySelector("[data-go=last]").click();
    document.body.getBoundingClientRect();
    return performance.now() - began;
})()"""


def made_up(cases: int, *, repeat: int = 1, seed: int = 7) -> Report:
    """A report of so many invented cases, with a baseline, two rungs and findings."""
    chance = random.Random(seed)
    asked = tuple(
        Case(
            id=f"case-{number:05}",
            input={"question": _words(chance, 18)},
            expect={"contains": ["thirty days"], "not-contains": ["sixty days"], "latency": "2s"},
            category=chance.choice(CATEGORIES),
            language=chance.choice(("en", "de", "fr")),
            must=number % 500 == 0,
        )
        for number in range(cases)
    )
    behind = tuple(case.id for case in reversed(asked) if case.category == "refunds")[:12]
    return Report(
        id="rep_0001",
        feature="support",
        at=1_790_000_000.0,
        took_s=31.5,
        who="maria",
        commit="4f2a9c1+",
        cases=asked,
        candidate=_side(chance, asked, "c0ffee" * 5, 0.9, repeat),
        baseline=_side(chance, asked, "ba5e11" * 5, 0.86, repeat),
        rungs={"rules": _side(chance, asked, "rules", 0.4, 1, "rules"), "small": _side(chance, asked, "small", 0.8, 1, "small")},
        repeat=repeat,
        slices=("category", "language"),
        ruling=Ruling(
            outcome="blocked",
            findings=(
                Finding(
                    outcome="blocked",
                    rule="no_category_may_fall_by",
                    slice="category=refunds",
                    what="fell from 91.0 % to 84.0 %, by more than 2 points (95 % sure)",
                    cases=behind,
                ),
                Finding(outcome="inconclusive", rule="at_least", slice="category=sizes", what="31 of 50 cases"),
            ),
        ),
        noise={"judged:helpful": 0.03},
        notes={"recommendation": "All cases: small, which passes 80% at $0.0005.\ncategory=refunds: rules, at no cost."},
    )


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(WORDS, k=count))


def _side(chance: random.Random, cases: tuple[Case, ...], release: str, good: float, repeat: int, rung: str = "") -> Side:
    results = []
    for case in cases:
        for turn in range(repeat):
            passed = chance.random() < good
            told = chance.random() > 0.01
            refused = chance.random() < 0.03
            results.append(
                Result(
                    case=case.id,
                    turn=turn,
                    record=f"rec_{chance.getrandbits(64):016x}",
                    status=Status.REFUSED if refused else Status.ANSWERED,
                    reason=Reason.NO_EVIDENCE if refused else None,
                    rung=rung or "small",
                    shown=_words(chance, 70),
                    took_us=int(chance.lognormvariate(13.3, 0.5)),
                    first_word_us=int(chance.lognormvariate(12.4, 0.4)),
                    cost_nano_usd=0 if rung == "rules" else chance.randrange(200_000, 900_000),
                    opinions={
                        "contains": Opinion(value=float(passed), passed=passed, reason="" if passed else "lacks “thirty days”"),
                        "not-contains": Opinion(value=1.0, passed=True),
                        "latency": Opinion(value=1.0, passed=True)
                        if told
                        else Opinion(reason="the scorer took longer than 60 s"),
                    },
                )
            )
    return Side(release=release, results=tuple(results))


def main() -> None:
    report = made_up(10_000)
    began = time.process_time()
    page = html(report)
    took = time.process_time() - began
    size = len(page.encode()) / 1e6
    print(f"A report of 10,000 cases with a baseline: {took:.2f} s of processor time to write, {size:.1f} MB.")
    if browser.CHROMIUM is None:
        print("There is no chromium here to open it.")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.html")
        path.write_text(page, encoding="utf-8")
        opened, turned = [], []
        for _ in range(OPENINGS):
            with browser.page() as tab:
                opened.append(tab.open(path))
                tab.run("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))")
                turned.append(tab.run(PAGED))
        print(f"Chromium: {statistics.median(opened):.2f} s until the page can be used, the median of {OPENINGS}")
        print(f"from {min(opened):.2f} to {max(opened):.2f}; {statistics.median(turned):.0f} ms to show the last page of cases.")


if __name__ == "__main__":
    main()
