"""`mainstay learn near`: measures from which probability on a near question may be given an answer."""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
from pathlib import Path

import click
import msgspec

import mainstay
from mainstay.at_rest import history
from mainstay.core.errors import ConfigError
from mainstay.core.near import NearFile
from mainstay.core.seams import Embedder
from mainstay.doors.cli.classify import feature_folder, write_whole
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, reported
from mainstay.learn import nearing
from mainstay.parts import nearness
from mainstay.spec.cases import read_cases
from mainstay.spec.feature_file import NEAR_FILE, read_folder

RECORDS = 5_000  # that are read, the newest


@click.command()
@click.argument("feature")
@PROJECT
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def near(feature: str, project: str, json_: bool) -> None:
    """Measure how often a near question would be given a wrong answer, and set the threshold. No model is asked.

    It asks the questions of cases and of live calls in other words, and others that are nearly the same. Exit code 3 if it is not
    shown that few enough hits are wrong: then near hits stay off.
    """
    root = Path(project)
    path, shown = feature_folder(root, feature)
    folder = read_folder(path, shown=shown, fitted=False)
    rules, verifier = folder.feature.cache, nearness.shared()
    if rules.near != "auto":
        raise ConfigError("near hits are not asked for", where=f"{shown}/feature.toml", next='write near = "auto" under [cache]')
    asked = [one for case in read_cases(path, shown=shown) if (one := nearing.of_case(case, folder.feature)) is not None]
    trials = []
    ledger = history(root)
    try:
        for record in ledger.records(where={"feature": feature, "origin": "user"}, limit=RECORDS):
            live = nearing.judged(record, ledger.scores(record.id) if record.outcome.recalled else [])
            trials += [] if live is None else [live]
            one = nearing.of_record(record, folder.feature) if folder.feature.log == "full" else None
            asked += [] if one is None or len(asked) >= nearing.MOST else [one]
    finally:
        ledger.close()
    vectors, space = {}, ""
    if rules.embedder is not None:
        with mainstay.open(root, dev=True) as app:
            embedder: Embedder = app.loader.embedder(app.settings, rules.embedder)
            space = embedder.name
            texts = [one.text for one in asked] + [text for _, _, text in nearing.texts_to_ask(asked)]
            vectors = asyncio.run(nearing.embedded(texts, embedder))
    trials += nearing.tried(asked, verifier, vectors)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    found = nearing.fit(trials, date=date, verifier=verifier.name, embedder=space, target=rules.wrong_hits)
    write_whole(path / NEAR_FILE, written(found))
    if json_:
        as_json({"feature": feature, "file": f"{shown}/{NEAR_FILE}", "on": found.upper <= rules.wrong_hits, "near": found})
    else:
        _print(found, rules.wrong_hits, feature, f"{shown}/{NEAR_FILE}")
    sys.exit(0 if found.upper <= rules.wrong_hits else 3)


def written(found: NearFile) -> bytes:
    """The file's bytes, for people who read the difference."""
    return (json.dumps(msgspec.to_builtins(found), indent=1) + "\n").encode()


def _print(found: NearFile, target: float, feature: str, shown: str) -> None:
    sources = ", ".join(f"{n} {kind}" for kind, n in found.sources.items())
    click.echo(f"Wrote {shown}: {found.asked} questions were asked ({sources}), and {found.hits} found an answer.")
    if found.upper <= target:
        click.echo(f"Near hits are on from a probability of {found.threshold:g}: {found.wrong} of {found.hits} were wrong.")
        click.echo(f"With 95 % confidence at most {found.upper:.2%} of such hits are wrong; wrong_hits is {target:g}.")
        return
    click.echo(f"Near hits stay off: {found.sentence(target)}.")
    click.echo(f"It takes {nearing.needed(target)} right hits without a wrong one to show as much.")
    click.echo(f"  next: add cases, or let calls come in, then mainstay learn near {feature}")
