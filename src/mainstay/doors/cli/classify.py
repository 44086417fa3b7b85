"""`mainstay learn classify`: a feature's small classifier, fitted from its cases."""

from __future__ import annotations

import datetime
import json
import os
import sys
from pathlib import Path

import click

from mainstay.assembling import shape
from mainstay.core.classifier import Card, ClassifierFile
from mainstay.core.feature import ClassifierRung, Feature, MessageRung
from mainstay.core.project import Settings
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, reported, table
from mainstay.doors.cli.watching import counting
from mainstay.learn.fitting import TooFew, fit, written
from mainstay.learn.labelling import choose
from mainstay.spec.cases import read_cases, read_training
from mainstay.spec.feature_file import FILE as FEATURE
from mainstay.spec.feature_file import Folder, folder_of, read_folder
from mainstay.spec.settings_file import document_of

CLASSIFIER = "classifier.json"


@click.command()
@click.argument("feature")
@PROJECT
@click.option("--json", "json_", is_flag=True, help="Print the card as JSON.")
@reported
def classify(feature: str, project: str, json_: bool) -> None:
    """Fit a feature's small classifier from its cases, and say what it is worth. No model is asked and no key is needed.

    It is fitted on the cases of `cases/train*.jsonl`; where there are none, on half of the others. Exit code 3 if there are too
    few cases of a label.
    """
    path, shown = feature_folder(Path(project), feature)
    folder = read_folder(path, shown=shown, fitted=False)
    rung = next((rung for rung in folder.feature.ladder if isinstance(rung, ClassifierRung)), None)
    field = None if rung is None else rung.field
    read = shape(folder, field=field)
    chosen = choose(read_cases(path, shown=shown), read_training(path, shown=shown), read)
    fitted = fit(
        chosen.examples,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        field=field,
        seen=counting("rounds", what="fitting: "),
    )
    if isinstance(fitted, TooFew):
        _lacking(feature, fitted, json_)
        sys.exit(3)
    name = rung.classifier if rung else CLASSIFIER
    write_whole(path / name, written(fitted))
    if json_:
        as_json({"feature": feature, "file": f"{shown}/{name}", "fitted_on": chosen.how, "card": fitted.card})
        return
    click.echo(f"Wrote {shown}/{name}, fitted on {chosen.how}.")
    _print(fitted.card)
    if not chosen.apart:
        click.echo("No case is left to evaluate it on: add some to a file whose name does not begin with `train`.")
    if rung is None:
        _print_rung(folder, fitted)


def feature_folder(root: Path, feature: str) -> tuple[Path, str]:
    """The feature's folder, and how errors call it. The project's keys and models play no part here."""
    document = document_of(root)
    features = document.read(document.data.get("features", Settings().features), str, ("features",))
    return folder_of(root / features, feature), f"{features}/{feature}"


def _lacking(feature: str, lacks: TooFew, json_: bool) -> None:
    if json_:
        as_json({"feature": feature, "inconclusive": lacks.missing})
        return
    click.echo("Inconclusive: there are too few cases to fit a classifier on, and nothing was written.")
    for sentence in lacks.missing:
        click.echo(f"  {sentence}")
    click.echo(f"  next: add cases to cases/train.jsonl, then mainstay learn classify {feature}")


def write_whole(path: Path, content: bytes) -> None:
    """The file is whole at every moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _print(card: Card) -> None:
    for name, labels in card.labels.items():
        counts = ", ".join(f"{label} {n}" for label, n in labels.items())
        click.echo(f"{name}: {card.by_target[name]:.0%} right; cases: {counts}")
    click.echo(
        f"All right: {card.accuracy:.0%} of {card.cases} cases ({card.low:.0%} to {card.high:.0%}), "
        f"each asked of a classifier that had not seen it; probabilities are off by {card.calibration_error:.1%} on average."
    )
    table(
        ["sure", "answers", "of those right"],
        [[f"{r.sure:g}", f"{r.answered:.0%}", "-" if r.right is None else f"{r.right:.0%}"] for r in card.curve],
    )


def _print_rung(folder: Folder, file: ClassifierFile) -> None:
    click.echo(f"\nAdd to {folder.shown}/{FEATURE}, above the rungs that cost more:\n")
    click.echo(f'[[ladder]]\nclassifier = "{CLASSIFIER}"\nsure       = {ClassifierRung(classifier="").sure}')
    template = _template(folder.feature, [target.name for target in file.targets])
    if template:
        click.echo(f"answer     = '''{template}'''")


def _template(feature: Feature, targets: list[str]) -> str:
    """The labels amid what the ladder's message says of the other fields; empty where the labels alone are the answer."""
    last = feature.ladder[-1]
    if not isinstance(last, MessageRung) or isinstance(last.message, str) or set(last.message) <= set(targets):
        return ""
    fields = {name: json.dumps(value, ensure_ascii=False) for name, value in last.message.items()}
    fields |= {name: "{{ labels." + name + " | tojson }}" for name in targets}
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in fields.items()) + "}"
