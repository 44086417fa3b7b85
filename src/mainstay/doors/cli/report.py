"""`mainstay report`: what is served for a feature and how its trials stand, or one report of an evaluation again."""

from __future__ import annotations

from pathlib import Path

import click

from mainstay.at_rest import history, named_in, rechecks_of, releases_of
from mainstay.core.errors import MainstayError, NotFound, nearest
from mainstay.core.release import EVERY, Standing, State, TrialBegan, WentLive, fold, public
from mainstay.core.seams import Ledger, Releases
from mainstay.doors.cli.classify import feature_folder
from mainstay.doors.cli.eval import show, writing
from mainstay.doors.cli.options import PROJECT, STATE
from mainstay.doors.cli.printing import as_json, date, milliseconds, money, printable, reported, table
from mainstay.doors.cli.recheck import show_recheck
from mainstay.doors.cli.route import as_data, said
from mainstay.learn.routed import Routed, measured
from mainstay.learn.trials import Beside, Counted, beside, stand_of
from mainstay.spec.feature_file import frozen_folder, read_folder


@click.command()
@click.argument("name", metavar="FEATURE|REPORT")
@PROJECT
@STATE
@writing
@reported
def report(
    name: str, project: str, state: str | None, json_: bool, html: str | None, junit: str | None, markdown: str | None
) -> None:
    """What is live, on trial and switched off for a feature, with its latest reports; or one report or evidence by its id."""
    root, folder = Path(project), None if state is None else Path(state)
    store, ledger = releases_of(root, folder), history(root, folder)
    try:
        found = store.report(name)
        if found is not None:
            show(found, {"html": html, "junit": junit, "markdown": markdown}, json_=json_)
            return
        rechecked = rechecks_of(root, folder).report(name)
        if rechecked is not None:
            show_recheck(rechecked, html, markdown, json_=json_)
            return
        tried = store.attestation(name)
        if tried is not None:
            as_json(tried)
            return
        now = fold(store.links())
        known = {*named_in(root), *now.standings}
        if name not in known:
            raise NotFound(f'there is no feature or report "{name}"; {nearest(name, known)}', next="mainstay doctor")
        _standing(name, root, now, store, ledger, json_=json_)
    finally:
        store.close()
        ledger.close()


def _standing(feature: str, root: Path, state: State, store: Releases, ledger: Ledger, *, json_: bool) -> None:
    standing = state.standing(feature)
    canary = None if standing.canary is None else stand_of(standing.canary, ledger)
    shadow = None if standing.shadow is None else beside(standing.shadow, ledger)
    reports = [store.evidence(id) for id in store.reports(feature, limit=10)]
    routed = _routed(feature, root, standing, store, ledger)
    if json_:
        whole = {"feature": feature, "live": _public(standing.live), "past": [_public(past) for past in standing.past]}
        trials = {
            "canary": _public(standing.canary),
            "canary_stands": canary,
            "shadow": _public(standing.shadow),
            "beside": shadow,
        }
        off = [{"feature": name, **public(switch)} for (name, _), switch in state.switches.items() if name in (feature, EVERY)]
        router = None if routed is None else as_data(routed)
        as_json({**whole, **trials, "router": router, "off": off, "reports": [found for found in reports if found is not None]})
        return
    for line in [*_live(feature, standing, store), *_trials(standing, canary, shadow), *_switches(feature, state)]:
        click.echo(line)
    if routed is not None:
        for line in ["Router:", *[f"  {sentence}" for sentence in said(routed, feature)]]:
            click.echo(line)
    for id in store.reports(feature, kind="fit", limit=1):
        fit = store.report(id)
        if fit is not None:
            click.echo(f"Which rung suits which task, of {date(fit.at)}, report {id}:")
            click.echo(str(fit.notes["recommendation"]))
    rows = [[date(e.at), e.report, e.release[:12], e.outcome or "-"] for e in reports if e is not None]
    if rows:
        click.echo()
        table(["when", "report", "release", "ruling"], rows)


def _live(feature: str, standing: Standing, store: Releases) -> list[str]:
    live = standing.live
    if live is None:
        return [f"{feature}: nothing is live.", f"  next: mainstay release {feature}"]
    release = store.release(feature, live.digest)
    made = "" if release is None else f", frozen {date(release.at)} by {release.who}"
    commit = "" if release is None or not release.commit else f", commit {release.commit}"
    bears = f"report {live.report}" if live.report else f'override "{live.override}"'
    past = ", ".join(entry.digest[:12] for entry in reversed(standing.past[-3:]))
    head = f"{feature}: release {live.digest[:12]} is live{made}{commit}; {bears}."
    return [printable(head), *([f"Before it: {past}."] if past else [])]


def _routed(feature: str, root: Path, standing: Standing, store: Releases, ledger: Ledger) -> Routed | None:
    """What the router of the live release chose, or that of the folder where nothing is live; None where there is no router."""
    live = standing.live
    release = None if live is None else store.release(feature, live.digest)
    try:
        if release is not None:
            folder = frozen_folder(release.feature, release.files, shown=f"release {release.digest[:12]}")
        else:
            path, shown = feature_folder(root, feature)
            folder = read_folder(path, shown=shown, fitted=False)
    except MainstayError:
        return None  # what cannot be read routes nothing
    return None if folder.feature.router.file is None else measured(ledger, feature, None if live is None else live.digest)


def _trials(standing: Standing, canary: Counted | None, shadow: Beside | None) -> list[str]:
    lines = []
    if standing.canary is not None and canary is not None:
        lines += [_trial(standing.canary), f"  {canary.decision.sentence}"]
        lines += [f"  {canary.canary_calls} calls of the canary, {canary.control_calls} of the control."]
    if standing.shadow is not None:
        lines += [_trial(standing.shadow), *(["  No call yet."] if shadow is None else _shadow(shadow))]
    return lines


def _trial(trial: TrialBegan) -> str:
    return f"On trial as a {trial.kind}, with {trial.share:.0%} of the calls until {date(trial.until)}: {trial.digest[:12]}."


def _shadow(shadow: Beside) -> list[str]:
    ours, theirs = shadow.answered
    lines = [f"  {shadow.calls} calls: {ours} answered, where the live release answered {theirs}."]
    lines += [f"  p95 {milliseconds(int(shadow.p95_us[0]))}, live {milliseconds(int(shadow.p95_us[1]))}."]
    lines += [f"  cost {money(shadow.cost_nano_usd[0])}, live {money(shadow.cost_nano_usd[1])}."]
    for name, (value, live) in shadow.scores.items():
        lines.append(f"  {name} {value:.2f}{'' if live is None else f', live {live:.2f}'}.")
    return lines


def _switches(feature: str, state: State) -> list[str]:
    lines = []
    for (name, tenant), switch in state.switches.items():
        if name in (feature, EVERY):
            what = "every rung but the message" if switch.rungs == "all" else "rungs that need a model"
            for_whom = [f"tenant {tenant}" if tenant else "", f"{switch.share:.0%} of the users" if switch.share < 1 else ""]
            said = f"OFF: {what}, for {' and '.join(filter(None, for_whom)) or 'everybody'}. {switch.why}"
            lines.append(printable(said).rstrip())
    return lines


def _public(change: WentLive | TrialBegan | None) -> dict[str, object] | None:
    return None if change is None else public(change)
