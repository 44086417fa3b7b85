"""`mainstay learn confidence`: makes a feature's confidence as often right as it says."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

import click
import msgspec

from mainstay.at_rest import history, releases_of
from mainstay.core.confidence import UNCALIBRATED, Calibration
from mainstay.core.errors import ConfigError
from mainstay.doors.cli.classify import feature_folder, write_whole
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, reported
from mainstay.learn.calibration import Judged, TooFew, fit, from_reports, from_scores
from mainstay.serve.confidence import read
from mainstay.spec.feature_file import read_folder

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
    path, shown = feature_folder(Path(project), feature)
    name = read_folder(path, shown=shown, fitted=False).feature.confidence.file
    file = path / (name or FILE)
    judged = _judged(Path(project), feature)
    found = fit(judged, date=datetime.datetime.now(datetime.UTC).date().isoformat(), force=_in_force(file))
    if isinstance(found, TooFew):
        if json_:
            as_json({"feature": feature, "inconclusive": found.missing})
        else:
            click.echo(f"Inconclusive, and nothing was written: {found.missing}.")
            click.echo(f"  next: mainstay eval {feature}, with more cases")
        sys.exit(3)
    write_whole(file, written(found))
    if json_:
        as_json({"feature": feature, "file": f"{shown}/{file.name}", "calibration": found})
        return
    _print(found, f"{shown}/{file.name}")
    if name is None:
        click.echo(f'\nAdd to {shown}/feature.toml:\n\n[confidence]\nfile = "{FILE}"')


def _judged(root: Path, feature: str) -> list[Judged]:
    """Every answer that somebody or something has judged. No feature is loaded for it."""
    store = releases_of(root)
    try:
        reports = [store.report(id) for id in store.reports(feature, limit=REPORTS)]
    finally:
        store.close()
    found = from_reports([report for report in reports if report is not None])
    ledger = history(root)
    try:
        for record in ledger.records(where={"feature": feature, "origin": "user"}, limit=RECORDS):
            live = from_scores(record.outcome.signals, ledger.scores(record.id) if record.outcome.signals else [], record.id)
            found += [] if live is None else [live]
    finally:
        ledger.close()
    return found


def _in_force(file: Path) -> Calibration:
    """The weights until now; those that are shipped, where the file is not there or is none."""
    try:
        return read(file.read_bytes(), where=file.name, next="")
    except (OSError, ConfigError):
        return UNCALIBRATED


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
