"""Fits the classifier of a `classifier` rung: examples in, a file with its card out.

    1. Texts that are the same are one example; each gets a mark, by which evaluations know it again.
    2. In five parts: fit on four, ask about the fifth. Whatever the card says comes from these answers, and so do the
       temperatures that make scores into probabilities, and what counts as a text of another kind.
    3. Fit on all of them, prune and round the weights, write the file.

Fitting is stochastic gradient descent on the logistic loss with an L2 penalty, in plain Python: some seconds for 500 examples of
seven labels. Its time grows with the examples times the labels times the length of the texts: 770 short ones of 77 labels take
minutes. The same examples, seed and date give the same bytes.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter

import msgspec
from msgspec import Struct

from mainstay.core.classifier import FORMAT, Card, ClassifierFile, Label, Reached, Target
from mainstay.learn.statistics import wilson
from mainstay.serve.classifying import Classifier, mark_of, pieces, softmax

LEAST = 5  # examples of each label: one for every part
FOLDS = 5
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
PIECES = 3_000  # words, pairs and runs that are kept for each target
WEIGHTS = 20_000  # of all of them; with the marks they keep the file under 300 KB
LEVELS = 300  # that the largest weight is rounded to
STRANGE = 0.02  # the share of examples that may be taken for texts of another kind
ROUNDS, RATE, PENALTY = 10, 4.0, 1e-4
SLOW = 0.05  # how much less than the weights the biases learn, which begin at the labels' shares
SMALL = 0.01  # an error of a probability that is not worth a correction
BINS = 10
Seen = Callable[[int, int], None]


class Example(Struct, frozen=True, kw_only=True):
    """A text, and the label of each target that is known of it."""

    text: str
    labels: dict[str, Label]


class TooFew(Struct, frozen=True, kw_only=True):
    """Why there is nothing to fit, in sentences that say what to add."""

    missing: tuple[str, ...]


class _Pieces(Struct, frozen=True, kw_only=True):
    """An example cut up."""

    example: Example
    mark: str
    words: frozenset[str]
    letters: frozenset[str]


class _Row(Struct, frozen=True, kw_only=True):
    """An example as numbers of pieces, and how much each kind of them counts."""

    words: list[int]
    word: float
    letters: list[int]
    letter: float


class _Weights(Struct, frozen=True, kw_only=True):
    """One target fitted: for each piece and label a weight."""

    labels: tuple[Label, ...]
    bias: list[float]
    pieces: list[str]  # words first
    words: int
    columns: list[list[float]]  # one a label


class _Told(Struct, frozen=True, kw_only=True):
    """What a classifier that had not seen an example says of it. Scores are by target."""

    example: Example
    scores: dict[str, list[float]]
    known: float


def fit(
    examples: Iterable[Example], *, date: str, field: str | None = None, seed: int = 1, seen: Seen | None = None
) -> ClassifierFile | TooFew:
    """A classifier of these examples, with its card; or what they lack.

    A target is whatever examples have labels for. `date` is written on the card; `seen(done, of)` is told of progress.
    """
    cut = _cut(examples)
    targets = {name: _labels(name, cut) for name in sorted({name for one in cut for name in one.example.labels})}
    missing = _missing(targets, cut)
    if missing:
        return TooFew(missing=missing)
    rounds = _Rounds((FOLDS + 1) * len(targets) * ROUNDS, seen)
    told = _told(cut, targets, seed, rounds)
    temperatures = {name: _temperature(name, labels, told) for name, labels in targets.items()}
    least = _least_known(told)
    file = _file(_fitted(cut, targets, seed, rounds), temperatures, cut)
    card = _card(cut, targets, temperatures, least, told, date)
    return msgspec.structs.replace(file, card=card, field=field, least_known=least)


class _Rounds:
    """Counts rounds, and tells whoever wants to know."""

    def __init__(self, of: int, seen: Seen | None) -> None:
        self._done, self._of, self._seen = 0, of, seen

    def one(self) -> None:
        self._done += 1
        if self._seen is not None:
            self._seen(self._done, self._of)


# The examples


def _cut(examples: Iterable[Example]) -> list[_Pieces]:
    """One entry for each different text, in an order that does not depend on theirs. Of several labels the commonest is kept."""
    by_mark: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_mark[mark_of(example.text)].append(example)
    found = []
    for mark, same in sorted(by_mark.items()):
        votes: dict[str, Counter[Label]] = defaultdict(Counter)
        for example in same:
            for name, label in example.labels.items():
                votes[name][label] += 1
        labels = {name: min(count, key=lambda label, c=count: (-c[label], str(label))) for name, count in sorted(votes.items())}  # type: ignore[misc]
        words, letters = pieces(same[0].text)
        if labels and letters:
            example = Example(text=same[0].text, labels=labels)
            found.append(_Pieces(example=example, mark=mark, words=frozenset(words), letters=frozenset(letters)))
    return found


def _labels(name: str, cut: Sequence[_Pieces]) -> tuple[Label, ...]:
    return tuple(sorted({one.example.labels[name] for one in cut if name in one.example.labels}, key=str))


def _missing(targets: Mapping[str, tuple[Label, ...]], cut: Sequence[_Pieces]) -> tuple[str, ...]:
    if not targets:
        return ("no case says which label its answer has",)
    told = []
    for name, labels in targets.items():
        count = Counter(one.example.labels[name] for one in cut if name in one.example.labels)
        if len(labels) < 2:
            told.append(f"every case has the same {name}, {_shown(labels[0])}; add cases of others")
        for label in labels:
            if count[label] < LEAST:
                have = f"{count[label]} case" + ("s" if count[label] > 1 else "")
                told.append(f"{name} {_shown(label)} has {have} to fit on; add {LEAST - count[label]} or more")
    if not told and not any(set(one.example.labels) == set(targets) for one in cut):
        told.append(f"no case has all of {', '.join(targets)}")
    return tuple(told)


def _shown(label: Label) -> str:
    return msgspec.json.encode(label).decode()


# Fitting


def _told(cut: list[_Pieces], targets: Mapping[str, tuple[Label, ...]], seed: int, rounds: _Rounds) -> list[_Told]:
    """What classifiers that had not seen them say of all examples."""
    alike = sorted(cut, key=lambda one: (sorted((n, str(v)) for n, v in one.example.labels.items()), one.mark))
    part = {one.mark: i % FOLDS for i, one in enumerate(alike)}
    found = []
    for fold in range(FOLDS):
        others = [one for one in cut if part[one.mark] != fold]
        file = _file(_fitted(others, targets, seed, rounds), dict.fromkeys(targets, 1.0), others)
        classifier = Classifier(file)
        for one in cut:
            if part[one.mark] == fold:
                flat, known = classifier.scores(one.example.text)
                found.append(_Told(example=one.example, scores=_by_target(flat, targets), known=known))
    return found


def _by_target(flat: Sequence[float], targets: Mapping[str, tuple[Label, ...]]) -> dict[str, list[float]]:
    scores, start = {}, 0
    for name, labels in targets.items():
        scores[name] = list(flat[start : start + len(labels)])
        start += len(labels)
    return scores


def _fitted(cut: Sequence[_Pieces], targets: Mapping[str, tuple[Label, ...]], seed: int, rounds: _Rounds) -> dict[str, _Weights]:
    return {name: _fit_target(name, labels, cut, seed, rounds) for name, labels in targets.items()}


def _fit_target(name: str, labels: tuple[Label, ...], cut: Sequence[_Pieces], seed: int, rounds: _Rounds) -> _Weights:
    """Stochastic gradient descent, over the pieces that tell most."""
    own = [one for one in cut if name in one.example.labels]
    right = [labels.index(one.example.labels[name]) for one in own]
    words, letters = _telling(own, right, len(labels))
    rows = _numbered(own, words, letters)
    eager = _eagerness(rows, len(words) + len(letters))
    count = Counter(right)
    bias = [math.log(count[label] + 1) for label in range(len(labels))]
    middle = sum(bias) / len(bias)
    bias = [b - middle for b in bias]
    columns = [[0.0] * len(eager) for _ in labels]
    order, chance = list(range(len(own))), random.Random(seed)
    for turn in range(ROUNDS):
        chance.shuffle(order)
        rate = RATE / (1 + 4 * turn / ROUNDS)
        for i in order:
            _correct(columns, bias, rows[i], right[i], rate, eager)
        keep = max(0.5, 1 - rate * PENALTY * len(own))
        columns = [[weight * keep for weight in column] for column in columns]
        rounds.one()
    return _Weights(labels=labels, bias=bias, pieces=[*words, *letters], words=len(words), columns=columns)


def _numbered(own: Sequence[_Pieces], words: Sequence[str], letters: Sequence[str]) -> list[_Row]:
    word = {piece: i for i, piece in enumerate(words)}
    letter = {piece: i for i, piece in enumerate(letters, len(words))}
    return [
        _Row(
            words=sorted(word[piece] for piece in word.keys() & one.words),
            word=1 / math.sqrt(len(one.words) or 1),
            letters=sorted(letter[piece] for piece in letter.keys() & one.letters),
            letter=1 / math.sqrt(len(one.letters)),
        )
        for one in own
    ]


def _eagerness(rows: Sequence[_Row], size: int) -> list[float]:
    """How fast each piece learns: the square of its inverse document frequency, 1 on average. What is everywhere says little."""
    texts = Counter(i for row in rows for some in (row.words, row.letters) for i in some)
    eager = [(math.log((1 + len(rows)) / (1 + texts[i])) + 1) ** 2 for i in range(size)]
    average = sum(eager[i] * n for i, n in texts.items()) / (sum(texts.values()) or 1)
    return [e / (average or 1) for e in eager]


def _correct(columns: list[list[float]], bias: list[float], row: _Row, right: int, rate: float, eager: Sequence[float]) -> None:
    """One step down the gradient of one example."""
    scores = [
        b + row.word * sum(map(column.__getitem__, row.words)) + row.letter * sum(map(column.__getitem__, row.letters))
        for b, column in zip(bias, columns, strict=True)
    ]
    for label, chance in enumerate(softmax(scores, 1.0)):
        error = chance - (label == right)
        if abs(error) < SMALL:
            continue
        column = columns[label]
        for found, size in ((row.words, row.word), (row.letters, row.letter)):
            step = rate * error * size
            for i in found:
                column[i] -= step * eager[i]
        bias[label] -= SLOW * rate * error


def _telling(own: Sequence[_Pieces], right: Sequence[int], labels: int) -> tuple[list[str], list[str]]:
    """The words and the runs of letters whose presence depends most on the label (chi-squared), of those in two texts or more."""
    share = [n / len(own) for n in (Counter(right)[label] for label in range(labels))]
    ranked: list[tuple[float, int, str]] = []
    for kind, found in enumerate(([one.words for one in own], [one.letters for one in own])):
        texts = Counter(piece for some in found for piece in some)
        counts: dict[str, Counter[int]] = {piece: Counter() for piece, n in texts.items() if n > 1}
        for some, label in zip(found, right, strict=True):
            for piece in counts.keys() & some:
                counts[piece][label] += 1
        for piece, by_label in counts.items():
            n = texts[piece]
            depends = sum(c * c / (n * share[label]) for label, c in sorted(by_label.items())) - n
            ranked.append((-round(depends, 9), kind, piece))
    ranked.sort()
    kept = ranked[:PIECES]
    return sorted(p for _, kind, p in kept if kind == 0), sorted(p for _, kind, p in kept if kind == 1)


# The file


def _file(fitted: Mapping[str, _Weights], temperatures: Mapping[str, float], cut: Sequence[_Pieces]) -> ClassifierFile:
    """The weights, pruned and rounded. The card is still blank."""
    sizes = sorted((abs(w) for one in fitted.values() for column in one.columns for w in column), reverse=True)
    step = max(sizes[0] if sizes else 0.0, 1e-6) / LEVELS
    floor = sizes[WEIGHTS] if len(sizes) > WEIGHTS else 0.0
    tables: tuple[dict[str, list[int]], dict[str, list[int]]] = ({}, {})
    first = 0
    for one in fitted.values():
        for label, column in enumerate(one.columns, first):
            for i, weight in enumerate(column):
                whole = round(weight / step)
                if whole and abs(weight) > floor:
                    tables[i >= one.words].setdefault(one.pieces[i], []).extend((label, whole))
        first += len(one.labels)
    words, letters = ({piece: tuple(row) for piece, row in sorted(table.items())} for table in tables)
    targets = [
        Target(name=name, labels=one.labels, bias=tuple([round(b, 3) for b in one.bias]), temperature=temperatures[name])
        for name, one in fitted.items()
    ]
    marks = [one.mark for one in cut]
    return ClassifierFile(
        format=FORMAT,
        card=_BLANK,
        field=None,
        targets=tuple(targets),
        least_known=0.0,
        step=float(f"{step:.4g}"),
        words=words,
        letters=letters,
        fitted_on=tuple(["".join(marks[i : i + 16]) for i in range(0, len(marks), 16)]),
    )


def written(file: ClassifierFile) -> bytes:
    """The file's bytes: one piece a line, so that a difference can be read."""
    rows = []
    for name in file.__struct_fields__:
        value = msgspec.json.encode(getattr(file, name))
        if name in ("words", "letters"):
            table = getattr(file, name).items()
            value = b"{\n" + b",\n".join(msgspec.json.encode(k) + b":" + msgspec.json.encode(v) for k, v in table) + b"\n}"
        elif name in ("card", "fitted_on", "targets"):
            value = msgspec.json.format(value, indent=1)
        rows.append(msgspec.json.encode(name) + b": " + value)
    return b"{\n" + b",\n".join(rows) + b"\n}\n"


