"""`python -m bench.quality.classifier DATA [all]`: the classifier rung on public intents, beside published figures.

- BANKING77 with ten official training rows for each of its 77 intents, asked of the official test rows that are at hand (half).
- CLINC150, ten intents of banking with 100 rows each, and the set's out-of-scope questions: how many of those are answered.
- With `all`, BANKING77 with all of its 10,003 training rows. That takes very long in plain Python.

Published figures are those of DATA/semantic_cache/README.md; those of models were recalled there and not read again.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from mainstay.core.classifier import ClassifierFile
from mainstay.learn.fitting import Example, calibration_error, fit, written
from mainstay.serve.classifying import Classifier

SURE = 0.8
TEN = (
    *("transfer", "balance", "pay_bill", "bill_due", "routing"),
    *("freeze_account", "interest_rate", "order_checks", "pin_change", "transactions"),
)


def rows(path: Path, split: str) -> list[Example]:
    """The texts of one split, with their intents."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    return [Example(text=r["text"], labels={"answer": r["intent"]}) for r in found if r["orig_split"] == split]


def few(examples: Iterable[Example], n: int) -> list[Example]:
    """The same n of each label every time."""
    by: dict[object, list[Example]] = {}
    for example in examples:
        by.setdefault(example.labels["answer"], []).append(example)
    chance = random.Random(1)
    return [example for own in by.values() for example in chance.sample(own, min(n, len(own)))]


def measured(name: str, training: Sequence[Example], asked: Sequence[Example], published: str) -> Classifier:
    """Fit, ask, and print one line."""
    began = time.perf_counter()
    file = fit(training, date="")
    took = time.perf_counter() - began
    if not isinstance(file, ClassifierFile):
        raise SystemExit(f"{name}: {file.missing}")
    classifier = Classifier(file)
    guesses = [(classifier.guess_from(classifier.scores(e.text)[0]), e) for e in asked]
    told = [(guess.sure, guess.labels == e.labels) for guess, e in guesses]
    sure = [guess.labels == e.labels for e in asked if (guess := classifier.guess(e.text)) and guess.sure >= SURE]
    print(
        f"{name}: {sum(right for _, right in told) / len(told):.1%} right of {len(asked)} (card: {file.card.accuracy:.1%}); "
        f"calibration error {calibration_error(told):.3f}; at sure = {SURE} it answers {len(sure) / len(asked):.0%}, "
        f"{sum(sure) / max(1, len(sure)):.1%} of them right; {len(training)} rows fitted in {took:.0f} s, "
        f"{len(written(file)) // 1000} kB. Published: {published}",
        flush=True,
    )
    return classifier


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0]) / "semantic_cache"
    banking, clinc = folder / "banking77.jsonl.gz", folder / "clinc150.jsonl.gz"
    training, asked = rows(banking, "train"), rows(banking, "test")
    measured("BANKING77, ten rows an intent", few(training, 10), asked, "85.2 % (sentence encoders, ten rows)")
    own = {split: [e for e in rows(clinc, split) if e.labels["answer"] in TEN] for split in ("train", "test")}
    classifier = measured("CLINC150, ten intents of banking", own["train"], own["test"], "none for these ten")
    strange = rows(clinc, "oos_test")
    answered = [g for e in strange if (g := classifier.guess(e.text)) and g.sure >= SURE]
    print(f"  out of scope: {len(answered) / len(strange):.1%} of {len(strange)} are answered at sure = {SURE}")
    if "all" in arguments[1:]:
        measured("BANKING77, all rows", training, asked, "93.4 % (sentence encoders); 90.4 % (linear SVM on runs of letters)")


if __name__ == "__main__":
    main(sys.argv[1:])
