"""What an answer may say: the facts, the question and the passages of a call, each read once.

Limits: what stands in a passage bears a fact wherever it stands there; that it is said of the same thing is not known here.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cached_property

from mainstay.core.call import Call
from mainstay.core.evidence import Evidence, Passage, Slot
from mainstay.parts.facts import DayOrder, Fact, Key, code, facts
from mainstay.parts.matching import DEGREES, NEGATIONS
from mainstay.parts.units import CURRENCIES, ORDER, dimension
from mainstay.parts.vocabulary import folded, labels, language_of, words

TELLING = 10  # from which a number without a unit in a table bears one with its unit in an answer
POOLS = 1_000  # passages whose facts are kept in mind
LONGEST_CODE = 100  # characters of a code that is looked for with other signs in it
_RUN = re.compile(r"\d{3,}")


class Pool:
    """A text, and the facts in it, which are read when they are first asked for."""

    def __init__(self, text: str, found: Iterable[Fact] = ()) -> None:
        self.text, self._found = text, tuple(found)

    @cached_property
    def facts(self) -> Facts:
        """All that is said here, in every reading."""
        there = Facts((*facts(self.text), *self._found))
        there.numbers |= {Decimal(number) for word, number in ORDER.items() if folded(word) in self.words}
        return there

    @cached_property
    def words(self) -> frozenset[str]:
        """Its words, folded."""
        return frozenset(words(self.text))

    def bears(self, fact: Fact) -> bool:
        """Whether the fact, in any of its readings, stands here too."""
        return any(self._has(kind, value, fact) for kind, value in fact.keys)

    def _has(self, kind: str, value: object, fact: Fact) -> bool:
        there = self.facts
        if kind == "date":
            return value in there.dates
        if kind in ("time", "moment"):
            return value in there.times
        if kind == "code":
            return value in there.codes or self._spells(str(value))
        if kind == "":
            return value in there.numbers
        if kind == "decade":
            return any(value == number // 10 for number in there.numbers)
        return (kind, value) in there.units or any(abs(n) >= TELLING and n in there.bare for n in fact.numbers)

    def _spells(self, code: str) -> bool:
        """Whether a code stands here with other signs between its letters."""
        if code.isdigit() and Decimal(code) in self.facts.numbers:
            return True
        if len(code) > LONGEST_CODE:
            return False
        pattern = r"[\s#_/()\u00a0-]*".join(map(re.escape, code))
        return re.search(rf"(?i)(?<![^\W_]){pattern}(?![^\W_])", self.text) is not None


class Facts:
    """What the facts of a text say, by kind."""

    def __init__(self, found: Iterable[Fact]) -> None:
        self.units: set[Key] = set()
        self.bare: set[Decimal] = set()
        self.numbers: set[Decimal] = set()
        self.dates: set[tuple[int | None, int, int | None]] = set()
        self.times: set[int] = set()
        self.codes: set[str] = set()
        for fact in found:
            self._add(fact)

    def _add(self, fact: Fact) -> None:
        self.numbers |= fact.numbers
        if fact.bare:
            self.bare |= fact.numbers
        for kind, value in fact.keys:
            if kind == "date":
                self._add_date(*value)
            elif kind in ("time", "moment"):
                self.times.add(value)
            elif kind == "code":
                self.codes.add(value)
                self.numbers |= {Decimal(run) for run in _RUN.findall(value)}
            elif kind == "":
                self.numbers.add(value)
            else:
                self.units.add((kind, value))

    def _add_date(self, year: int | None, month: int, day: int | None) -> None:
        self.dates |= {(year, month, day), (None, month, day), (year, month, None)}
        if year is not None:
            self.numbers.add(Decimal(year))


@functools.lru_cache(maxsize=POOLS)
def _passage(passage: Passage) -> Pool:
    """A passage is given to many calls."""
    return Pool("\n".join([" › ".join(passage.heading), passage.document, passage.text]))


class Told:
    """A slot that has a value, as answers are compared with it. `labels` are the words by which a sentence speaks of it."""

    def __init__(self, slot: Slot) -> None:
        self.slot, self.name, self.labels = slot, slot.name, labels(slot.name)
        self.money = slot.type == "money"
        self.shown = f"{slot.value} {slot.unit}".strip()
        self.keys = frozenset(self._keys())

    def _keys(self) -> Iterator[Key]:
        slot, value = self.slot, self.slot.value or ""
        if slot.type == "money":
            yield (slot.unit.upper() or "", Decimal(value))
        elif slot.type == "number":
            unit, size = dimension(slot.unit)
            yield (unit, Decimal(value) * size)
        elif slot.type == "code":
            yield ("code", code(value))
        elif slot.type == "date":
            for fact in facts(value):
                yield from fact.keys

    def fact(self) -> Fact:
        """The slot as a fact."""
        number = self.slot.type in ("money", "number")
        numbers = frozenset({Decimal(self.slot.value or "0")}) if number else frozenset[Decimal]()
        bare = number and not any(unit for unit, _ in self.keys)
        return Fact("number", 0, 0, self.shown, self.keys, bare=bare, numbers=numbers)

    def comparable(self, fact: Fact) -> bool:
        """Whether a fact is of this slot's kind: then one of the two is wrong if they differ."""
        if self.slot.type in ("date", "code"):
            return fact.kind == self.slot.type
        kinds = {kind for kind, _ in fact.keys}
        if self.money:
            return bool(kinds & CURRENCIES.keys()) or (fact.bare and not fact.counts and all(n >= TELLING for n in fact.numbers))
        own = {kind for kind, _ in self.keys}
        return self.slot.type == "number" and fact.kind == "number" and (bool(kinds & own) if any(own) else fact.bare)

    def same(self, fact: Fact) -> bool:
        """Whether a fact says what this slot does."""
        return any(self._matches(kind, value, fact) for kind, value in fact.keys)

    def _matches(self, kind: str, value: object, fact: Fact) -> bool:
        if kind == "date":
            return any(_part_of(value, own) for of, own in self.keys if of == "date")
        return (kind, value) in self.keys or (fact.bare and any(n in fact.numbers for n in self.fact().numbers))

    def is_said_by(self, value: object) -> bool:
        """Whether a value of a structured answer, in a field that is called like this slot, says what it does."""
        kind, own = self.slot.type, self.slot.value or ""
        if kind == "boolean":
            return str(value).lower() in (own, {"true": "yes", "false": "no"}.get(own), {"true": "1", "false": "0"}.get(own))
        if isinstance(value, bool):
            return False
        written = str(value)
        if kind == "code":
            return code(written) == code(own)
        if kind in ("money", "number", "date"):
            found = facts(written)
            return bool(found) and all(self.same(fact) for fact in found)
        return folded(" ".join(written.split())) == folded(" ".join(own.split()))


