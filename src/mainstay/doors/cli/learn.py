"""`mainstay learn`: what a feature learns from cases."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mainstay.doors.cli.classify import classify
from mainstay.doors.cli.confidence import confidence
from mainstay.doors.cli.near import near
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, reported
from mainstay.doors.cli.route import router
from mainstay.learn.formats import inputs_of, read_any
from mainstay.spec.cases import FOLDER, add_cases, new_cases, read_cases
from mainstay.spec.feature_file import folder_of, read_folder
from mainstay.spec.settings_file import read_settings

IMPORTED = "imported.jsonl"


@click.group()
def learn() -> None:
    """What a feature learns from: cases that other tools wrote, a classifier that is fitted to cases, its own confidence, near
    hits, and where calls may start.
    """


for command in (classify, confidence, router, near):
    learn.add_command(command)


@learn.command("import")
@click.argument("feature")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@PROJECT
@click.option("--dry-run", is_flag=True, help="Write nothing; only say what would be read.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def import_(feature: str, file: Path, project: str, dry_run: bool, json_: bool) -> None:
    """Add the cases of a FILE to a feature: promptfoo, pydantic-evals, CSV or JSON Lines.

    They are added to cases/imported.jsonl, in the feature's folder; those that it has already are not added again. What is in
    none of them is named, with its place and the reason.

    Exit code 0 if there was a case in the file, 1 if there was none.
    """
    folder, shown = _folder(Path(project), feature)
    there = read_cases(folder, shown=shown)
    imported = read_any(file, fields=inputs_of(read_folder(folder, shown=shown)), shown=str(file))
    new = new_cases(imported.cases, there)
    if new and not dry_run:
        add_cases(folder / FOLDER / IMPORTED, new)
    known = len(imported.cases) - len(new)
    if json_:
        as_json({"feature": feature, "added": len(new), "known": known, "unread": imported.unread})
    else:
        verb = "would be added" if dry_run else "added"
        click.echo(f"{len(new)} cases {verb} to {shown}/{FOLDER}/{IMPORTED}{f'; {known} were there already' if known else ''}.")
        if imported.unread:
            click.echo(f"Not read, {len(imported.unread)} things:", err=True)
        for line in imported.unread:
            click.echo(f"  {line}", err=True)
    if not imported.cases:
        raise click.exceptions.Exit(1)


def _folder(root: Path, feature: str) -> tuple[Path, str]:
    features = read_settings(root, os.environ).features
    return folder_of(root / features, feature), f"{features}/{feature}"
