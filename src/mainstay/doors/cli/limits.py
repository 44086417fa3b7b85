"""`mainstay limits`: what is spent and left."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from mainstay.at_rest import limits_of
from mainstay.core.units import Usd
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, printable, reported, table
from mainstay.serve.limiting import Standing

PER_PROCESS = ("retry_loops", "circuit_breakers", "queues")  # what each process keeps to itself, so that it cannot be shown


@click.command()
@PROJECT
@click.option("--state", type=click.Path(file_okay=False), help="The folder of the counters, if not the project's.")
@click.option("--json", "json_", is_flag=True, help="Print JSON; money is in nano-dollars.")
@reported
def limits(project: str, state: str | None, json_: bool) -> None:
    """What is spent and left in each window: of the project, its features, tenants and keys."""
    found, surge = limits_of(Path(project), None if state is None else Path(state))
    until = None if surge is None else surge.until
    if json_:
        listed = [{**_plain(one), "left": one.left} for one in found]
        as_json({"limits": listed, "paused": until is not None, "surge": surge, "per_process": PER_PROCESS})
        return
    if until is not None:
        when = datetime.datetime.fromtimestamp(until).strftime("%H:%M")
        click.echo(f"Spending was far above the usual, so no paid rung is tried until {when}.")
    table(["who", "window", "spent", "most", "left", "until"], [_row(one) for one in found])
    if not found:
        click.echo(
            "Nothing is limited, and nothing was counted. Limits stand in [limits] of feature.toml and mainstay.toml.", err=True
        )


def _plain(standing: Standing) -> dict[str, object]:
    return {name: getattr(standing, name) for name in standing.__struct_fields__}


def _row(standing: Standing) -> list[str]:
    until = "-" if standing.ends is None else datetime.datetime.fromtimestamp(standing.ends).strftime("%m-%d %H:%M")
    amounts = [_shown(standing, amount) for amount in (standing.taken, standing.most, standing.left)]
    return [printable(standing.scope), standing.window or "at once", *amounts, until]


def _shown(standing: Standing, amount: int | None) -> str:
    if amount is None:
        return "-"
    return str(Usd(amount)) if standing.unit == "usd" else f"{amount} {standing.unit.replace('at_once', 'calls')}"
