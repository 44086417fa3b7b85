"""The record spool, file by file: what is appended reaches the ledger once, whatever happens to disk, ledger and process.

Real processes that are really killed are in `tests/journeys/test_durability.py`.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.errors import StoreError
from mainstay.core.reasons import Reason, Status
from mainstay.core.record import Begun, Outcome, Score
from mainstay.core.seams import LedgerRow
from mainstay.parts.stores import segments, spool
from mainstay.parts.stores.memory import MemoryLedger
from mainstay.parts.stores.segments import Segment
from mainstay.parts.stores.spool import Spool
from mainstay.parts.stores.sqlite_ledger import SqliteLedger

encode = msgspec.json.encode


def begun(id: str, text: str = "?") -> bytes:
    return encode(Begun(id=id, at=1.0, release="r", call=Call(id=id, feature="f", input={"q": text})))


def sealed(id: str, text: str = "!") -> bytes:
    answer = Answer(id=id, feature="f", release="r", status=Status.ANSWERED, text=text)
    return encode(Outcome(id=id, answer=answer, took_us=1))


class FailingLedger(MemoryLedger):
    """A ledger that takes nothing while `down` says why."""

    def __init__(self) -> None:
        super().__init__()
        self.down = ""

    def write(self, rows: Iterable[LedgerRow]) -> None:
        if self.down:
            raise StoreError(self.down)
        super().write(rows)


@pytest.fixture
def ledger() -> FailingLedger:
    return FailingLedger()


@pytest.fixture
def make(tmp_path: Path, ledger: FailingLedger, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Spool]]:
    """`make(segment)` opens a spool with files of that size, which is closed at the end."""
    made: list[Spool] = []

    def make(segment: int = 1 << 20, **options: object) -> Spool:
        monkeypatch.setattr(spool, "SEGMENT", segment)
        monkeypatch.setattr(spool, "AGAIN", 0.05)
        made.append(Spool(tmp_path / "spool", ledger, **options))
        return made[-1]

    yield make
    ledger.down = ""
    for each in made:
        each.close()


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "spool").iterdir())


def dead(folder: Path, *contents: bytes, process: str = "1-abc") -> list[Path]:
    """The files of a process that is no more, with zeros behind their content, as the disk's blocks are."""
    paths = [folder / "spool" / f"{process}-{number:06}.spool" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content + bytes(100_000))
    return paths


def lines(*each: bytes) -> bytes:
    return b"".join(line + b"\n" for line in each)


def state(ledger: MemoryLedger) -> dict[str, str]:
    """What became of each call."""
    return {r.id: r.outcome.answer.reason or r.outcome.answer.status for r in ledger.records(where={}, limit=10**6)}


def eventually(what: Callable[[], object], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.01)
    return bool(what())


# The plain case


def test_both_halves_become_one_record(make, ledger):
    """What was appended at two moments is one record, and a score is beside it."""
    spool = make()
    spool.append(begun("a", "why?"))
    spool.append(encode(Score(id="s", record="a", at=1.0, name="thumb", value=1)))
    spool.drain()
    assert ledger.record("a") is None, "it has not ended yet"
    spool.append(sealed("a", "because"))
    spool.drain()
    record = ledger.record("a")
    assert (record.begun.call.input, record.outcome.answer.text) == ({"q": "why?"}, "because")
    assert [s.id for s in ledger.scores("a")] == ["s"]


def test_the_thread_drains_by_itself(make, ledger):
    """Nobody has to ask: what is appended is in the ledger soon."""
    spool = make()
    spool.append(begun("a"), sealed("a"))
    assert eventually(lambda: ledger.record("a"))


def test_closing_drains_and_leaves_nothing(make, ledger, tmp_path):
    """After an orderly end everything is in the ledger and no file is left."""
    spool = make(segment=2000)
    for i in range(50):
        spool.append(begun(f"a{i}"), sealed(f"a{i}"))
    spool.close()
    spool.close()
    assert len(state(ledger)) == 50
    assert files(tmp_path) == []


