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
from mainstay.core.errors import BadRequest
from mainstay.core.report import Outcome, Report
from mainstay.core.units import Usd
from mainstay.doors.cli.calibrating import calibrate
from mainstay.doors.cli.printing import as_json, reported
from mainstay.doors.cli.reporting import print_report
from mainstay.doors.cli.serve import PROJECT
from mainstay.doors.cli.watching import Bar
from mainstay.learn.evaluation import AT_ONCE, Options
from mainstay.learn.formats import read_any
from mainstay.learn.releasing import Wanted
from mainstay.learn.reports import html, junit, markdown

EXIT: dict[Outcome, int] = {"passed": 0, "blocked": 1, "inconclusive": 3}
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
        ("html", "Write the report as a page for the browser."),
        ("junit", "Write it as JUnit XML, a suite for each category."),
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
    for name, path in files.items():
        if path is not None:
            with Path(path).open("a" if name == "markdown" else "w", encoding="utf-8") as file:
                file.write(WRITERS[name](report))
    if json_:
        as_json(report)
    else:
        print_report(report)


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
        names = list(features) or ([name for name in app.features.ready if app.workshop.changed(name)] if changed else [])
        if not names:
            if changed:
                click.echo("Nothing differs from what is live.", err=True)
                return
            raise BadRequest("which feature?", next=f"mainstay eval {next(iter(app.features.ready), 'FEATURE')}")
        reports = asyncio.run(_run(app, names, cases, wanted(rungs=rungs, against=against, **how)))
    for report in reports:
        show(report, files, json_=json_)
    sys.exit(max(EXIT[report.ruling.outcome] if report.ruling else 0 for report in reports))


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
