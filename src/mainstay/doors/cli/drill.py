"""`mainstay drill`: what a user sees under every fault."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mainstay.app import rehearsal
from mainstay.core.errors import BadRequest, ConfigError
from mainstay.core.reasons import Status
from mainstay.core.units import Seconds
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, reported, table
from mainstay.doors.cli.run import input_of
from mainstay.doors.cli.serve import demo_project
from mainstay.doors.cli.watching import counting
from mainstay.learn.drill import DEADLINE, Report, Seen
from mainstay.learn.faults import FAULTS, HEALTHY
from mainstay.spec.feature_file import FILE as FEATURE
from mainstay.spec.settings_file import FILE as SETTINGS
from mainstay.spec.settings_file import asleep, read_settings

HEAD = ["fault", "delivery", "status", "reason", "rung", "took", "attempts", "", "what the provider does"]
HELP = {fault.name: fault.help for fault in (HEALTHY, *FAULTS)}


@click.command()
@click.argument("feature")
@click.argument("fields", nargs=-1, metavar="[NAME=VALUE]...")
@PROJECT
@click.option("--deadline", default=str(DEADLINE), show_default=True, help="Shorten the feature's deadline to this.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def drill(feature: str, fields: tuple[str, ...], project: str, deadline: str, json_: bool) -> None:
    """Run a feature against every fault: through the real adapters, with a faulty server in place of its providers.

    Nothing live is touched and no key is needed. The input is made up, unless it is given as for `mainstay run`. Without a
    project in the current folder, the features of the bundled example can be drilled.

    Exit code 0 if every call kept its promises, 1 if any was late, untyped, unchecked or unrecorded, 3 if the input never
    reached a model.
    """
    root = project_of(project, feature, "drills")
    report = asyncio.run(_drill(root, feature, fields, _seconds(deadline)))
    keyless = _keyless(root, report)
    if json_:
        as_json({**_facts(report), "keyless": keyless, "calls": report.calls})
    else:
        _print(report, keyless)
    sys.exit(3 if report.inconclusive else 0 if report.passed else 1)


def project_of(project: str, feature: str, does: str) -> Path:
    """The project's folder; the bundled example's, where there is no project here and the feature is one of its own."""
    root = Path(project)
    example = demo_project()
    if project == "." and not (root / SETTINGS).exists() and (example / "features" / feature / FEATURE).is_file():
        click.echo(f"There is no {SETTINGS} here: this {does} the bundled example.", err=True)
        return example
    return root


def _seconds(text: str) -> float:
    try:
        seconds = Seconds.parse(text)
    except ValueError as error:
        raise BadRequest(str(error), where="--deadline", next=f"--deadline {DEADLINE}") from None
    if not seconds > 0:
        raise BadRequest("a deadline is longer than nothing", where="--deadline", next=f"--deadline {DEADLINE}")
    return seconds


def _keyless(root: Path, report: Report) -> list[str]:
    """The models that were drilled and that live calls have to go without, because the environment holds no key for them."""
    try:
        models = read_settings(root, os.environ).models
    except ConfigError:  # a key that is not set, and not optional: then nothing is live
        return list(report.adapters)
    return [name for name in report.adapters if asleep(models[name], os.environ)]


async def _drill(root: Path, feature: str, fields: tuple[str, ...], deadline: float) -> Report:
    async with rehearsal(root) as app:
        given: dict[str, Any] | None = input_of(app, feature, fields, "drill") if fields else None
        return await app.workshop.drill(feature, given, deadline=deadline, seen=counting("calls"))


def _facts(report: Report) -> dict[str, Any]:
    return {
        "feature": report.feature,
        "passed": report.passed,
        "inconclusive": report.inconclusive,
        "deadline": report.deadline,
        "scale": report.scale,
        "margin": report.margin,
        "adapters": report.adapters,
        "pinned": report.pinned,
        "above_message": report.above_message,
    }


def _print(report: Report, keyless: Sequence[str]) -> None:
    table(HEAD, [_row(call, report) for call in report.calls])
    click.echo()
    for call in report.calls:
        for wrong in call.wrong:
            click.echo(f"WRONG  {call.fault}, {call.delivery}: {wrong}")
    through = ", ".join(f"{name} through {adapter}" for name, adapter in report.adapters.items())
    click.echo(f"Models: {through or 'none'}; asked at a faulty server on this machine.")
    if keyless:
        click.echo(f"No key is set for: {', '.join(keyless)}. Live calls go without, until there is one.")
    share = f", {report.scale:.0%} of the feature's, and its rungs' limits shortened alike" if report.scale < 1 else ""
    click.echo(f"Deadline: {Seconds(report.deadline)}{share}; late is {Seconds(report.margin)} after it.")
    if report.pinned:
        click.echo("Evidence: the sources hold nothing for the drill's input, so it brought a passage of its own.")
        click.echo(f"  next: mainstay drill {report.feature} NAME=VALUE, with a question that they answer")
    if report.inconclusive:
        click.echo(f"Inconclusive: {report.inconclusive}.\n  next: mainstay drill {report.feature} NAME=VALUE")
        return
    click.echo(_seen_by_users(report))
    broken = sum(1 for call in report.calls if call.wrong)
    verdict = "every call was on time, typed, checked and recorded" if report.passed else f"{broken} broke a promise"
    click.echo(f"{'Passed' if report.passed else 'FAILED'}: {len(report.calls)} calls; {verdict}.")


def _seen_by_users(report: Report) -> str:
    """What became of the calls with a fault, in one sentence."""
    faulty = [call for call in report.calls if call.fault != HEALTHY.name]
    broken_off = sum(1 for call in faulty if call.status is Status.INTERRUPTED)
    rest = len(faulty) - round(report.above_message * len(faulty)) - broken_off
    others = f"; {broken_off} were broken off after the first word, {rest} had the message or nothing"
    return f"Answered above the message: {report.above_message:.0%} of {len(faulty)} calls with a fault{others}."


def _row(call: Seen, report: Report) -> list[str]:
    return [
        *(call.fault, call.delivery, call.status or "none", call.reason or "-", call.rung or "-"),
        f"{call.took:.2f} of {report.deadline:g} s",
        ", ".join(call.attempts) or "-",
        "WRONG" if call.wrong else "",
        HELP[call.fault] if call.delivery == "streamed" else "",
    ]
