"""`mainstay stress`: what a feature makes of adversarial inputs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

import mainstay
from mainstay.core.errors import BadRequest
from mainstay.core.reasons import Status
from mainstay.core.release import Attestation
from mainstay.core.units import Seconds
from mainstay.doors.cli.drill import project_of
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, money, one_line, reported, table
from mainstay.doors.cli.run import GOOD, input_of
from mainstay.doors.cli.serve import demo_project
from mainstay.doors.cli.watching import counting
from mainstay.learn.adversarial import KINDS, PLAIN
from mainstay.learn.stress import LIMIT, PROBLEMS, Report, Seen
from mainstay.spec.cases import FOLDER, add_cases, new_cases, read_cases

KEPT = "stress.jsonl"
SHOWN = 160  # characters of an input or an answer
HEAD = ["kind", "probes", "answered", "refused", "else", "weak", "what is tried"]


@click.command()
@click.argument("feature")
@click.argument("fields", nargs=-1, metavar="[NAME=VALUE]...")
@PROJECT
@click.option("--limit", default=LIMIT, show_default=True, type=click.IntRange(1, 10_000), help="Ask at most so many probes.")
@click.option("--seed", default=0, show_default=True, help="Another number makes other probes.")
@click.option("--keep", is_flag=True, help=f"Keep what is found as cases, in {FOLDER}/{KEPT} of the feature.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def stress(feature: str, fields: tuple[str, ...], project: str, limit: int, seed: int, keep: bool, json_: bool) -> None:
    """Ask a feature what nobody hopes to be asked: adversarial inputs, made from its own.

    The feature's own models are asked, so it costs what so many calls cost; how much is known only afterwards. The inputs are
    those of its cases, or the one that is given as for `mainstay run`, or made up. Without a project in the current folder, the
    features of the bundled example can be stressed.

    Exit code 0 if nothing was found, 1 if a weakness was, 3 if nothing was found but no model answered, or the plain inputs
    were not answered.
    """
    root = project_of(project, feature, "stresses")
    example = root == demo_project()
    if keep and example:
        raise BadRequest("the bundled example keeps no cases", where="--keep", next="mainstay init")
    state = Path(".mainstay") / "demo" if example else None
    with _quietly():
        report, folder, shown = asyncio.run(_stress(root, feature, fields, limit=limit, seed=seed, state=state))
    kept = _keep(folder, shown, report) if keep else 0
    if json_:
        as_json({**_facts(report), "kept": kept, "weaknesses": report.weaknesses, "calls": report.calls})
    else:
        _print(report)
        if keep:
            click.echo(f"Kept: {kept} new case(s) in {folder / FOLDER / KEPT}")
        elif report.weaknesses and not example:
            click.echo(f"  next: mainstay stress {feature} --keep")
    sys.exit(1 if report.weaknesses else 3 if report.inconclusive else 0)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the log of what goes wrong: it is wanted here, and in the report."""
    log = logging.getLogger("mainstay")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


async def _stress(
    root: Path, feature: str, fields: tuple[str, ...], *, limit: int, seed: int, state: Path | None
) -> tuple[Report, Path, str]:
    """The report, which is kept as evidence, and the feature's folder with the name that errors have for it."""
    async with mainstay.open(root, state=state, dev=True) as app:
        shown = f"{app.settings.features}/{feature}"
        given = [input_of(app, feature, fields, "stress")] if fields else _inputs(root / shown, shown)
        report = await app.workshop.stress(feature, given, limit=limit, seed=seed, seen=counting("probes"))
        app.workshop.attest(_evidence(report, app))
        return report, root / shown, shown


def _inputs(folder: Path, shown: str) -> list[dict[str, Any]]:
    """The inputs of the feature's cases, without those that stress itself has kept."""
    return [case.input for case in read_cases(folder, shown=shown) if not case.source.startswith("stress:")]


def _evidence(report: Report, app: mainstay.Mainstay) -> Attestation:
    found = sorted({weakness.kind for weakness in report.weaknesses})
    return Attestation(
        id=report.calls[0].record,
        kind="stress",
        feature=report.feature,
        release=app.features.ready[report.feature].digest,
        passed=not found,
        at=time.time(),
        who=app.workshop.who,
        what=f"weak against {', '.join(found)}" if found else f"{len(report.calls)} adversarial calls found no weakness",
    )


def _keep(folder: Path, shown: str, report: Report) -> int:
    """Add the weaknesses to the cases; one that is there already is not written twice. Gives how many are new."""
    found = [weakness.case for weakness in report.weaknesses if weakness.case is not None]
    new = new_cases(found, read_cases(folder, shown=shown))
    if new:
        add_cases(folder / FOLDER / KEPT, new)
    return len(new)


# What is printed


def _facts(report: Report) -> dict[str, Any]:
    return {
        "feature": report.feature,
        "release": report.release,
        "passed": not report.weaknesses,
        "inconclusive": report.inconclusive,
        "seed": report.seed,
        "probes": len(report.calls),
        "took": report.took,
        "cost_nano_usd": report.cost_nano_usd,
    }


def _print(report: Report) -> None:
    kinds = [kind for kind in KINDS if any(call.kind == kind for call in report.calls)]
    table(HEAD, [_row(kind, [call for call in report.calls if call.kind == kind]) for kind in kinds])
    click.echo()
    for weakness in report.weaknesses:
        click.echo(f"WEAK  {weakness.kind}: {weakness.problem}: {one_line(weakness.what)}")
        click.echo(f"      asked: {one_line(weakness.asked, SHOWN)}")
        click.echo(f"      answer: {one_line(weakness.shown, SHOWN) or 'nothing'}")
        click.echo(f"      record: {weakness.record}" + ("" if weakness.case else "; no case can hold this input"))
    found = {weakness.problem for weakness in report.weaknesses}
    for problem in [problem for problem in PROBLEMS if problem in found]:
        click.echo(f"{problem}: {PROBLEMS[problem]}")
    click.echo(f"Cost: {money(report.cost_nano_usd)} for {len(report.calls)} calls, in {Seconds(report.took)}.")
    if report.inconclusive:
        answers = any(call.kind == PLAIN and call.status in GOOD for call in report.calls)
        ask = "mainstay doctor" if answers else f"mainstay stress {report.feature} NAME=VALUE, with an input that it answers"
        click.echo(f"Inconclusive: {report.inconclusive}.\n  next: {ask}")
        if not report.weaknesses:
            return
    weak = f"{len(report.weaknesses)} weakness(es) in {len({w.kind for w in report.weaknesses})} kind(s) of probes"
    click.echo(f"FAILED: {weak}." if report.weaknesses else f"Passed: {len(report.calls)} probes, and no weakness was found.")


def _row(kind: str, calls: Sequence[Seen]) -> list[str]:
    answered = sum(call.status in GOOD for call in calls)
    refused = sum(call.status is Status.REFUSED for call in calls)
    weak = sum(bool(call.weaknesses) for call in calls)
    return [kind, *map(str, (len(calls), answered, refused, len(calls) - answered - refused)), str(weak or ""), KINDS[kind]]
