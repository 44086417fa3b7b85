"""`mainstay doctor`: is everything there that answering needs? Each line that is not well says what to type."""

from __future__ import annotations

import asyncio
import datetime
import errno
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import apsw
import click
from msgspec import Struct

import mainstay
from mainstay.at_rest import without_price
from mainstay.core.answer import fold
from mainstay.core.call import Call
from mainstay.core.errors import MainstayError
from mainstay.core.evidence import Curated
from mainstay.core.model import Message, ModelRequest
from mainstay.core.reasons import Status
from mainstay.doors.cli.options import PROJECT
from mainstay.doors.cli.printing import as_json, one_line, printable, reported
from mainstay.doors.cli.serve import KEYS
from mainstay.doors.http.door import is_loopback
from mainstay.ids import new_id
from mainstay.learn.keyring import uncounted
from mainstay.learn.readiness import experimental
from mainstay.serve.ready import Ready
from mainstay.workshop import curated_of

LITTLE_DISK = 200 * 1024 * 1024
ELSEWHERE = "move what is there away, or name another folder as `state` in mainstay.toml"
MARKS = {"well": "ok  ", "note": "note", "ill": "FAIL"}


class Finding(Struct, frozen=True, kw_only=True):
    """One line: `well`, `note` (works, but look) or `ill`."""

    state: str
    what: str
    next: str = ""


