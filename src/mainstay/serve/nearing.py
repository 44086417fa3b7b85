"""Near hits: the answer to a question in nearly the same words, where a feature has shown that few enough of them are wrong.

An index in memory holds the questions that were answered, in partitions: whoever may be given an answer by the exact cache if he
asked it word for word may be given it here, and nobody else (`caching.partition_of`). Candidates are found by the words that they
share, and by vectors where the feature names an embedder; a verifier (the seam `Nearness`) says how probably one asks the same,
and refuses what differs in a number, a name or a "not". What is found goes the way of every exact hit, through the guards, and is
marked.

What was answered before the process began, and by others of the machine, is read from the cache behind the answers
(`learn/minding.py`).
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence

from mainstay.core.answer import Answer, Step
from mainstay.core.near import Question
from mainstay.core.seams import Embedder, Nearness
from mainstay.serve import caching
from mainstay.serve.ready import Near, Parts
from mainstay.serve.tracing import Trace

log = logging.getLogger("mainstay.cache")
CANDIDATES = 8  # that are verified, by words, and as many by vectors
QUESTIONS = 2_000  # of a partition,
MOST = 20_000  # and of all together
COMMON = 0.2  # a word that is in more than this share of the questions finds none, unless it is all there is
SHARE_OF_TIME = 0.1  # of what is left, at most, that embedding the question may take

Vector = Sequence[float]


class Kept:
    """The questions of one partition, the one that was used last behind the others."""

    def __init__(self) -> None:
        self.texts: OrderedDict[bytes, str] = OrderedDict()
        self.vectors: dict[bytes, Vector] = {}
        self._sizes: dict[bytes, int] = {}
        self._places: dict[str, set[bytes]] = {}

    def add(self, key: bytes, text: str, terms: Collection[str]) -> None:
        self._sizes[key] = len(terms)
        self.texts[key] = text
        self.texts.move_to_end(key)
        for term in terms:
            self._places.setdefault(term, set()).add(key)

    def drop(self, key: bytes, terms: Iterable[str]) -> None:
        self.texts.pop(key, None)
        self.vectors.pop(key, None)
        self._sizes.pop(key, None)
        for term in terms:
            there = self._places.get(term)
            if there is not None:
                there.discard(key)
                if not there:
                    del self._places[term]

    def by_words(self, terms: Collection[str]) -> list[bytes]:
        """The questions that share the rarest words with these and have few others, the best first."""
        size, sizes = len(self.texts), self._sizes
        found = sorted([there for term in terms if (there := self._places.get(term))], key=len)
        scores: dict[bytes, float] = {}
        for there in found:
            if scores and len(there) > max(COMMON * size, CANDIDATES):
                break
            rarity = math.log1p(size / len(there))
            for key in there:
                scores[key] = scores.get(key, 0.0) + rarity
        return heapq.nlargest(CANDIDATES, scores, key=lambda key: scores[key] / (sizes[key] + len(terms)))

    def by_vector(self, vector: Vector) -> list[bytes]:
        """The questions whose vectors are nearest, the best first."""
        scored = sorted(((likeness(vector, other), key) for key, other in self.vectors.items()), reverse=True)
        return [key for _, key in scored[:CANDIDATES]]


class Nearby:
    """What was asked and answered, by partition, bounded in number. Any thread may use it."""

    def __init__(self, verifier: Nearness) -> None:
        self.verifier = verifier
        self.off: frozenset[str] = frozenset()  # the measurements that live hits have proved wrong
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._size = 0
        self._using = threading.Lock()

    def put(self, key: bytes, asked: Question) -> None:
        """Remember that this question was answered, and under which key."""
        partition, text, vector = asked.partition, asked.text, asked.vector
        terms = self.verifier.terms(text)
        with self._using:
            kept = self._kept.setdefault(partition, Kept())
            self._kept.move_to_end(partition)
            if key not in kept.texts:
                self._size += 1
            kept.add(key, text, terms)
            if vector is not None:
                kept.vectors[key] = vector
            if len(kept.texts) > QUESTIONS:
                self._drop(kept, next(iter(kept.texts)))
            while self._size > MOST:
                first = next(iter(self._kept.values()))
                self._drop(first, next(iter(first.texts)))
                if not first.texts:
                    self._kept.popitem(last=False)

    def knows(self, partition: bytes, key: bytes) -> bool:
        """Whether the question of that key is remembered."""
        with self._using:
            kept = self._kept.get(partition)
            return kept is not None and key in kept.texts

    def forget(self, partition: bytes, key: bytes) -> None:
        """There is nothing under this key any more."""
        with self._using:
            kept = self._kept.get(partition)
            if kept is not None and key in kept.texts:
                self._drop(kept, key)

    def _drop(self, kept: Kept, key: bytes) -> None:
        kept.drop(key, self.verifier.terms(kept.texts[key]))
        self._size -= 1

    def likeliest(self, partition: bytes, text: str, vector: Vector | None) -> list[tuple[float, bytes]]:
        """The candidates that nothing refuses, each with its probability, the likeliest first."""
        with self._using:
            kept = self._kept.get(partition)
            if kept is None:
                return []
            keys = kept.by_words(self.verifier.terms(text))
            if vector is not None:
                keys += [key for key in kept.by_vector(vector) if key not in keys]
            candidates = [(key, kept.texts[key], kept.vectors.get(key)) for key in keys]
        found = []
        for key, other, its in candidates:
            alike = None if vector is None or its is None else likeness(vector, its)
            if (vector is None) == (alike is None):  # a threshold that was fitted with vectors says nothing without them
                likely = self.verifier.same(text, other, alike)
                found.append((likely.probability, key))
        return sorted(found, reverse=True)


def likeness(one: Vector, other: Vector) -> float:
    """The cosine of two vectors."""
    norm = math.hypot(*one) * math.hypot(*other)
    return sum([a * b for a, b in zip(one, other, strict=True)]) / norm if norm else 0.0


async def recall(trace: Trace, near: Near, parts: Parts) -> Answer | None:
    """The answer to a near question, marked as what it is; None where there is none that is near enough."""
    if near.measurement in parts.nearby.off:
        return None
    asked = caching.question_of(trace)
    partition = None if asked is None else caching.partition_of(trace, asked[0])
    if asked is None or partition is None:
        return None
    if near.embedder is None:
        found = parts.nearby.likeliest(partition, asked[1], None)
    elif (vector := await _embedded(asked[1], near.embedder, trace)) is not None:
        found = await asyncio.to_thread(parts.nearby.likeliest, partition, asked[1], vector)  # thousands of products
    else:
        return None
    for probability, key in found:
        if probability < near.threshold:
            break
        answer = await caching.recall(key, trace, parts, near=round(probability, 4))
        if answer is not None:
            return answer
        if caching.find(key, trace.ready, parts) is None:
            parts.nearby.forget(partition, key)
    return None


async def _embedded(text: str, embedder: Embedder, trace: Trace) -> Vector | None:
    """The question's vector, which is kept with its answer too; None where it could not be had in its share of the time."""
    left = max(0.0, trace.deadline - time.monotonic()) * SHARE_OF_TIME
    try:
        trace.vector = tuple((await asyncio.wait_for(embedder.embed([text]), left))[0])
    except Exception as error:
        log.warning("no near question was looked for: the embedder failed: %s", error or type(error).__name__)
    return trace.vector


def steps(trace: Trace) -> list[Step]:
    """What those see who ask for progress: that the answer is a near question's."""
    recalled = trace.recalled
    if not trace.call.progress or recalled is None or recalled.near is None:
        return []
    return [Step("near", f"the answer of {recalled.of}, with a probability of {recalled.near:.3f} that both ask the same")]


def doubt(answer: Answer, trace: Trace, parts: Parts) -> None:
    """Have a near hit looked at again, off the path."""
    if trace.recalled is not None and trace.recalled.near is not None:
        parts.doubt(trace.call, trace.ready, answer)
