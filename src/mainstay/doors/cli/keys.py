"""`mainstay keys`: who may come in over HTTP, for which tenant, and what they may do there."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from mainstay.at_rest import folders_in, models_in, releases_of, switchboard, without_price
from mainstay.core.errors import BadRequest, NotFound, nearest
from mainstay.core.keys import EVERY_TENANT, ROLES, Key
from mainstay.core.release import fold
from mainstay.core.units import Seconds
from mainstay.doors.cli.options import PROJECT, STATE, WHY
from mainstay.doors.cli.printing import as_json, date, printable, reported, table
from mainstay.learn import keyring

LIMIT = '--limit per_day="5 USD"'


@click.group()
def keys() -> None:
    """The keys that callers need over HTTP: make, list and revoke them. Every process obeys within a second."""


@keys.command()
@PROJECT
@STATE
@click.option("--tenant", required=True, help='Whose calls are made with it; "*" names the tenant with each call.')
@click.option("--role", "roles", multiple=True, type=click.Choice(ROLES), help="What it may do; caller, if none is given.")
@click.option("--feature", "features", multiple=True, help="Only this feature, and what else is named.")
@click.option("--model", "models", multiple=True, help="Only this model by its own name, and what else is named.")
@click.option("--expires", metavar="TIME", help="After how long it opens nothing any more, such as 90d; by default never.")
@click.option("--limit", "limits", multiple=True, metavar="NAME=CAP", help=f"What may be spent or asked with it: {LIMIT}.")
@click.option("--name", default="", help="What you call it.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def create(
    project: str,
    state: str | None,
    tenant: str,
    roles: tuple[str, ...],
    features: tuple[str, ...],
    models: tuple[str, ...],
    expires: str | None,
    limits: tuple[str, ...],
    name: str,
    json_: bool,
) -> None:
    """Make a key. It is printed once, and kept nowhere."""
    root = Path(project)
    for kind, given, known in (("feature", features, set(folders_in(root))), ("model", models, models_in(root))):
        for one in given:
            if one not in known:
                raise NotFound(f'there is no {kind} "{one}"; {nearest(one, known)}', where=f"--{kind}")
    kept = None if state is None else Path(state)
    unpriced = without_price(root, kept) if limits else {}
    with switchboard(root, kept) as board:
        token, key = keyring.create(
            board,
            tenant=tenant,
            roles=[role for role in ROLES if role in roles] or ["caller"],
            features=features,
            models=models,
            expires=None if expires is None else _moment(expires),
            limits=_caps(limits),
            name=name,
            where="--limit",
            unpriced=unpriced,
        )
    if json_:
        as_json({**keyring.shown(key), "key": token})
        return
    click.echo(token)
    click.echo(f"{_said(key)} It is not shown again. Revoke it: mainstay keys revoke {key.id}", err=True)


def _moment(text: str) -> float:
    try:
        seconds = Seconds.parse(text)
    except ValueError as error:
        raise BadRequest(str(error), where="--expires", next="--expires 90d") from None
    if not seconds:
        raise BadRequest("a key is good for longer than nothing", where="--expires", next="--expires 90d")
    return time.time() + seconds


def _caps(given: tuple[str, ...]) -> dict[str, tuple[str | int, ...]]:
    """`per_day=5 USD`, any number of times; a number alone counts calls."""
    found: dict[str, tuple[str | int, ...]] = {}
    for text in given:
        name, equals, cap = text.partition("=")
        if not equals:
            raise BadRequest(f'expected a name and a cap, got "{text}"', where="--limit", next=LIMIT)
        cap = cap.strip()
        found[name.strip()] = (*found.get(name.strip(), ()), int(cap) if cap.isascii() and cap.isdigit() else cap)
    return found


def _said(key: Key) -> str:
    whose = "every tenant" if key.tenant == EVERY_TENANT else f"the tenant {key.tenant}"
    until = "" if key.expires is None else f", until {date(key.expires)}"
    return f"The key {key.id} speaks for {whose} as {' and '.join(key.roles)}{until}."


@keys.command("list")
@PROJECT
@STATE
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def list_(project: str, state: str | None, json_: bool) -> None:
    """All keys that were not revoked, without their secrets."""
    store = releases_of(Path(project), None if state is None else Path(state))
    try:
        found = list(fold(store.links()).keys.values())
    finally:
        store.close()
    if json_:
        as_json([keyring.shown(key) for key in found])
    elif not found:
        click.echo("There are no keys. Make one: mainstay keys create --tenant acme", err=True)
    else:
        table(["id", "tenant", "roles", "uses", "limits", "expires", "name"], [_row(key) for key in found])


def _row(key: Key) -> list[str]:
    limits = [f"{name} {', '.join(map(str, values))}" for name, values in key.limits.items()]
    expires = "never" if key.expires is None else date(key.expires) + (" (over)" if key.expired(time.time()) else "")
    uses = ", ".join([*key.features, *key.models]) or "everything"
    row = [key.id, key.tenant, ", ".join(key.roles), uses, "; ".join(limits) or "-", expires, key.name or "-"]
    return [printable(cell) for cell in row]


@keys.command()
@click.argument("id")
@PROJECT
@STATE
@WHY
@reported
def revoke(id: str, project: str, state: str | None, why: str) -> None:
    """Revoke a key, for good: within a second no process takes it any more.

    Exit code 1 where there is no such key.
    """
    try:
        with switchboard(Path(project), None if state is None else Path(state)) as board:
            keyring.revoke(board, id, why=why)
    except NotFound as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    click.echo(f"The key {id} is revoked.")
