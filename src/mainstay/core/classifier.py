"""A fitted classifier as its file holds it: `classifier.json`, beside feature.toml.

It is written by `mainstay learn classify`, read by people as a diff, and served by `mainstay/serve/classifying.py`.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Label = str | bool
Positive = Annotated[float, Meta(gt=0, le=1000)]
Bias = Annotated[float, Meta(ge=-1000, le=1000)]
Weight = Annotated[int, Meta(ge=-10_000, le=10_000)]
Chance = Annotated[float, Meta(ge=0, le=1)]
FORMAT = 1  # of the file; one of another format is fitted anew


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is chosen among few: a field of the answer's data, or `answer`, the text.

    `bias` is in the order of `labels`. Scores are divided by `temperature` before they become probabilities.
    """

    name: str
    labels: Annotated[tuple[Label, ...], Meta(min_length=2)]
    bias: tuple[Bias, ...]
    temperature: Positive


class Reached(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `sure` at this value amounts to: the share of cases that is answered, and the share of those that is right."""

    sure: Chance
    answered: Chance
    right: Chance | None


class Card(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the classifier was fitted on, and how good it was on cases that it had not seen.

    `accuracy` is the share of cases of which every target was right, each asked of a classifier that was fitted without it
    (cross-validation in `folds` parts); `low` and `high` are its 95 % interval. `by_target` is the same for each target alone.
    `calibration_error` is how far the probabilities are from what came true, on average. `labels` counts the cases of each label.
    `cases_hash` changes with the texts and the labels. `fitted` is a date.
    """

    fitted: str
    cases: int
    cases_hash: str
    labels: dict[str, dict[str, int]]
    folds: int
    accuracy: Chance
    low: Chance
    high: Chance
    by_target: dict[str, float]
    calibration_error: Chance
    curve: tuple[Reached, ...]


class ClassifierFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file.

    `words` and `letters` give each known word, pair of words and run of letters its weights: label, weight, label, weight, …;
    the labels of all targets are counted through from 0, and a weight is a multiple of `step`. A text of which a smaller share
    than `least_known` is known is none that this classifier can judge. `field` is the input that it reads, None for all texts
    together. `fitted_on` holds the marks of the texts that it was fitted on, of which evaluations may not ask it.
    """

    format: int
    card: Card
    field: str | None
    targets: Annotated[tuple[Target, ...], Meta(min_length=1)]
    least_known: Chance
    step: Positive
    words: dict[str, tuple[Weight, ...]]
    letters: dict[str, tuple[Weight, ...]]
    fitted_on: tuple[str, ...]
