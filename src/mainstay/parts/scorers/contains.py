"""`contains`: these words stand in the answer.

A text or a list of texts, all of which have to be there; or a table with `all`, `any` (one of these is enough) and `case` (true:
capitals count). Each stretch of white space counts as one space, accents may be composed or not. A structured answer is looked
at as JSON. Under `not-`, none of a list may be there.

Limits: it finds characters, not words: "art" stands in "part". For word ends there is `regex`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from mainstay.core.report import Opinion, accepts, rejects
from mainstay.core.seams import Subject
from mainstay.parts.scorers.reading import folded, quoted, texts

EXAMPLE = '["30 days"] or {"any": ["free", "no charge"]}'


class Wanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a case expects, as a table."""

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    case: bool = False


class Contains:
    """The scorer; it has no options."""

    def check_expected(self, expected: Any) -> None:
        """A text, texts, or a table of them."""
        _wanted(expected)

    async def score(self, subject: Subject) -> Opinion | None:
        """Look for each of the texts."""
        if subject.expected is None:
            return None
        wanted = _wanted(subject.expected)
        shown = folded(subject.answer.shown, case=wanted.case)
        there = [text for text in wanted.all if folded(text, case=wanted.case) in shown]
        missing = [text for text in wanted.all if text not in there]
        one_of = [text for text in wanted.any if folded(text, case=wanted.case) in shown]
        if subject.unwanted:
            found = there + one_of
            return (
                accepts(f"it holds {_list(found)}") if found else rejects(f"it holds none of {_list((*wanted.all, *wanted.any))}")
            )
        faults = [f"{_list(missing)} is missing"] if missing else []
        if wanted.any and not one_of:
            faults.append(f"none of {_list(wanted.any)} is there")
        if not faults:
            return accepts()
        asked = len(wanted.all) + bool(wanted.any)
        return rejects("; ".join(faults), value=(len(there) + bool(one_of)) / asked)


def _wanted(expected: Any) -> Wanted:
    if not isinstance(expected, dict):
        return Wanted(all=texts(expected, EXAMPLE))
    try:
        wanted = msgspec.convert(expected, Wanted)
    except msgspec.ValidationError as error:
        raise ValueError(f"expected texts, such as {EXAMPLE}: {error}") from None
    if not (wanted.all or wanted.any) or not all(text.strip() for text in (*wanted.all, *wanted.any)):
        raise ValueError(f"expected texts, such as {EXAMPLE}, got {quoted(expected)}")
    return wanted


def _list(found: list[str] | tuple[str, ...]) -> str:
    return ", ".join(quoted(text) for text in found)
