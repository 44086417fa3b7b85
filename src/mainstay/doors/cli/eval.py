"""`mainstay eval`: how good is it, and is it good enough?"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

import mainstay
from mainstay.core.errors import BadRequest, NotFound, nearest
from mainstay.core.report import Outcome, Report
from mainstay.core.units import Usd
from mainstay.doors.cli.calibrating import calibrate
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, reported
from mainstay.doors.cli.reporting import print_report
from mainstay.doors.cli.watching import Bar
from mainstay.learn.evaluation import AT_ONCE, Options
from mainstay.learn.formats import read_any
from mainstay.learn.releasing import Wanted
from mainstay.learn.reports import html, junit, markdown

EXIT: dict[Outcome, int] = {"passed": 0, "blocked": 1, "inconclusive": 3}
WORST: tuple[Outcome, ...] = ("blocked", "inconclusive", "passed")  # of several features
WRITERS: dict[str, Callable[[Report], str]] = {"html": html.html, "junit": junit.junit, "markdown": markdown.markdown}
F = TypeVar("F", bound=Callable[..., Any])


def running(command: F) -> F:
    """The options of every command that runs cases."""
    for option in reversed(
        [
            click.option("--repeat", type=click.IntRange(1, 100), default=1, show_default=True, help="Ask each case so often."),
            click.option(
                "--concurrency", type=click.IntRange(1, 1000), default=AT_ONCE, show_default=True, help="Calls at once."
            ),
            click.option("--budget", metavar="MONEY", help='What it may spend, such as "2 USD"; by default gate.budget.'),
            click.option("--fresh", is_flag=True, help="Ask again what was answered within a day."),
        ]
    ):
        command = option(command)
    return writing(command)


def writing(command: F) -> F:
    """The options of every command that shows a report."""
    for name, help in (
        ("html", "Write the report as a page for the browser; of several features, each has its own."),
        ("junit", "Write it as JUnit XML, a suite for each category; of several features, each has its own."),
        ("markdown", "Add it as Markdown, such as to $GITHUB_STEP_SUMMARY."),
    ):
        command = click.option(f"--{name}", type=click.Path(dir_okay=False), help=help)(command)
    return click.option("--json", "json_", is_flag=True, help="Print JSON.")(command)


def wanted(repeat: int, concurrency: int, budget: str | None, fresh: bool, **more: Any) -> Wanted:
    """The options, as the desk takes them. Raises `BadRequest`."""
    try:
        money = None if budget is None else int(Usd.parse(budget))
    except ValueError as error:
        raise BadRequest(str(error), where="--budget", next='--budget "2 USD"') from None
    return Wanted(options=Options(repeat=repeat, at_once=concurrency, budget=money, fresh=fresh), **more)


def show(report: Report, files: dict[str, str | None], *, json_: bool) -> None:
    """Print a report, and write it to the files that were asked for."""
    write(report, files)
    if json_:
        as_json(report)
    else:
        print_report(report)


def write(report: Report, files: dict[str, str | None], *, apart: bool = False) -> None:
    """Write a report to the files that were asked for. With `apart` there are others too: `out.xml` becomes `out.desk.xml`."""
    for name, path in files.items():
        if path is not None:
            target = Path(path)
            if apart and name != "markdown":
                target = target.with_name(f"{target.stem}.{report.feature}{target.suffix}")
            with target.open("a" if name == "markdown" else "w", encoding="utf-8") as file:
                file.write(WRITERS[name](report))


@click.command()
@click.argument("features", nargs=-1)
@PROJECT
@click.option("--changed", is_flag=True, help="Every feature that differs from its live release.")
@click.option("--against", default="live", show_default=True, help="A release to compare with: its digest, or none.")
@click.option("--rungs", is_flag=True, help="Each rung alone as well: is a model better than the simpler way?")
@click.option("--cases", type=click.Path(exists=True, dir_okay=False), help="Other cases: JSONL, CSV, promptfoo, pydantic-evals.")
@click.option("--judge", help="Calibrate this judge instead of running cases.")
@click.option("--calibrate", "labels", type=click.Path(exists=True, dir_okay=False), help="Answers with the labels of people.")
@running
@reported
def eval(
    features: tuple[str, ...],
    project: str,
    changed: bool,
    against: str,
    rungs: bool,
    cases: str | None,
    judge: str | None,
    labels: str | None,
    json_: bool,
    html: str | None,
    junit: str | None,
    markdown: str | None,
    **how: Any,
) -> None:
    """Run the cases of a feature's folder, beside the live release, and say what the gate would say.

    Answers of the last day are not asked for again, so a second run costs nothing, and one that was interrupted goes on.

    Exit code 0 if it would pass, 1 if it would be blocked, 3 if there is too little to tell.
    """
    files = {"html": html, "junit": junit, "markdown": markdown}
    with mainstay.open(project, dev=True) as app:
        if judge is not None or labels is not None:
            if judge is None or labels is None:
                raise BadRequest(
                    "a calibration needs both", where="--judge, --calibrate", next="mainstay eval --judge J --calibrate F"
                )
            sys.exit(asyncio.run(calibrate(app, judge, Path(labels), json_=json_)))
        names = _named(app, features, changed=changed)
        reports = asyncio.run(_run(app, names, cases, wanted(rungs=rungs, against=against, **how)))
    if len(features) == 1 and not changed:
        show(reports[0], files, json_=json_)
    else:
        _show_all(reports, files, json_=json_)
    codes = {EXIT[report.ruling.outcome] for report in reports if report.ruling}
    sys.exit(next((code for code in (1, 3) if code in codes), 0))


def _named(app: mainstay.Mainstay, features: tuple[str, ...], *, changed: bool) -> list[str]:
    """The features that are meant, each once. Raises `NotFound` and `BadRequest` before money is spent."""
    known = app.features.ready
    for name in features:
        if name not in known:
            raise NotFound(f'there is no feature "{name}"; {nearest(name, known)}', next="mainstay doctor")
    if not features and not changed:
        raise BadRequest("which feature?", next=f"mainstay eval {next(iter(known), 'FEATURE')}")
    return [name for name in dict.fromkeys(features or known) if not changed or app.workshop.changed(name)]


def _show_all(reports: list[Report], files: dict[str, str | None], *, json_: bool) -> None:
    """However many there are, what a script reads is one list."""
    for report in reports:
        write(report, files, apart=len(reports) > 1)
    if json_:
        as_json(reports)
        return
    if not reports:
        click.echo("Nothing differs from what is live.", err=True)
    for report in reports:
        print_report(report)


async def _run(app: mainstay.Mainstay, names: list[str], file: str | None, options: Wanted) -> list[Report]:
    reports = []
    for name in names:
        with Bar() as bar:
            reports.append(await app.desk.evaluate(name, _with_cases(app, name, file, options), seen=bar))
    await app.close()
    return reports


def _with_cases(app: mainstay.Mainstay, name: str, file: str | None, options: Wanted) -> Wanted:
    if file is None or name not in app.features.ready:
        return options
    read = read_any(Path(file), fields=app.features.ready[name].feature.input.fields, shown=file)
    for line in read.unread:
        click.echo(f"not read: {line}", err=True)
    return msgspec.structs.replace(options, cases=read.cases)
