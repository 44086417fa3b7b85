"""Do the answers that were served still hold? Each is held against the sources and the systems of record as they are now.

A record knows the passages that its call was given, by id and by a hash of what each said, and the facts that were fetched. What
differs now is a finding, with the difference word by word where it is known what stood there: from the quotation, from the cache,
or from the recheck before, which remembers what it saw (`Stage.texts`).

Findings become review items on their records, each once. Cached answers that rest on what changed are dropped. A finding is
`serious` where the answer rests on it: it cites the passage, or a model that wrote it was told the fact; and, of an answer of a
model that cites nothing, every passage that it was given.

What it does not know: whether a change matters. A comma is a change. And an answer from a model is another text each time it is
asked, so what `replay` finds is for people to look at.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from msgspec import Struct

from mainstay.core.answer import Answer, Citation, Event, fold
from mainstay.core.call import Call
from mainstay.core.errors import MainstayError
from mainstay.core.evidence import Lag, Passage, Slot, Viewer
from mainstay.core.reasons import Status
from mainstay.core.record import Begun, Found, Outcome, Record, Score
from mainstay.core.release import Attestation
from mainstay.core.seams import Cache, Source
from mainstay.core.sentences import sentences
from mainstay.learn.differences import Diff, changed, diff, holds, shortened
from mainstay.serve.caching import Stored, stored_in
from mainstay.serve.ready import Ready

log = logging.getLogger("mainstay.recheck")
Kind = Literal["changed", "edited", "deleted", "hidden", "moved", "fact", "unfetched", "replayed"]
KINDS: dict[Kind, str] = {
    "changed": "a passage that it rests on says something else",
    "edited": "a passage that it rests on was changed around what it quotes",
    "deleted": "a passage that it rests on is gone",
    "hidden": "a passage that it rests on may not be seen any more by whom it was shown to",
    "moved": "a passage that it rests on stands somewhere else now, so its link leads nowhere",
    "fact": "a fact that it was told has another value",
    "unfetched": "a fact that it was told cannot be fetched",
    "replayed": "asked again, it is answered otherwise",
}
SERIOUS: frozenset[Kind] = frozenset({"changed", "deleted", "hidden", "fact"})
SHOWN = (Status.ANSWERED, Status.CACHED, Status.DEGRADED)
LIMIT = 1000  # records that are looked at
FETCHING = 5.0  # seconds that the facts of one record may take
ALIKE = 5  # passages that are looked through for one that moved


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that an answer rests on, and that is not as it was.

    `what` says it in a sentence. `said` is the stretch of the answer that rests on it. `diff` is from what was known to what is
    known now, shortened; where it is not known what stood there, all is new. `name` is the passage's id, or the fact's name.
    """

    kind: Kind
    record: str
    feature: str
    at: float
    what: str
    serious: bool = False
    source: str = ""
    name: str = ""
    said: str = ""
    diff: Diff = ()

    @property
    def id(self) -> str:
        """The same for the same change, so that it is reviewed once."""
        about = (self.kind, self.record, self.source, self.name, self.diff if self.kind != "replayed" else ())
        return f"recheck-{hashlib.blake2b(msgspec.json.encode(about), digest_size=10).hexdigest()}"


