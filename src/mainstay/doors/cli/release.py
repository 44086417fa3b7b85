"""`mainstay release`, `rollback`, `off`, `on`: what is served to whom."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

import mainstay
from mainstay.at_rest import named_in, switchboard
from mainstay.core.errors import BadRequest, NotFound, nearest
from mainstay.core.release import EVERY, LARGEST_TRIAL, RolledBack, Switched, TrialBegan, TrialEnded, WentLive, share_of
from mainstay.core.units import Seconds
from mainstay.doors.cli.eval import EXIT, running, show, wanted
from mainstay.doors.cli.options import PROJECT, STATE, WHY
from mainstay.doors.cli.printing import as_json, reported
from mainstay.doors.cli.watching import Bar
from mainstay.learn.releasing import CANARY_DAYS, OVERRIDE_HOURS, Released, Wanted
from mainstay.learn.switching import Switchboard

DAY = 86400.0
LONGEST = 90 * DAY  # of a trial or an override: nothing is for a while for ever


@click.command()
@click.argument("feature")
@PROJECT
@click.option("--canary", metavar="SHARE", help="Answer this share of the calls with it, beside a control; then judge it.")
@click.option("--shadow", metavar="SHARE", help="Run it beside this share of the calls, shown to nobody.")
@click.option(
    "--for", "lasting", metavar="TIME", help=f"How long a trial, or an override, may last; {CANARY_DAYS:g}d, {OVERRIDE_HOURS:g}h."
)
@click.option("--override", metavar="REASON", help="Make it live without the gate, for a while. It is kept in the audit.")
@running
@reported
def release(
    feature: str,
    project: str,
    canary: str | None,
    shadow: str | None,
    lasting: str | None,
    override: str | None,
    json_: bool,
    html: str | None,
    junit: str | None,
    markdown: str | None,
    **how: Any,
) -> None:
    """Evaluate a feature's folder, and make it live if the gate lets it pass.

    What is served from then on is what was evaluated, byte for byte, until the next release.

    Exit code 0 if it is live (or on trial), 1 if the gate blocked it, 3 if there were too few cases to tell.
    """
    if len([given for given in (canary, shadow, override) if given is not None]) > 1:
        raise BadRequest(
            "a release goes live, on trial, or in by an override: one of them", where="--canary, --shadow, --override"
        )
    if lasting is not None and not (canary or shadow or override):
        raise BadRequest("what goes live through the gate has no end", where="--for", next=f"mainstay release {feature}")
    with mainstay.open(project, dev=True) as app:
        done = asyncio.run(_release(app, feature, canary, shadow, lasting, override, wanted(**how)))
    if done.report is not None:
        show(done.report, {"html": html, "junit": junit, "markdown": markdown}, json_=json_)
    elif json_:
        as_json(done)
    if not json_:
        click.echo(_said(feature, done))
    outcome = done.report.ruling.outcome if done.report is not None and done.report.ruling is not None else "passed"
    sys.exit(0 if done.link is not None else EXIT[outcome])


async def _release(
    app: mainstay.Mainstay,
    feature: str,
    canary: str | None,
    shadow: str | None,
    lasting: str | None,
    override: str | None,
    options: Wanted,
) -> Released:
    seconds = None if lasting is None else _seconds(lasting)
    try:
        if override is not None:
            return app.desk.override(feature, override, hours=OVERRIDE_HOURS if seconds is None else seconds / 3600)
        with Bar() as bar:
            if canary is None and shadow is None:
                return await app.desk.release(feature, options, seen=bar)
            kind, text = ("canary", canary) if shadow is None else ("shadow", shadow)
            share = share_of(text or "", most=LARGEST_TRIAL, where=f"--{kind}")
            days = CANARY_DAYS if seconds is None else seconds / DAY
            return await app.desk.on_trial(feature, options, kind=kind, share=share, days=days, seen=bar)  # type: ignore[arg-type]
    finally:
        await app.close()


def _seconds(text: str) -> float:
    try:
        seconds = Seconds.parse(text)
    except ValueError as error:
        raise BadRequest(str(error), where="--for", next="--for 24h") from None
    if not 0 < seconds <= LONGEST:
        raise BadRequest(f"a trial or an override lasts at most {LONGEST / DAY:g} days", where="--for", next="--for 24h")
    return seconds


def _said(feature: str, done: Released) -> str:
    short = done.release[:12]
    if done.link is None:
        if done.report is None:
            return f"Release {short} of {feature} is live already."
        said = done.report.ruling.outcome if done.report.ruling else "nothing"
        return f"Release {short} of {feature} is not live: the gate said {said}."
    change = done.link.change
    if isinstance(change, TrialBegan):
        return f"Release {short} of {feature} is on trial as a {change.kind}, with {change.share:.0%} of the calls."
    if isinstance(change, WentLive) and change.override:
        return f"Release {short} of {feature} is live by override; it expires."
    return f"Release {short} of {feature} is live."


@click.command()
@click.argument("feature")
@PROJECT
@STATE
@click.option("--to", metavar="DIGEST", help="An earlier release; by default the one that was live before.")
@click.option("--shadow", is_flag=True, help="End the shadow instead; what is live stays.")
@WHY
@reported
def rollback(feature: str, project: str, state: str | None, to: str | None, shadow: bool, why: str) -> None:
    """Make the earlier release live again, or end the canary if there is one. Waits for no gate."""
    if shadow and to is not None:
        raise BadRequest("a shadow ends, or an earlier release is live again: one of them", where="--to, --shadow")
    with switchboard(Path(project), None if state is None else Path(state)) as board:
        _check(feature, Path(project), board)
        link = board.end_shadow(feature, why=why) if shadow else board.roll_back(feature, to=to, why=why)
    if shadow:
        click.echo(f"The shadow of {feature} is over.")
    elif isinstance(link.change, TrialEnded):
        click.echo(f"The canary of {feature} is over; the live release answers everybody.")
    elif isinstance(link.change, RolledBack):
        click.echo(f"Release {link.change.to[:12]} of {feature} is live again.")


@click.command()
@click.argument("feature")
@PROJECT
@STATE
@click.option("--tenant", help="Only for this tenant.")
@click.option("--share", default="100%", show_default=True, help="Only for this share of the users.")
@click.option("--all", "everything", is_flag=True, help="Every rung but the fixed message, not only those that need a model.")
@WHY
@reported
def off(feature: str, project: str, state: str | None, tenant: str | None, share: str, everything: bool, why: str) -> None:
    """Switch a feature off: its rungs that need a model, and what a model said before. `"*"` is every feature.

    Every process obeys within a second.
    """
    change = Switched(
        off=True, tenant=tenant, share=share_of(share, where="--share"), rungs="all" if everything else "models", why=why
    )
    _switch(feature, project, state, change)
    click.echo(f"{_named(feature)} is off{f' for {tenant}' if tenant else ''}. On again: mainstay on {_typed(feature)}")


@click.command()
@click.argument("feature")
@PROJECT
@STATE
@click.option("--tenant", help="Only for this tenant.")
@WHY
@reported
def on(feature: str, project: str, state: str | None, tenant: str | None, why: str) -> None:
    """Switch a feature on again."""
    _switch(feature, project, state, Switched(off=False, tenant=tenant, why=why))
    click.echo(f"{_named(feature)} is on{f' for {tenant}' if tenant else ''}.")


def _switch(feature: str, project: str, state: str | None, change: Switched) -> None:
    root = Path(project)
    with switchboard(root, None if state is None else Path(state)) as board:
        _check(feature, root, board)
        if not change.off and (feature, change.tenant) not in board.state().switches:
            tenants = [str(tenant) for name, tenant in board.state().switches if name == feature and tenant]
            hint = f"; it is off for {', '.join(tenants)}" if tenants else ""
            click.echo(f"{_named(feature)} was not off{hint}.", err=True)
            return
        board.switch(feature, change)


def _check(feature: str, root: Path, board: Switchboard) -> None:
    known = {*named_in(root), *board.state().standings, EVERY}
    if feature not in known:
        raise NotFound(f'there is no feature "{feature}"; {nearest(feature, known)}', next="mainstay doctor")


def _named(feature: str) -> str:
    return "Every feature" if feature == EVERY else feature


def _typed(feature: str) -> str:
    return f'"{feature}"' if feature == EVERY else feature