def test_a_call_that_outlives_the_spool_is_found_by_the_next(make, ledger, tmp_path):
    """A stream that ends after the spool was closed still leaves its record, for the next start to find."""
    first = make()
    first.append(begun("open"))
    first.append(begun("left"))
    first.close()
    assert len(files(tmp_path)) == 1
    first.append(sealed("open", "late"))
    assert make().adopt() == 1
    assert state(ledger) == {"open": "answered", "left": "process_died"}
    assert len(files(tmp_path)) == 1, "only that of the living one"


@pytest.mark.parametrize("text", ["a\nb\r\nc", "\x0b\x0c\x1c\x1d\x85\u2028\u2029", "\0", "\ufffd🦉", '"\\"'])
def test_no_character_of_a_text_ends_a_line(make, ledger, text):
    """Whatever somebody writes, a line of the spool is one record."""
    spool = make()
    spool.append(begun("a", text), sealed("a", text))
    spool.drain()
    record = ledger.record("a")
    assert (record.begun.call.input["q"], record.outcome.answer.text) == (text, text)


@pytest.mark.parametrize("id", ['quo"te', "back\\slash", "ümlaut", "", " ", 'x","id":"y'])
def test_any_id_is_told_from_any_other(make, ledger, id):
    """Records are paired by id, also where an id has characters that JSON escapes."""
    spool = make()
    spool.append(begun(id, "mine"), begun(id + '"', "theirs"))
    spool.append(sealed(id + '"'), sealed(id))
    spool.drain()
    assert (ledger.record(id).begun.call.input["q"], ledger.record(id + '"').begun.call.input["q"]) == ("mine", "theirs")


def test_a_line_longer_than_a_file_gets_its_own(make, ledger, tmp_path):
    """A record of any size is taken, and read back whole."""
    spool = make(segment=4096)
    spool.append(begun("a"), sealed("a"))
    spool.append(begun("big", "x" * 300_000))
    spool.append(begun("b"), sealed("b"))
    spool.append(sealed("big", "y" * 300_000))
    spool.drain()
    assert set(state(ledger)) == {"a", "b", "big"}
    assert len(ledger.record("big").outcome.answer.text) == 300_000
    spool.close()
    assert files(tmp_path) == []


# Many files


def test_a_record_may_begin_in_one_file_and_end_in_a_later_one(make, ledger, tmp_path):
    """A file stays until every call that it began has ended, and is removed then."""
    spool = make(segment=2000)
    spool.append(begun("slow"))
    for i in range(40):
        spool.append(begun(f"a{i}"), sealed(f"a{i}"))
    spool.drain()
    left = files(tmp_path)
    assert len([name for name in left if name.endswith(".spool")]) == 2, left
    spool.append(sealed("slow"))
    spool.drain()
    assert len([name for name in files(tmp_path) if name.endswith(".spool")]) == 1
    assert len(state(ledger)) == 41


def test_files_turn_under_load_and_nothing_is_lost(make, ledger, tmp_path, caplog):
    """Many threads append while files fill up and are drained at the same time: every record arrives, none is mistaken."""
    spool = make(segment=8192)
    stop = threading.Event()
    failed: list[BaseException] = []

    def serve(name: str) -> None:
        try:
            waiting: list[str] = []
            for i in range(300):
                waiting.append(f"{name}{i}")
                spool.append(begun(waiting[-1]))
                if len(waiting) > 7:
                    id = waiting.pop(random.randrange(len(waiting)))
                    spool.append(sealed(id))
            for id in waiting:
                spool.append(sealed(id))
        except BaseException as error:
            failed.append(error)

    def drain() -> None:
        while not stop.is_set():
            spool.drain()

    servers = [threading.Thread(target=serve, args=(name,)) for name in "abcd"]
    drainers = [threading.Thread(target=drain) for _ in range(2)]
    for thread in servers + drainers:
        thread.start()
    for thread in servers:
        thread.join(timeout=60)
    stop.set()
    for thread in drainers:
        thread.join(timeout=60)
    spool.close()
    assert failed == []
    assert state(ledger) == {f"{name}{i}": "answered" for name in "abcd" for i in range(300)}
    assert files(tmp_path) == []
    assert [r.message for r in caplog.records if r.levelno >= logging.ERROR] == []