def _part_of(said: object, own: object) -> bool:
    """Whether a date, perhaps without its year or its day, is this one."""
    if not isinstance(said, tuple) or not isinstance(own, tuple):
        return False
    return all(one is None or one == other for one, other in zip(said, own, strict=True))


class Known:
    """All that bears an answer to one call.

    `told` are the slots with a value, `counts` says that one of them counts something, `people` are the words of those that
    are names, `labels` the words by which sentences speak of them all. `asked` are the words of the question.
    """

    def __init__(self, call: Call, evidence: Evidence) -> None:
        self.told = [Told(slot) for slot in evidence.slots if slot.value is not None]
        self.slots = Pool("\n".join(_slot_text(slot) for slot in evidence.slots), [told.fact() for told in self.told])
        self.question = Pool("\n".join(_asked(call)))
        self.passages = [_passage(passage) for passage in evidence.passages]
        self.people = frozenset(word for told in self.told if told.slot.type == "name" for word in words(told.slot.value or ""))
        self.labels = frozenset(word for told in self.told for word in told.labels)
        self.counts = any(told.slot.type == "number" and not any(unit for unit, _ in told.keys) for told in self.told)
        self.asked = self.question.words
        self.order: DayOrder = _order(call.locale or "")
        self.language = (call.locale or "")[:2].lower() or language_of(self.question.text)
        self._by_name = {_plain(told.name): told for told in self.told}

    @cached_property
    def named_before(self) -> frozenset[str]:
        """What the user may have called the thing that is spoken of: the words and figures of the question, and what those are in
        the languages of `vocabulary`; without what denies something.
        """
        said = frozenset(re.findall(r"[^\W_]+", folded(self.question.text)))
        return (said | labels(self.question.text)) - NEGATIONS - DEGREES

    def named(self, path: str) -> Told | None:
        """The slot that a field of a structured answer is called like."""
        return self._by_name.get(_plain(path))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", folded(name))


def _order(locale: str) -> DayOrder:
    """Whether the day or the month comes first in `03/04`; not known where the user's locale is not."""
    if not locale:
        return ""
    return "md" if locale.replace("_", "-").upper().endswith("-US") else "dm"


def _asked(call: Call) -> Iterator[str]:
    """What the user said, not what is said to have been answered."""
    if call.request is not None:
        yield from (message.text for message in call.request.messages if message.role != "assistant")
    turns = [turn.role for turn in call.history]
    for path, text in call.texts():
        if path.startswith("history["):
            if turns[int(path[8 : path.index("]")])] == "user":
                yield text
        elif not path.startswith("messages["):
            yield text
    yield from (str(value) for value in call.input.values() if isinstance(value, int | float))


def _slot_text(slot: Slot) -> str:
    """A slot in words, with the moment of its fetching, which an answer may name. Amounts are read apart, with their unit."""
    moment = time.strftime("%Y-%m-%d %H:%M", time.gmtime(slot.at)) if slot.at else ""
    value = slot.value or ""
    if slot.type in ("money", "number"):
        value = ""
    return f"{slot.name.replace('_', ' ')}: {value} {slot.unit}\n{moment}"
