"""How what is known of an answer becomes its confidence: a logistic of a few signals, each between 0 and 1.

The file is written by `mainstay learn confidence`, read by people as a diff, and used by `mainstay/serve/confidence.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct

FORMAT = 1  # of the file; one of another format is fitted anew
Weight = Annotated[float, Meta(ge=-100, le=100)]

USUAL: Mapping[str, float] = {
    "retrieval": 0.6,  # how much of the question the best passage covers
    "margin": 0.1,  # by how much it is ahead of the second
    "passages": 0.6,  # how many were found, of those looked for
    "support": 0.6,  # how far evidence bears the sentence that it bears least
    "agreement": 0.3,  # how much of the answer is in what would be quoted instead
    "sure": 0.8,  # how probable the model thought its own words
    "repairs": 0.0,  # tries, and drafts that had to be mended: each adds a third
}
"""The signals, and the value of each that says nothing: a signal that is missing counts as this."""


class CalibrationCard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the weights were fitted on, and how good they were on answers that they had not seen (cross-validation).

    `answers` were judged, `right` of them good. `brier` is the mean squared error of the confidence, `error` how far it is from
    the share that came true, on average over ten ranges; `before` are the same two of the weights that were in force.
    """

    fitted: str
    answers: int
    right: int
    brier: float
    error: float
    before: tuple[float, float]


class Calibration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The weights. Without a card nobody has fitted them: such a confidence tells better answers from worse ones, and no more."""

    format: int = FORMAT
    card: CalibrationCard | None = None
    bias: Weight
    weights: dict[str, Weight]

    def confidence(self, signals: Mapping[str, float]) -> float:
        """Between 0 and 1, to four digits."""
        known = (weight * (signals[name] - USUAL[name]) for name, weight in self.weights.items() if name in signals)
        return round(logistic(self.bias + sum(known)), 4)


def logistic(score: float) -> float:
    """A score as a probability."""
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))


UNCALIBRATED = Calibration(
    bias=0.0,
    weights={
        "retrieval": 1.5,
        "margin": 0.5,
        "passages": 0.3,
        "support": 3.0,
        "agreement": 1.0,
        "sure": 2.0,
        "repairs": -1.5,
    },
)
"""Chosen by hand so that ordinary evidence gives little more than one half: nothing was measured."""
