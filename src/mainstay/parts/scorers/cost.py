"""`cost`: the answer cost at most this.

An amount such as `"0.01 USD"`; without an expectation the option `at_most` counts, and without either the scorer has nothing to
say. The cost is the record's: of all attempts of the call. Where the price of a model is not known, the scorer could not tell.
The value falls with how much more it cost.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from mainstay.core.report import Opinion, accepts, cannot_tell, rejects
from mainstay.core.seams import Subject
from mainstay.core.units import Usd


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    at_most: Annotated[Usd | None, Meta(description="The highest cost that passes.")] = None


class Cost:
    """The scorer."""

    options = Options

    def __init__(self, *, at_most: Usd | None = None) -> None:
        self._at_most = at_most

    def check_expected(self, expected: Any) -> None:
        """An amount with its currency."""
        Usd.parse(expected)

    async def score(self, subject: Subject) -> Opinion | None:
        """Compare what the call cost."""
        limit = self._at_most if subject.expected is None else Usd.parse(subject.expected)
        if limit is None:
            return None
        cost = subject.record.outcome.cost_nano_usd
        if cost is None:
            return cannot_tell("its cost is not known: a model has no price")
        return accepts() if cost <= limit else rejects(f"it cost {Usd(cost)}; at most {limit}", value=limit / cost)