def test_the_next_file_is_ready_before_this_one_is_full(make, tmp_path):
    """Starting a file is the thread's work, not that of the call that comes to its edge."""
    spool = make(segment=4096)
    spool.append(begun("a", "x" * 2500))
    assert eventually(lambda: any(name.endswith(".new") for name in files(tmp_path)))
    (ready,) = [p for p in (tmp_path / "spool").iterdir() if p.suffix == ".new"]
    inode = ready.stat().st_ino
    spool.append(begun("b", "x" * 2500))
    assert inode in {p.stat().st_ino for p in (tmp_path / "spool").glob("*.spool")}


# Dead processes


def test_what_a_dead_process_left_is_brought_in(make, ledger, tmp_path):
    """Ended calls come in as they ended; the others as interrupted, with everything their first half says; files go."""
    dead(tmp_path, lines(begun("a"), begun("b", "who?"), sealed("a"), begun("c")), lines(sealed("c", "late")))
    assert make().adopt() == 1
    assert state(ledger) == {"a": "answered", "b": "process_died", "c": "answered"}
    record = ledger.record("b")
    assert (record.outcome.answer.status, record.outcome.answer.reason) == (Status.INTERRUPTED, Reason.PROCESS_DIED)
    assert (record.begun.call.input, record.outcome.cost_nano_usd) == ({"q": "who?"}, None)
    assert record.outcome.answer.release == "r"
    assert len(files(tmp_path)) == 1
    assert make().adopt() == 0


def test_adopting_again_changes_nothing(make, ledger, tmp_path):
    """An adopter that died before it removed the files, or in between, costs nothing: records are written once."""
    first, second = lines(begun("a"), begun("b"), begun("c"), sealed("a")), lines(sealed("b"))
    dead(tmp_path, first, second)
    spool = make()
    spool.adopt()
    before = ledger.records(where={}, limit=10)
    dead(tmp_path, first, second)
    spool.adopt()
    (one, _) = dead(tmp_path, first, second)
    one.unlink()
    spool.adopt()
    assert ledger.records(where={}, limit=10) == before
    assert state(ledger) == {"a": "answered", "b": "answered", "c": "process_died"}
    assert not (tmp_path / "spool" / "refused.jsonl").exists()


