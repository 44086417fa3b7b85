"""Vectors in memory, and the nearest of them to another: numpy's product of a matrix with a vector, exact and without an index.

Twenty thousand vectors of 256 numbers are 20 MB and take about 3 ms on one core; a million are another store's work.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

from mainstay.core.errors import ConfigError, StoreError

WIDTH = 4  # bytes of a number
HIDDEN = -2.0  # less than any cosine


class Vectors:
    """The vectors of some passages, each audience's together. Any thread may search."""

    def __init__(self, rows: Iterable[tuple[int, int, bytes]], sizes: Mapping[int, int]) -> None:
        """`rows` are audience, number and vector (little-endian float32), ordered by audience; `sizes` counts each audience's."""
        numpy = _numpy()
        count, self._length = sum(sizes.values()), 0
        self._parts: dict[int, tuple[int, int]] = {}
        self._numbers = numpy.zeros(count, dtype="u4")
        self._matrix = numpy.zeros((count, 0), dtype="f4")
        for i, (audience, number, vector) in enumerate(rows):
            if i == 0:
                self._length = len(vector) // WIDTH
                self._matrix = numpy.zeros((count, self._length), dtype="f4")
            self._matrix[i] = numpy.frombuffer(vector, dtype="<f4")
            self._numbers[i] = number
            first, _ = self._parts.get(audience, (i, i))
            self._parts[audience] = first, i + 1
        self._row = numpy.full(int(self._numbers.max(initial=0)) + 1, -1, dtype="i8")
        self._row[self._numbers] = numpy.arange(count)
        lengths = numpy.linalg.norm(self._matrix, axis=1, keepdims=True)
        numpy.divide(self._matrix, lengths, out=self._matrix, where=lengths > 0)

    def likeness(self, vector: bytes, audiences: Iterable[int]) -> Likeness:
        """How near every vector of these audiences is to this one. Raises `StoreError` for one of another length."""
        numpy = _numpy()
        if len(vector) != self._length * WIDTH:
            what = f"a vector of {len(vector) // WIDTH} numbers is compared with vectors of {self._length}"
            raise StoreError(what, next="mainstay index")
        asked = numpy.frombuffer(vector, dtype="<f4")
        length = float(numpy.linalg.norm(asked))
        asked = asked / length if length else asked
        parts = [self._parts[audience] for audience in audiences if audience in self._parts]
        near = numpy.full(len(self._numbers), HIDDEN, dtype="f4")
        for start, end in parts:
            numpy.dot(self._matrix[start:end], asked, out=near[start:end])
        return Likeness(self._numbers, self._row, near, parts)


class Likeness:
    """The cosine of some vectors to one."""

    def __init__(self, numbers: Any, row: Any, near: Any, parts: list[tuple[int, int]]) -> None:
        self._numbers, self._row, self._near, self._parts = numbers, row, near, parts

    def nearest(self, count: int) -> list[int]:
        """The numbers of those that are nearest, the nearest first."""
        best: list[tuple[float, int]] = []
        for start, end in self._parts:
            near = self._near[start:end]
            some = _numpy().argpartition(-near, count)[:count] if len(near) > count else range(len(near))
            best += [(-float(near[i]), int(self._numbers[start + i])) for i in some]
        return [number for _, number in heapq.nsmallest(count, best)]

    def of(self, numbers: Iterable[int]) -> dict[int, float]:
        """How near some of them are, by number; those that have no vector are left out."""
        rows = {number: int(self._row[number]) for number in numbers if number < len(self._row)}
        return {number: float(self._near[row]) for number, row in rows.items() if row >= 0 and self._near[row] > HIDDEN}


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise ConfigError("vectors need numpy, which is not installed", next='pip install "mainstay[vectors]"') from None
    return numpy
