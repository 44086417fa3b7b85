"""A report on a terminal: the verdict and its reasons first, then figures by slice, then each rung alone."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

import click

from mainstay.core.report import Finding, Outcome, Report
from mainstay.doors.cli.printing import one_line, printable, table
from mainstay.learn.calibration import of_side
from mainstay.learn.figures import SliceFigures, rungs_of, slices_of
from mainstay.learn.reports import words

COLOURS: dict[Outcome | None, str | None] = {"passed": "green", "blocked": "red", "inconclusive": "yellow", None: None}
TOLD_ELSEWHERE = ("recommendation", "fits")  # notes of a report that have a place of their own
WIDEST_NAME = 32  # characters of a slice's or a rung's name in a table


def print_report(report: Report) -> None:
    """Print what was found, for people; the whole report is in its file."""
    width = min(120, shutil.get_terminal_size((100, 24)).columns)
    _print_verdict(report, width)
    slices = slices_of(report)
    click.echo()
    table(*_pass_table(slices))
    click.echo()
    table(*_cost_table(slices))
    if report.rungs:
        _print_rungs(report, width)
    if (found := of_side(report.candidate)) is not None:
        click.echo()
        _paragraph(words.reliance(found), width)
    for name, note in report.notes.items():
        if name not in TOLD_ELSEWHERE:
            _paragraph(f"{name.capitalize()}: {note}.", width)
    if report.noise:
        said = ", ".join(f"{one_line(name)} {value:.3g}" for name, value in report.noise.items())
        _paragraph(f"Noise of scorers, measured and taken out: {said}.", width)


def _print_verdict(report: Report, width: int) -> None:
    outcome = None if report.ruling is None else report.ruling.outcome
    word, sentence = words.verdict(report)
    beside = "" if report.baseline is None else f" beside {words.release(report.baseline.release)}"
    repeat = f", each {report.repeat} times" if report.repeat > 1 else ""
    click.echo(f"{_styled(word, outcome)}: {sentence}")
    about = f"{one_line(report.feature)}, release {words.release(report.candidate.release)}{beside}: "
    _paragraph(
        f"{about}{len(report.cases):,} cases{repeat}, in {words.duration(report.took_s * 1e6)}. Report {report.id}.", width, ""
    )
    if report.unfinished:
        _paragraph(f"Not every case was run: {report.unfinished}", width, "")
    for finding in () if report.ruling is None else report.ruling.findings:
        _print_finding(finding, width)


def _print_finding(finding: Finding, width: int) -> None:
    where = f"{finding.slice}: " if finding.slice and not finding.what.startswith(finding.slice) else ""
    rest = one_line(f"{where}{finding.what} ({finding.rule})", 2000)
    indent = 2 + len(words.VERDICTS[finding.outcome][0]) + 2
    told = _wrapped(rest, width, " " * indent)
    click.echo(f"\n  {_styled(words.VERDICTS[finding.outcome][0], finding.outcome)}  {told.lstrip()}")
    if finding.cases:
        shown = list(finding.cases[:8])
        more = f" and {len(finding.cases) - len(shown)} more" if len(finding.cases) > len(shown) else ""
        click.echo(_wrapped(f"cases: {', '.join(map(one_line, shown))}{more}", width, " " * indent))


def _pass_table(slices: Sequence[SliceFigures]) -> tuple[list[str], list[list[str]]]:
    compared = any(figures.baseline is not None for figures in slices)
    unscored = any(figures.unscored for figures in slices)
    head = ["slice", "cases", "pass", "95 % interval", *(["baseline", "change"] if compared else [])]
    rows = []
    for figures in slices:
        row = [
            _name(figures.slice),
            f"{figures.cases:,}",
            words.percent(figures.passed),
            words.interval(figures.low, figures.high),
        ]
        if compared:
            before = None if figures.baseline is None else figures.baseline.passed
            row += [words.percent(before), words.points(figures.change)]
        rows.append([*row, *([f"{figures.unscored:,}"] if unscored else [])])
    return [*head, *(["not told"] if unscored else [])], rows


def _cost_table(slices: Sequence[SliceFigures]) -> tuple[list[str], list[list[str]]]:
    """Time and money of each slice; those of the baseline stand under all cases."""
    rows = []
    for figures in slices:
        rows.append([_name(figures.slice), *_costs(figures)])
        if not figures.slice and figures.baseline is not None:
            rows.append(["  baseline", *_costs(figures.baseline)])
    return ["slice", "an answer costs", "p50", "p95", "p99", "first word"], rows


def _costs(figures: SliceFigures) -> list[str]:
    times = (figures.p50_us, figures.p95_us, figures.p99_us, figures.first_word_us)
    return [words.dollars(figures.cost_nano_usd), *map(words.duration, times)]


def _print_rungs(report: Report, width: int) -> None:
    rows = []
    for rung in rungs_of(report):
        figures = rung.figures
        shares = (words.percent(figures.passed), words.interval(figures.low, figures.high), words.percent(rung.itself))
        costs = (words.dollars(figures.cost_nano_usd), words.duration(figures.p50_us), words.duration(figures.p95_us))
        rows.append([_name(rung.rung, 16), _name(figures.slice, 22), *shares, *costs])
    click.echo("\nEach rung alone, on the same cases:\n")
    table(["rung", "slice", "pass", "95 % interval", "by itself", "cost", "p50", "p95"], rows)
    recommendation = report.notes.get("recommendation")
    if recommendation:
        click.echo()
        for line in str(recommendation).splitlines():
            _paragraph(line, width)


def _name(slice: str, widest: int = WIDEST_NAME) -> str:
    return one_line(printable(slice), widest) if slice else "all cases"


def _paragraph(text: str, width: int, indent: str = "") -> None:
    click.echo(_wrapped(text, width, indent))


def _wrapped(text: str, width: int, indent: str) -> str:
    whole = printable(" ".join(text.split()))
    return textwrap.fill(whole, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _styled(word: str, outcome: Outcome | None) -> str:
    return click.style(word, fg=COLOURS[outcome], bold=True)  # which click takes off again where there is no terminal
