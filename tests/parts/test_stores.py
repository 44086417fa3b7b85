"""One conformance suite a seam: every ledger and every cache keeps the same promises."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.errors import BadRequest, StoreError
from mainstay.core.near import Question
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import COLUMNS, Begun, Outcome, Record, Score
from mainstay.core.seams import Cache, Ledger, LedgerRow
from mainstay.parts.stores import sqlite_cache, sqlite_ledger
from mainstay.parts.stores.memory import MemoryCache, MemoryLedger
from mainstay.parts.stores.sqlite_cache import SqliteCache
from mainstay.parts.stores.sqlite_ledger import SqliteLedger

encode = msgspec.json.encode


def record(id: str, at: float = 1.0, *, took_us: int = 5, cost: int | None = 7, **fields: Any) -> Record:
    """A record with these columns; the others are as plain as they can be."""
    answer = {name: fields.pop(name) for name in ("status", "reason", "rung", "text") if name in fields}
    release = fields.pop("release", "r1")
    call = Call(id=id, **{"feature": "f", **fields})
    given = Answer(id=id, feature=call.feature, release=release, **{"status": Status.ANSWERED, **answer})
    return Record(
        begun=Begun(id=id, at=at, release=release, call=call),
        outcome=Outcome(id=id, answer=given, took_us=took_us, cost_nano_usd=cost),
    )


def row(record: Record) -> LedgerRow:
    return LedgerRow(record.id, encode(record.begun), encode(record.outcome))


def score(id: str, record: str, at: float = 1.0, **fields: Any) -> Score:
    return Score(id=id, record=record, at=at, **{"name": "thumb", "value": 1.0, **fields})


def score_row(score: Score) -> LedgerRow:
    return LedgerRow(score.id, score=encode(score))


def ids(records: list[Record]) -> list[str]:
    return [r.id for r in records]


# Ledgers


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """Every ledger there is."""
    if request.param == "memory":
        yield MemoryLedger()
        return
    made = SqliteLedger(tmp_path / "state" / "ledger.db")
    yield made
    made.close()


def test_a_record_is_read_as_it_was_written(ledger: Ledger):
    """A record comes back whole, and what is not there is None."""
    written = record("a", text="Grüße\n\0 \u2028", user="u", history=(), status=Status.DEGRADED, reason=Reason.CUT_SHORT)
    ledger.write([row(written)])
    assert ledger.record("a") == written
    assert ledger.record("b") is None


def test_writing_twice_changes_nothing(ledger: Ledger):
    """A record is immutable: what was written first stays, in one batch and over several, and it is there once."""
    first, second = record("a", text="first"), record("a", text="second")
    ledger.write([row(first), row(second)])
    ledger.write([row(second)])
    ledger.write([score_row(score("s", "a", value=1.0)), score_row(score("s", "a", value=0.0))])
    ledger.write([score_row(score("s", "a", value=0.0))])
    assert ledger.records(where={}, limit=10) == [first]
    assert [s.value for s in ledger.scores("a")] == [1.0]


def test_records_come_newest_first(ledger: Ledger):
    """The order is by time and then by id, whatever the order of writing, and `limit` takes the newest."""
    ledger.write([row(record("b", 2.0)), row(record("d", 3.0)), row(record("a", 1.0)), row(record("c", 3.0))])
    assert ids(ledger.records(where={}, limit=10)) == ["d", "c", "b", "a"]
    assert ids(ledger.records(where={}, limit=2)) == ["d", "c"]
    assert ledger.records(where={}, limit=0) == []
    assert ledger.records(where={}, limit=-1) == []
    assert len(ledger.records(where={}, limit=10**30)) == 4


@pytest.mark.parametrize("column", COLUMNS)
def test_records_are_found_by_each_column(ledger: Ledger, column: str):
    """A filter on any column gives the records with that value, and no other."""
    value = {"status": Status.REFUSED, "reason": Reason.NO_EVIDENCE, "origin": "eval"}.get(column, "wanted")
    ledger.write([row(record("yes", **{column: value})), row(record("no"))])
    assert ids(ledger.records(where={column: value}, limit=10)) == ["yes"]
    assert ledger.records(where={column: "nowhere"}, limit=10) == []


def test_filters_are_joined_by_and(ledger: Ledger):
    """Two columns narrow each other; None finds the records that have no such value."""
    ledger.write([row(record("a", tenant="x", rung="r")), row(record("b", tenant="x")), row(record("c", tenant="y"))])
    assert ids(ledger.records(where={"tenant": "x", "rung": "r"}, limit=10)) == ["a"]
    assert ids(ledger.records(where={"tenant": "x", "rung": None}, limit=10)) == ["b"]


@pytest.mark.parametrize("column", ["text", "id", "at", "1=1; drop table records; --", ""])
def test_an_unknown_column_is_refused(ledger: Ledger, column: str):
    """What records cannot be searched by is said by name, and reaches no database."""
    ledger.write([row(record("a"))])
    with pytest.raises(BadRequest) as refused:
        ledger.records(where={column: "x"}, limit=1)
    assert refused.value.param == column
    assert "feature" in str(refused.value)
    assert ledger.record("a") is not None


@pytest.mark.parametrize(
    ("where", "limit", "param"),
    [({"status": ["answered"]}, 1, "status"), ({"tenant": 5}, 1, "tenant"), ({}, "x", "limit"), ({}, 2.5, "limit")],
)
def test_a_search_of_the_wrong_type_is_refused(ledger, where, limit, param):
    """A value that no column can hold, or a limit that is no number, is named, and not left to the database."""
    with pytest.raises(BadRequest) as told:
        ledger.records(where=where, limit=limit)
    assert told.value.param == param and told.value.next


def test_scores_may_arrive_before_their_record(ledger: Ledger):
    """A score waits for its record, and scores come oldest first."""
    ledger.write([score_row(score("t", "a", 3.0)), score_row(score("s", "a", 2.0, value="good", reason="because"))])
    ledger.write([row(record("a")), score_row(score("u", "b", 1.0))])
    assert ledger.scores("a") == [score("s", "a", 2.0, value="good", reason="because"), score("t", "a", 3.0)]
    assert ledger.scores("nobody") == []


def test_a_batch_is_written_whole_or_not_at_all(ledger: Ledger):
    """A row that cannot be read keeps the others of its batch out, so that a batch can be written again."""
    with pytest.raises(msgspec.DecodeError):
        ledger.write([row(record("a")), LedgerRow("b", b"{}", b"torn")])
    assert ledger.record("a") is None
    with pytest.raises(msgspec.DecodeError):
        ledger.write([row(record("a")), LedgerRow("b", score=b"torn")])
    assert ledger.record("a") is None


def test_no_rows_are_no_work(ledger: Ledger):
    """An empty batch is fine."""
    ledger.write([])
    assert ledger.records(where={}, limit=1) == []


def test_fields_of_a_later_version_are_passed_over(ledger: Ledger):
    """Fields are only ever added: a record that has more of them than we know is read as far as we know it."""
    begun, sealed = encode(record("a").begun), encode(record("a").outcome)
    ledger.write([LedgerRow("a", begun[:-1] + b',"mood":"good"}', sealed[:-1] + b',"weather":[1]}')])
    assert ledger.record("a") == record("a")


@pytest.mark.parametrize("text", ["'; drop table records; --", "🦉" * 1000, "\x7f\x01", ""])
def test_any_text_is_a_value(ledger: Ledger, text: str):
    """What a caller names a tenant is a value, never SQL."""
    ledger.write([row(record("a", tenant=text)), row(record("b", tenant="other"))])
    assert ids(ledger.records(where={"tenant": text}, limit=10)) == ["a"]


def test_money_without_end_is_kept(ledger: Ledger):
    """A provider that reports an absurd usage cannot stop the ledger: the record holds the true figure."""
    ledger.write([row(record("a", cost=10**30)), row(record("b", cost=None)), row(record("c", cost=0))])
    assert [ledger.record(id).outcome.cost_nano_usd for id in "abc"] == [10**30, None, 0]


def test_a_thousand_records_in_one_batch(ledger: Ledger):
    """Batches of any size are written, also those that fill no whole statement."""
    ledger.write([row(record(f"r{i:04}", float(i))) for i in range(1003)])
    assert ids(ledger.records(where={}, limit=3)) == ["r1002", "r1001", "r1000"]
    assert len(ledger.records(where={}, limit=5000)) == 1003


def test_a_ledger_is_used_by_many_threads(ledger: Ledger):
    """The spool's thread writes while the doors read: from any thread, at once, without an error."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[int], object]) -> None:
        try:
            for i in range(60):
                work(i)
        except BaseException as error:
            errors.append(error)

    jobs: list[Callable[[int], object]] = [
        lambda i: ledger.write([row(record(f"a{i}"))]),
        lambda i: ledger.write([row(record(f"b{i}")), score_row(score(f"s{i}", "a0"))]),
        lambda i: ledger.records(where={"feature": "f"}, limit=5),
        lambda i: (ledger.record(f"a{i}"), ledger.scores("a0")),
    ]
    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert errors == []
    assert len(ledger.records(where={}, limit=1000)) == 120


