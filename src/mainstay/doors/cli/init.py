"""`mainstay init`: a project that runs at once."""

from __future__ import annotations

import importlib.resources
import json
import shutil
import sys
from pathlib import Path

import click

from mainstay.doors.cli.printing import reported
from mainstay.spec.feature_file import NAME
from mainstay.spec.schemas import feature_schema, settings_schema

FEATURE = "help_desk"  # the template's own name for its feature


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False))
@click.option("--feature", default=FEATURE, show_default=True, help="The first feature's name.")
@reported
def init(folder: str, feature: str) -> None:
    """Write a project with one feature that answers from a folder of Markdown. It runs, and drills, as it is."""
    target = Path(folder)
    if not NAME.fullmatch(feature):
        click.echo(f'error: a feature\'s name is lower-case letters, digits and "_", not {feature!r}', err=True)
        sys.exit(2)
    template = Path(str(importlib.resources.files("mainstay"))) / "template"
    written = [_target(path.relative_to(template), feature) for path in sorted(template.rglob("*")) if path.is_file()]
    taken = [path for path in written if (target / path).exists()]
    if taken:
        click.echo(
            f"error: {target / taken[0]} is there already; nothing was written\n  next: mainstay init another-folder", err=True
        )
        sys.exit(2)
    for path in sorted(template.rglob("*")):
        if path.is_file():
            to = target / _target(path.relative_to(template), feature)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
    for name, schema in (("feature", feature_schema()), ("settings", settings_schema())):
        (target / "schemas").mkdir(exist_ok=True)
        (target / "schemas" / f"{name}.schema.json").write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
    for path in written:
        click.echo(f"wrote {target / path}")
    there = "" if folder == "." else f" -C {folder}"
    commands = (f'run {feature} "How do I return an item?"', f"drill {feature}", "serve --dev")
    click.echo("\n".join(["Try:", *(f"  mainstay {command}{there}" for command in commands)]))


def _target(path: Path, feature: str) -> Path:
    """Where a file of the template goes. A leading `dot_` stands for a dot, which packaging would leave out."""
    parts = [
        feature if part == FEATURE else part.replace("dot_", ".", 1) if part.startswith("dot_") else part for part in path.parts
    ]
    return Path(*parts)
