"""What `mainstay eval --judge JUDGE --calibrate FILE` does: asks a judge about rows that people have labelled, and prints what
its verdicts are worth."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

import mainstay
from mainstay.core.answer import Answer
from mainstay.core.errors import BadRequest, NotFound, nearest
from mainstay.core.release import Attestation
from mainstay.doors.cli.printing import as_json, table
from mainstay.doors.cli.watching import counting
from mainstay.ids import new_id
from mainstay.learn import judging
from mainstay.learn.judging import Agreement, Calibration, Estimate
from mainstay.learn.length_bias import LengthBias, Ratio

INVENTED = frozenset({"scripted"})  # providers whose verdicts are nobody's
HEAD = ["", "rows", "agreement", "kappa"]
SUBSTANTIAL = 0.61  # kappa, as Landis and Koch 1977 call it
MOST = 100.0  # above which an odds ratio says no more


async def calibrate(app: mainstay.Mainstay, judge: str, file: Path, *, json_: bool) -> int:
    """Calibrate a judge and print it; gives the exit code: 0, or 3 where the judge gave no verdict at all.

    Raises `NotFound` for an unknown judge, `ConfigError` for a file that cannot be read, and `BadRequest` for a judge that does
    not take what the rows hold.
    """
    rows = judging.read_calibration(file)
    _check(app, judge, rows, file)
    real: list[bool] = []

    async def ask(feature: str, input: Mapping[str, Any]) -> Answer:
        answer = await app.run(feature, input, origin="judge")
        real.append(await _from_a_model(app, answer))
        return answer

    found = await judging.calibrate(ask, judge, rows, verified=lambda: bool(real) and all(real), progress=counting("rows"))
    app.workshop.attest(_evidence(found, app))
    if json_:
        as_json(found)
    else:
        show(found)
    return 3 if found.silent == found.n else 0


def _evidence(found: Calibration, app: mainstay.Mainstay) -> Attestation:
    """What the checklist is told: whether this judge agrees with people as people do with each other."""
    kappa = None if found.overall.kappa is None else found.overall.kappa.value
    said = "it gave no verdict" if kappa is None else f"kappa {kappa:.2f} over {found.n} rows, {SUBSTANTIAL:g} is substantial"
    return Attestation(
        id=new_id(),
        kind="calibration",
        feature=found.judge,
        release=app.features.ready[found.judge].digest,
        passed=found.verified and kappa is not None and kappa >= SUBSTANTIAL,
        at=time.time(),
        who=app.workshop.who,
        what=said if found.verified else f"{said}; no real model was asked",
    )


def show(found: Calibration) -> None:
    """Print a calibration: agreement in a table, and a sentence for each kind of bias."""
    rows = [_row("all", found.overall)]
    rows += [_row(f"  {name or 'no category'}", agreement) for name, agreement in found.categories.items()]
    if found.decided:
        rows.append(_row("where people decided", found.decided))
    if found.by_length and found.corrected:
        rows += [_row("length alone, no judge", found.by_length), _row("corrected for length", found.corrected)]
    table(HEAD, rows)
    for line in _told(found):
        click.echo(line)


def _check(app: mainstay.Mainstay, judge: str, rows: list[judging.Row], file: Path) -> None:
    """Before any money is spent: is there such a judge, does it take these rows, and do they hold what it is asked about?"""
    ready = app.features.ready.get(judge)
    if ready is None:
        raise NotFound(f'there is no feature "{judge}"; {nearest(judge, app.features.ready)}', next="mainstay doctor")
    needs = {"question", "first", "second"} if rows[0].compares else {"question", "answer"}
    declared = set(ready.feature.input.fields)
    if declared and not needs <= declared:
        fields = ", ".join(f"`{name}`" for name in sorted(needs))
        raise BadRequest(
            f"a judge of such rows declares the inputs {fields}", where=f"--judge {judge}", next=f"add them to {judge}"
        )
    texts = needs - {"question"}
    for number, row in enumerate(rows, 1):
        if not all(getattr(row, name) for name in texts):
            raise BadRequest(
                f"row {number} lacks {' or '.join(sorted(texts))}", where=str(file), next="a judge has to see the texts"
            )


async def _from_a_model(app: mainstay.Mainstay, answer: Answer) -> bool:
    """Whether an answer was written by a model that is not a double."""
    record = await app.record(answer.id)
    models = {attempt.model for attempt in record.outcome.attempts if attempt.outcome == "ok"} if record else set()
    known = app.settings.models
    return bool(models) and all(name in known and known[name].provider not in INVENTED for name in models if name)


def _row(name: str, found: Agreement) -> list[str]:
    kappa = "-" if found.kappa is None else _figure(found.kappa, "{:.2f}")
    return [name, str(found.n), _figure(found.agreement, "{:.1%}"), kappa]


def _told(found: Calibration) -> Iterator[str]:
    if found.people is not None:
        yield f"People among themselves: kappa {found.people:.2f}."
    if found.silent or found.contested:
        yield f"No verdict: {found.silent} rows, counted as wrong. Left out because people were divided: {found.contested} rows."
    if found.position is not None:
        first = "" if found.position.first is None else f"; the one shown first gets {_figure(found.position.first, '{:.1%}')}"
        yield f"Order: {_figure(found.position.flips, '{:.1%}')} of the verdicts change with it{first}."
    if found.noise is not None:
        yield f"Noise: {_figure(found.noise, '{:.1%}')} of the repeats say something else."
    if found.length is not None:
        yield from _of_length(found.length, found)
    yield f"{found.judge}: {'verdicts of a real model' if found.verified else 'UNVERIFIED, no real model has spoken'}."


def _of_length(length: LengthBias, found: Calibration) -> Iterator[str]:
    yield f"Twice as long multiplies the odds by {_ratio(length.human)} for people, and by {_ratio(length.judge)} for the judge."
    yield f"Where people say the same, by {_ratio(length.beyond)} for the judge: more than 1 is a bias for length."
    if found.compares and length.longer_human is not None:
        shares = [length.longer_human, length.longer_judge, length.longer_corrected]
        people, before, after = ["-" if share is None else f"{share:.1%}" for share in shares]
        yield f"The longer one wins: people {people}, judge {before}, corrected {after}."
    if found.prior is not None:
        yield f"Length prior: each doubling counts for {-found.prior.pull:+.2f} votes too much, and is taken out."


def _figure(found: Estimate, form: str) -> str:
    return f"{form.format(found.value)} ({form.format(found.low)} to {form.format(found.high)})"


def _ratio(found: Ratio) -> str:
    value, low, high = [f"{ratio:.2f}" if ratio < MOST else f"over {MOST:g}" for ratio in (found.value, found.low, found.high)]
    return f"{value} ({low} to {high})"