@click.command()
@PROJECT
@click.option("--ask", is_flag=True, help="Ask each model for one word: costs a little, and shows that key and name are right.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@reported
def doctor(project: str, ask: bool, json_: bool) -> None:
    """Look for whatever would keep the features from answering. Exit code 1 if anything is ill."""
    findings = []
    for finding in _findings(Path(project), ask):
        findings.append(finding)
        if not json_:
            click.echo(f"{MARKS[finding.state]}  {finding.what}" + (f"\n      next: {finding.next}" if finding.next else ""))
    if json_:
        as_json(findings)
    sys.exit(1 if any(f.state == "ill" for f in findings) else 0)


def _findings(root: Path, ask: bool) -> Iterator[Finding]:
    yield _program()
    try:
        app = mainstay.open(root, dev=True)
    except MainstayError as error:
        next = error.next if error.next != "mainstay doctor" else ELSEWHERE
        yield Finding(state="ill", what=error.what + (f" ({error.where})" if error.where else ""), next=next)
        return
    try:
        yield from _features(app)
        yield from _models(app, ask)
        yield from _sources(app)
        yield from _state(app)
        yield _port(app)
    finally:
        app.close_sync()


def _program() -> Finding:
    python = ".".join(map(str, sys.version_info[:3]))
    db = apsw.Connection(":memory:")
    try:
        db.execute("create virtual table t using fts5(x)")
    except apsw.Error as error:
        return Finding(state="ill", what=f"SQLite has no full text search: {error}", next="pip install --force-reinstall apsw")
    return Finding(state="well", what=f"Python {python}, SQLite {apsw.sqlite_lib_version()} with full text search")


def _features(app: mainstay.Mainstay) -> Iterator[Finding]:
    if not app.features.ready:
        yield Finding(state="ill", what=f"there is no feature in {app.root / app.settings.features}", next="mainstay init")
    for name, ready in app.features.ready.items():
        ladder = " > ".join(rung.name for rung in ready.rungs)
        yield Finding(state="well", what=f"feature {name} {ready.digest[:12]}: {ladder}")
        for guard in experimental(ready):
            what = f"feature {name} relies on the guard {guard}, which is experimental"
            yield Finding(state="note", what=what, next="read its card in docs/cards before you rely on it alone")
        if len(ready.rungs) == 1:
            yield Finding(
                state="note", what=f"feature {name} can only show its message: all other rungs are asleep", next=f"set {KEYS}"
            )
        yield from _curated(name, ready, curated_of(app.settings, ready))


def _curated(name: str, ready: Ready, curated: Mapping[str, Curated | None]) -> Iterator[Finding]:
    """Content whose review is overdue, and high stakes on content that nobody answers for."""
    today, high = datetime.datetime.now(datetime.UTC).date().isoformat(), ready.feature.stakes == "high"
    for source, answers in curated.items():
        if answers is not None and answers.overdue(today):
            what = f"the review of source {source} was due {answers.review}, by {answers.approver}"
            more = f"; feature {name} refuses what rests on it, for its stakes are high" if high else ""
            yield Finding(state="note", what=what + more, next=f"review it, and give sources.{source}.curated its next date")
    if high and not any(curated.values()):
        what = f"the stakes of feature {name} are high, and mainstay.toml has no source of it as curated"
        yield Finding(state="note", what=what, next="give a source of it curated = { approver = …, review = … }")


def _models(app: mainstay.Mainstay, ask: bool) -> Iterator[Finding]:
    project = app.features.project
    for name in sorted(project.asleep):
        yield Finding(
            state="note", what=f"model {name} is asleep: its key is not set", next=f"set {app.settings.models[name].key or KEYS}"
        )
    for name, model in project.models.items():
        price = "priced" if model.price is not None else "of unknown price"
        yield Finding(
            state="well" if model.price is not None else "note",
            what=f"model {name} ({model.model or 'what the server offers'}), {price}",
            next="" if model.price is not None else f"give models.{name}.price in mainstay.toml, or its cost stays unknown",
        )
        if ask:
            yield asyncio.run(_asked(app, name))
    unpriced = without_price(app.root, app.state)
    for key in app.keys.values():
        for name, next in ({} if key.expired(time.time()) else uncounted(key, unpriced)).items():
            what = f"the key {key.id} limits money, and what {name} costs is not known: with that key it is never asked"
            yield Finding(state="ill", what=what, next=next)


async def _asked(app: mainstay.Mainstay, name: str) -> Finding:
    request = ModelRequest(messages=(Message("user", "Answer with the one word: well"),), max_output=256)
    answer = fold([event async for event in app.serve(Call(id=new_id(), feature=name, origin="audit", request=request))])
    if answer.status is Status.ANSWERED:
        return Finding(state="well", what=f"model {name} answered {answer.text.strip()[:40]!r}")
    return Finding(
        state="ill",
        what=f"model {name} did not answer: {one_line(answer.detail or str(answer.reason))}",
        next="check its url, key and model",
    )


def _sources(app: mainstay.Mainstay) -> Iterator[Finding]:
    """What the indexes hold, and every document that they could not take up."""
    found, today = app.loader.sources, datetime.date.today().isoformat()
    for name, source in found.kept.items():
        again = f"mainstay index {name}"
        faults, held = source.index.faults(), source.index.digests()
        yield Finding(state="well", what=f"source {name}: {len(held) - len(faults)} documents")
        for document, what in faults.items():
            said, _, next = what.partition("; next: ")
            yield Finding(state="note", what=printable(f"source {name}: {document}: {said}"), next=printable(next) or again)
        if (trouble := found.troubles.get(name)) is not None:
            yield Finding(state="ill", what=f"source {name} is served as it was: {trouble.what}", next=trouble.next or again)
        report = found.reports.get(name)
        overdue = list(report.overdue) if report is not None else []
        if not overdue and source.curated is not None and source.curated.overdue(today):
            overdue = ["all of it"]
        if overdue:
            what = f"source {name}: the review of {one_line(', '.join(overdue))} is overdue"
            yield Finding(state="note", what=what, next="review it, and set a new date")


def _state(app: mainstay.Mainstay) -> Iterator[Finding]:
    free = shutil.disk_usage(app.state).free
    yield Finding(
        state="well" if free > LITTLE_DISK else "ill",
        what=f"{app.state.resolve()} takes records; {free // 2**20} MB are free",
        next="" if free > LITTLE_DISK else "make room: without it no model is asked",
    )
    trouble = app.trouble()
    if trouble:
        yield Finding(state="ill", what=f"records wait in the spool: {trouble}", next=f"check {app.state}")


def _port(app: mainstay.Mainstay) -> Finding:
    """Whether the server could start. A port that is taken is no fault: the server itself may be running there."""
    host, port = app.settings.server.host, app.settings.server.port
    if not is_loopback(host) and not os.environ.get("MAINSTAY_API_KEY", "").strip():
        what = f"without a key only loopback is served, not {host} (server.host)"
        return Finding(state="ill", what=what, next="export MAINSTAY_API_KEY=…")
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
        return Finding(
            state="note" if taken else "ill",
            what=f"{host}:{port} cannot be bound: {error.strerror or error}",
            next=f"mainstay serve {'--port 0' if taken else '--host 127.0.0.1'}",
        )
    return Finding(state="well", what=f"{host}:{port} can be bound")
