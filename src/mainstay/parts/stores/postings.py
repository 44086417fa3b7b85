"""Posting lists added up in plain Python, for searches by words alone: with vectors, `vectors.py` does the same with numpy."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Postings(NamedTuple):
    """The passages that have a term, and what it is worth in each.

    `numbers` are theirs, rising, as native unsigned integers of four bytes; `impacts` has a byte for each of them, which counts
    `weight` times.
    """

    weight: float
    numbers: bytes
    impacts: bytes


def summed(lists: Iterable[Postings]) -> dict[int, float]:
    """What all the terms together are worth in every passage that has any of them, by number."""
    sums: dict[int, float] = {}
    known = sums.get
    for weight, numbers, impacts in lists:
        for number, impact in zip(array("I", numbers), impacts, strict=True):
            sums[number] = known(number, 0.0) + weight * impact
    return sums


def best(sums: Mapping[int, float], count: int) -> list[int]:
    """The numbers of the passages with the highest sums, the highest first, and the lower number first among equals."""
    if len(sums) > count:
        least = heapq.nlargest(count, sums.values())[-1]
        some = [(-total, number) for number, total in sums.items() if total >= least]
    else:
        some = [(-total, number) for number, total in sums.items()]
    return [number for _, number in sorted(some)[:count]]