# The SQLite files

LEDGER_V1 = """
    create table records(
        id text primary key, at real, feature text, tenant text, origin text, release text,
        status text, reason text, rung text, took_us integer, cost_nano_usd integer,
        begun blob, sealed blob
    );
    create index records_by_time on records(at);
    create table scores(
        id text primary key, record text, at real, name text, body blob
    );
    create index scores_by_record on scores(record, at);
    """
CACHE_V1 = """
    create table keys(number integer primary key autoincrement, key blob, until real);
    create table answers(number integer primary key, stored real, until real, value blob);
    """
BEGUN_V1 = b'{"is":"begun","id":"a1","at":1.5,"release":"r","call":{"id":"a1","feature":"f","input":{"q":"?"}}}'
SEALED_V1 = (
    b'{"is":"sealed","id":"a1","answer":{"event":"answer","id":"a1","feature":"f","release":"r","status":"answered","text":"yes",'
    b'"data":null,"citations":[],"confidence":null,"reason":null,"detail":null,"rung":"m","model":null,"tool_calls":[],'
    b'"finish":"stop","usage":{"input":3}},"took_us":9,"provider_us":5,"first_word_us":null,"attempts":[{"rung":"m","outcome":"ok",'
    b'"model":"m","usage":{"input":3},"cost_nano_usd":4}],"guards":[],"steps":{"admit":1},"cost_nano_usd":4,"shared_with":null}'
)
FIRST = {"ledger": (sqlite_ledger.MIGRATIONS, [LEDGER_V1]), "cache": (sqlite_cache.MIGRATIONS, [CACHE_V1])}


