"""`mainstay recheck`: do the answers that were served still hold?"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click

import mainstay
from mainstay.core.errors import BadRequest
from mainstay.core.units import Seconds
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, one_line, printable, reported
from mainstay.doors.cli.watching import counting
from mainstay.learn.differences import as_text
from mainstay.learn.rechecking import LIMIT, Group, Recheck, facts_of, groups_of
from mainstay.learn.reports.rechecked import MOST_NAMED, counts, html, lag_of, markdown, verdict

MOST = 50  # changes that are printed; --json and --html have all of them
WIDTH = 400  # characters of a difference


@click.command()
@click.argument("feature", required=False)
@PROJECT
@click.option("--since", default="24h", show_default=True, help="How long ago the oldest answer was served that is looked at.")
@click.option("--limit", default=LIMIT, show_default=True, type=click.IntRange(1, 1_000_000), help="Look at the newest so many.")
@click.option("--replay", default=0, show_default=True, type=click.IntRange(0, 10_000), help="Ask the newest so many again.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@click.option("--html", "html_", type=click.Path(dir_okay=False), help="Write the report as a page for the browser.")
@click.option(
    "--markdown", "markdown_", type=click.Path(dir_okay=False), help="Add it as Markdown, such as to $GITHUB_STEP_SUMMARY."
)
@reported
def recheck(
    feature: str | None,
    project: str,
    since: str,
    limit: int,
    replay: int,
    json_: bool,
    html_: str | None,
    markdown_: str | None,
) -> None:
    """Hold the answers of the last day against the sources and systems of record as they are now.

    A passage that changed, moved or is gone, and a fact that has another value, are findings, each with its difference and a
    review item on the answer. Cached answers that rest on them are dropped. Every answer in the cache is looked at, however old.

    Exit code 0 if all that was served still holds, 1 if an answer rests on what changed.
    """
    try:
        seconds = Seconds.parse(since)
    except ValueError as error:
        raise BadRequest(str(error), where="--since", next="--since 24h") from None
    report = asyncio.run(_recheck(project, feature, time.time() - seconds, limit=limit, replay=replay))
    show_recheck(report, html_, markdown_, json_=json_)
    sys.exit(0 if report.stands else 1)


async def _recheck(project: str, feature: str | None, since: float, *, limit: int, replay: int) -> Recheck:
    """Of what is released; of the folder as it is, where nothing is."""
    app = mainstay.open(project)
    if not app.features.ready:
        await app.close()
        app = mainstay.open(project, dev=True)
    async with app:
        return await app.workshop.recheck(feature, since=since, limit=limit, replay=replay, seen=counting("answers"))


def show_recheck(report: Recheck, html_: str | None, markdown_: str | None, *, json_: bool) -> None:
    """Print a recheck, and write it to the files that were asked for."""
    if html_ is not None:
        Path(html_).write_text(html(report), encoding="utf-8")
    if markdown_ is not None:
        with Path(markdown_).open("a", encoding="utf-8") as file:
            file.write(markdown(report))
    if json_:
        as_json(facts_of(report))
    else:
        _show(report)


def _show(report: Recheck) -> None:
    word, sentence = verdict(report)
    click.echo(f"{click.style(word, fg='green' if report.stands else 'red', bold=True)}: {sentence}")
    groups = groups_of(report)
    for group in groups[:MOST]:
        _show_group(group)
    if len(groups) > MOST:
        click.echo(f"\n{len(groups) - MOST} more changes: --html or --json has all of them.")
    behind = [(lag.source, said) for lag in report.lags if (said := lag_of(lag))]
    if behind or report.troubles:
        click.echo()
    for source, said in behind:
        click.echo(printable(f"source {source}: {said}"))
    for trouble in report.troubles:
        click.echo(printable(f"not looked at: {trouble}"))
    click.echo(f"\n{'; '.join(f'{name.lower()} {printable(value)}' for name, value in counts(report) if name != 'Features')}.")


def _show_group(group: Group) -> None:
    first = group.first
    colour = "red" if first.serious else "yellow"
    click.echo(f"\n{click.style(first.kind.upper(), fg=colour)}  {one_line(printable(first.what))}")
    if first.said:
        click.echo(f"  the answer: {one_line(printable(first.said), WIDTH)}")
    if first.diff:
        click.echo(f"  {one_line(printable(as_text(first.diff)), WIDTH)}")
    more = f" and {len(group.records) - MOST_NAMED} more" if len(group.records) > MOST_NAMED else ""
    click.echo(f"  in {', '.join(group.records[:MOST_NAMED])}{more}")
