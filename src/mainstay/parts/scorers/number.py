"""`number`: this number stands in the answer.

A number, or a table with `value` and `within`, the tolerance: a number, or a share of the value such as `"5%"`. Of a text, each
number is looked at in the ways in which people write it (`parts/numerals.py`): one of them has to be it. Of a structured answer,
the numbers in its values are.

What a comma or a dot means follows the language of the case, or the locale of the call. Where neither is given and the number
fits only in the less plain of two readings (`1.299` for 1299, `1,299` for 1.299), the scorer could not tell, and says so.

Limits: it does not know what a number counts: an answer with many numbers in it may hold the right one by chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

from mainstay.core.report import Opinion, accepts, cannot_tell, rejects
from mainstay.core.seams import Subject
from mainstay.parts.numerals import DecimalMark, Numeral, decimal_mark, numerals
from mainstay.parts.scorers.reading import language_of, quoted

EXAMPLE = '42, {"value": 42, "within": 0.5} or {"value": 42, "within": "5%"}'
PRECISION = 1_500  # digits that a difference is computed with: more than any two numbers that are read have
NUMBERS_TOLD = 5


class Wanted(NamedTuple):
    """The number, and how far from it another may be."""

    value: Decimal
    within: Decimal

    def fits(self, found: Decimal) -> bool:
        with localcontext(prec=PRECISION):
            return abs(found - self.value) <= self.within


class Number:
    """The scorer; it has no options."""

    def check_expected(self, expected: Any) -> None:
        """A number, with or without a tolerance."""
        _wanted(expected)

    async def score(self, subject: Subject) -> Opinion | None:
        """Look for the number."""
        if subject.expected is None:
            return None
        wanted, answer = _wanted(subject.expected), subject.answer
        found = list(_numbers(answer.text if answer.data is None else answer.data, decimal_mark(language_of(subject))))
        if any(wanted.fits(value) for numeral in found for value in numeral.values):
            return accepts()
        for numeral in found:
            if other := next(filter(wanted.fits, numeral.others), None):
                return cannot_tell(
                    f"{quoted(numeral.written)} is {numeral.values[0]} or {other}: "
                    "give the case a `language`, which says what its commas and dots mean"
                )
        return rejects(f"{_told(found)}, not {wanted.value}{f' within {wanted.within}' if wanted.within else ''}")


def _numbers(value: Any, mark: DecimalMark) -> Iterator[Numeral]:
    """The numbers in a text, or in the values of data."""
    if isinstance(value, str):
        yield from numerals(value, mark)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield Numeral(str(value), (Decimal(str(value)),))
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _numbers(inner, mark)


def _told(found: list[Numeral]) -> str:
    if not found:
        return "it holds no number"
    told = [quoted(numeral.written).strip('"') for numeral in found[:NUMBERS_TOLD]]
    return f"it holds {', '.join(told)}{' …' if len(found) > NUMBERS_TOLD else ''}"


def _wanted(expected: Any) -> Wanted:
    table = expected if isinstance(expected, dict) else {"value": expected}
    value, within = _number(table.get("value")), table.get("within", 0)
    if value is None or table.keys() - {"value", "within"}:
        raise ValueError(f"expected a number, such as {EXAMPLE}, got {quoted(expected)}")
    share = isinstance(within, str) and within.endswith("%")
    tolerance = _number(within) if not share else next((n.values[0] for n in numerals(within, ".") if n.written == within), None)
    if tolerance is None or tolerance < 0:
        raise ValueError(f'`within` is a number or a share such as "5%", got {quoted(within)}')
    return Wanted(value, abs(value) * tolerance / 100 if share else tolerance)


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() else None
