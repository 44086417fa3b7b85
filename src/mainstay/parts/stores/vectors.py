"""Vectors in memory, and the nearest of them to another: numpy's product of a matrix with a vector, exact and without an index.

Twenty thousand vectors of 256 numbers are 20 MB and take about 3 ms on one core; a million are another store's work.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

from mainstay.core.errors import ConfigError, StoreError

WIDTH = 4  # bytes of a number


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
        if not parts:
            return Likeness(self._numbers[:0], self._numbers[:0])
        near = [self._matrix[start:end] @ asked for start, end in parts]
        return Likeness(numpy.concatenate([self._numbers[start:end] for start, end in parts]), numpy.concatenate(near))


class Likeness:
    """The cosine of each of some vectors to one."""

    def __init__(self, numbers: Any, near: Any) -> None:
        self._numbers, self._near = numbers, near

    def nearest(self, count: int) -> list[int]:
        """The numbers of those that are nearest, the nearest first."""
        numpy = _numpy()
        some = numpy.argpartition(-self._near, count)[:count] if len(self._near) > count else range(len(self._near))
        best = heapq.nsmallest(count, [(-float(self._near[i]), int(self._numbers[i])) for i in some])
        return [number for _, number in best]

    def of(self, numbers: Iterable[int]) -> dict[int, float]:
        """How near some of them are, by number."""
        numpy = _numpy()
        wanted = list(numbers)
        places = numpy.flatnonzero(numpy.isin(self._numbers, wanted))
        return {int(self._numbers[i]): float(self._near[i]) for i in places}


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise ConfigError("vectors need numpy, which is not installed", next='pip install "mainstay[vectors]"') from None
    return numpy
