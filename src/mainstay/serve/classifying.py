"""What a fitted classifier says of a text: multinomial logistic regression on words, pairs of words and runs of letters.

Runs of letters make it work for languages that put no spaces between words, and for typing mistakes. The sums are of whole
numbers, so that the same text has the same answer in every process. Fitting one is `mainstay/learn/fitting.py`; whether an
answer is sure enough is the rung's affair.

Limits: only the first `LONGEST` characters of a text are read. It knows no order of words beyond pairs, and no meaning: a text
in words that no case has is none that it can judge.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import struct
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from mainstay.core import learned
from mainstay.core.classifier import FORMAT, ClassifierFile, Label
from mainstay.core.errors import ConfigError
from mainstay.serve.inputs import ReadInput

LONGEST = 2_000  # characters that are read
RUNS = (2, 3, 4)  # how many letters make a run
MARK = 8  # characters of a text's mark
FIELD = 32  # bits for the sum of one label's weights: those of a whole text stay far below it
MIDDLE = 2 ** (FIELD - 1)  # what is added to each sum, so that none is negative
_FIELD = struct.Struct("<I")
_WORD = re.compile(r"\w+")


def read(data: bytes, *, where: str, next: str) -> tuple[ClassifierFile, Classifier]:
    """A classifier's file, checked and made ready. Raises `ConfigError`; `next` is what to type then."""
    file = learned.read(data, ClassifierFile, what="a classifier", format=FORMAT, where=where, next=next)
    try:
        return file, Classifier(file)
    except ValueError as error:
        raise ConfigError(f"not a classifier that can be used: {error}", where=where, next=next) from None


class Shape(Struct, frozen=True, kw_only=True):
    """What of a feature decides what a classifier of its own reads, and how its cases are labelled.

    `texts` are the input fields that are read, `schema` is that of the answer, None where the answer is text.
    """

    texts: tuple[str, ...]
    read_input: ReadInput
    schema: Mapping[str, Any] | None


class Guess(Struct, frozen=True, kw_only=True):
    """The likeliest label of each target. `sure` is the calibrated probability that all of them are right."""

    labels: dict[str, Label]
    sure: float


def pieces(text: str) -> tuple[set[str], set[str]]:
    """What a text is made of: its words and pairs of words, and its runs of letters; without regard to case and white space."""
    plain = " ".join(unicodedata.normalize("NFKC", text[:LONGEST]).casefold().split())[:LONGEST]
    if not plain:
        return set(), set()
    words = _WORD.findall(plain)
    padded = f" {plain} "
    pairs = {f"{first} {second}" for first, second in itertools.pairwise(words)}
    runs = {padded[i : i + n] for n in RUNS for i in range(len(padded) - n + 1)}
    return pairs.union(words), runs


def mark_of(text: str) -> str:
    """A text's mark, without regard to case and white space: what a classifier was fitted on is known again by it."""
    plain = " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(plain, digest_size=MARK // 2).hexdigest()


class Classifier:
    """A classifier's file made ready. Raises `ValueError` with a sentence where the file contradicts itself."""

    def __init__(self, file: ClassifierFile) -> None:
        self.targets = file.targets
        self._step, self._least = file.step, file.least_known
        self._bias = [bias for target in file.targets for bias in target.bias]
        _check(file, len(self._bias))
        self._middle = _packed((label, MIDDLE) for label in range(len(self._bias)))
        self._words, self._letters = (_rows(table) for table in (file.words, file.letters))
        self._seen = frozenset(mark for line in file.fitted_on for mark in _cut(line))

    def guess(self, text: str) -> Guess | None:
        """The likeliest labels; None for a text that is too unlike what the classifier was fitted on."""
        scores, known = self.scores(text)
        return self.guess_from(scores) if known > 0 and known >= self._least else None

    def guess_from(self, scores: Sequence[float]) -> Guess:
        """The likeliest labels by the scores of all labels, in the order of the targets."""
        labels: dict[str, Label] = {}
        sure, start = 1.0, 0
        for target in self.targets:
            own = scores[start : start + len(target.labels)]
            chances = softmax(own, target.temperature)
            best = max(range(len(chances)), key=chances.__getitem__)
            labels[target.name] = target.labels[best]
            sure *= chances[best]
            start += len(own)
        return Guess(labels=labels, sure=sure)

    def scores(self, text: str) -> tuple[list[float], float]:
        """A score for each label, not yet a probability, and the share of the text that is known."""
        words, letters = pieces(text)
        if not letters:
            return list(self._bias), 0.0
        known_words, by_words = self._sums(self._words, words)
        known_letters, by_letters = self._sums(self._letters, letters)
        word, letter = self._step / math.sqrt(len(words) or 1), self._step / math.sqrt(len(letters))
        scores = [bias + word * w + letter * c for bias, w, c in zip(self._bias, by_words, by_letters, strict=True)]
        return scores, (known_words + known_letters) / (len(words) + len(letters))

    def seen(self, text: str) -> bool:
        """Whether the classifier was fitted on this text, so that its answer to it proves nothing."""
        return mark_of(text) in self._seen

    def _sums(self, table: dict[str, int], found: set[str]) -> tuple[int, Sequence[int]]:
        """How many pieces are known, and the sums of their weights, by label."""
        known = [table[piece] for piece in table.keys() & found]
        sums = (sum(known) + self._middle).to_bytes(FIELD // 8 * len(self._bias), "little")
        return len(known), [n - MIDDLE for (n,) in _FIELD.iter_unpack(sums)]


def softmax(scores: Sequence[float], temperature: float) -> list[float]:
    """Scores as probabilities."""
    highest = max(scores)
    powers = [math.exp(max(-700.0, (score - highest) / temperature)) for score in scores]
    whole = sum(powers)
    return [power / whole for power in powers]


def _rows(table: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """Each piece's weights in one whole number, so that one addition adds for all labels at once."""
    return {piece: _packed(zip(row[::2], row[1::2], strict=True)) for piece, row in table.items()}


def _packed(weights: Iterable[tuple[int, int]]) -> int:
    return sum(weight << (FIELD * label) for label, weight in weights)


def _cut(marks: str) -> Iterable[str]:
    return (marks[i : i + MARK] for i in range(0, len(marks), MARK))


def _check(file: ClassifierFile, labels: int) -> None:
    names = [target.name for target in file.targets]
    if len(set(names)) < len(names):
        raise ValueError("two targets have the same name")
    for target in file.targets:
        if len(target.bias) != len(target.labels):
            raise ValueError(f"the target {target.name} has {len(target.labels)} labels and {len(target.bias)} biases")
        if len({(type(label), label) for label in target.labels}) < len(target.labels):
            raise ValueError(f"the target {target.name} has the same label twice")
    for table in (file.words, file.letters):
        for piece, row in table.items():
            if len(row) % 2 or not all(0 <= label < labels for label in row[::2]):
                raise ValueError(f"the weights of {piece!r} do not fit the labels")
