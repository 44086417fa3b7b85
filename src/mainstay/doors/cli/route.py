"""`mainstay learn router`: where a feature's calls may start, learned from what each rung passed alone."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from mainstay.assembling import shape
from mainstay.at_rest import history, releases_of
from mainstay.core.errors import BadRequest, MainstayError
from mainstay.core.report import Report
from mainstay.core.router import Choice, Point, RouterFile, margin_for
from mainstay.core.seams import Releases
from mainstay.doors.cli.classify import feature_folder, write_whole
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, money, reported, table
from mainstay.doors.cli.watching import counting
from mainstay.ladders import choices_of
from mainstay.learn.routed import ENOUGH, Routed, measured
from mainstay.learn.router import Seen, TooFew, from_reports, learn, written
from mainstay.spec.feature_file import Folder, frozen_folder, read_folder

FILE = "router.json"
REPORTS = 50  # that are read, the newest
SHOWN = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)  # what a team might give up


@click.command()
@click.argument("feature")
@PROJECT
@click.option("--live", is_flag=True, help="Learn nothing; say what the router lost and saved on live calls.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def router(feature: str, project: str, live: bool, json_: bool) -> None:
    """Learn where a feature's calls may start, from evaluations of each rung alone. No model is asked.

    It takes `mainstay eval FEATURE --rungs` on a hundred cases or more. Exit code 3 if there are too few, and then it says how
    many are missing.
    """
    root = Path(project)
    if live:
        _live(root, feature, json_=json_)
        return
    path, shown = feature_folder(root, feature)
    folder = read_folder(path, shown=shown, fitted=False)
    seen, choices, names, reports = _seen(root, folder)
    found = learn(
        seen,
        choices,
        names=names,
        feature=feature,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        reports=reports,
        told=counting("parts", what="learning: "),
    )
    if isinstance(found, TooFew):
        _lacking(feature, found, json_=json_)
        sys.exit(3)
    name = folder.feature.router.file or FILE
    write_whole(path / name, written(found))
    if json_:
        as_json(
            {"feature": feature, "file": f"{shown}/{name}", "choices": found.choices, "alone": found.alone, "card": found.card}
        )
        return
    _print(found, f"{shown}/{name}", folder.feature.router.give_up)
    if folder.feature.router.file is None:
        click.echo(f'\nAdd to {shown}/feature.toml:\n\n[router]\nfile    = "{FILE}"\ngive_up = {folder.feature.router.give_up}')


def _seen(root: Path, folder: Folder) -> tuple[list[Seen], tuple[Choice, ...], Sequence[str], list[str]]:
    """What each rung of the ladder as it is now passed alone, the choices, the input's fields that hold text, and the reports.

    No model's key is needed.

    A report of another ladder, or of other prompts, says nothing of this one.
    """
    store = releases_of(root)
    try:
        reports = [store.report(id) for id in store.reports(folder.feature.name, limit=REPORTS)]
        ours: list[Report] = []
        choices = choices_of(folder, {})
        for report in reports:
            if report is None or not report.rungs:
                continue
            then = _choices_then(store, report)
            if then is None or [c.work for c in then] != [c.work for c in choices]:
                continue
            if ours and then != _known(store, ours[0]):
                continue
            ours.append(report)
        newest = _known(store, ours[0]) if ours else None
    finally:
        store.close()
    reads = shape(folder, field=None)

    def read(given: Mapping[str, object]) -> Mapping[str, object] | None:
        try:
            return reads.read_input(given)
        except BadRequest:
            return None

    choices = choices if newest is None else newest
    return from_reports(ours, choices, read=read), choices, reads.texts, [report.id for report in ours]


def _known(store: Releases, report: Report) -> tuple[Choice, ...]:
    found = _choices_then(store, report)
    assert found is not None  # noqa: S101  it was looked at a moment ago
    return found


def _choices_then(store: Releases, report: Report) -> tuple[Choice, ...] | None:
    """The choices of the release that a report is about; None where it is not kept, or no version of today's."""
    release = store.release(report.feature, report.candidate.release)
    if release is None:
        return None
    try:
        folder = frozen_folder(release.feature, release.files, shown=f"release {release.digest[:12]}")
    except MainstayError:
        return None
    return choices_of(folder, release.models)


