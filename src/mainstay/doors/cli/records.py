"""`mainstay records`: what happened."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

import click

from mainstay.at_rest import history
from mainstay.core.errors import NotFound
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Record
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, milliseconds, money, reported, table
from mainstay.state_folder import LEDGER


@click.command()
@click.argument("id", required=False)
@PROJECT
@click.option("--state", type=click.Path(file_okay=False), help="The folder of the ledger, if not the project's.")
@click.option("--feature", help="Only this feature's.")
@click.option("--status", type=click.Choice([s.value for s in Status]), metavar="STATUS", help="Only with this status.")
@click.option("--reason", type=click.Choice([r.value for r in Reason]), metavar="REASON", help="Only with this reason.")
@click.option("--tenant", help="Only this tenant's.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="How many at most.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def records(
    id: str | None,
    project: str,
    state: str | None,
    feature: str | None,
    status: str | None,
    reason: str | None,
    tenant: str | None,
    limit: int,
    json_: bool,
) -> None:
    """The newest records, or with an ID one in full with its scores."""
    if state is not None and not (Path(state) / LEDGER).is_file():
        raise NotFound("there is no ledger in that folder", where=state, next="mainstay records, for the project's own")
    ledger = history(Path(project), None if state is None else Path(state))
    try:
        if id is not None:
            found = ledger.record(id)
            if found is None:
                click.echo(f'error: there is no record "{id}"\n  next: mainstay records', err=True)
                sys.exit(1)
            as_json({"begun": found.begun, "outcome": found.outcome, "scores": ledger.scores(id)})
            return
        wanted = {"feature": feature, "status": status, "reason": reason, "tenant": tenant}
        rows = ledger.records(where={name: value for name, value in wanted.items() if value is not None}, limit=limit)
        if json_:
            as_json(rows)
        else:
            table(["when", "feature", "status", "reason", "rung", "took", "cost", "id"], [_row(record) for record in rows])
            if not rows:
                click.echo("There are no such records." if any(wanted.values()) else "There are no records yet.", err=True)
    finally:
        ledger.close()


def _row(record: Record) -> list[str]:
    outcome, answer = record.outcome, record.outcome.answer
    when = datetime.datetime.fromtimestamp(record.begun.at).strftime("%m-%d %H:%M:%S")
    return [
        *(when, answer.feature, answer.status, answer.reason or "-", answer.rung or "-"),
        *(milliseconds(outcome.took_us), money(outcome.cost_nano_usd), record.id),
    ]
