"""A learned router as its file holds it: `router.json`, beside feature.toml.

It is written by `mainstay learn router`, read by people as a diff, and used by `mainstay/serve/router.py`. A *choice* is a rung
at which a call may start: one that answers whatever it is asked, and so is not skipped for nothing (`model`, `steps`, `search`).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

FORMAT = 2  # of the file; one of another format is learned anew
Weight = Annotated[float, Meta(ge=-10_000, le=10_000)]
Positive = Annotated[float, Meta(gt=0, le=1e9)]
Chance = Annotated[float, Meta(ge=0, le=1)]
Margin = Annotated[float, Meta(ge=-1, le=1)]
Loss = Annotated[float, Meta(ge=-1, le=1)]


class Choice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rung at which a call may start: its name, its kind, and the models that it asks, as `provider model`.

    `work` is a hash of the rung's keys and files, its prompts among them: what it did when the router was learned.
    """

    name: str
    kind: str
    models: tuple[str, ...] = ()
    work: str = ""

    @property
    def what(self) -> tuple[str, str, tuple[str, ...]]:
        """What has to be the same for a router to know this rung. A prompt may change."""
        return self.name, self.kind, self.models


class Alone(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a choice did alone: the share of cases that it passed, and an answer's mean cost and time; an unknown cost is None."""

    passed: Chance
    cost_nano_usd: Annotated[float, Meta(ge=0)] | None
    took_us: Annotated[float, Meta(ge=0)]

    @property
    def price(self) -> tuple[float, float]:
        """What decides which choice is cheaper: the money, then the time; an unknown price is the highest."""
        return (float("inf") if self.cost_nano_usd is None else self.cost_nano_usd, self.took_us)


class Behind(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By how much less than the first choice another one is expected to pass: a sum of what the text says.

    `shape` has a weight for each of `RouterFile.mean`; `subject` weighs by how much it is behind on cases of that subject,
    `words` on cases with these words, `fields` on cases with these values, one for each of `Tables.of_field`.
    """

    bias: Weight
    shape: tuple[Weight, ...]
    subject: Weight
    words: Weight
    fields: tuple[Weight, ...] = ()

    @property
    def weights(self) -> tuple[float, ...]:
        """Of what `Signals.of` tells, in its order."""
        return (self.subject, self.words, *self.fields)


class Tables(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of words and subjects. A subject is a category of the cases.

    `share` is the logarithm of each subject's share of the cases, `unseen` that of a word's probability in a subject whose cases
    do not have it; `of_subject` says by how much it is higher where they do: subject, weight, subject, weight, …. `behind` and
    `of_rung` have a place for each choice but the first: by how much it is behind on each subject's cases, drawn towards all of
    them, and by how much more than on all of them on those with a word. `of_field` says the same of a value of an input field
    that has few of them; a number or a truth is written as JSON.
    """

    subjects: tuple[str, ...] = ()
    share: tuple[Weight, ...] = ()
    unseen: tuple[Weight, ...] = ()
    behind: tuple[tuple[Loss, ...], ...] = ()
    of_subject: dict[str, tuple[Weight, ...]] = {}
    of_rung: dict[str, tuple[Weight, ...]] = {}
    of_field: dict[str, dict[str, tuple[Weight, ...]]] = {}


class Point(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a margin amounts to, on cases that the router had not seen.

    A call starts at a cheaper choice that is expected to pass less often than the first by `margin` at most. `loss` is the share
    of cases that then pass less, with its 95 % interval; `cost_nano_usd` the mean cost of an answer, None where unknown;
    `took_us` its mean time; `starts` the share of cases that start at each choice.
    """

    margin: Margin
    loss: Loss
    low: Loss
    high: Loss
    cost_nano_usd: float | None
    took_us: float
    starts: tuple[Chance, ...]


class RouterCard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the router was learned from, and what it is worth. `apgr` is the area under the share of the gain that is had, over
    the share of calls that start at the first choice instead of the cheapest: 0.5 is chance. `fitted` is a date.
    """

    feature: str
    fitted: str
    cases: int
    reports: tuple[str, ...]
    folds: int
    apgr: float | None
    curve: Annotated[tuple[Point, ...], Meta(min_length=1)]


class RouterFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. `choices` and `alone` are in the order of the ladder, `behind` too but for the first; `mean` and `scale`
    are of the texts' shape.
    """

    format: int
    card: RouterCard
    choices: Annotated[tuple[Choice, ...], Meta(min_length=2)]
    alone: tuple[Alone, ...]
    behind: tuple[Behind, ...]
    mean: tuple[Weight, ...]
    scale: tuple[Positive, ...]
    tables: Tables


def margin_for(curve: tuple[Point, ...], give_up: float) -> float | None:
    """The largest margin whose loss, and that of every smaller one, is within what the team gives up; None where none is."""
    found = None
    for point in sorted(curve, key=lambda point: point.margin):
        if point.loss > give_up:
            break
        found = point.margin
    return found