def _lacking(feature: str, lacks: TooFew, *, json_: bool) -> None:
    if json_:
        as_json({"feature": feature, "inconclusive": lacks.missing})
        return
    click.echo("Inconclusive: a router cannot be learned, and nothing was written.")
    for sentence in lacks.missing:
        click.echo(f"  {sentence}")
    click.echo(f"  next: mainstay eval {feature} --rungs, with more cases where they are too few")


def _print(file: RouterFile, shown: str, give_up: float) -> None:
    click.echo(f"Wrote {shown}, learned from {file.card.cases} cases in {len(file.card.reports)} reports.")
    rows = [
        [choice.name, f"{one.passed:.1%}", _money(one.cost_nano_usd), f"{one.took_us / 1000:.0f} ms"]
        for choice, one in zip(file.choices, file.alone, strict=True)
    ]
    table(["rung alone", "passes", "cost", "takes"], rows)
    click.echo("\nWhere calls start, each case asked of a router that had not seen it:")
    head = ["give_up", "lost", "95 %", "cost", "saved", *[choice.name for choice in file.choices]]
    points = [(most, point) for most in sorted({*SHOWN, give_up}) if (point := _point(file, most)) is not None]
    table(head, [_row(file, most, point) for most, point in points])
    if file.card.apgr is not None:
        click.echo(f"APGR {file.card.apgr:.3f}: 0.5 is chance, 1 would be to know where the first rung gains.")
    if not any(point.starts[0] < 1 for most, point in points if most <= give_up):
        click.echo(
            f"At give_up = {give_up:g} every call starts at {file.choices[0].name}: nothing is saved, and nothing is lost."
        )


def _point(file: RouterFile, give_up: float) -> Point | None:
    margin = margin_for(file.card.curve, give_up)
    return next((point for point in file.card.curve if point.margin == margin), None)


def _row(file: RouterFile, give_up: float, point: Point) -> list[str]:
    top, cost = file.alone[0].cost_nano_usd, point.cost_nano_usd
    saved = f"{1 - cost / top:.0%}" if top and cost is not None else "-"
    starts = [f"{share:.0%}" for share in point.starts]
    return [f"{give_up:g}", f"{point.loss:.1%}", f"{point.low:.1%} to {point.high:.1%}", _money(cost), saved, *starts]


def _money(nano: float | None) -> str:
    return money(None if nano is None else round(nano))


def _live(root: Path, feature: str, *, json_: bool) -> None:
    feature_folder(root, feature)
    ledger = history(root)
    try:
        found = measured(ledger, feature)
    finally:
        ledger.close()
    if json_:
        as_json({"feature": feature, **as_data(found)})
        return
    for line in said(found, feature):
        click.echo(line)


def as_data(found: Routed) -> dict[str, object]:
    """The same as JSON."""
    return {"routed": found, "saved_in_all_nano_usd": found.saved_in_all}


def said(found: Routed, feature: str) -> list[str]:
    """What a router chose, lost and saved, in sentences."""
    if not found.calls:
        return ["No call has climbed the ladder yet."]
    starts = [*sorted(found.starts.items()), ("the top", found.top)]
    where = ", ".join(f"{name} {count / found.calls:.0%}" for name, count in starts)
    lines = [f"{found.lower} of the {found.calls} newest calls started lower. Where calls start: {where}."]
    if found.loss is None:
        return [
            *lines,
            f"What that loses is not measured yet; it takes scorers in gate.online and `check` in [router] of {feature}.",
        ]
    few = f"too few for an interval: it takes {ENOUGH}"
    width = few if found.interval is None else f"95 %: {found.interval[0]:.1%} to {found.interval[1]:.1%}"
    lines.append(f"The first rung's answer to {found.pairs} of them scores {found.loss:+.1%} ({width}).")
    if found.saved is None or found.saved_in_all is None:
        return [*lines, "What it saves is not known: an answer has no known price."]
    what = f"{_money(found.saved)} a call that started lower, {money(found.saved_in_all)} in all"
    return [*lines, f"Saved beside always starting at the top: {what}, less the {money(found.spent)} that measuring cost."]
