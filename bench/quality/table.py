"""One table of how good the parts are on public data: each set, the metric, the published figure, and ours.

A task is a module of this package with `rows(fit, data)`: whatever it learns, it learns from `fit`; what it counts, it counts on
`data`; where both are the same folder, by cross-validation in groups that are never torn apart. It yields `Row`s, and prints what
else is worth knowing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

T = TypeVar("T")
LESS = re.compile(
    r"^(?!.*\b(?:caught|right|recall)\b).*\b(errors?|brier|false|wrong|flagged|over-refus\w*|missed|left out|taken for|cpt\d+"
    r"|milliseconds|ms|seconds)\b",
    re.IGNORECASE,
)


class Row(Struct, frozen=True, kw_only=True):
    """One line of the table. `set` is the file's name without its ending; `published` is None where nobody has published it.

    More is better, unless the metric's name has one of the words of `LESS`, and not "caught", "right" or "recall".
    """

    set: str
    metric: str
    published: float | None
    ours: float
    n: int


def verdict(row: Row) -> str:
    """`better` or `worse` than the published figure, or `the same`; empty where there is none, or ours could not be told."""
    if row.published is None or not math.isfinite(row.ours):
        return ""
    ahead = row.ours - row.published
    if abs(ahead) < 5e-4:
        return "the same"
    return "better" if (ahead < 0) == bool(LESS.search(row.metric)) else "worse"


def as_table(rows: Sequence[Row]) -> str:
    """The rows as lines of text under a head, each column as wide as it has to be."""
    lines = [("set", "metric", "published", "ours", "n", "")]
    for row in rows:
        ours = f"{row.ours:.3f}" if math.isfinite(row.ours) else "not told"
        published = "" if row.published is None else f"{row.published:.3f}"
        lines.append((row.set, row.metric, published, ours, str(row.n), verdict(row)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [
        [cell.ljust(w) if i in (0, 1, 5) else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))]
        for line in lines
    ]
    return "\n".join("  ".join(line).rstrip() for line in padded)


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a `.jsonl.gz` file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def apart(*parts: Iterable[Row]) -> Iterator[Row]:
    """The rows of each part. A file that one of them misses stops none of the others: it is raised behind their rows."""
    missing: list[OSError] = []
    for part in parts:
        try:
            yield from part
        except OSError as error:
            missing.append(error)
    if missing:
        raise OSError("; ".join(dict.fromkeys(f"{error.strerror or error}: {error.filename}" for error in missing)))


def folds(rows: Sequence[T], group: Callable[[T], Hashable], n: int = 5) -> Iterator[tuple[list[T], list[T]]]:
    """Training and test rows, `n` times; rows of one group are always on the same side, and the same split comes every time."""
    place = [int(hashlib.sha256(repr(group(row)).encode()).hexdigest()[:8], 16) % n for row in rows]
    for fold in range(n):
        yield (
            [r for r, p in zip(rows, place, strict=True) if p != fold],
            [r for r, p in zip(rows, place, strict=True) if p == fold],
        )


def learned(
    fit: Sequence[T], data: Sequence[T], *, same: bool, group: Callable[[T], Hashable]
) -> Iterator[tuple[list[T], list[T]]]:
    """What to learn from and what to count on: all of `fit` and all of `data`, or folds of the one set that both are."""
    if same:
        yield from folds(data, group)
    else:
        yield list(fit), list(data)


def share(of: Iterable[float]) -> float:
    """The mean; of nothing, no number."""
    values = list(of)
    return sum(values) / len(values) if values else math.nan


def auroc(scores: Iterable[float], labels: Iterable[bool]) -> float:
    """The probability that a positive scores above a negative; ties count half (Mann-Whitney)."""
    ranked = sorted(zip(scores, labels, strict=True))
    positives = sum(label for _, label in ranked)
    negatives = len(ranked) - positives
    if not positives or not negatives:
        return float("nan")
    total, i = 0.0, 0
    while i < len(ranked):
        j = i
        while j < len(ranked) and ranked[j][0] == ranked[i][0]:
            j += 1
        total += sum(label for _, label in ranked[i:j]) * (i + 1 + j) / 2
        i = j
    return (total - positives * (positives + 1) / 2) / (positives * negatives)