# What it is worth


def _temperature(name: str, labels: tuple[Label, ...], told: Sequence[_Told]) -> float:
    """What scores are divided by, so that probabilities are as likely as they say: the least log loss, by golden section."""
    own = [(one.scores[name], labels.index(one.example.labels[name])) for one in told if name in one.example.labels]

    def loss(power: float) -> float:
        return -sum(math.log(max(softmax(scores, math.exp(power))[right], 1e-12)) for scores, right in own)

    low, high, golden = -3.0, 3.0, (math.sqrt(5) - 1) / 2
    for _ in range(24):
        one, two = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, two) if loss(one) < loss(two) else (one, high)
    return round(math.exp((low + high) / 2), 4)


def _least_known(told: Sequence[_Told]) -> float:
    """The share of a text that has to be known: all but the strangest examples have as much in common with the others."""
    known = sorted(one.known for one in told)
    return round(known[int(STRANGE * len(known))], 4)


def _card(
    cut: Sequence[_Pieces],
    targets: Mapping[str, tuple[Label, ...]],
    temperatures: Mapping[str, float],
    least: float,
    told: Sequence[_Told],
    date: str,
) -> Card:
    answers = {name: [] for name in targets}  # type: dict[str, list[bool]]
    whole: list[tuple[float, bool, bool]] = []  # sure, right, known
    for one in told:
        sure, right = 1.0, True
        for name, label in one.example.labels.items():
            chances = softmax(one.scores[name], temperatures[name])
            place, best = max(enumerate(chances), key=itemgetter(1))
            answers[name].append(targets[name][place] == label)
            sure, right = sure * best, right and answers[name][-1]
        if set(one.example.labels) == set(targets):
            whole.append((sure, right, one.known > 0 and one.known >= least))
    accuracy = sum(right for _, right, _ in whole) / len(whole)
    low, high = wilson(accuracy * len(whole), len(whole))
    count = {name: Counter(_word(one.example.labels[name]) for one in cut if name in one.example.labels) for name in targets}
    asked = [[one.mark, sorted((n, _word(v)) for n, v in one.example.labels.items())] for one in cut]
    return Card(
        fitted=date,
        cases=len(cut),
        cases_hash=hashlib.blake2b(msgspec.json.encode(asked), digest_size=8).hexdigest(),
        labels={name: dict(sorted(c.items())) for name, c in count.items()},
        folds=FOLDS,
        accuracy=round(accuracy, 4),
        low=round(low, 4),
        high=round(high, 4),
        by_target={name: round(sum(a) / len(a), 4) for name, a in answers.items()},
        calibration_error=round(calibration_error([(sure, right) for sure, right, _ in whole]), 4),
        curve=tuple([_reached(sure, whole) for sure in THRESHOLDS]),
    )


def _word(label: Label) -> str:
    return label if isinstance(label, str) else _shown(label)


def _reached(least: float, whole: Sequence[tuple[float, bool, bool]]) -> Reached:
    said = [right for sure, right, known in whole if known and sure >= least]
    right = round(sum(said) / len(said), 4) if said else None
    return Reached(sure=least, answered=round(len(said) / len(whole), 4), right=right)


def calibration_error(told: Sequence[tuple[float, bool]]) -> float:
    """How far probabilities are from the share that came true, on average over ten equal ranges (expected calibration error)."""
    ranges: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for sure, right in told:
        ranges[min(BINS - 1, int(sure * BINS))].append((sure, right))
    return sum(abs(sum(sure for sure, _ in some) - sum(right for _, right in some)) for some in ranges.values()) / len(told)


_BLANK = Card(
    fitted="",
    cases=0,
    cases_hash="",
    labels={},
    folds=FOLDS,
    accuracy=0.0,
    low=0.0,
    high=1.0,
    by_target={},
    calibration_error=0.0,
    curve=(),
)
