"""Answers with one thing changed, each in one way that a user would not see: a number, a date, a code, a name, a unit.

    mutated("It costs 1,299.00 EUR and comes on 21 November 2026.", names=["Ann Miller"], seed=7)

Everything is changed in the form in which it is written, so that nothing but the value is another. The same text and seed give
the same mutations. What it does not do: change what a sentence says by words alone (negations, omissions).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from mainstay.parts.facts import Fact, facts
from mainstay.parts.units import MONTHS, SPELLED

Kind = Literal["number", "date", "code", "name", "unit"]

NAMES = ("Bruno Castell", "Ines Okafor", "Yara Lindqvist", "Tomas Brandt", "Mirjam Costa", "Pavel Duarte")
# For each way to write a unit, others that are written in its place: as long as a reader takes them for one.
UNITS = {
    "€": ("$", "£"),
    "$": ("€", "£"),
    "£": ("€", "$"),
    "EUR": ("USD", "GBP"),
    "USD": ("EUR", "GBP"),
    "GBP": ("EUR", "USD"),
    "CHF": ("EUR", "USD"),
    "euros": ("dollars", "pounds"),
    "euro": ("dollar", "pound"),
    "Euro": ("Dollar", "Franken"),
    "dollars": ("euros", "pounds"),
    "kg": ("g", "t"),
    "g": ("kg", "mg"),
    "km": ("m", "mi"),
    "m": ("cm", "km"),
    "cm": ("mm", "m"),
    "mm": ("cm", "m"),
    "days": ("weeks", "hours"),
    "weeks": ("days", "months"),
    "hours": ("minutes", "days"),
    "minutes": ("hours", "seconds"),
    "months": ("weeks", "years"),
    "years": ("months", "days"),
    "Tage": ("Wochen", "Stunden"),
    "Wochen": ("Tage", "Monate"),
    "Stunden": ("Minuten", "Tage"),
    "Monate": ("Wochen", "Jahre"),
    "Jahre": ("Monate", "Tage"),
    "jours": ("semaines", "heures"),
    "semaines": ("jours", "mois"),
    "heures": ("minutes", "jours"),
    "días": ("semanas", "horas"),
    "giorni": ("settimane", "ore"),
    "dagen": ("weken", "uren"),
    "dias": ("semanas", "horas"),
    "GB": ("MB", "TB"),
    "MB": ("GB", "kB"),
    "percent": ("percentage points",),
}
_DIGIT = re.compile(r"\d")


class Mutation(NamedTuple):
    """A text with one thing changed: what kind of thing, how it was written, and what stands there instead."""

    kind: Kind
    before: str
    after: str
    text: str


def mutated(text: str, *, names: Iterable[str] = (), seed: int = 0) -> list[Mutation]:
    """One mutation of each thing in the text that can be changed; `names` are those that may stand in it."""
    chance = random.Random(f"{seed}|{text}")
    found = facts(text)
    changes = [*_names(text, names, chance)]
    for fact in found:
        changes += [(fact.start, fact.end, kind, after) for kind, after in _changed(fact, chance)]
    return [
        Mutation(kind, text[start:end], after, text[:start] + after + text[end:])
        for start, end, kind, after in sorted(changes)
        if after != text[start:end]
    ]


def _changed(fact: Fact, chance: random.Random) -> Iterator[tuple[Kind, str]]:
    """A fact in other words of the same form, that mean something else."""
    if fact.kind == "date":
        after = _other_date(fact.written, chance)
    elif fact.kind == "code":
        after = _other_digit(fact.written, chance)
    elif fact.spelled:
        after = _other_word(fact.written, chance)
    else:
        after = _other_digit(fact.written, chance)
    kind: Kind = fact.kind if fact.kind in ("date", "code") else "number"
    if after is not None and _differs(fact, after):
        yield kind, after
    if fact.kind == "number" and not fact.bare:
        other = _other_unit(fact.written, chance)
        if other is not None and _differs(fact, other):
            yield "unit", other


def _differs(fact: Fact, after: str) -> bool:
    """Whether no reading of one is a reading of the other."""
    return not any(fact.keys & other.keys for other in facts(after))


def _other_digit(written: str, chance: random.Random) -> str | None:
    """Another digit in one place, and no zero in front."""
    places = [match.start() for match in _DIGIT.finditer(written)]
    if not places:
        return None
    place = chance.choice(places)
    digits = [digit for digit in "123456789" if digit != written[place]]
    return written[:place] + chance.choice(digits) + written[place + 1 :]


def _other_word(written: str, chance: random.Random) -> str | None:
    word, space, rest = written.partition(" ")
    for words in SPELLED.values():
        if word.casefold() in words:
            other = chance.choice([w for w in list(words)[:11] if w != word.casefold()])
            return (other.capitalize() if word[0].isupper() else other) + space + rest
    return None


def _other_date(written: str, chance: random.Random) -> str | None:
    """Another day, or another month where it is written as a word."""
    month = next((m for m in re.finditer(r"[^\W\d_]+", written) if m[0].casefold() in MONTHS), None)
    if month is not None and chance.random() < 0.5:
        number = MONTHS[month[0].casefold()]
        same = [name for name in MONTHS if len(name) > 3 and MONTHS[name] != number and name[-2:] == month[0].casefold()[-2:]]
        if same:
            other = chance.choice(sorted(same))
            return written[: month.start()] + (other.capitalize() if month[0][0].isupper() else other) + written[month.end() :]
    days = list(re.finditer(r"(?<!\d)\d{1,2}(?!\d)", written))
    if not days:
        return _other_digit(written, chance)
    day = days[-1] if re.match(r"\d{4}", written) else days[0]
    other_day = chance.choice([n for n in range(1, 29) if n != int(day[0])])
    return written[: day.start()] + str(other_day).zfill(len(day[0])) + written[day.end() :]


def _other_unit(written: str, chance: random.Random) -> str | None:
    for unit, others in UNITS.items():
        match = re.search(rf"(?<![^\W\d_]){re.escape(unit)}(?![^\W\d_])", written)
        if match is not None:
            return written[: match.start()] + chance.choice(others) + written[match.end() :]
    return None


def _names(text: str, names: Iterable[str], chance: random.Random) -> Iterator[tuple[int, int, Kind, str]]:
    for name in names:
        for match in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text):
            yield match.start(), match.end(), "name", chance.choice([n for n in NAMES if n != name])