@pytest.mark.parametrize("name", FIRST)
def test_migrations_are_only_ever_appended(name: str):
    """A file that was written once is read for ever: published migrations stay, word for word, and new ones come behind."""
    migrations, published = FIRST[name]
    assert migrations[: len(published)] == published


def test_a_ledger_of_the_first_version_is_read(tmp_path: Path):
    """A file as version 1 left it, byte for byte: its records are read and new ones are written beside them."""
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as db:
        db.executescript(LEDGER_V1 + "pragma user_version=1;")
        db.execute(
            "insert into records values(?,?,?,?,?,?,?,?,?,?,?,?,?)",
            ("a1", 1.5, "f", "default", "user", "r", "answered", None, "m", 9, 4, BEGUN_V1, SEALED_V1),
        )
        db.execute(
            "insert into scores values(?,?,?,?,?)",
            ("s1", "a1", 2.0, "thumb", b'{"is":"score","id":"s1","record":"a1","at":2.0,"name":"thumb","value":1}'),
        )
    db.close()
    ledger = SqliteLedger(path)
    old = ledger.record("a1")
    assert (old.outcome.answer.text, old.outcome.attempts[0].cost_nano_usd, old.begun.call.input) == ("yes", 4, {"q": "?"})
    assert [s.id for s in ledger.scores("a1")] == ["s1"]
    ledger.write([row(record("a2", 2.5))])
    assert ids(ledger.records(where={"feature": "f"}, limit=5)) == ["a2", "a1"]
    ledger.close()


