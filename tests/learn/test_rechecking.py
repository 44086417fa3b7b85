"""Rechecking: what is called changed is changed, what is hidden is not called gone, what cannot be told is called neither."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from mainstay.core.answer import Answer, Citation, Event
from mainstay.core.call import Call
from mainstay.core.errors import SourceError, StoreError
from mainstay.core.evidence import Lag, Passage, Slot, Viewer
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Begun, Found, Outcome, Record, Score
from mainstay.learn.differences import Piece, as_text, changed, diff, holds, shortened
from mainstay.learn.keeping import Kept
from mainstay.learn.rechecking import Finding, Recheck, Stage, groups_of, recheck
from mainstay.learn.reports.rechecked import html, markdown
from mainstay.parts.stores.memory import MemoryCache
from mainstay.serve.caching import Stored

OLD = "Parcels can be returned within 30 days."
ONE = Passage(id="a.md#one", source="help", document="a.md", text=OLD, version="v1")
TWO = Passage(id="a.md#two", source="help", document="a.md", text="The label is free.", version="v1")


class Shelf:
    """A source that holds these passages; `staff` names those that only the role `staff` may see."""

    version = "1"

    def __init__(self, *passages: Passage, staff: tuple[str, ...] = (), fault: Exception | None = None) -> None:
        self.passages, self.staff, self.fault = passages, staff, fault

    def _sees(self, passage: Passage, viewer: Viewer | None) -> bool:
        return passage.id not in self.staff or viewer is None or "staff" in viewer.roles

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        return [p for p in self.passages if self._sees(p, viewer) and set(query.split()) & set(p.text.split())][:limit]

    async def passage(self, id: str, *, viewer: Viewer) -> Passage | None:
        if self.fault is not None:
            raise self.fault
        return next((p for p in self.passages if p.id == id and self._sees(p, viewer)), None)

    async def document(self, id: str, *, viewer: Viewer | None) -> list[Passage]:
        return [p for p in self.passages if p.document == id and self._sees(p, viewer)]


class Mute:
    """A source that cannot show anything again."""

    version = "1"

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        return []


def served(
    id: str = "r1",
    *,
    cites: tuple[Passage, ...] = (ONE,),
    given: tuple[Passage, ...] | None = None,
    quote: str = "",
    roles: tuple[str, ...] = (),
    **answer: Any,
) -> Record:
    """A record of an answer of a model that cites these and was given those."""
    text = "You have 30 days [1]."
    cited = tuple([Citation.of(p, start=0, end=17, quote=quote) for p in cites])
    kept = Answer(
        id=id, feature="f", release="d", **{"status": Status.ANSWERED, "text": text, "model": "m", **answer}, citations=cited
    )
    found = tuple([Found(p.source, p.id, p.version, p.digest) for p in (cites if given is None else given)])
    call = Call(id=id, feature="f", input={"question": "?"}, roles=roles)
    return Record(
        begun=Begun(id=id, at=time.time(), release="d", call=call), outcome=Outcome(id=id, answer=kept, took_us=1, passages=found)
    )


class Bench:
    """A stage with these records and sources, whose review items are kept."""

    def __init__(self, *records: Record, cache: MemoryCache | None = None, lost: bool = False, **sources: Any) -> None:
        self.items: dict[str, Score] = {}
        self.cache = cache or MemoryCache()
        self.numbers = iter(range(1000))
        known = {} if lost else {record.id: record for record in records}

        async def newest(feature: str | None, limit: int) -> list[Record]:
            return [*known.values()][:limit]

        async def one(id: str) -> Record | None:
            return known.get(id)

        async def scores(record: str) -> list[Score]:
            return [score for score in self.items.values() if score.record == record]

        async def score(finding: Finding) -> None:
            assert finding.id not in self.items, "nothing is put to review twice"
            self.items[finding.id] = Score(id=finding.id, record=finding.record, at=0.0, name="review", value="open")

        def serve(call: Call) -> AsyncGenerator[Event, None]:
            raise AssertionError("nobody is asked")

        self.stage = Stage(
            ready={},
            sources=sources,
            records=newest,
            record=one,
            caches=(self.cache,),
            serve=serve,
            scores=scores,
            score=score,
            new_id=lambda: f"a{next(self.numbers)}",
            who="test",
        )

    async def run(self, **options: Any) -> Recheck:
        return await recheck(self.stage, **options)


def kinds(report: Recheck) -> list[tuple[str, bool]]:
    return [(finding.kind, finding.serious) for finding in report.findings]


NEW = msgspec.structs.replace(ONE, text="Parcels can be returned within 14 days.", version="v2")


@pytest.mark.parametrize(
    ("shelf", "quote", "expected"),
    [
        (Shelf(ONE, TWO), "", []),
        (Shelf(msgspec.structs.replace(ONE, version="v2")), "", []),  # its document changed elsewhere
        (Shelf(NEW), "", [("changed", True)]),
        (Shelf(NEW), OLD, [("changed", True)]),
        (Shelf(msgspec.structs.replace(ONE, text=f"{OLD} Hurry.")), OLD, [("edited", False)]),
        (Shelf(msgspec.structs.replace(ONE, text="Parcels can be  returned\nwithin 30 days.")), OLD, [("edited", False)]),
        (Shelf(TWO), OLD, [("deleted", True)]),
        (Shelf(), "", [("deleted", True)]),
        (Shelf(ONE, staff=(ONE.id,)), OLD, [("hidden", True)]),
        (Shelf(msgspec.structs.replace(ONE, id="a.md#renamed")), "", [("moved", False)]),
        (Shelf(msgspec.structs.replace(ONE, id="b.md#one", document="b.md")), OLD, [("moved", False)]),
        # it stands elsewhere now, but this viewer may not see it there: for them it is gone
        (Shelf(msgspec.structs.replace(ONE, id="a.md#new"), staff=("a.md#new",)), OLD, [("deleted", True)]),
    ],
)
async def test_each_change_is_called_what_it_is(shelf: Shelf, quote: str, expected: list[tuple[str, bool]]) -> None:
    """Who reads the report acts on the word: takes an answer back, mends a link, or asks who hid a page."""
    report = await Bench(served(quote=quote), help=shelf).run()
    assert kinds(report) == expected
    assert report.stands is not any(serious for _, serious in expected)


async def test_what_was_given_and_not_cited_is_told_and_is_no_alarm() -> None:
    """An answer that cites one passage does not rest on the other four; one that cites none may rest on any."""
    record = served(cites=(ONE,), given=(ONE, TWO))
    report = await Bench(record, help=Shelf(ONE)).run()
    assert kinds(report) == [("deleted", False)] and "does not cite it" in report.findings[0].what
    silent = served(cites=(), given=(ONE, TWO))
    assert kinds(await Bench(silent, help=Shelf(ONE)).run()) == [("deleted", True)]
    fixed = served(cites=(), given=(ONE, TWO), model=None)  # a fixed message says nothing of what was found
    assert kinds(await Bench(fixed, help=Shelf(ONE)).run()) == []


@pytest.mark.parametrize("status", [Status.REFUSED, Status.INTERRUPTED, Status.PENDING])
async def test_what_was_not_answered_rests_on_nothing(status: Status) -> None:
    """A refusal was no claim that could become false."""
    record = served(status=status, reason=Reason.NO_EVIDENCE)
    report = await Bench(record, help=Shelf()).run()
    assert kinds(report) == [] and report.stands


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ({"help": Mute()}, "cannot show"),
        ({}, "no such source"),
        ({"help": Shelf(fault=SourceError("the disk is gone"))}, "the disk is gone"),
        ({"help": Shelf(fault=KeyError("x"))}, "KeyError"),
    ],
)
async def test_what_cannot_be_told_is_neither_changed_nor_unchanged(sources: dict[str, Any], said: str) -> None:
    """A source that is down for a night must not open a thousand review items, nor be reported as fine."""
    report = await Bench(served(), **sources).run()
    assert (kinds(report), report.untold, report.unchanged) == ([], 1, 0)
    assert said in report.troubles[0]


async def test_an_old_record_without_hashes_is_compared_as_well_as_can_be() -> None:
    """Records of the last version are still there: their quotations and versions tell most of it."""
    old = served(quote=OLD)
    old = msgspec.structs.replace(old, outcome=msgspec.structs.replace(old.outcome, passages=(Found("help", ONE.id, "v1"),)))
    assert kinds(await Bench(old, help=Shelf(msgspec.structs.replace(ONE, text=f"{OLD} Hurry.", version="v2"))).run()) == []
    assert kinds(await Bench(old, help=Shelf(NEW)).run()) == [("changed", True)]
    bare = msgspec.structs.replace(old, outcome=msgspec.structs.replace(served().outcome, passages=()))
    report = await Bench(bare, help=Shelf(NEW)).run()
    assert (kinds(report), report.untold) == ([], 1)


async def test_a_cached_answer_is_dropped_even_if_its_record_is_lost() -> None:
    """The cache is what will be served tomorrow, however old the call was that filled it."""
    record, other = served("gone"), served("kept", cites=(TWO,))
    cache = MemoryCache()
    for key, held, passage in ((b"1", record, ONE), (b"2", other, TWO)):
        cache.put(key, msgspec.json.encode(Stored(held.outcome.answer, (passage,))), keep=100)
    cache.put(b"3", b"no answer at all", keep=100)
    bench = Bench(record, other, cache=cache, lost=True, help=Shelf(NEW, TWO))
    report = await bench.run()
    assert (report.cached, report.dropped) == (2, 1)
    assert [key for key, _, _ in cache.items()] == [b"2", b"3"]
    assert as_text(report.findings[0].diff).endswith("[-30-]{+14+} days.")


async def test_review_items_are_idempotent() -> None:
    """The same change twice is one item; a further change is another."""
    bench = Bench(served(), help=Shelf(NEW))
    assert (await bench.run()).reviews == 1
    assert (await bench.run()).reviews == 0
    assert len(bench.items) == 1


async def test_the_texts_of_the_last_time_are_carried_on() -> None:
    """Three nights: what stood there before the change is still known after it, and forgotten when nothing rests on it."""
    bench = Bench(served(), help=Shelf(ONE))
    await bench.run()
    assert list(bench.stage.texts.values()) == [OLD]
    bench.stage.sources["help"] = Shelf(NEW)  # type: ignore[index]
    for _ in range(2):
        report = await bench.run()
        assert "[-30-]{+14+}" in as_text(report.findings[0].diff)
    empty = Bench(help=Shelf(NEW))
    empty.stage.texts.update(bench.stage.texts)
    await empty.run()
    assert empty.stage.texts == {}


async def test_only_what_is_new_enough_is_looked_at() -> None:
    """`since` leaves out what is older, and progress counts what is really done."""
    seen: list[tuple[int, int]] = []
    report = await Bench(served("a"), served("b"), help=Shelf(ONE)).run(
        since=time.time() - 60, limit=1, seen=lambda done, of: seen.append((done, of))
    )
    assert report.records == 1 and seen == [(1, 1)]
    assert (await Bench(served(), help=Shelf()).run(since=time.time() + 60)).records == 0


async def test_a_fact_without_a_release_to_fetch_it_is_not_called_changed() -> None:
    """A feature that is not served any more has nobody to ask; that is no new price."""
    record = served(cites=())
    slot = Slot(name="price", type="money", value="9.99", unit="EUR")
    record = msgspec.structs.replace(record, outcome=msgspec.structs.replace(record.outcome, slots=(slot,)))
    assert kinds(await Bench(record).run()) == [("unfetched", False)]


# Forms and keeping


async def report_of(*records: Record, **sources: Any) -> Recheck:
    return await Bench(*records, **sources).run()


async def test_one_change_behind_many_answers_is_one_entry() -> None:
    """A changed price list behind five hundred answers must be readable."""
    records = [served(f"r{i}") for i in range(25)]
    report = await report_of(*records, help=Shelf(NEW))
    (group,) = groups_of(report)
    assert len(group.records) == 25 and report.answers == 25
    for form in (html(report), markdown(report)):
        assert "and 15 more" in form and form.count("14") >= 1


async def test_what_lags_and_what_failed_is_in_every_form() -> None:
    """An index that is behind, and a source that was not looked at, must not hide behind a green word."""
    report = await report_of(served(), help=Mute())
    lag = Lag(source="help", changed=("a.md",), faults=("b.pdf: it is encrypted",), overdue=("c.md",))
    report = msgspec.structs.replace(report, lags=(lag, Lag(source="fine")))
    for form in (html(report), markdown(report)):
        plain = form.replace("\\", "")
        assert "1 changed: run mainstay index" in plain and "encrypted" in plain and "overdue for review: c.md" in plain
        assert "cannot show" in plain and ">fine<" not in plain


async def test_a_kept_recheck_is_read_as_it_was_written(tmp_path: Any) -> None:
    """What was found at night is the same in the morning, and damage costs a clear error, not a wrong report."""
    kept = Kept(tmp_path / "rechecks")
    report = await report_of(served(), help=Shelf(NEW))
    kept.keep(report, {"k": "text"}, whole=True)
    assert kept.report(report.id) == report and kept.texts() == {"k": "text"}
    assert kept.report("../../etc/passwd") is None and kept.report("texts") is None
    kept.keep(report, {"l": "other"}, whole=False)
    assert kept.texts() == {"k": "text", "l": "other"}
    (tmp_path / "rechecks" / f"{report.id}.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        kept.report(report.id)
    (tmp_path / "rechecks" / "texts.json").write_text("[")
    assert kept.texts() == {}


# Differences


@pytest.mark.parametrize(
    ("then", "now", "shown"),
    [
        ("within 30 days", "within 14 days", "within [-30-]{+14+} days"),
        ("a b c", "a  b\nc", "a b c"),
        ("价格是30元", "价格是14元", "价格是[-30-]{+14+}元"),
        ("", "new", "{+new+}"),
        ("gone", "", "[-gone-]"),
        ("", "", ""),
        ("is allowed.", "is not allowed.", "is{+ not+} allowed."),
    ],
)
def test_a_difference_is_word_by_word(then: str, now: str, shown: str) -> None:
    """The figure that changed is what is marked, in scripts without spaces too, and a line break is no change."""
    pieces = diff(then, now)
    assert as_text(pieces) == shown
    assert "".join(p.text for p in pieces if p.did != "new") == then
    assert changed(pieces) == ("[-" in shown or "{+" in shown)


def test_a_long_text_is_compared_in_bounded_time() -> None:
    """Two answers of a hundred thousand words each would hold the run up for hours, word by word."""
    began = time.monotonic()
    one, other = "word " * 100_000, "other " * 100_000
    assert [p.did for p in diff(one, other)] == ["gone", "new"]
    assert [p.did for p in diff(one, one + "\n")] == ["same"]
    assert time.monotonic() - began < 20


def test_what_is_the_same_is_shortened() -> None:
    """One changed word in a long passage is shown with a few words around it."""
    text = " ".join(f"w{i}" for i in range(200))
    pieces = shortened(diff(text, text.replace("w100", "CHANGED")))
    assert "CHANGED" in as_text(pieces) and "w99" in as_text(pieces) and len(as_text(pieces)) < 150
    assert Piece("gone", "w100") in pieces
    assert holds("He  said:\n yes", "said: yes") and not holds("He said yes", "said: yes")
