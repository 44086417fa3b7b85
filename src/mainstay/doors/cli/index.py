"""`mainstay index`: bring what features answer from up to date."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click

from mainstay.at_rest import sources_of
from mainstay.core.errors import NotFound, SourceError, nearest
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, printable, reported
from mainstay.doors.cli.watching import EVERY
from mainstay.indexing import Fault, Report, Step, lines
from mainstay.sourcing import Sources

MOST_LINES = 50  # of faults that are printed; --json has them all


@click.command()
@click.argument("sources", nargs=-1)
@PROJECT
@click.option("--check", is_flag=True, help="Write nothing; only say what would change.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def index(sources: tuple[str, ...], project: str, check: bool, json_: bool) -> None:
    """Read the SOURCES, or all of them, and bring their indexes up to date. What is served meanwhile is the index as it was.

    Only what changed is read anew. A document that cannot be read is named, and what was known of it before stays.

    Exit code 0 if all is well, 1 if a document or a source could not be read, or with --check if anything would change.
    """
    with sources_of(Path(project)) as found:
        reports = asyncio.run(_all(found, _named(found, sources), check=check))
    if json_:
        as_json(reports)
    else:
        for report in reports:
            _print(report, check=check)
    wrong = any(report.faults or (check and report.differs) for report in reports)
    sys.exit(1 if wrong else 0)


def _named(found: Sources, names: tuple[str, ...]) -> list[str]:
    for name in names:
        if name not in found.kept:
            raise NotFound(f'there is no source "{name}" that is indexed; {nearest(name, found.kept)}', next="mainstay doctor")
    return list(dict.fromkeys(names or found.kept))


async def _all(found: Sources, names: list[str], *, check: bool) -> list[Report]:
    """Each source's report. One that cannot be read at all is a fault of its own, and keeps none of the others waiting."""
    reports = []
    for name in names:
        line = _Line()
        try:
            reports.append(await found.refresh(name, check=check, seen=line))
        except SourceError as error:
            where = "" if error.where in ("", name) else f"{error.where.removeprefix(f'{name}, ')}: "
            what = f"{where}{error.what}" + (f"; next: {error.next}" if error.next else "")
            reports.append(Report(source=name, faults=(Fault(document=name, what=what),)))
        finally:
            line.end()
    return reports


def _print(report: Report, *, check: bool) -> None:
    facts = [f"{len(report.added)} new", f"{len(report.changed)} changed", f"{len(report.removed)} gone"]
    facts.append(f"{report.unchanged} unchanged")
    facts += [f"{report.passages} passages made"] if report.passages and not check else []
    facts += [f"{len(report.faults)} not read"] if report.faults else []
    said = f"{report.source}: {', '.join(facts)}"
    click.echo(f"{said}. Nothing was written." if check else f"{said}; {report.seconds:.1f} s.")
    if check:
        for mark, names in (("new", report.added), ("changed", report.changed), ("gone", report.removed)):
            for name in names:
                click.echo(f"  {mark:<8}{printable(name)}")
    for line in lines(report.faults, MOST_LINES):
        click.echo(f"  not read: {printable(line)}", err=True)
    for name in report.overdue:
        click.echo(
            f"  overdue: {printable(name)}: its review should have happened; next: review it, and set a new date", err=True
        )


class _Line:
    """How far a source is, on one line of standard error, if that is a terminal; that it waits is said anywhere."""

    def __init__(self) -> None:
        self._shown, self._told = 0.0, False

    def __call__(self, step: Step) -> None:
        if step.doing == "waiting" and not self._told:
            self._told = True
            click.echo(f"{step.source}: another process indexes it; waiting until it is done", err=True)
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._shown >= EVERY:
            self._shown = now
            of = "" if step.of is None else f" of {step.of}"
            click.echo(f"\r{f'{step.source}: {step.doing} {step.done}{of}':<60}", err=True, nl=False)

    def end(self) -> None:
        """Leave the line."""
        if self._shown:
            click.echo(f"\r{'':<60}\r", err=True, nl=False)