def garbage(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 500)


def later_version(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version=99")
    db.close()


def other_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("pragma journal_mode=wal")
        db.execute("create table keys(x)")
        db.execute("create table records(x)")
    db.close()


def damaged(path: Path) -> None:
    """Its schema is as it was, its rows are not."""
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


BREAKS = [garbage, later_version, other_tables, damaged, cut]


@pytest.mark.parametrize("breaks", [garbage, later_version, other_tables, cut])
def test_a_ledger_that_is_none_is_refused(tmp_path: Path, breaks: Callable[[Path], None]):
    """Records are not to be lost: the error says what is wrong with which file and what to type; the file stays as it is."""
    path = tmp_path / "ledger.db"
    SqliteLedger(path).close()
    breaks(path)
    before = path.read_bytes()
    with pytest.raises(StoreError) as refused:
        SqliteLedger(path)
    assert (refused.value.where, refused.value.what != "", refused.value.next != "") == (str(path), True, True)
    if breaks is later_version:
        assert ("version 99" in refused.value.what, refused.value.next) == (True, "pip install --upgrade mainstay")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir() if "-" not in p.name] == ["ledger.db"]


@pytest.mark.parametrize("breaks", BREAKS)
def test_a_cache_that_is_none_is_set_aside(tmp_path: Path, breaks: Callable[[Path], None], caplog: pytest.LogCaptureFixture):
    """Answers can be made again: whatever the file became, a new one is begun, the old one is kept beside it, the log says so."""
    path = tmp_path / "cache.db"
    for _ in range(2):  # the second time there is one aside already
        cache = SqliteCache(path)
        cache.put(b"k", b"old", keep=100)
        cache.flush()
        cache.close()
        breaks(path)
        before = path.read_bytes()
        cache = SqliteCache(path)
        assert cache.get(b"k") is None
        cache.put(b"k", b"new", keep=100)
        cache.flush()
        cache.close()
        assert (tmp_path / "cache.db.broken").read_bytes() == before
        assert "cache.db.broken" in caplog.records[-1].message
        again = SqliteCache(path)
        assert again.get(b"k")[1] == b"new"
        again.close()
    assert len(caplog.records) == 2


def test_a_cache_that_cannot_be_opened_is_not_set_aside(tmp_path: Path):
    """A place that is no file is nobody's broken cache: it is named in the error and left alone."""
    (tmp_path / "cache.db").mkdir()
    with pytest.raises(StoreError) as refused:
        SqliteCache(tmp_path / "cache.db")
    assert refused.value.where == str(tmp_path / "cache.db")
    assert [p.name for p in tmp_path.iterdir()] == ["cache.db"]


def test_a_failed_migration_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A migration runs whole or not at all, so a fixed program can go on from there."""
    path = tmp_path / "ledger.db"
    SqliteLedger(path).close()
    monkeypatch.setattr(
        sqlite_ledger, "MIGRATIONS", [*sqlite_ledger.MIGRATIONS, "create table extra(x); create table records(x)"]
    )
    with pytest.raises(StoreError, match="migrated"):
        SqliteLedger(path)
    monkeypatch.undo()
    ledger = SqliteLedger(path)
    ledger.write([row(record("a"))])
    assert ledger.record("a") is not None
    ledger.close()


def test_a_record_of_a_later_version_is_named_not_guessed(tmp_path: Path):
    """A status that this version does not know is an error of the store that says what to type, not a crash."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.write([LedgerRow("a1", BEGUN_V1, SEALED_V1.replace(b'"answered"', b'"transcended"'))])
    with pytest.raises(StoreError, match="another version") as refused:
        ledger.record("a1")
    assert refused.value.next == "pip install --upgrade mainstay"
    ledger.close()


