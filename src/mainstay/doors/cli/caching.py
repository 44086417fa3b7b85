"""`mainstay cache` and `mainstay precompute`: what the cache saves, and answers before they are asked for."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

import mainstay
from mainstay.at_rest import history, named_in, releases_of
from mainstay.core.errors import BadRequest, NotFound, nearest
from mainstay.core.near import measurement_of, verdict_of
from mainstay.core.release import Attestation
from mainstay.core.seams import Releases
from mainstay.doors.cli.classify import feature_folder
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, date, money, reported
from mainstay.doors.cli.watching import counting
from mainstay.learn import ahead
from mainstay.learn.doubting import Saved, of_records
from mainstay.spec.feature_file import NEAR_FILE

RECORDS = 20_000  # that are read, the newest


@click.command()
@click.argument("feature")
@PROJECT
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def cache(feature: str, project: str, json_: bool) -> None:
    """What the cache did for a feature: exact and near hits, the money saved, and how often near hits were wrong."""
    root = Path(project)
    known = named_in(root)
    if feature not in known:
        raise NotFound(f'there is no feature "{feature}"; {nearest(feature, known)}', next="mainstay doctor")
    ledger, store = history(root), releases_of(root)
    try:
        found = of_records(ledger.records(where={"feature": feature, "origin": "user"}, limit=RECORDS), ledger.scores)
        made = store.attestations(feature, "ahead", limit=5)
        wrong = _proven_wrong(root, feature, store)
    finally:
        ledger.close()
        store.close()
    if json_:
        as_json({"feature": feature, "cache": found, "ahead": made, "off": wrong})
        return
    _print(found)
    if wrong is not None:
        click.echo(f"Near hits turned themselves off, {date(wrong.at)}: {wrong.what}.")
        click.echo(f"  next: mainstay learn near {feature}")
    for one in made:
        click.echo(f"Ahead, {date(one.at)}: {one.what}.")


def _proven_wrong(root: Path, feature: str, store: Releases) -> Attestation | None:
    """The evidence against what was measured last, if there is any."""
    try:
        measured = (feature_folder(root, feature)[0] / NEAR_FILE).read_bytes()
    except (OSError, NotFound):
        return None
    return store.attestation(verdict_of(feature, measurement_of(measured)))


def _print(found: Saved) -> None:
    hits = found.exact + found.near
    share = hits / found.calls if found.calls else 0.0
    kinds = f"{found.exact} exact, {found.near} near"
    click.echo(f"Of the newest {found.calls} calls {hits} ({share:.1%}) were answered from the cache: {kinds}.")
    click.echo(f"Saved: {money(found.saved_nano_usd)}, of which {money(found.saved_near_nano_usd)} by near hits.")
    if found.unpriced:
        click.echo(f"The cost of {found.unpriced} of those answers is unknown.")
    if found.checked:
        click.echo(
            f"Near hits: {found.wrong} of {found.checked} that were answered anew were wrong ({found.wrong / found.checked:.1%}; "
            f"{found.low:.1%} to {found.high:.1%} with 95 % confidence)."
        )
    elif found.near:
        click.echo("Near hits: none of them was answered anew yet, so how many are wrong is unknown.")


@click.command()
@click.argument("feature")
@PROJECT
@click.option(
    "--top", default=ahead.TOP, show_default=True, type=click.IntRange(1, 10_000), help="How many of the questions asked most."
)
@click.option(
    "--from",
    "from_",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    help="Ask those of a file instead, one a line.",
)
@click.option("--tenant", default="default", show_default=True, help="For whom the questions of a file are answered.")
@click.option("--dev", is_flag=True, help="Answer with the folder as it is, not with what was released.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def precompute(feature: str, project: str, top: int, from_: Path | None, tenant: str, dev: bool, json_: bool) -> None:
    """Answer questions before they are asked, into the cache. Its models are asked, within the limits of the feature.

    Questions that three users of a tenant or more have asked are taken from the records. Exit code 0 if all are in the cache
    then, 1 if one failed or there was none to ask.
    """
    text = None
    if from_ is not None:
        try:
            text = from_.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise BadRequest(f"it is not UTF-8: {error.reason}", where=str(from_)) from None
    with mainstay.open(project, dev=dev) as app:
        asking = app.workshop.ahead(
            feature, top=top, listed=text, where=str(from_), tenant=tenant, seen=counting("questions", what="answering: ")
        )
        made = asyncio.run(_closing(app, asking))
    if json_:
        as_json({"feature": feature, "made": made})
    else:
        click.echo(f"{made.sentence[:1].upper()}{made.sentence[1:]}. Cost: {money(made.cost_nano_usd)}.")
        if not made.asked:
            click.echo(f"  next: mainstay precompute {feature} --from questions.txt")
    sys.exit(0 if made.asked and not made.failed and not made.stopped else 1)


async def _closing(app: mainstay.Mainstay, asking: object) -> ahead.Made:
    made: ahead.Made = await asking  # type: ignore[misc]
    await app.close()
    return made