class Recheck(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was looked at, and what was found. `untold` counts what could not be compared, as of a source that shows nothing.

    `dropped` counts cached answers that are gone now, of `cached`; `reviews` the review items that are new.
    """

    id: str
    at: float
    took_s: float
    who: str
    features: tuple[str, ...] = ()
    records: int = 0
    passages: int = 0
    facts: int = 0
    replayed: int = 0
    unchanged: int = 0
    untold: int = 0
    cached: int = 0
    dropped: int = 0
    reviews: int = 0
    findings: tuple[Finding, ...] = ()
    lags: tuple[Lag, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def stands(self) -> bool:
        """Whether nothing that was served rests on what changed."""
        return not any(finding.serious for finding in self.findings)

    @property
    def answers(self) -> int:
        """How many answers rest on what changed."""
        return len({finding.record for finding in self.findings if finding.serious})


class Group(Struct, frozen=True, kw_only=True):
    """The same change, found in any number of answers; `first` is the newest of them."""

    first: Finding
    records: tuple[str, ...]


class Stage(Struct, frozen=True, kw_only=True):
    """What a recheck works with.

    `sources` are the sources as they are now, whatever their indexes say; `lags` how those differ. `texts` is what passages said
    when they were seen last, by source, id and hash; it is added to, as far as it is still of use.
    """

    ready: Mapping[str, Ready]
    sources: Mapping[str, Source]
    records: Callable[[str | None, int], Awaitable[list[Record]]]
    record: Callable[[str], Awaitable[Record | None]]
    caches: Sequence[Cache]
    serve: Callable[[Call], AsyncGenerator[Event, None]]
    scores: Callable[[str], Awaitable[list[Score]]]
    score: Callable[[Finding], Awaitable[None]]
    new_id: Callable[[], str]
    who: str
    lags: Sequence[Lag] = ()
    texts: dict[str, str] = {}


async def recheck(
    stage: Stage,
    *,
    feature: str | None = None,
    since: float = 0.0,
    limit: int = LIMIT,
    replay: int = 0,
    seen: Callable[[int, int], None] = lambda done, of: None,
) -> Recheck:
    """Look at the answers to users that were served since then (seconds since 1970), the newest `limit`, and at all cached ones.

    `replay` is how many of the newest are asked again. `seen` is told how many are done, of how many.
    """
    began, at = time.monotonic(), time.time()
    run = _Run(stage)
    recent = [record for record in await stage.records(feature, limit) if record.begun.at >= since]
    kept = run.cached(feature)
    others = [await run.record_of(stored) for id, stored in kept.items() if id not in {record.id for record in recent}]
    total, done = len(recent) + len(others) + min(replay, len(recent)), 0
    for record in [*recent, *others]:
        await run.look_at(record, kept.get(record.id))
        seen(done := done + 1, total)
    for record in recent[:replay]:
        await run.ask_again(record)
        seen(done := done + 1, total)
    dropped = run.drop()
    stage.texts.clear()
    stage.texts.update(run.seen)
    findings = tuple(sorted(run.findings, key=lambda f: (not f.serious, -f.at, f.record, f.source, f.name)))
    return Recheck(
        id=stage.new_id(),
        at=at,
        took_s=round(time.monotonic() - began, 3),
        who=stage.who,
        features=tuple(sorted({record.begun.call.feature for record in [*recent, *others]})),
        records=len(recent) + len(others),
        passages=run.passages,
        facts=run.facts,
        replayed=run.replayed,
        unchanged=run.unchanged,
        untold=run.untold,
        cached=len(kept),
        dropped=dropped,
        reviews=await _reviewed(stage, findings),
        findings=findings,
        lags=tuple(stage.lags),
        troubles=tuple(dict.fromkeys(run.troubles)),
    )


async def _reviewed(stage: Stage, findings: Sequence[Finding]) -> int:
    """A review item for each finding that has none yet. Gives how many are new."""
    known: dict[str, set[str]] = {}
    new = 0
    for finding in findings:
        if finding.record not in known:
            known[finding.record] = {score.id for score in await stage.scores(finding.record)}
        if finding.id not in known[finding.record]:
            known[finding.record].add(finding.id)
            await stage.score(finding)
            new += 1
    return new


class _Run:
    """One recheck while it goes on. `seen` is what passages say now, or said, for the next one."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.findings: list[Finding] = []
        self.passages = self.facts = self.replayed = self.unchanged = self.untold = 0
        self.troubles: list[str] = []
        self.seen: dict[str, str] = {}
        self._keys: dict[str, list[tuple[Cache, bytes]]] = {}
        self._shown: dict[tuple[str, str, Viewer], Passage | None] = {}
        self._whole: dict[tuple[str, str], list[Passage]] = {}

    # The cache

    def cached(self, feature: str | None) -> dict[str, Stored]:
        """The cached answers, by the record that each was made for."""
        found = {}
        for cache in self._stage.caches:
            for key, _, value in cache.items():
                stored = stored_in(value)
                if stored is not None and feature in (None, stored.answer.feature):
                    found[stored.answer.id] = stored
                    self._keys.setdefault(stored.answer.id, []).append((cache, key))
        return found

    async def record_of(self, stored: Stored) -> Record:
        """The record that a cached answer was made for; where that is lost, as much of it as the cache knows."""
        answer = stored.answer
        record = await self._stage.record(answer.id)
        if record is not None:
            return record
        call = Call(id=answer.id, feature=answer.feature)
        found = tuple([Found(p.source, p.id, p.version, p.digest) for p in stored.passages])
        return Record(
            begun=Begun(id=answer.id, at=0.0, release=answer.release, call=call),
            outcome=Outcome(id=answer.id, answer=answer, took_us=0, passages=found),
        )

    def drop(self) -> int:
        """Drop the cached answers that rest on what changed. Gives how many those are."""
        gone: dict[int, tuple[Cache, list[bytes]]] = {}
        for record in {finding.record for finding in self.findings if finding.serious}:
            for cache, key in self._keys.get(record, ()):
                gone.setdefault(id(cache), (cache, []))[1].append(key)
        for cache, keys in gone.values():
            cache.drop(keys)
        return sum(len(keys) for _, keys in gone.values())

    # One answer

    async def look_at(self, record: Record, stored: Stored | None) -> None:
        """Hold one answer against what there is now."""
        answer = record.outcome.answer
        if answer.status not in SHOWN:
            return
        before = {(p.source, p.id): p.text for p in stored.passages} if stored is not None else {}
        given = {(f.source, f.passage): f for f in record.outcome.passages}
        cited = {(c.source, c.passage): c for c in answer.citations}
        told = answer.model is not None  # what no model wrote rests on nothing but what it cites
        for source, id in dict.fromkeys([*cited, *(given if told else ())]):
            await self._passage(
                record, source, id, cited.get((source, id)), given.get((source, id)), before.get((source, id), "")
            )
        if record.outcome.slots and told:
            await self._facts(record)

    async def _passage(
        self, record: Record, source: str, id: str, citation: Citation | None, found: Found | None, before: str
    ) -> None:
        """One passage that an answer cites, or that it was given."""
        self.passages += 1
        digest = "" if found is None else found.digest
        then = before or self._stage.texts.get(_key(source, id, digest), "")
        if then and digest:
            self.seen[_key(source, id, digest)] = then
        try:
            now = await self._show(source, id, record.begun.call.viewer)
        except MainstayError as error:
            self.untold += 1
            self.troubles.append(f"{source}: {error.what}")
            return
        except Exception as error:
            log.exception("the source %s failed", source)
            self.untold += 1
            self.troubles.append(f"{source}: {type(error).__name__}: {error}")
            return
        quote = "" if citation is None else citation.quote
        if now is None:
            await self._gone(record, source, id, citation, digest, then or quote)
            return
        self.seen[_key(source, id, now.digest)] = now.text
        if (
            now.digest == digest
            or (then and now.text == then)
            or (not digest and found is not None and found.version == now.version)
        ):
            self.unchanged += 1
        elif quote and holds(now.text, quote):
            if digest:
                self._found(
                    "edited",
                    record,
                    source,
                    id,
                    citation,
                    f"{id} was changed around what is quoted",
                    diff(then, now.text) if then else (),
                )
            else:
                self.unchanged += 1
        elif not digest and found is None and not quote and not then:
            self.untold += 1
        else:
            pieces = diff(then, now.text) if then else diff(quote, _nearest(now.text, quote) if quote else now.text)
            self._found("changed", record, source, id, citation, f"{id} says something else now", pieces)

    async def _gone(self, record: Record, source: str, id: str, citation: Citation | None, digest: str, then: str) -> None:
        """A passage that is not shown any more: hidden, moved, or deleted."""
        document = id.partition("#")[0] if citation is None else citation.document
        whole = await self._document(source, document)
        if any(passage.id == id for passage in whole):
            self._found("hidden", record, source, id, citation, f"{id} may not be seen by whom it was shown to", ())
            return
        viewer = record.begun.call.viewer
        elsewhere = [p for p in whole if await self._show(source, p.id, viewer) is not None]
        if then:
            elsewhere += await self._stage.sources[source].search(then[:500], limit=ALIKE, viewer=viewer)
        for passage in elsewhere:
            if passage.digest == digest or (then and holds(passage.text, then)):
                self._found("moved", record, source, id, citation, f"{id} is {passage.id} now", ())
                return
        self._found("deleted", record, source, id, citation, f"{id} is gone", diff(then, ""))

    def _found(
        self, kind: Kind, record: Record, source: str, name: str, citation: Citation | None, what: str, pieces: Diff
    ) -> None:
        answer = record.outcome.answer
        rests = citation is not None or not answer.citations
        said = "" if citation is None else answer.text[citation.start : citation.end].strip()
        self.findings.append(
            Finding(
                kind=kind,
                record=record.id,
                feature=record.begun.call.feature,
                at=record.begun.at,
                what=what if rests else f"{what}; the answer was given it, and does not cite it",
                serious=rests and kind in SERIOUS,
                source=source,
                name=name,
                said=said,
                diff=shortened(pieces),
            )
        )

    async def _show(self, source: str, id: str, viewer: Viewer) -> Passage | None:
        """A passage as it is now, for this viewer. Raises `MainstayError`."""
        key = (source, id, viewer)
        if key not in self._shown:
            if source not in self._stage.sources:
                raise MainstayError("there is no such source in mainstay.toml any more")
            show = getattr(self._stage.sources[source], "passage", None)
            if show is None:
                raise MainstayError("it cannot show a passage again")
            self._shown[key] = await show(id, viewer=viewer)
        return self._shown[key]

    async def _document(self, source: str, document: str) -> list[Passage]:
        """All of a document, whoever may see it; nothing where the source cannot say."""
        key = (source, document)
        if key not in self._whole:
            opens = getattr(self._stage.sources[source], "document", None)
            self._whole[key] = [] if opens is None else list(await opens(document, viewer=None))
        return self._whole[key]

    # Facts

    async def _facts(self, record: Record) -> None:
        """Fetch the facts that an answer was told again, and compare them as they are typed."""
        told = [slot for slot in record.outcome.slots if slot.value is not None]
        self.facts += len(told)
        now = await self._fetched(record)
        for slot in told:
            found = now.get(slot.name)
            if found is None or found.value is None:
                why = "the live release has no such slot" if found is None else found.missing or "there is no value"
                gone = found is not None and not found.stale
                self._fact("fact" if gone else "unfetched", record, slot, f"{slot.name} cannot be fetched now: {why}", ())
            elif (found.value, found.unit) == (slot.value, slot.unit):
                self.unchanged += 1
            else:
                then, value = _with_unit(slot), _with_unit(found)
                self._fact("fact", record, slot, f"{slot.name} was {then} and is {value} now", diff(then, value))

    def _fact(self, kind: Kind, record: Record, slot: Slot, what: str, pieces: Diff) -> None:
        call = record.begun.call
        self.findings.append(
            Finding(
                kind=kind,
                record=record.id,
                feature=call.feature,
                at=record.begun.at,
                what=what,
                serious=kind in SERIOUS,
                name=slot.name,
                diff=pieces,
            )
        )

    async def _fetched(self, record: Record) -> dict[str, Slot]:
        """The facts for the record's call as they are now, by name; nothing where nobody fetches them any more."""
        call = record.begun.call
        ready = self._stage.ready.get(call.feature)
        if ready is None or ready.slots is None:
            return {}
        try:
            asked = {**ready.read_input(call.input), "user": call.user, "tenant": call.tenant}
            found = await ready.slots.fetch(asked, asked, seconds=FETCHING)
        except Exception as error:
            self.troubles.append(f"{call.feature}: its facts could not be fetched: {type(error).__name__}")
            return {slot.name: msgspec.structs.replace(slot, value=None, stale=True) for slot in record.outcome.slots}
        return {slot.name: slot for slot in found}

    # Asking again

    async def ask_again(self, record: Record) -> None:
        """Make the call again, of what is live now, and compare what comes."""
        call, old = record.begun.call, record.outcome
        ready = self._stage.ready.get(call.feature)
        if ready is None or ready.feature.log != "full" or call.request is not None:
            self.untold += 1
            return
        again = msgspec.structs.replace(
            call,
            id=self._stage.new_id(),
            origin="replay",
            parent=record.id,
            stream=False,
            progress=False,
            cohort=None,
            deadline=None,
        )
        async with aclosing(self._stage.serve(again)) as events:
            answer = fold([event async for event in events])
        self.replayed += 1
        new = await self._stage.record(again.id)
        differs = list(_differences(old, answer, new))
        if differs:
            self.findings.append(
                Finding(
                    kind="replayed",
                    record=record.id,
                    feature=call.feature,
                    at=record.begun.at,
                    what=f"asked again, {', '.join(differs)} (record {answer.id})",
                    name=ready.digest[:12],
                    diff=shortened(diff(old.answer.shown, answer.shown)),
                )
            )


def _differences(old: Outcome, answer: Answer, new: Record | None) -> Iterator[str]:
    """What is not as it was, when the same was asked again."""
    before = old.answer
    status = Status.ANSWERED if before.status is Status.CACHED else before.status
    if answer.status is not status:
        why = f" ({answer.reason})" if answer.reason else ""
        yield f"it is {answer.status}{why} where it was {before.status}"
    if changed(diff(before.shown, answer.shown)):
        yield "the text differs"
    if {(c.source, c.passage) for c in before.citations} != {(c.source, c.passage) for c in answer.citations}:
        yield "it cites other passages"
    slots = {slot.name: slot.value for slot in old.slots}
    if new is not None and slots != {slot.name: slot.value for slot in new.outcome.slots} and before.status is not Status.CACHED:
        yield "it was told other facts"


def _key(source: str, passage: str, digest: str) -> str:
    return f"{source}\n{passage}\n{digest}"


def _nearest(text: str, quote: str) -> str:
    """The sentences of a text that most resemble a quotation: as many as it has, in their order."""
    words = set(quote.casefold().split())
    pieces = [sentence.text for sentence in sentences(text)]
    many = max(1, len(sentences(quote)))
    ranked = sorted(
        range(len(pieces)), key=lambda i: -len(words & set(pieces[i].casefold().split())) / (1 + len(pieces[i].split())) ** 0.5
    )
    return " ".join(pieces[i] for i in sorted(ranked[:many]))


def _with_unit(slot: Slot) -> str:
    return f"{slot.value} {slot.unit}".strip()


def groups_of(report: Recheck) -> list[Group]:
    """The findings, those of one change together, what answers rest on first."""
    found: dict[Any, list[Finding]] = {}
    for finding in report.findings:
        own = finding.record if finding.kind == "replayed" else ""
        found.setdefault((finding.kind, finding.serious, finding.source, finding.name, finding.diff, own), []).append(finding)
    return [Group(first=same[0], records=tuple(dict.fromkeys(finding.record for finding in same))) for same in found.values()]


def evidence(report: Recheck, feature: str, ready: Ready | None) -> Attestation:
    """What the report says of one feature, as evidence that its answers are looked after."""
    found = {finding.record for finding in report.findings if finding.serious and finding.feature == feature}
    return Attestation(
        id=f"{report.id}-{feature}",
        kind="recheck",
        feature=feature,
        release="" if ready is None else ready.digest,
        passed=not found,
        at=report.at,
        who=report.who,
        what=f"{len(found)} answers rest on what changed (recheck {report.id})" if found else "no answer rests on what changed",
    )


def facts_of(report: Recheck) -> dict[str, Any]:
    """The report as plain values, with what follows from it, for programs."""
    whole: dict[str, Any] = msgspec.to_builtins(report)
    return {**whole, "stands": report.stands, "answers": report.answers}
