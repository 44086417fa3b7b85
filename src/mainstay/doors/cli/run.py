"""`mainstay run`: one call, in process, shown as it is written."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from typing import Any

import click

import mainstay
from mainstay.core.answer import Answer, Retract, Step, Text
from mainstay.core.errors import BadRequest, NotFound, nearest
from mainstay.core.reasons import Status
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, milliseconds, money, one_line, reported

GOOD = (Status.ANSWERED, Status.CACHED, Status.DEGRADED)


@click.command()
@click.argument("feature")
@click.argument("fields", nargs=-1, metavar="[NAME=VALUE]...")
@PROJECT
@click.option("--json", "json_", is_flag=True, help="Print the answer as JSON.")
@click.option("--progress", is_flag=True, help="Say which rung is tried.")
@reported
def run(feature: str, fields: tuple[str, ...], project: str, json_: bool, progress: bool) -> None:
    """Ask a feature. A value that is JSON is read as such; a lone text fills the one input there is.

    Exit code 0 if there was an answer, 1 if it was refused, interrupted or unavailable.
    """
    with mainstay.open(project, dev=True) as app:
        asked = input_of(app, feature, fields)
        answer = asyncio.run(_run(app, feature, asked, quiet=json_, progress=progress))
    sys.exit(0 if answer.status in GOOD else 1)


def input_of(app: mainstay.Mainstay, feature: str, fields: tuple[str, ...], command: str = "run") -> dict[str, Any]:
    """What was typed behind a feature's name, as its input. Raises `NotFound` and `BadRequest`."""
    ready = app.features.ready.get(feature)
    if ready is None:
        known = app.features.ready
        raise NotFound(f'there is no feature "{feature}"; {nearest(feature, known)}', next="mainstay doctor")
    declared = list(ready.feature.input.fields)
    if len(fields) == 1 and "=" not in fields[0].split(" ")[0] and len(declared) == 1:
        return {declared[0]: fields[0]}
    values: dict[str, Any] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals:
            text = shlex.quote(" ".join(fields) if not any("=" in f for f in fields) else field)
            given = text if len(declared) == 1 else f"{(declared or ['question'])[0]}={text}"
            raise BadRequest(f"not NAME=VALUE: {field!r}", next=f"mainstay {command} {feature} {given}")
        if name in values:
            raise BadRequest(f"the input `{name}` is given twice", param=name)
        values[name] = _value(value, ready.feature.input.fields.get(name, ""))
    return values


def _value(text: str, kind: str) -> Any:
    if kind.startswith(("text", "image")) and not kind.startswith("texts"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


async def _run(app: mainstay.Mainstay, feature: str, asked: dict[str, Any], *, quiet: bool, progress: bool) -> Answer:
    async for event in app.stream(feature, asked, progress=progress):
        if isinstance(event, Answer):
            answer = event
        elif quiet:
            continue
        elif isinstance(event, Text):
            click.echo(event.text, nl=False)
        elif isinstance(event, Retract):
            click.echo(f"\n[taken back: {event.reason}]")
        elif isinstance(event, Step):
            click.echo(f"[{event.name} {event.detail}]", err=True)
    if quiet:
        as_json(answer)
    else:
        await _finish(app, answer)
    await app.close()
    return answer


async def _finish(app: mainstay.Mainstay, answer: Answer) -> None:
    if answer.data is not None:
        as_json(answer.data)
    elif answer.status in (Status.REFUSED, Status.UNAVAILABLE):
        click.echo(answer.text)
    for number, citation in enumerate(answer.citations, 1):
        click.echo(f"\n[{number}] {citation.document} > {' > '.join(citation.heading)}", nl=False)
    click.echo()
    record = await app.record(answer.id)
    outcome = None if record is None else record.outcome
    facts = [answer.status, answer.reason or "", f"by {answer.rung}" if answer.rung else "", answer.detail or ""]
    facts += [] if outcome is None else [milliseconds(outcome.took_us), money(outcome.cost_nano_usd), answer.id]
    click.echo(f"\n-- {', '.join(fact for fact in facts if fact)}", err=True)
    if outcome is not None and answer.status not in (Status.ANSWERED, Status.CACHED):
        for attempt in outcome.attempts:
            if attempt.outcome != "ok":
                click.echo(
                    f"   {attempt.rung}: {attempt.outcome}{': ' if attempt.detail else ''}{one_line(attempt.detail)}", err=True
                )
