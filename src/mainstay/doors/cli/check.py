"""`mainstay check`: may this be in front of customers?"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import click

import mainstay
from mainstay.app import rehearsal
from mainstay.core.errors import NotFound, nearest
from mainstay.core.release import Attestation
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, reported, table
from mainstay.ids import new_id
from mainstay.learn.readiness import GOOD_FOR, Line, checklist

AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


@click.command()
@click.argument("feature")
@PROJECT
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def check(feature: str, project: str, json_: bool) -> None:
    """The checklist before a launch, each line with its evidence. It runs the drill, if nobody has for this version.

    A line without evidence is unknown, and counts as not met. Exit code 0 if every line is met, 1 with the next command for each
    that is not.
    """
    with mainstay.open(project, dev=True) as app:
        if feature not in app.features.ready:
            raise NotFound(f'there is no feature "{feature}"; {nearest(feature, app.features.ready)}', next="mainstay doctor")
        lines = asyncio.run(_check(app, feature, Path(project)))
    if json_:
        as_json(lines)
    else:
        table(["", "line", "", "evidence"], [_row(line) for line in lines])
        gaps = [line for line in lines if line.standing != "met"]
        click.echo(f"\n{feature} is ready." if not gaps else f"\n{len(gaps)} of {len(lines)} lines are not met. Next:")
        for line in gaps:
            click.echo(f"  {line.name}: {line.next}")
    sys.exit(0 if all(line.standing == "met" for line in lines) else 1)


async def _check(app: mainstay.Mainstay, feature: str, root: Path) -> list[Line]:
    if not _drilled(app, feature):
        await _drill(app, feature, root)
    lines = checklist(await app.workshop.known(feature))
    await app.close()
    return lines


def _drilled(app: mainstay.Mainstay, feature: str) -> bool:
    """Whether this version of the feature was drilled not too long ago."""
    digest, now = app.features.ready[feature].digest, time.time()
    found = app.releases.attestations(feature, "drill")
    return any(a.release == digest and now - a.at < GOOD_FOR["drill"] for a in found)


async def _drill(app: mainstay.Mainstay, feature: str, root: Path) -> None:
    """Drill the feature in a rehearsal, and keep what came of it."""
    click.echo("Running the drill; nobody has for this version.", err=True)
    async with rehearsal(root, environ=app.environ) as stage:
        report = await stage.workshop.drill(feature)
    wrong = [f"{call.fault}: {what}" for call in report.calls for what in call.wrong]
    what = report.inconclusive or (f"{len(wrong)} promises broken, such as {wrong[0]}" if wrong else "")
    app.workshop.attest(
        Attestation(
            id=new_id(),
            kind="drill",
            feature=feature,
            release=app.features.ready[feature].digest,
            passed=report.passed and not report.inconclusive,
            at=time.time(),
            who=app.workshop.who,
            what=what or f"{len(report.calls)} calls under every fault kept their promises",
        )
    )


def _row(line: Line) -> list[str]:
    mark = {"met": "ok", "not met": "NO", "unknown": "??"}[line.standing]
    age = "" if line.age_s is None else f", {_age(line.age_s)} old"
    return [mark, line.name, line.what, f"{line.evidence}{age}"]


def _age(seconds: float) -> str:
    size, unit = next(((size, unit) for size, unit in AGES if seconds >= size), AGES[-1])
    return f"{seconds / size:.0f} {unit}"
