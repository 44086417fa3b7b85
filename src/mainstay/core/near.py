"""What is known of near hits: how two questions compare, and the file that says from which probability on one is a hit.

The file is written by `mainstay learn near`, read by people as a diff, and used by `mainstay/serve/nearing.py`.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from msgspec import Meta, Struct

from mainstay.core import learned

JUDGED = "near"  # the score that the comparison beside gives to a near hit
FORMAT = 1  # of the file; one of another format is fitted anew
Chance = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]


class Likely(Struct, frozen=True):
    """How probably two questions ask the same. `refused` says what differs that may never differ; then the probability is 0."""

    probability: float
    refused: str = ""


class NearCard(Struct, frozen=True, kw_only=True):
    """What the verifier's weights are worth: the data and its licence, when they were fitted, figures and limits."""

    name: str
    data: tuple[str, ...]
    licence: str
    date: str
    figures: dict[str, float]
    limits: tuple[str, ...]


class Question(Struct, frozen=True, kw_only=True):
    """A question whose answer lies in the cache: who may be given it (`partition`), its words, and their vector, if any."""

    partition: bytes
    text: str
    vector: tuple[float, ...] | None = None


class NearFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From which probability on a near question is a hit, and what was measured there.

    `asked` questions were asked of a cache that held the others: `hits` of them were given an answer, `wrong` of those the answer
    to another question. `upper` is the wrong-hit rate that is not passed with 95 % confidence; where it is above `target`, near
    hits stay off. `verifier` names the weights that it was measured with, `embedder` the vectors, if any. `sources` counts what
    was asked, by where it came from.
    """

    format: int = FORMAT
    fitted: str
    verifier: str
    embedder: str = ""
    target: Chance
    threshold: Chance
    upper: Chance
    asked: Count
    hits: Count
    wrong: Count
    sources: dict[str, Count] = {}

    def sentence(self, target: float) -> str:
        """What was measured, for people."""
        wrong = f"{self.wrong} of {self.hits} measured near hits were wrong, so with 95 % confidence up to {self.upper:.2%} are"
        return f"{wrong}; wrong_hits is {target:g}"


def measurement_of(data: bytes) -> str:
    """Tells the measurement in one file from that in another."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def verdict_of(feature: str, measurement: str) -> str:
    """The id of the evidence that near hits turned out to be wrong too often, where there is such evidence."""
    return f"near-{measurement}-{feature}"


def read(data: bytes, *, where: str, next: str) -> NearFile:
    """The file, checked. Raises `ConfigError`; `next` is what to type then."""
    return learned.read(data, NearFile, what="a file of near hits", format=FORMAT, where=where, next=next)


def unfit(file: NearFile, *, verifier: str, embedder: str, target: float) -> str:
    """Why near hits have to stay off with what was measured; empty where they may be on."""
    for what, then, now in (("verifier", file.verifier, verifier), ("embedder", file.embedder, embedder)):
        if then != now:
            return f"they were measured with the {what} {then or '(none)'}, and this is {now or '(none)'}; measure again"
    return "" if file.upper <= target else file.sentence(target)
