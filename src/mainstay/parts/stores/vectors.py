"""Vectors in memory, and the nearest of them to another: numpy's product of a matrix with a vector, exact and without an index.

Twenty thousand vectors of 256 numbers are 20 MB and take about 2 ms on one core; a million are another store's work. Where
vectors are, numpy is, and posting lists are added up with it too: `postings.py` does the same in plain Python.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mainstay.core.errors import ConfigError, StoreError
from mainstay.parts.stores.postings import Postings

WIDTH = 4  # bytes of a number
HIGHEST = 2**32 - 1  # a number that no passage has
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

    def joined(self, lists: Sequence[Postings], *, words: int, near: int, both: int) -> tuple[dict[int, float], dict[int, float]]:
        """What terms are worth (`postings.summed`) as shares of the highest, and how near those are that have a vector: both by
        number, of so many that are best by words alone, by vectors alone, and by the sum of the two.
        """
        numpy = _numpy()
        found = [numpy.frombuffer(postings.numbers, dtype="u4") for postings in lists]
        sums = numpy.zeros(max([len(self._row), *[int(numbers[-1]) + 1 for numbers in found]]))
        for postings, numbers in zip(lists, found, strict=True):
            sums[numbers] += postings.weight * numpy.frombuffer(postings.impacts, dtype="u1")
        nearest = self._nearest(max(near, both))  # who has no term can only be one of these
        numbers = numpy.sort(numpy.concatenate([*found, nearest]))
        numbers = numbers[numpy.diff(numbers, prepend=HIGHEST) != 0]
        worth, like = sums[numbers], self._of(numbers)
        worth /= worth.max(initial=0.0) or 1.0
        together = worth + numpy.where(like > HIDDEN, like, 0.0)
        some = [_highest(worth, words, above=0.0), _highest(like, near, above=HIDDEN), _highest(together, both, above=HIDDEN)]
        chosen = list(dict.fromkeys(itertools.chain.from_iterable(places.tolist() for places in some)))
        names = numbers[chosen].tolist()
        likeness = zip(names, like[chosen].tolist(), strict=True)
        return dict(zip(names, worth[chosen].tolist(), strict=True)), {
            name: cosine for name, cosine in likeness if cosine > HIDDEN
        }

    def _nearest(self, count: int) -> Any:
        """The numbers of those that are nearest, in no order."""
        numpy = _numpy()
        near = numpy.concatenate([self._near[start:end] for start, end in self._parts] or [self._near[:0]])
        numbers = numpy.concatenate([self._numbers[start:end] for start, end in self._parts] or [self._numbers[:0]])
        return numbers[_highest(near, count, above=HIDDEN)]

    def _of(self, numbers: Any) -> Any:
        """How near each of these is; `HIDDEN` where it has no vector."""
        numpy = _numpy()
        rows = numpy.where(numbers < len(self._row), self._row[numpy.minimum(numbers, len(self._row) - 1)], -1)
        return numpy.where(rows >= 0, self._near[rows], HIDDEN)


def _highest(values: Any, count: int, *, above: float) -> Any:
    """Where the highest values stand, the highest first and the first among equals first; none that is not above this."""
    numpy = _numpy()
    least = numpy.partition(values, -count)[-count] if len(values) > count else above
    places = numpy.flatnonzero(values >= least if least > above else values > above)
    return places[numpy.argsort(-values[places], kind="stable")][:count]


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise ConfigError("vectors need numpy, which is not installed", next='pip install "mainstay[vectors]"') from None
    return numpy
