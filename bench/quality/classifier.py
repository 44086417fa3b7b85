"""The classifier rung on public intents, beside published figures.

- BANKING77 with ten official training rows for each of its 77 intents, asked of the official test rows that are at hand.
- CLINC150, ten intents of banking with 100 rows each, and the set's out-of-scope questions: how many of those are answered.

The training rows are FIT's, the test rows DATA's; the sets' own split keeps them apart where both are one folder. Published
figures are those of DATA/semantic_cache/README.md, recalled there and not read again, on all test rows, of which about half is
at hand.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.quality.table import Row, apart, read
from mainstay.core.classifier import ClassifierFile
from mainstay.learn.fitting import Example, calibration_error, fit, written
from mainstay.serve.classifying import Classifier

SURE = 0.8
BANKING, CLINC = "banking77", "clinc150"
TEN = (
    *("transfer", "balance", "pay_bill", "bill_due", "routing"),
    *("freeze_account", "interest_rate", "order_checks", "pin_change", "transactions"),
)


def examples(folder: Path, name: str, split: str) -> list[Example]:
    """The texts of one split of a set, with their intents."""
    found = read(folder / "semantic_cache" / f"{name}.jsonl.gz")
    return [Example(text=r["text"], labels={"answer": r["intent"]}) for r in found if r["orig_split"] == split]


def few(examples: Iterable[Example], n: int) -> list[Example]:
    """The same n of each label every time."""
    by: dict[object, list[Example]] = {}
    for example in examples:
        by.setdefault(example.labels["answer"], []).append(example)
    chance = random.Random(1)
    return [example for own in by.values() for example in chance.sample(own, min(n, len(own)))]


def fitted(training: Sequence[Example]) -> Classifier:
    """A classifier of these. Raises `ValueError` where there are too few."""
    began = time.perf_counter()
    file = fit(training, date="")
    if not isinstance(file, ClassifierFile):
        raise ValueError(f"it cannot be fitted: {file.missing}")
    took, size = time.perf_counter() - began, len(written(file)) // 1000
    print(f"{len(training)} rows fitted in {took:.0f} s, {size} kB; the card says {file.card.accuracy:.1%}")
    return Classifier(file)


def asked_of(classifier: Classifier, asked: Sequence[Example]) -> Iterator[tuple[str, float]]:
    """What is worth knowing of its guesses."""
    if not asked:
        return
    guesses = [(classifier.guess_from(classifier.scores(e.text)[0]), e) for e in asked]
    told = [(guess.sure, guess.labels == e.labels) for guess, e in guesses]
    sure = [guess.labels == e.labels for e in asked if (guess := classifier.guess(e.text)) and guess.sure >= SURE]
    yield "accuracy", sum(right for _, right in told) / len(told)
    yield "calibration error", calibration_error(told)
    yield f"accuracy where it is sure ({SURE})", sum(sure) / max(1, len(sure))
    yield f"share that it is sure of ({SURE})", len(sure) / len(told)


def rows(fit: Path, data: Path) -> Iterator[Row]:
    """The figures of both sets."""
    yield from apart(_banking(fit, data), _clinc(fit, data))


def _banking(fit: Path, data: Path) -> Iterator[Row]:
    classifier, asked = fitted(few(examples(fit, BANKING, "train"), 10)), examples(data, BANKING, "test")
    for metric, value in asked_of(classifier, asked):
        published = 0.852 if metric == "accuracy" else None  # sentence encoders
        yield Row(set=BANKING, metric=f"{metric}, ten rows an intent", published=published, ours=value, n=len(asked))


def _clinc(fit: Path, data: Path) -> Iterator[Row]:
    classifier = fitted([e for e in examples(fit, CLINC, "train") if e.labels["answer"] in TEN])
    asked = [e for e in examples(data, CLINC, "test") if e.labels["answer"] in TEN]
    for metric, value in asked_of(classifier, asked):
        yield Row(set=CLINC, metric=f"{metric}, ten intents", published=None, ours=value, n=len(asked))
    strange = examples(data, CLINC, "oos_test")
    answered = [g for e in strange if (g := classifier.guess(e.text)) and g.sure >= SURE]
    share = len(answered) / len(strange) if strange else float("nan")
    yield Row(set=CLINC, metric="out of scope, answered by a wrong intent", published=None, ours=share, n=len(strange))