def test_the_files_are_for_their_owner_alone(tmp_path: Path):
    """Records hold what people wrote: nobody else on the machine may read them."""
    path = tmp_path / "state" / "ledger.db"
    ledger = SqliteLedger(path)
    ledger.write([row(record("a"))])
    assert path.parent.stat().st_mode & 0o077 == 0
    assert [p.name for p in path.parent.iterdir() if p.stat().st_mode & 0o077] == []
    ledger.close()


def test_a_ledger_that_was_deleted_begins_anew(tmp_path: Path):
    """Somebody removes the state folder under a running server: the next records go to a file that exists."""
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    ledger.write([row(record("a"))])
    for file in tmp_path.iterdir():
        file.unlink()
    ledger.write([row(record("b"))])
    assert (ledger.record("a"), ledger.record("b")) == (None, record("b"))
    ledger.close()
    again = SqliteLedger(path)
    assert again.record("b") == record("b")
    again.close()


def test_a_ledger_that_is_locked_says_so_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A lock held for longer than the busy time-out is a `StoreError`, reading goes on, and afterwards writing does."""
    monkeypatch.setattr("mainstay.parts.stores.sqlite.BUSY_MS", 50)
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    other = apsw.Connection(str(path))
    other.execute("begin immediate")
    with pytest.raises(StoreError, match="takes nothing"):
        ledger.write([row(record("a"))])
    assert ledger.record("a") is None
    other.execute("rollback")
    ledger.write([row(record("a"))])
    assert ledger.record("a") == record("a")
    other.close()
    ledger.close()


# Caches


class Clock:
    """The time of day, which tests move."""

    def __init__(self) -> None:
        self.moved = 0.0
        self._real = time.time

    def __call__(self) -> float:
        return self._real() + self.moved


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


Make = Callable[..., Any]


@pytest.fixture(params=["memory", "sqlite", "sqlite, from the file"])
def make(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """`make(capacity)` makes a cache and gives `settled`, which is the cache once everything put is where others see it."""
    monkeypatch.setattr(sqlite_cache, "NOTICE", 0.0)
    made: list[SqliteCache] = []

    def make(capacity: int = 100) -> tuple[Cache, Callable[[], Cache]]:
        if request.param == "memory":
            memory = MemoryCache(capacity)
            return memory, lambda: memory
        cache = SqliteCache(tmp_path / "cache.db", capacity=capacity)
        made.append(cache)

        def settled() -> Cache:
            cache._swept = 0.0
            cache.flush()
            if request.param == "sqlite":
                return cache
            made.append(SqliteCache(tmp_path / "cache.db", capacity=capacity))
            return made[-1]

        return cache, settled

    yield make
    for cache in made:
        cache.close()


def test_a_value_is_found_with_its_age(make: Make, clock: Clock):
    """What was put is found, with the moment when it was put, so that the reader can decide whether it is fresh."""
    cache, settled = make()
    before = clock()
    cache.put(b"k", b"\0value\xff", keep=100)
    clock.moved = 50
    stored, value = settled().get(b"k")
    assert value == b"\0value\xff"
    assert before <= stored <= before + 30
    assert settled().get(b"other") is None


def test_a_value_is_seen_at_once(make: Make):
    """Whoever put a value finds it, whether it has reached the disk or not."""
    cache, _ = make()
    cache.put(b"k", b"v", keep=100)
    assert cache.get(b"k")[1] == b"v"


def test_a_value_ends(make: Make, clock: Clock):
    """A value is kept for as long as was asked, and not longer."""
    cache, settled = make()
    cache.put(b"short", b"1", keep=10)
    cache.put(b"long", b"2", keep=100)
    clock.moved = 11
    assert settled().get(b"short") is None
    assert settled().get(b"long")[1] == b"2"
    clock.moved = 101
    assert settled().get(b"long") is None


def test_a_later_value_replaces_the_earlier(make: Make, clock: Clock):
    """The newest value of a key is the one that is found, also when the key had ended in between."""
    cache, settled = make()
    cache.put(b"k", b"1", keep=10)
    settled()
    cache.put(b"k", b"2", keep=10)
    assert settled().get(b"k")[1] == b"2"
    clock.moved = 11
    assert settled().get(b"k") is None
    cache.put(b"k", b"3", keep=10)
    assert settled().get(b"k")[1] == b"3"


def test_the_newest_values_are_kept(make: Make):
    """A full cache lets go of the oldest, never of the newest."""
    cache, settled = make(capacity=10)
    for i in range(35):
        cache.put(b"%d" % i, b"v%d" % i, keep=100)
    full = settled()
    kept = [i for i in range(35) if full.get(b"%d" % i) is not None]
    assert kept == list(range(25, 35))


def test_a_cache_is_used_by_many_threads(make: Make):
    """Two event loops and the spool's thread: no error, and no wrong value."""
    cache, settled = make(capacity=20)
    errors: list[object] = []

    def use(name: bytes) -> None:
        try:
            for i in range(300):
                cache.put(name + b"%d" % (i % 30), name, keep=100)
                found = cache.get(name + b"%d" % (i * 7 % 30))
                if found is not None and found[1] != name:
                    errors.append(found)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(name,)) for name in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for _ in range(20):
        settled()
    for thread in threads:
        thread.join(timeout=30)
    assert errors == []


