"""Stores that keep everything in memory: for tests, for trying things out, and for answers that must not reach a disk.

The same conformance suites prove them.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from mainstay.core.near import Question
from mainstay.core.record import Begun, Outcome, Record, Score, check_search
from mainstay.core.seams import Lacking, LedgerRow, Take

CAPACITY = 10_000
GRACE = 3600  # seconds that a counter is kept after its end, for a clock that is set back


class MemoryCache:
    """The `capacity` values that were used last. Any thread may use it."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._values: OrderedDict[bytes, tuple[float, float, bytes]] = OrderedDict()
        self._using = threading.Lock()

    def get(self, key: bytes) -> tuple[float, bytes] | None:
        if key not in self._values:
            return None
        with self._using:
            found = self._values.get(key)
            if found is None:
                return None
            stored, until, value = found
            if time.time() >= until:
                del self._values[key]
                return None
            self._values.move_to_end(key)
            return stored, value

    def put(self, key: bytes, value: bytes, *, keep: float, asked: Question | None = None) -> None:
        now = time.time()
        self.insert(key, now, now + keep, value)

    def asked(self, after: int, limit: int) -> list[tuple[int, bytes, Question]]:
        return []

    def items(self) -> Iterator[tuple[bytes, float, bytes]]:
        now = time.time()
        with self._using:
            held = [(key, stored, value) for key, (stored, until, value) in self._values.items() if until > now]
        yield from held

    def drop(self, keys: Iterable[bytes]) -> None:
        with self._using:
            for key in keys:
                self._values.pop(key, None)

    def insert(self, key: bytes, stored: float, until: float, value: bytes) -> None:
        """Put a value that was stored at another time."""
        with self._using:
            self._values[key] = (stored, until, value)
            self._values.move_to_end(key)
            if len(self._values) > self._capacity:
                self._values.popitem(last=False)


class MemoryLedger:
    """Records and scores in two dictionaries."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._scores: dict[str, Score] = {}

    def write(self, rows: Iterable[LedgerRow]) -> None:
        read = [(row.id, _score(row) if row.score else _record(row)) for row in rows]  # all of them, before any is kept
        for id, found in read:
            if isinstance(found, Score):
                self._scores.setdefault(id, found)
            else:
                self._records.setdefault(id, found)

    def record(self, id: str) -> Record | None:
        return self._records.get(id)

    def records(self, *, where: Mapping[str, Any], limit: int) -> list[Record]:
        check_search(where, limit)
        found = [r for r in self._records.values() if _matches(r, where)]
        return sorted(found, key=lambda r: (r.begun.at, r.id), reverse=True)[: max(0, limit)]

    def scores(self, record: str) -> list[Score]:
        return sorted((s for s in self._scores.values() if s.record == record), key=lambda s: (s.at, s.id))


def _record(row: LedgerRow) -> Record:
    return Record(begun=msgspec.json.decode(row.begun, type=Begun), outcome=msgspec.json.decode(row.sealed, type=Outcome))


def _score(row: LedgerRow) -> Score:
    return msgspec.json.decode(row.score, type=Score)


def _matches(record: Record, where: Mapping[str, Any]) -> bool:
    call, answer = record.begun.call, record.outcome.answer
    columns = {
        "feature": call.feature,
        "tenant": call.tenant,
        "origin": call.origin,
        "release": record.begun.release,
        "status": answer.status,
        "reason": answer.reason,
        "rung": answer.rung,
        "cohort": call.cohort,
    }
    return all(columns[name] == value for name, value in where.items())


class MemoryCounters:
    """Counters of this process alone. Any thread may use them."""

    def __init__(self) -> None:
        self._taken: dict[str, tuple[int, int | None]] = {}
        self._using = threading.Lock()

    def take(self, takes: Sequence[Take]) -> tuple[int, ...] | Lacking:
        with self._using:
            after: dict[str, tuple[int, int | None]] = {}
            given = []
            for take in takes:
                taken, ends = after.get(take.counter) or self._taken.get(take.counter, (0, take.ends))
                amount = take.granted(taken)
                if amount is None:
                    return Lacking(take.counter, taken)
                after[take.counter] = taken + amount, ends
                given.append(amount)
            self._taken |= after
            return tuple(given)

    def give(self, back: Mapping[str, int]) -> None:
        with self._using:
            for counter, amount in back.items():
                if counter in self._taken:
                    taken, ends = self._taken[counter]
                    self._taken[counter] = max(0, taken - amount), ends

    def taken(self, counters: Sequence[str]) -> tuple[int, ...]:
        with self._using:
            return tuple([self._taken.get(counter, (0, None))[0] for counter in counters])

    def all(self) -> list[tuple[str, int]]:
        now = time.time()
        with self._using:
            return [(name, taken) for name, (taken, ends) in self._taken.items() if taken and (ends is None or ends > now)]

    def tend(self) -> None:
        over = time.time() - GRACE
        with self._using:
            live = {name: kept for name, kept in self._taken.items() if (kept[1] is None and kept[0]) or (kept[1] or 0) > over}
            self._taken = live
