"""`mainstay init`: a project that runs at once."""

from __future__ import annotations

import importlib.resources
import shlex
from pathlib import Path

import click

from mainstay.core.errors import BadRequest
from mainstay.doors.cli.printing import reported
from mainstay.spec.feature_file import NAME
from mainstay.spec.schemas import published
from mainstay.spec.settings_file import FILE as SETTINGS

FEATURE = "help_desk"  # the template's own name for its feature


@click.command()
@click.argument("folder", default=".", type=click.Path(file_okay=False))
@click.option("--feature", default=FEATURE, show_default=True, help="The first feature's name.")
@reported
def init(folder: str, feature: str) -> None:
    """Write a project with one feature that answers from a folder of Markdown. It runs, and drills, as it is.

    In a folder that holds something already, such as a repository, what is there is kept as it is.
    """
    target = Path(folder)
    if not NAME.fullmatch(feature):
        raise BadRequest(
            f'a feature\'s name is lower-case letters, digits and "_", not {feature!r}',
            where="--feature",
            next=f"mainstay init {shlex.quote(folder)} --feature {FEATURE}",
        )
    files = _files(feature)
    taken = next((path for path in (target / SETTINGS, target / "features" / feature) if path.exists()), None)
    if taken is not None:
        raise BadRequest("it is there already; nothing was written", where=str(taken), next="mainstay init another-folder")
    folders = {above for path in files for above in (target / path).parents}
    if in_the_way := sorted(path for path in folders if path.exists() and not path.is_dir()):
        what = "it is a file where a folder has to be; nothing was written"
        raise BadRequest(what, where=str(in_the_way[0]), next="mainstay init another-folder")
    for path, text in files.items():
        _write(target / path, text)
    there = "" if folder == "." else f" -C {shlex.quote(folder)}"
    commands = (f'run {feature} "How do I return an item?"', f"drill {feature}", "serve --dev", f"release {feature}")
    click.echo("\n".join(["Try:", *(f"  mainstay {command}{there}" for command in commands)]))


def _write(to: Path, text: str) -> None:
    """Write one file, unless there is one by that name, and say which of the two."""
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        with to.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        click.echo(f"kept {to}")
        if to.name == ".gitignore" and text.strip() not in to.read_text(encoding="utf-8", errors="replace"):
            click.echo(f"  next: add the line {text.strip()} to it, or records end up in the repository")
    else:
        click.echo(f"wrote {to}")


def _files(feature: str) -> dict[Path, str]:
    """What the project's files hold, by their paths in it."""
    template = Path(str(importlib.resources.files("mainstay"))) / "template"
    files = {
        _target(path.relative_to(template), feature): path.read_text(encoding="utf-8").replace(FEATURE, feature)
        for path in sorted(template.rglob("*"))
        if path.is_file()
    }
    return files | {Path("schemas", name): schema for name, schema in published().items()}


def _target(path: Path, feature: str) -> Path:
    """Where a file of the template goes. A leading `dot_` stands for a dot, which packaging would leave out."""
    parts = [
        feature if part == FEATURE else part.replace("dot_", ".", 1) if part.startswith("dot_") else part for part in path.parts
    ]
    return Path(*parts)