def test_what_is_dropped_is_gone_and_can_be_put_again(make: Make):
    """An answer that rests on what changed is not given again; the new answer to the same call is."""
    cache, settled = make()
    for key in (b"a", b"b", b"c"):
        cache.put(key, b"old " + key, keep=100)
    cache = settled()
    assert sorted((key, value) for key, _, value in cache.items()) == [(k, b"old " + k) for k in (b"a", b"b", b"c")]
    cache.drop([b"a", b"c", b"never there"])
    cache.drop([])
    assert [cache.get(key) is None for key in (b"a", b"b", b"c")] == [True, False, True]
    assert [key for key, _, _ in cache.items()] == [b"b"]
    cache.put(b"a", b"new", keep=100)
    assert cache.get(b"a")[1] == b"new"


def test_items_that_have_ended_are_not_listed(make: Make, clock: Clock):
    """Nobody is shown what may not be served any more."""
    cache, settled = make()
    cache.put(b"short", b"1", keep=10)
    cache.put(b"long", b"2", keep=100)
    cache = settled()
    clock.moved = 50
    assert [key for key, _, _ in cache.items()] == [b"long"]


def test_what_one_process_drops_another_does_not_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server keeps recent answers in its memory: what is dropped from outside is not served from there, nor written again."""
    monkeypatch.setattr(sqlite_cache, "NOTICE", 0.05)
    server, outside = SqliteCache(tmp_path / "c.db"), SqliteCache(tmp_path / "c.db")
    server.put(b"kept", b"1", keep=100)
    server.put(b"k", b"1", keep=100)
    server.flush()
    server.put(b"unwritten", b"1", keep=100)
    assert server.get(b"k")[1] == b"1"
    outside.drop([b"k", b"unwritten"])
    time.sleep(0.1)
    assert server.get(b"k") is None and server.get(b"unwritten") is None
    assert server.get(b"kept")[1] == b"1"
    server.flush()
    third = SqliteCache(tmp_path / "c.db")
    assert [key for key, _, _ in third.items()] == [b"kept"]
    server.put(b"k", b"2", keep=100)
    server.flush()
    time.sleep(0.1)
    assert outside.get(b"k")[1] == b"2" and server.get(b"k")[1] == b"2"
    for cache in (server, outside, third):
        cache.close()


def test_what_was_dropped_before_it_was_written_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A process that is asked nothing meanwhile still learns what was dropped, before it writes its latest answers."""
    monkeypatch.setattr(sqlite_cache, "NOTICE", 3600.0)
    server, outside = SqliteCache(tmp_path / "c.db"), SqliteCache(tmp_path / "c.db")
    server.put(b"k", b"1", keep=100)
    outside.drop([b"k"])
    server.flush()
    third = SqliteCache(tmp_path / "c.db")
    assert list(third.items()) == []
    for cache in (server, outside, third):
        cache.close()


