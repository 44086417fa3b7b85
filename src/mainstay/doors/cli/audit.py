"""`mainstay audit`: every change of what is served and of who may ask, and whether the chain of them is whole."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mainstay.at_rest import releases_of
from mainstay.core.errors import BadRequest, StoreError
from mainstay.core.release import Link, TrialBegan, WentLive, broken, public
from mainstay.core.seams import Releases
from mainstay.doors.cli.options import PROJECT, STATE
from mainstay.doors.cli.printing import as_json, date, printable, reported, table

SHOWN = 12  # characters of a hash in the list, which nobody forges by chance


@click.group()
def audit() -> None:
    """Every change of what is served: who, when, what, and whether anybody touched the list since."""


@audit.command("list")
@click.argument("feature", required=False)
@PROJECT
@STATE
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def list_(feature: str | None, project: str, state: str | None, json_: bool) -> None:
    """All changes, the oldest first."""
    store = releases_of(Path(project), None if state is None else Path(state))
    try:
        links = [link for link in store.links() if feature is None or link.feature == feature]
    finally:
        store.close()
    if json_:
        as_json(links)
    elif not links:
        click.echo("Nothing was changed yet.", err=True)
    else:
        table(["no", "when", "who", "feature", "change", "hash"], [_row(link) for link in links])


@audit.command()
@PROJECT
@STATE
@click.option(
    "--head",
    metavar="HASH",
    help=f"The hash of the last change, as you noted it elsewhere, or its first {SHOWN} characters: shows a cut-off end.",
)
@reported
def verify(project: str, state: str | None, head: str | None) -> None:
    """Is the chain whole, and are the releases and reports that it rests on what they were?

    Exit code 0 if so, 1 with the first link that is not.
    """
    if head is not None and len(head) < SHOWN:
        raise BadRequest(f"a hash is noted with at least {SHOWN} characters", where="--head", next="mainstay audit list")
    store = releases_of(Path(project), None if state is None else Path(state))
    links: list[Link] = []
    try:
        links = store.links()
        wrong = broken(links)
        what = None if wrong is None else f"change {wrong.number} was altered, or one before it is missing"
        what = what or _unsealed(links, store)
        if what is None and head is not None and not any(link.hash.startswith(head) for link in links):
            what = f"the change {head[:SHOWN]} is missing: the end of the chain was cut off"
    except StoreError as error:
        what = error.what
    finally:
        store.close()
    if what is not None:
        click.echo(f"BROKEN: {what}")
        sys.exit(1)
    click.echo(f"{len(links)} changes, each following the one before. Head: {links[-1].hash if links else 'none'}")


def _unsealed(links: list[Link], store: Releases) -> str | None:
    """The first release or report that a change rests on and that is not there any more as it was."""
    for link in links:
        change = link.change
        if isinstance(change, WentLive | TrialBegan) and store.release(link.feature, change.digest) is None:
            return f"the release {change.digest[:12]} behind change {link.number} is gone"
        if isinstance(change, WentLive | TrialBegan) and change.report:
            evidence = store.evidence(change.report)
            if evidence is None or evidence.seal != change.seal:
                what = "gone" if evidence is None else "not what it was"
                return f"the report {change.report} behind change {link.number} is {what}"
    return None


def _row(link: Link) -> list[str]:
    when = date(link.at, "%Y-%m-%d %H:%M:%S")
    said: dict[str, Any] = public(link.change)
    kind = said.pop("change")
    facts = ", ".join(f"{name} {_short(name, value)}" for name, value in said.items())
    row = [str(link.number), when, link.who, link.feature, f"{kind}: {facts}" if facts else kind, link.hash[:SHOWN]]
    return [printable(cell) for cell in row]


def _short(name: str, value: Any) -> str:
    if name in ("digest", "to"):
        return str(value)[:12]
    if name in ("until", "expires"):
        return date(value)
    if isinstance(value, dict):
        return ", ".join([f"{cap} {_short(cap, caps)}" for cap, caps in value.items()])
    if isinstance(value, list | tuple):
        return " and ".join(map(str, value))
    return f"{value:.0%}" if name == "share" else str(value)
