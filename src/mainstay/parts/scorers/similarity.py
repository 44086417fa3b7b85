"""`similarity`: the answer is written like this text.

As chrF (Popović 2015), precision and recall weighing the same: the F1 of the character n-grams of both texts, averaged over
lengths from 1 to 6, between 0 and 1, without regard to case and white space. A text, or a table with `text` and `at_least`;
without it the option `at_least` counts, 0.6 by default. A structured answer is looked at as JSON.

Limits: it is lexical. It compares spellings, not meanings: two sentences that differ in a "not" are nearly the same to it, a good
paraphrase is not. Unrelated texts of one language reach about 0.2. For meanings there is `judged`.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import Annotated, Any

from msgspec import Meta, Struct

from mainstay.core.report import Opinion, accepts, rejects
from mainstay.core.seams import Subject
from mainstay.parts.scorers.reading import folded, quoted

EXAMPLE = '"reference text" or {"text": "reference text", "at_least": 0.7}'
LONGEST = 6  # characters of an n-gram


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the feature file may say."""

    at_least: Annotated[float, Meta(ge=0, le=1, description="The least similarity that passes.")] = 0.6


class Similarity:
    """The scorer."""

    options = Options

    def __init__(self, *, at_least: float = 0.6) -> None:
        self._at_least = at_least

    def check_expected(self, expected: Any) -> None:
        """A text, with or without how similar it has to be."""
        self._wanted(expected)

    async def score(self, subject: Subject) -> Opinion | None:
        """Compare the answer with the text."""
        if subject.expected is None:
            return None
        text, at_least = self._wanted(subject.expected)
        value = round(similarity(subject.answer.shown, text), 4)
        if value >= at_least:
            return accepts(value=value)
        return rejects(f"its similarity is {value:.2f}; at least {at_least:g}", value=value)

    def _wanted(self, expected: Any) -> tuple[str, float]:
        table = expected if isinstance(expected, dict) else {"text": expected}
        text, at_least = table.get("text"), table.get("at_least", self._at_least)
        share = isinstance(at_least, int | float) and not isinstance(at_least, bool) and 0 <= at_least <= 1
        if not isinstance(text, str) or not text.strip() or not share or table.keys() - {"text", "at_least"}:
            raise ValueError(f"expected a text, such as {EXAMPLE}, got {quoted(expected)}")
        return text, float(at_least)


def similarity(one: str, other: str) -> float:
    """How much two texts have in common, between 0 and 1."""
    a, b = _grams(folded(one).replace(" ", "")), _grams(folded(other).replace(" ", ""))
    found = [2 * (x & y).total() / total for x, y in zip(a, b, strict=True) if (total := x.total() + y.total())]
    return sum(found) / len(found) if found else 1.0


@functools.lru_cache(maxsize=256)
def _grams(text: str) -> tuple[Counter[str], ...]:
    return tuple(Counter(text[i : i + n] for i in range(len(text) - n + 1)) for n in range(1, LONGEST + 1))