def test_a_torn_last_line_is_no_record(make, ledger, tmp_path):
    """Killed in the middle of a copy: what was whole before it counts, the half line does not."""
    line = begun("torn")
    for cut in (1, len(line) // 2, len(line) - 1, len(line)):
        dead(tmp_path, lines(begun("a"), sealed("a")) + line[:cut], process=f"1-{cut}")
    assert make().adopt() == 0
    assert state(ledger) == {"a": "answered"}
    assert not (tmp_path / "spool" / "refused.jsonl").exists()


def test_a_line_with_holes_is_no_record(make, ledger, tmp_path):
    """A copy that was killed may have written its end before its middle, and a power cut takes whole pages."""
    holed = bytearray(begun("holed", "x" * 500))
    holed[40:300] = bytes(260)
    headless = bytearray(begun("headless"))
    headless[:20] = bytes(20)
    dead(tmp_path, lines(begun("a"), bytes(holed), bytes(headless), bytes(5000) + sealed("a"), begun("b")))
    assert make().adopt() == 1
    assert state(ledger) == {"a": "answered", "b": "process_died"}
    assert not (tmp_path / "spool" / "refused.jsonl").exists()


GARBAGE = [
    b"garbage",
    b"{}",
    b'{"is":"sealed"}',
    b'{"is":"party","id":"x"}',
    b"[1,2]",
    b'{"is":"begun","id":"x"',
    b"\xff\xfe",
    b"   ",
    b'"',
]


def test_garbage_in_the_middle_is_set_aside(make, ledger, tmp_path, caplog):
    """Lines that are no records hold nothing up: they are kept in a file of their own, and said loudly."""
    dead(tmp_path, lines(begun("a"), *GARBAGE, sealed("a"), b"", begun("b"), sealed("b")))
    make().adopt()
    assert state(ledger) == {"a": "answered", "b": "answered"}
    assert sorted((tmp_path / "spool" / "refused.jsonl").read_bytes().splitlines()) == sorted(GARBAGE)
    assert [r for r in caplog.records if r.levelno == logging.CRITICAL]


POISON = {
    "no call": b'{"is":"begun","id":"p","at":1}',
    "wrong type": b'{"is":"begun","id":"p","at":"now","release":"r","call":{"feature":"f"}}',
    "half a line": begun("p")[:60],
}


@pytest.mark.parametrize("name", POISON)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_record_that_no_ledger_takes_holds_up_no_other(tmp_path, name, kind):
    """One poisonous line is set aside with its other half, and the records around it arrive; so does the next start."""
    ledger = MemoryLedger() if kind == "memory" else SqliteLedger(tmp_path / "ledger.db")
    dead(tmp_path, lines(begun("a"), sealed("a"), POISON[name], sealed("p"), begun("b"), sealed("b"), begun("c")))
    dead(tmp_path, lines(POISON[name], begun("d")), process="2-abc")
    spool = Spool(tmp_path / "spool", ledger)
    spool.adopt()
    assert state(ledger) == {"a": "answered", "b": "answered", "c": "process_died", "d": "process_died"}
    refused = (tmp_path / "spool" / "refused.jsonl").read_bytes()
    assert lines(POISON[name]) in refused and lines(sealed("p")) in refused
    spool.close()
    assert files(tmp_path) == ["refused.jsonl"]
    if kind == "sqlite":
        ledger.close()


def test_what_is_set_aside_is_set_aside_once(make, ledger, tmp_path):
    """A ledger that is down while a batch with garbage waits does not fill the disk with copies of it."""
    ledger.down = "gone"
    spool = make(adopt_every=0.05)
    dead(tmp_path, lines(b"garbage", begun("a"), sealed("a"), POISON["no call"], sealed("p")))
    spool.append(b"garbage", begun("b"), sealed("b"))
    time.sleep(0.5)
    ledger.down = ""
    assert eventually(lambda: state(ledger) == {"a": "answered", "b": "answered"})
    spool.close()
    refused = (tmp_path / "spool" / "refused.jsonl").read_bytes().splitlines()
    assert sorted(refused) == sorted([b"garbage", b"garbage", POISON["no call"], sealed("p")])


def test_a_sealed_half_without_its_first_is_kept(make, ledger, tmp_path):
    """The first half is unreadable: the second is set aside rather than lost."""
    dead(tmp_path, lines(sealed("a", "the only copy")))
    make().adopt()
    assert b"the only copy" in (tmp_path / "spool" / "refused.jsonl").read_bytes()


def test_a_later_versions_call_can_be_ended(make, ledger, tmp_path):
    """A newer process died: what it had begun is set down as far as this version can read it, or set aside; never lost."""
    later = begun("a")[:-1] + b',"mood":"good"}'
    stranger = begun("b").replace(b'"feature":"f"', b'"feature":"f","origin":"oracle"')
    dead(tmp_path, lines(later, stranger))
    make().adopt()
    refused = tmp_path / "spool" / "refused.jsonl"
    assert state(ledger).get("a") == "process_died"
    assert "b" in state(ledger) or stranger in refused.read_bytes()


def test_the_files_of_the_living_are_left_alone(make, ledger, tmp_path):
    """Two spools on one folder: each sees the other's files and takes none."""
    one, two = make(adopt_every=0.05), make(adopt_every=0.05)
    one.append(begun("a"))
    two.append(begun("b"))
    for _ in range(3):
        assert (one.adopt(), two.adopt()) == (0, 0)
    one.append(sealed("a"))
    two.append(sealed("b"))
    assert eventually(lambda: state(ledger) == {"a": "answered", "b": "answered"})


def test_a_dead_process_is_noticed_while_idle(make, ledger, tmp_path):
    """A living process takes over by itself, also one that has nothing else to do."""
    make(adopt_every=0.1)
    dead(tmp_path, lines(begun("a")))
    assert eventually(lambda: state(ledger) == {"a": "process_died"})


def test_what_was_left_half_made_is_swept(make, tmp_path):
    """A process that died while it made a file leaves no garbage behind for ever; one that is making its file is left alone."""
    spool = make()
    old, fresh, held = (tmp_path / "spool" / f"9-9-{name}.new" for name in ("old", "fresh", "held"))
    for path in (old, fresh, held):
        path.write_bytes(bytes(100))
    os.utime(old, (1, 1))
    os.utime(held, (1, 1))
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        spool.adopt()
    assert (old.exists(), fresh.exists(), held.exists()) == (False, True, True)


# Trouble


def test_a_ledger_out_of_order_costs_no_record(make, ledger, tmp_path):
    """Appending goes on while the ledger takes nothing, the reason is told, and afterwards everything is there."""
    spool = make(segment=4096)
    ledger.down = "the ledger is on holiday"
    for i in range(100):
        spool.append(begun(f"a{i}"), sealed(f"a{i}"))
    assert eventually(lambda: "on holiday" in spool.trouble)
    assert state(ledger) == {}
    with pytest.raises(StoreError, match="on holiday"):
        spool.drain()
    ledger.down = ""
    assert eventually(lambda: spool.trouble == "")
    assert len(state(ledger)) == 100
    spool.append(begun("later"), sealed("later"))
    assert eventually(lambda: "later" in state(ledger))


def test_closing_without_a_ledger_leaves_everything_for_the_next(make, ledger, tmp_path):
    """A ledger that is still down at the end: the files stay, and the next start brings them in."""
    first = make(segment=4096)
    ledger.down = "gone"
    for i in range(50):
        first.append(begun(f"a{i}"), sealed(f"a{i}"))
    first.append(begun("open"))
    first.close()
    assert files(tmp_path)
    ledger.down = ""
    assert make().adopt() == 1
    assert len(state(ledger)) == 51


def test_other_duties_go_on_without_the_ledger(make, ledger):
    """A broken ledger stops neither the cache's flush nor the fsync that bounds what a power cut takes."""
    flushed = threading.Event()
    spool = make(also=flushed.set)
    ledger.down = "gone"
    spool.append(begun("a"))
    assert flushed.wait(timeout=10)
    assert eventually(lambda: not spool._segment.unsynced())


def test_a_failing_flush_is_no_reason_to_serve_nobody(make, ledger, caplog):
    """The cache is a convenience: its trouble is logged once, and readiness does not depend on it."""

    def flush() -> None:
        raise StoreError("the cache is full")

    spool = make(also=flush)
    for i in range(3):
        spool.append(begun(f"a{i}"), sealed(f"a{i}"))
        assert eventually(lambda i=i: f"a{i}" in state(ledger))
    assert spool.trouble == ""
    assert len([r for r in caplog.records if "the cache is full" in r.getMessage()]) == 1


def test_everything_that_no_ledger_has_is_fsynced(make, ledger, monkeypatch):
    """Full files are synced as the last one is: a power cut takes a second, not a file."""
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_ino), real(file))[1])
    monkeypatch.setattr(spool, "SYNC", 0.05)
    ledger.down = "gone"
    each = make(segment=4096)
    for i in range(60):
        each.append(begun(f"a{i}"), sealed(f"a{i}"))
    held = [os.fstat(s.file).st_ino for s in each._segments()]
    assert len(held) > 3
    assert eventually(lambda: set(held) <= set(synced))


