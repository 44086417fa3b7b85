"""A report as Markdown, for the step summary of a CI run or a comment on a pull request: the verdict first.

Texts of cases and answers are data: nothing in them can end a cell of a table, or become markup, a link or a mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mainstay.core.report import Finding, Report, Result
from mainstay.learn.calibration import of_side
from mainstay.learn.figures import ALL, SliceFigures, rungs_of, slices_of
from mainstay.learn.reports import words

LONGEST = 60_000  # bytes of the whole text: what GitHub takes as a comment; a step summary may be larger
LONGEST_TEXT = 300  # characters of one reason or answer
MOST_NAMED = 10  # cases that are named behind one finding

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#!|~&$@])")
_LINKED = re.compile(r"(\\[@#]|\bGH-|\bwww|:(?=//))")
_UNSEEN = re.compile("[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]+")


def markdown(report: Report) -> str:
    """The whole text, at most `LONGEST` bytes of UTF-8; what had no room is counted in its last lines."""
    page = _Page(LONGEST)
    head, sentence = words.verdict(report)
    page.add(f"# {plain(report.feature)}: {head.lower()}\n\n{sentence}\n{_about(report)}\n")
    if report.unfinished:
        page.add(f"\n**Unfinished:** {plain(report.unfinished)}\n")
    if report.ruling is not None and report.ruling.findings:
        page.section("What the gate found", "findings", [_finding(finding) for finding in report.ruling.findings])
    figures = slices_of(report)
    scorers = sorted({name for found in figures for name in found.scorers})
    compared = report.baseline is not None
    page.table("By slice", "slices", _slice_head(compared=compared), [_slice(found, compared=compared) for found in figures])
    overall = next(found for found in figures if found.slice == ALL)
    page.table("By scorer", "scorers", _scorer_head(compared=compared), [_scorer(name, overall) for name in scorers])
    rungs = [found for found in rungs_of(report) if found.figures.slice == ALL]
    page.table(
        "Each rung alone",
        "rungs",
        ("rung", "passes", "95 % interval", "answers itself", "cost", "p95"),
        [[plain(found.rung), *_quality(found.figures), words.percent(found.itself), *_expense(found.figures)] for found in rungs],
    )
    if (found := of_side(report.candidate)) is not None:
        page.add(f"\n{plain(words.reliance(found))}\n")
    if isinstance(advice := report.notes.get("recommendation"), str):
        page.add(f"\n{plain(advice)}\n")
    _failures(page, report)
    return page.text()


class _Page:
    """A text that stops growing at a number of bytes, and counts what it leaves out."""

    def __init__(self, most: int) -> None:
        self._room = most - 1_000  # for what is said of the rest
        self._parts: list[str] = []
        self._left_out: dict[str, int] = {}

    def add(self, text: str, *, leave: int = 0) -> bool:
        """Add a text, or nothing of it where it has no room, with so many bytes to leave for what comes after."""
        size = len(text.encode())
        if size > self._room - leave:
            return False
        self._room -= size
        self._parts.append(text)
        return True

    def section(self, title: str, kind: str, lines: Sequence[str], head: str = "", *, last: bool = False) -> None:
        """A title and lines, in their order, as far as there is room; only the last one takes more than half of what is left."""
        leave = 0 if last else self._room // 2
        if not lines or not self.add(f"\n## {title}\n\n{head}", leave=leave):
            self._left_out[kind] = len(lines)
            return
        for i, line in enumerate(lines):
            if not self.add(line, leave=leave):
                self._left_out[kind] = len(lines) - i
                return

    def table(self, title: str, kind: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, last: bool = False) -> None:
        """A table; the cells are Markdown already."""
        self.section(title, kind, [_row(cells) for cells in rows], _row(head) + _row(["---"] * len(head)), last=last)

    def text(self) -> str:
        """All of it, and what was left out."""
        left_out = ", ".join(f"{count} {kind}" for kind, count in self._left_out.items() if count)
        note = f"\nLeft out, for there is no room here: {left_out}. The report as HTML holds everything.\n" if left_out else ""
        return "".join(self._parts) + note


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _about(report: Report) -> str:
    """What was compared with what, on how many cases."""
    turns = f", each {report.repeat} times" if report.repeat > 1 else ""
    release = f"Release `{code(words.release(report.candidate.release))}`"
    beside = f" beside `{code(words.release(report.baseline.release))}`" if report.baseline is not None else ""
    commit = f", commit `{code(report.commit)}`" if report.commit else ""
    return f"{release}{beside}: {len(report.cases)} cases{turns}, in {report.took_s:.1f} s, by {plain(report.who)}{commit}."


def _finding(finding: Finding) -> str:
    where = f" {plain(finding.slice)}" if finding.slice else ""
    named = ", ".join(f"`{code(case)}`" for case in finding.cases[:MOST_NAMED])
    more = f", and {len(finding.cases) - MOST_NAMED} more" if len(finding.cases) > MOST_NAMED else ""
    cases = f"  \n  Cases: {named}{more}." if named else ""
    return f"- **{finding.outcome}** `{code(finding.rule)}`{where}: {plain(finding.what.rstrip('.'))}.{cases}\n"


# Tables


def _slice_head(*, compared: bool) -> tuple[str, ...]:
    before = ("before", "change") if compared else ()
    return ("slice", "cases", "passes", "95 % interval", *before, "cost", *(("before",) if compared else ()), "p95", *before[:1])


def _slice(found: SliceFigures, *, compared: bool) -> list[str]:
    name = plain(found.slice) if found.slice else "**all**"
    cases = f"{found.cases}, {found.unscored} untold" if found.unscored else str(found.cases)
    row = [name, cases, *_quality(found)]
    cost, p95 = _expense(found)
    if not compared:
        return [*row, cost, p95]
    before = found.baseline
    old_cost, old_p95 = _expense(before) if before is not None else (words.UNKNOWN, words.UNKNOWN)
    return [*row, words.percent(before.passed if before else None), words.points(found.change), cost, old_cost, p95, old_p95]


def _quality(found: SliceFigures) -> tuple[str, str]:
    return words.percent(found.passed), words.interval(found.low, found.high)


def _expense(found: SliceFigures) -> tuple[str, str]:
    return words.dollars(found.cost_nano_usd).replace("$", "\\$"), words.duration(found.p95_us)


def _scorer_head(*, compared: bool) -> tuple[str, ...]:
    return ("scorer", "mean", "before") if compared else ("scorer", "mean")


def _scorer(name: str, overall: SliceFigures) -> list[str]:
    def mean(figures: SliceFigures) -> str:
        return f"{figures.scorers[name]:.3f}" if name in figures.scorers else words.UNKNOWN

    row = [plain(name), mean(overall)]
    return row if overall.baseline is None else [*row, mean(overall.baseline)]


# Cases


def _failures(page: _Page, report: Report) -> None:
    """The cases that do not pass: those that must first, then by name."""
    results: dict[str, list[Result]] = {}
    for result in report.candidate.results:
        if result.passed is False:
            results.setdefault(result.case, []).append(result)
    failed = sorted(
        (case for case in report.cases if case.id in results), key=lambda case: (not case.must, case.category, case.id)
    )
    rows = [
        [f"`{code(case.id)}`" + (" **must**" if case.must else ""), plain(case.category), _why(results[case.id])]
        for case in failed
    ]
    page.table("Cases that fail", "failing cases", ("case", "category", "why"), rows, last=True)


def _why(results: Iterable[Result]) -> str:
    said = [
        f"{name}: {opinion.reason}" if opinion.reason else name
        for result in results
        for name, opinion in result.opinions.items()
        if opinion.passed is False
    ]
    return plain("; ".join(dict.fromkeys(said)))


# Texts


def plain(text: str) -> str:
    """A text that shows as it is, on one line, wherever it stands."""
    # GitHub looks for mentions, issues and addresses after it has read the escapes; a comment within stops it.
    return _LINKED.sub(r"\1<!-- -->", _SPECIAL.sub(r"\\\1", _shortened(text)))


def code(text: str) -> str:
    """A text for between two backticks, where a backslash escapes nothing, and a pipe still ends a cell."""
    return _shortened(text).replace("`", "'").replace("|", "¦")


def _shortened(text: str) -> str:
    line = " ".join(_UNSEEN.sub(" ", text).split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"
