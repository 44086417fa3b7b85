"""`latency`: the answer was complete within this time.

A duration such as `"2s"`; without an expectation the option `at_most` counts, and without either the scorer has nothing to say.
The time is the record's: from the call to its whole answer. The value falls with how much longer it took.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from mainstay.core.report import Opinion, accepts, rejects
from mainstay.core.seams import Subject
from mainstay.core.units import Seconds


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    at_most: Annotated[Seconds | None, Meta(description="The longest time that passes.")] = None


class Latency:
    """The scorer."""

    options = Options

    def __init__(self, *, at_most: Seconds | None = None) -> None:
        self._at_most = at_most

    def check_expected(self, expected: Any) -> None:
        """A duration with its unit."""
        Seconds.parse(expected)

    async def score(self, subject: Subject) -> Opinion | None:
        """Compare the time that the call took."""
        limit = self._at_most if subject.expected is None else Seconds.parse(subject.expected)
        if limit is None:
            return None
        took = subject.record.outcome.took_us / 1e6
        return accepts() if took <= limit else rejects(f"it took {took:.3f} s; at most {limit}", value=limit / took)