def test_the_last_append_before_a_pause_is_fsynced(make, ledger, monkeypatch):
    """An idle process does not leave its last call unsynced until the next one comes."""
    monkeypatch.setattr(spool, "SYNC", 0.2)
    each = make()
    each.append(begun("a"), sealed("a"))
    assert eventually(lambda: "a" in state(ledger))
    each.append(begun("b"))
    assert eventually(lambda: not each._segment.unsynced(), seconds=5)


class Disk:
    """A disk that has no room for new files while `full`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.asked = 0
        self._real = os.posix_fallocate
        monkeypatch.setattr(segments.os, "posix_fallocate", self._allocate)

    def _allocate(self, file: int, start: int, room: int) -> None:
        self.asked += 1
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._real(file, start, room)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def fill(spool: Spool) -> list[str]:
    """Append records until the disk takes no more; gives their ids."""
    taken: list[str] = []
    with pytest.raises(StoreError, match="No space"):
        for i in range(10_000):
            spool.append(begun(f"full{i}"), sealed(f"full{i}"))
            taken.append(f"full{i}")
    return taken


def test_a_full_disk_is_told_at_once_and_taken_back_later(make, ledger, disk, tmp_path):
    """No room for the next file: appending says so and so does `trouble`; what is owed is written when there is room."""
    spool = make(segment=4096)
    disk.full = True
    taken = fill(spool)
    assert "No space" in spool.trouble
    spool.owe(begun("owed"), sealed("owed"))
    time.sleep(0.3)
    assert "No space" in spool.trouble, "it is still full"
    disk.full = False
    assert eventually(lambda: spool.trouble == "")
    assert eventually(lambda: set(state(ledger)) == {*taken, "owed"})
    spool.append(begun("after"), sealed("after"))
    spool.close()
    assert "after" in state(ledger)
    assert files(tmp_path) == []


def test_a_full_disk_is_not_asked_for_each_call(make, disk, monkeypatch):
    """A thousand calls a second do not try a thousand times a second to start a file."""
    each = make(segment=4096)
    monkeypatch.setattr(spool, "AGAIN", 5.0)
    disk.full = True
    fill(each)
    before = disk.asked
    for _ in range(200):
        with pytest.raises(StoreError, match="No space"):
            each.append(begun("x" * 4000))
    assert disk.asked - before <= 3


def test_a_full_disk_leaves_no_rubbish(make, disk, tmp_path):
    """A file that got no room is not left lying about."""
    spool = make(segment=4096)
    disk.full = True
    fill(spool)
    time.sleep(0.2)
    assert [name for name in files(tmp_path) if name.endswith(".new")] == []


def test_a_spool_that_cannot_start_says_where(tmp_path, ledger, disk):
    """Without room for a first file the program does not start, and says which folder is meant."""
    disk.full = True
    with pytest.raises(StoreError, match="No space") as refused:
        Spool(tmp_path / "spool", ledger)
    assert refused.value.where == str(tmp_path / "spool")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError):
        Spool(tmp_path / "file", ledger)


def test_memory_for_what_is_owed_is_bounded(make, ledger, disk, monkeypatch, caplog):
    """A disk that stays full does not fill the memory too: beyond the bound the oldest go, and that is said."""
    monkeypatch.setattr(spool, "OWED", 5000)
    each = make(segment=4096)
    disk.full = True
    taken = fill(each)
    for i in range(50):
        each.owe(begun(f"owed{i:02}"), sealed(f"owed{i:02}"))
    assert "lost" in caplog.text
    disk.full = False
    assert eventually(lambda: each.trouble == "" and "owed49" in state(ledger))
    kept = sorted(set(state(ledger)) - set(taken))
    assert kept == [f"owed{i:02}" for i in range(50 - len(kept), 50)]
    assert 5 < len(kept) < 20


def test_a_folder_that_is_deleted_in_use_is_made_again(make, ledger, tmp_path, monkeypatch):
    """Somebody removes the spool's folder under a running server: calls that are under way and later ones keep their record."""
    monkeypatch.setattr(spool, "SYNC", 0.05)
    each = make(segment=8192)
    each.append(begun("before"), sealed("before"), begun("open"))
    assert eventually(lambda: "before" in state(ledger))
    ledger.down = "gone too"
    each.append(begun("unread"), sealed("unread"))
    shutil.rmtree(tmp_path / "spool")
    ledger.down = ""
    each.append(begun("after"))

    def kept(line: bytes) -> bool:
        return any(line in path.read_bytes() for path in (tmp_path / "spool").glob("*.spool"))

    assert eventually(lambda: kept(begun("open")) and kept(begun("after")))
    each.append(sealed("open"), sealed("after"))
    assert eventually(lambda: state(ledger) == dict.fromkeys(["before", "open", "unread", "after"], "answered"))
    each.close()
    assert files(tmp_path) == []


def test_reading_stops_at_whole_lines(tmp_path):
    """A reader never sees half a line, whatever the size of lines and batches."""
    segment = Segment.make(tmp_path, "x", 400_000)
    written = [b"%d" % i * (i * 37 % 9000 + 1) for i in range(40)]
    read: list[bytes] = []
    for i, line in enumerate(written):
        segment.append(line + b"\n")
        if i % 3 == 0:
            while data := segment.read():
                assert data.endswith(b"\n")
                read += data.split(b"\n")[:-1]
                segment.place += len(data)
    while data := segment.read():
        read += data.split(b"\n")[:-1]
        segment.place += len(data)
    assert read == written
    segment.remove()
