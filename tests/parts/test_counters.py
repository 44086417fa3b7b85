"""Counters: one conformance suite for all of them, threads and processes at once, and processes that die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from mainstay import testing
from mainstay.core.errors import StoreError
from mainstay.core.seams import Lacking, Take
from mainstay.parts.stores.memory import MemoryCounters
from mainstay.parts.stores.sqlite_counters import SqliteCounters

ENDS = int(time.time()) + 3600


def test_counters_in_memory_keep_the_seams_promises():
    """The double that tests use promises what the real counters do."""
    counters = MemoryCounters()
    testing.check_counters(counters, counters)


def test_counters_on_sqlite_keep_the_seams_promises(tmp_path: Path):
    """Two processes that open the same file see the same counts, and so do two threads of one in memory."""
    first, second = SqliteCounters(tmp_path / "counters.db"), SqliteCounters(tmp_path / "counters.db")
    testing.check_counters(first, second)
    first.close()
    second.close()
    alone = SqliteCounters()
    testing.check_counters(alone, alone)
    alone.close()


def test_threads_that_take_at_once_never_pass_a_cap(tmp_path: Path):
    """Eight threads on two connections take one at a time: exactly the cap is given, whoever was first."""
    both = SqliteCounters(tmp_path / "counters.db"), SqliteCounters(tmp_path / "counters.db")

    def take(number: int) -> int:
        given = [both[number % 2].take([Take("c", 1, 3, 200, ENDS)]) for _ in range(100)]
        return sum(one[0] for one in given if not isinstance(one, Lacking))

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 200 == both[0].taken(["c"])[0]
    for counters in both:
        counters.close()


def test_counts_survive_a_restart(tmp_path: Path):
    """What was taken of a window is still taken when the file is opened again; what had no end is free."""
    counters = SqliteCounters(tmp_path / "counters.db")
    counters.take([Take("day", 4, 4, 10, ENDS), Take("at once", 2, 2, 2, None)])
    counters.close()
    assert list((tmp_path / "counters.db.holders").iterdir()) == []
    again = SqliteCounters(tmp_path / "counters.db")
    assert again.taken(["day", "at once"]) == (4, 0)
    assert again.take([Take("day", 7, 7, 10, ENDS)]) == Lacking("day", 4)
    again.close()


def _holds(path: Path, ready: multiprocessing.Event) -> None:
    counters = SqliteCounters(path)
    counters.take([Take("at once", 1, 1, 1, None), Take("day", 5, 5, 10, ENDS)])
    ready.set()
    time.sleep(60)


def _tended(path: Path) -> tuple[int, ...]:
    """What is taken, after whoever is dead was cleared up after."""
    counters = SqliteCounters(path)
    counters.tend()
    found = counters.taken(["at once", "day"])
    counters.close()
    return found


def test_who_is_stopped_is_not_dead_and_who_is_killed_is(tmp_path: Path):
    """What a stopped process holds stays held, however long; what a killed one held at once is free, what it took is spent."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=_holds, args=(tmp_path / "counters.db", ready))
    child.start()
    try:
        assert ready.wait(60)
        os.kill(child.pid, signal.SIGSTOP)
        assert _tended(tmp_path / "counters.db") == (1, 5)
        os.kill(child.pid, signal.SIGKILL)
        child.join(30)
        assert _tended(tmp_path / "counters.db") == (0, 5)
        assert list((tmp_path / "counters.db.holders").iterdir()) == []
    finally:
        child.kill()
        child.join(30)


def test_a_file_that_is_no_database_is_told_by_whoever_takes(tmp_path: Path):
    """A broken file does not keep a project from being opened; taking from it is an error, and works once it is mended."""
    (tmp_path / "counters.db").write_bytes(b"this is no database" * 100)
    counters = SqliteCounters(tmp_path / "counters.db")
    with pytest.raises(StoreError):
        counters.take([Take("day", 1, 1, 1, ENDS)])
    (tmp_path / "counters.db").unlink()
    assert counters.take([Take("day", 1, 1, 1, ENDS)]) == (1,)
    counters.close()


def test_a_locked_file_is_an_error_and_not_a_wait_without_end(tmp_path: Path):
    """Another program that keeps the file locked costs a second at most, and is said."""
    counters = SqliteCounters(tmp_path / "counters.db")
    other = apsw.Connection(str(tmp_path / "counters.db"))
    other.execute("begin immediate")
    began = time.monotonic()
    with pytest.raises(StoreError):
        counters.take([Take("day", 1, 1, 1, ENDS)])
    assert time.monotonic() - began < 4
    other.execute("rollback")
    assert counters.take([Take("day", 1, 1, 1, ENDS)]) == (1,)
    other.close()
    counters.close()


def test_nothing_is_written_while_nothing_changes(tmp_path: Path):
    """Tending an idle store a hundred times over does not touch the disk."""
    counters, other = SqliteCounters(tmp_path / "counters.db"), apsw.Connection(str(tmp_path / "counters.db"))
    counters.take([Take("day", 1, 1, 1, ENDS)])
    counters.tend()
    before = other.execute("pragma data_version").fetchall()
    for _ in range(100):
        counters._looked = 0.0
        counters.tend()
    assert other.execute("pragma data_version").fetchall() == before
    other.close()
    counters.close()


def test_memory_counts_are_safe_between_threads():
    """Threads that take and give back at once leave nothing behind and never pass the cap."""
    counters, most = MemoryCounters(), 5
    passed = threading.Event()

    def work(_: int) -> None:
        for _ in range(500):
            if isinstance(counters.take([Take("c", 1, 1, most, None)]), tuple):
                if counters.taken(["c"])[0] > most:
                    passed.set()
                counters.give({"c": 1})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert not passed.is_set() and counters.taken(["c"]) == (0,)
