"""`mainstay learn confidence`: makes a feature's confidence as often right as it says."""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
from pathlib import Path

import click
import msgspec

import mainstay
from mainstay.core.confidence import Calibration
from mainstay.core.errors import NotFound, nearest
from mainstay.doors.cli.classify import write_whole
from mainstay.doors.cli.printing import as_json, reported
from mainstay.doors.cli.serve import PROJECT
from mainstay.learn.calibration import Judged, TooFew, fit, from_reports, from_scores

FILE = "confidence.json"
REPORTS, RECORDS = 20, 2_000  # that are read, the newest


@click.command()
@click.argument("feature")
@PROJECT
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def confidence(feature: str, project: str, json_: bool) -> None:
    """Fit what makes a feature's confidence, from its evaluations and its users' scores. No model is asked.

    Answers of the newest evaluations count as their scorers judge them, live answers as users and reviewers do. Exit code 3 if
    there are too few of them.
    """
    with mainstay.open(project, dev=True) as app:
        ready = app.features.ready.get(feature)
        if ready is None:
            raise NotFound(f'there is no feature "{feature}"; {nearest(feature, app.features.ready)}', next="mainstay doctor")
        judged = asyncio.run(_judged(app, feature))
        name = ready.feature.confidence.file or FILE
        shown = f"{app.settings.features}/{feature}/{name}"
        found = fit(judged, date=datetime.datetime.now(datetime.UTC).date().isoformat(), force=ready.calibration)
        if isinstance(found, TooFew):
            if json_:
                as_json({"feature": feature, "inconclusive": found.missing})
            else:
                click.echo(f"Inconclusive, and nothing was written: {found.missing}.")
                click.echo(f"  next: mainstay eval {feature}, with more cases")
            sys.exit(3)
        write_whole(Path(project) / shown, written(found))
    if json_:
        as_json({"feature": feature, "file": shown, "calibration": found})
        return
    _print(found, shown)
    if ready.feature.confidence.file is None:
        click.echo(f'\nAdd to feature.toml:\n\n[confidence]\nfile = "{FILE}"')


async def _judged(app: mainstay.Mainstay, feature: str) -> list[Judged]:
    """Every answer that somebody or something has judged."""
    reports = [app.releases.report(id) for id in app.releases.reports(feature, limit=REPORTS)]
    found = from_reports([report for report in reports if report is not None])
    for record in await app.records(limit=RECORDS, feature=feature, origin="user"):
        if record.outcome.signals:
            live = from_scores(record.outcome.signals, await app.scores(record.id), record.id)
            found += [] if live is None else [live]
    return found


def written(calibration: Calibration) -> bytes:
    """The file's bytes, for people who read the difference."""
    return (json.dumps(msgspec.to_builtins(calibration), indent=1) + "\n").encode()


def _print(found: Calibration, shown: str) -> None:
    card = found.card
    assert card is not None  # noqa: S101
    click.echo(f"Wrote {shown}, fitted on {card.answers} judged answers, {card.right} of them right.")
    click.echo(
        f"Calibration error {card.error:.3f} (before: {card.before[1]:.3f}), Brier score {card.brier:.3f} "
        f"(before: {card.before[0]:.3f}), each answer asked of weights that had not seen it."
    )
