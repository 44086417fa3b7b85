"""How long does a search take, in one tenant's 20,000 passages or in as many as are named, and what does it miss?

The passages are made up, with a fixed seed: invented words, as frequent as those of a language are (Zipf), in sentences,
sections and documents that each have a subject of their own. A question is made of six words of one sentence, without the
hundred commonest of all words, which stand for those that say nothing; its vector is the passage's with as much noise. Printed
for each size: how long indexing took, the file, the memory, and the processor time and the wall time of 500 searches, by words
and hybrid; and what share of the ten best of an exhaustive search (every passage ranked, nothing left out) is among the ten found
by the hybrid one, for 200 questions (50 from 100,000 passages on, where ranking them all takes seconds each).
Half as many passages again belong to another tenant, and are never looked at.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one core, as is said; before numpy is imported

import itertools
import random
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from mainstay.core.evidence import Passage, Viewer
from mainstay.core.seams import Entry
from mainstay.parts.stores import sqlite_index
from mainstay.parts.stores.sqlite_index import SqliteIndex

EACH, LENGTH, WORDS, COMMON = 5, 256, 40_000, 100  # passages a document, numbers a vector, words there are, that say nothing
BEST, ASKED = 10, 500
MINE = Viewer(tenant="mine")


class Asked(Struct, frozen=True):
    """A question, and the passage that it was made of."""

    query: str
    vector: bytes
    passage: str


class Made:
    """Documents that are made up, and questions about them."""

    def __init__(self, count: int) -> None:
        self._count, self._drawn = count, random.Random(1)
        syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "ol")]
        every = itertools.chain.from_iterable(itertools.product(syllables, repeat=n) for n in (1, 2, 3))
        self._words = ["".join(parts) for parts in itertools.islice(every, WORDS)]
        self._drawn.shuffle(self._words)
        self._often = list(itertools.accumulate(1 / (rank + 3) for rank in range(WORDS)))
        self.questions: list[Asked] = []

    def entries(self) -> Iterator[Entry]:
        """So many passages of one tenant, and half as many of another; a question is kept of somewhat more than are asked."""
        for tenant, passages in (("mine", self._count), ("theirs", self._count // 2)):
            for number in range(passages // EACH):
                yield self._document(tenant, f"{tenant}/{number}.md")

    def _document(self, tenant: str, name: str) -> Entry:
        subject = self._drawn.sample(self._words[COMMON:], 30)
        passages, vectors = [], []
        for i in range(EACH):
            own = self._drawn.sample(subject, 6)
            sentences = [self._sentence(own) for _ in range(self._drawn.randint(3, 9))]
            heading = (subject[0], " ".join(own[:3]))
            text = " ".join(f"{' '.join(words)}." for words in sentences)
            passage = Passage(id=f"{name}#{i}", source="bench", document=name, text=text, heading=heading)
            vector = [self._drawn.gauss(0, 1) for _ in range(LENGTH)]
            if tenant == "mine" and self._drawn.random() < 1.2 * ASKED / self._count:
                self.questions.append(self._question(passage.id, sentences, vector))
            passages.append(passage)
            vectors.append(_packed(vector))
        return Entry(document=name, digest=name, tenants=(tenant,), passages=tuple(passages), vectors=tuple(vectors))

    def _sentence(self, own: Sequence[str]) -> list[str]:
        usual = self._drawn.choices(self._words, cum_weights=self._often, k=self._drawn.randint(6, 18))
        return usual + self._drawn.sample(own, 2)

    def _question(self, passage: str, sentences: list[list[str]], vector: list[float]) -> Asked:
        telling = [word for word in self._drawn.choice(sentences) if word not in self._words[:COMMON]]
        query = " ".join(self._drawn.sample(telling, min(6, len(telling))))
        return Asked(query, _packed([number + self._drawn.gauss(0, 1) for number in vector]), passage)


def _packed(vector: list[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def best(index: SqliteIndex, asked: Asked) -> list[str]:
    return [passage.id for _, passage in index.ranked(asked.query, asked.vector, limit=BEST, viewer=MINE).passages]


def exhaustive(index: SqliteIndex, questions: list[Asked]) -> list[list[str]]:
    """What would be found if every passage were ranked."""
    kept = sqlite_index.TOGETHER, sqlite_index.POSTINGS
    sqlite_index.TOGETHER = sqlite_index.POSTINGS = sys.maxsize >> 8
    try:
        return [best(index, asked) for asked in questions]
    finally:
        sqlite_index.TOGETHER, sqlite_index.POSTINGS = kept


def timed(index: SqliteIndex, questions: list[Asked], what: str, *, vectors: bool) -> float:
    """Search for each question; the p95 of the processor time in milliseconds."""
    busy, wall, first = [], [], 0
    for asked in questions:
        began, at = time.process_time(), time.perf_counter()
        found = index.search(asked.query, asked.vector if vectors else b"", limit=5, viewer=MINE)
        busy.append((time.process_time() - began) * 1e3)
        wall.append((time.perf_counter() - at) * 1e3)
        first += found[:1] != [] and found[0].id == asked.passage
    middle, high = len(busy) // 2, int(len(busy) * 0.95)
    busy, wall = sorted(busy), sorted(wall)
    print(
        f"  {what}: processor p50 {busy[middle]:.1f} ms, p95 {busy[high]:.1f} ms; wall p50 {wall[middle]:.1f} ms, "
        f"p95 {wall[high]:.1f} ms; the right one first for {first} of {len(questions)}"
    )
    return busy[high]


def measure(count: int, *, checked: int) -> float:
    """One size; the p95 of hybrid search."""
    made = Made(count)
    with tempfile.TemporaryDirectory() as folder:
        index = SqliteIndex(Path(folder) / "index.db")
        entries = list(made.entries())
        began = time.perf_counter()
        index.write(entries, embedder="bench")
        took = time.perf_counter() - began
        del entries
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        before = _memory()
        best(index, made.questions[0])
        print(f"\n{count:,} passages of one tenant, {count // 2:,} of another: indexed in {took:.0f} s, {size:.0f} MB on disk,")
        print(f"  {_memory() - before:.0f} MB in memory for searching")
        timed(index, made.questions[:ASKED], "words ", vectors=False)
        high = timed(index, made.questions[:ASKED], "hybrid", vectors=True)
        some = made.questions[:checked]
        pairs = [(set(best(index, a)), set(w)) for a, w in zip(some, exhaustive(index, some), strict=True)]
        shares = [len(found & wanted) / len(wanted) for found, wanted in pairs if wanted]
        print(f"  recall@{BEST} beside ranking every passage: {sum(shares) / len(shares):.3f} ({len(shares)} questions)")
        index.close()
    return high


def _memory() -> float:
    """Megabytes that this process has in use now, where the system says so; the most it ever had elsewhere."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main(sizes: tuple[int, ...] = (20_000,)) -> bool:
    """Whether hybrid search of the first size is within 10 ms."""
    high = [measure(size, checked=200 if size < 100_000 else 50) for size in sizes]
    return high[0] < 10


if __name__ == "__main__":
    sys.exit(0 if main(tuple(map(int, sys.argv[1:])) or (20_000,)) else 1)