def test_two_caches_on_one_file_see_each_others_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What one process puts, another finds, and a miss of its own before does not hide it."""
    monkeypatch.setattr(sqlite_cache, "NOTICE", 0.05)
    one, two = SqliteCache(tmp_path / "c.db"), SqliteCache(tmp_path / "c.db")
    assert two.get(b"k") is None
    one.put(b"k", b"1", keep=100)
    one.flush()
    time.sleep(0.1)
    assert two.get(b"k")[1] == b"1"
    two.put(b"l", b"2", keep=100)
    two.flush()
    time.sleep(0.1)
    assert one.get(b"l")[1] == b"2"
    one.close()
    two.close()


def test_the_memory_of_a_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server that caches for months does not grow: neither its keys nor what waits for a disk that takes nothing."""
    monkeypatch.setattr(sqlite_cache, "NOTICE", 0.0)
    monkeypatch.setattr("mainstay.parts.stores.sqlite.BUSY_MS", 10)
    cache = SqliteCache(tmp_path / "c.db", capacity=50)
    for i in range(500):
        cache.put(b"%d" % i, b"v", keep=100)
        if i % 20 == 0:
            cache.flush()
            cache.get(b"unknown")
    assert len(cache._numbers) <= 50
    lock = apsw.Connection(str(tmp_path / "c.db"))
    lock.execute("begin immediate")
    cache.put(b"x", b"v", keep=100)
    with pytest.raises(StoreError, match="takes nothing"):
        cache.flush()
    assert cache._new == []
    assert cache.get(b"x")[1] == b"v"
    lock.close()
    cache.close()


def test_a_cache_that_was_deleted_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Deleting the cache is allowed at any time: it forgets, and goes on."""
    monkeypatch.setattr(sqlite_cache, "NOTICE", 0.0)
    cache = SqliteCache(tmp_path / "c.db", capacity=5)
    for i in range(20):
        cache.put(b"%d" % i, b"v", keep=100)
        cache.flush()
    for file in tmp_path.iterdir():
        file.unlink()
    for i in range(100, 110):
        cache.put(b"%d" % i, b"v", keep=100)
        cache.flush()
    assert cache.get(b"105")[1] == b"v"
    cache.close()


def test_many_may_open_a_new_database_at_the_same_moment(tmp_path: Path):
    """Two servers that are started together on an empty folder both start: who comes second waits."""
    barrier = threading.Barrier(8)

    def opened(path: Path) -> None:
        barrier.wait()
        SqliteLedger(path).close()

    with ThreadPoolExecutor(8) as pool:
        for round_ in range(30):
            list(pool.map(opened, [tmp_path / f"{round_}.db"] * 8))


def test_questions_are_shared_until_they_end_or_are_dropped(tmp_path: Path):
    """What another process asked is told once, in order, with its vector; nothing is left of what was dropped or has ended."""
    path = tmp_path / "cache.db"
    one, other = SqliteCache(path), SqliteCache(path)
    asked = [Question(partition=b"p", text=f"question {n}", vector=(0.5, n) if n else None) for n in range(3)]
    for n, question in enumerate(asked):
        one.put(b"%d" % n, b"v", keep=100, asked=question)
    one.put(b"plain", b"v", keep=100)
    one.put(b"short", b"v", keep=0.01, asked=Question(partition=b"p", text="an ended question"))
    one.flush()
    time.sleep(0.02)
    first = other.asked(0, 2)
    rest = other.asked(first[-1][0], 10)
    assert [(key, question) for _, key, question in (*first, *rest)] == [(b"%d" % n, q) for n, q in enumerate(asked)]
    one.drop([b"1"])
    one._swept = 0.0
    one.flush()
    assert [key for _, key, _ in other.asked(0, 10)] == [b"0", b"2"]
    for cache in (one, other):
        cache.close()
    assert apsw.Connection(str(path)).execute("select count(*) from questions").fetchall() == [(2,)]
