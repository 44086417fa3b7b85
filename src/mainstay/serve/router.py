"""By how much less than the first choice a cheaper rung would pass what is asked: a learned router, ready to be asked.

Four things are looked at. The *shape* of the text: its length, digits, signs, sentences, spelling; no words, so it says
something of texts in a subject and a language that no case has. Its *subject*: which category's cases share its words (naive
Bayes), and how far behind a rung is on these. Its *words*: how far behind it is on the cases that have them. And the values of
input *fields* that have few of them, such as a product or a language. One sum for each rung weighs the four; it takes some tenths
of a millisecond at most. Learning one is `mainstay/learn/router.py`; where a call then starts is `mainstay/serve/routing.py`.

What it does not know: what a question means, the turns before it, and what was found for it. It knows on which texts like this
one a rung fell behind.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, repeat
from operator import mul
from typing import Any

from mainstay.core import learned
from mainstay.core.errors import ConfigError
from mainstay.core.later import pattern
from mainstay.core.router import FORMAT, Alone, Behind, Choice, RouterFile, Tables, margin_for
from mainstay.serve.inputs import text_of

LONGEST = 2_000  # characters that are read; only the length is that of the whole
LONGEST_VALUE, LONGEST_NUMBER = 60, 64  # characters, and bits, beyond which an input field's value is no category
FARTHEST = 40  # characters beyond which a word is no longer
UNKNOWN = math.inf  # by how much a choice is behind on a call that is like none of the cases: no margin allows that
FAR = 3.0  # standard deviations beyond which a shape says no more
SHAPE = (
    *("characters", "words", "digits", "signs", "lines", "characters a word", "different words"),
    *("numbers", "capitals", "formula", "sentences", "beyond ASCII"),
    *("lines alike", "longest word", "variety of signs"),
)  # in the order of `shape_of`
_WORD = pattern(r"\w+")
_DIGITS = pattern(r"\d+")
_SIGN = pattern(r"[^\w\s]")
_CAPITALS = pattern(r"[A-Z\u00c0-\u00d6\u00d8-\u00de\u0391-\u03a9\u0410-\u042f]")
_STOP = pattern(r"[.!?…؟۔](?=\s|$)|[。！？｡।॥։]")
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED_SIGN = pattern(f"[{_UNSPACED}]")
_STRETCH = pattern(f"([{_UNSPACED}]+)|[^{_UNSPACED}]+")


def words_of(text: str) -> set[str]:
    """The words of a text without regard to case, numbers as 0; of a script without spaces between words, its pairs of signs."""
    plain = _DIGITS.sub("0", text[:LONGEST].casefold())
    words = _WORD.findall(plain)
    if plain.isascii() or _UNSPACED_SIGN.search(plain) is None:
        return set(words)
    found: set[str] = set()
    for word in words:
        for stretch in _STRETCH.finditer(word):
            signs = stretch[0]
            found.update([signs[i : i + 2] for i in range(len(signs) - 1)] if stretch[1] and len(signs) > 1 else (signs,))
    return found


def shape_of(text: str) -> tuple[float, ...]:
    """What a text looks like, whatever it says: a number for each of `SHAPE`."""
    read = text[:LONGEST]
    length, words = max(1, len(read)), read.split()
    count = max(1, len(words))
    numbers = _DIGITS.findall(read)
    return (
        math.log1p(len(text)),
        math.log1p(len(words)),
        sum(map(len, numbers)) / length,
        len(_SIGN.findall(read)) / length,
        math.log1p(read.count("\n")),
        length / count,
        len(set(read.casefold().split())) / count,
        math.log1p(len(numbers)),
        len(_CAPITALS.findall(read)) / length,
        float("=" in read or "\\" in read),
        math.log1p(len(_STOP.findall(read))),
        0.0 if read.isascii() else 1 - len(read.encode("ascii", "ignore")) / length,
        _alike(read),
        float(min(FARTHEST, max(map(len, _WORD.findall(read)), default=0))),
        _variety(read),
    )


def _alike(text: str) -> float:
    """How much of their words neighbouring lines share, on average: options to choose from, rows of a table, a list."""
    lines = [set(_WORD.findall(line)) for line in text.casefold().split("\n")]
    lines = [line for line in lines if line]
    shared = [len(one & other) / len(one | other) for one, other in pairwise(lines)]
    return sum(shared) / len(shared) if shared else 0.0


def _variety(text: str) -> float:
    """The entropy of a text's signs: low where few of them come again and again."""
    length = len(text)
    return sum([n / length * math.log(length / n) for n in Counter(text).values()])


def value_of(value: Any) -> str | None:
    """A value of an input field as a router's file names it; None for one that is no category: a list, a long text or number."""
    if isinstance(value, str):
        return value.strip().encode("utf-8", "replace").decode() if len(value) <= LONGEST_VALUE else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 is the same number as 1
    if isinstance(value, int):
        return json.dumps(value) if value.bit_length() <= LONGEST_NUMBER else None
    return json.dumps(value) if isinstance(value, float) else None


class Signals:
    """What words and fields say of each choice but the first, by what is known of them."""

    def __init__(self, tables: Tables, others: int) -> None:
        self._tables, self._others, self._unknown = tables, others, (0.0,) * others
        self._of_subject = {
            word: tuple(zip(map(int, row[::2]), row[1::2], strict=True)) for word, row in tables.of_subject.items()
        }

    def strange(self, words: set[str], values: Mapping[str, Any]) -> bool:
        """Whether no case was like this: none had one of these words, or hardly any the value of a field."""
        return (bool(words) and self._tables.of_rung.keys().isdisjoint(words)) or any(
            value_of(values.get(name)) not in known for name, known in self._tables.of_field.items()
        )

    def of(self, words: set[str], values: Mapping[str, Any]) -> list[tuple[float, ...]]:
        """For each: how far it is behind on texts of this subject; how much further than on all it is on texts with these words,
        and on calls with the value of each field. The weights are `Behind.weights`.
        """
        known = self._tables.of_rung.keys() & words
        more = [0.0] * self._others
        for word in known:
            for rung, weight in enumerate(self._tables.of_rung[word]):
                more[rung] += weight
        size = math.sqrt(len(words) + 1)
        fields = [self._by_value(name, values.get(name)) for name in self._tables.of_field]
        return list(zip(self._by_subject(words), [weight / size for weight in more], *fields, strict=True))

    def _by_value(self, field: str, value: Any) -> Sequence[float]:
        return self._tables.of_field[field].get(value_of(value) or "", self._unknown)

    def _by_subject(self, words: set[str]) -> list[float]:
        tables = self._tables
        if not tables.subjects:
            return [0.0] * self._others
        known = self._of_subject.keys() & words
        counted = [len(known) * unseen for unseen in tables.unseen]
        for word in known:
            for subject, weight in self._of_subject[word]:
                counted[subject] += weight
        size = math.sqrt(len(known) or 1)  # words go together, so each tells less than if it stood alone
        scores = [share + score / size for share, score in zip(tables.share, counted, strict=True)]
        highest = max(scores)
        powers = [math.exp(score - highest) for score in scores]
        whole = sum(powers)
        return [sum(map(mul, powers, behind)) / whole for behind in tables.behind]


class Router:
    """A router's file made ready. `margin` is how far behind the first a cheaper choice may be where a call starts; `check` is
    the share of the calls that start lower which the first choice answers too, to measure what is lost.
    """

    def __init__(self, file: RouterFile, *, names: Sequence[str], give_up: float, check: float) -> None:
        margin = margin_for(file.card.curve, give_up)
        self.choices: tuple[Choice, ...] = file.choices
        self.alone: tuple[Alone, ...] = file.alone
        self.margin, self.check = -math.inf if margin is None else margin, check
        self._names = tuple([name for name in names if name not in file.tables.of_field])
        self._behind, self._mean, self._scale = file.behind, file.mean, file.scale
        self._signals = Signals(file.tables, len(file.behind))

    def losses(self, values: Mapping[str, Any]) -> list[float]:
        """By how much less than the first choice each is expected to pass a call with these values of its input, in the order of
        the ladder; the first is 0. The others are `UNKNOWN` behind on a call that is like none of the cases: it starts at the
        top.
        """
        text = text_of(values, self._names)
        words = words_of(text)
        if self._signals.strange(words, values):
            return [0.0, *repeat(UNKNOWN, len(self._behind))]
        shape = standard(shape_of(text), self._mean, self._scale)
        return [0.0, *map(loss, self._behind, repeat(shape), self._signals.of(words, values))]


def standard(shape: Sequence[float], mean: Sequence[float], scale: Sequence[float]) -> list[float]:
    """A shape in standard deviations from the mean of the cases, `FAR` at most."""
    return [max(-FAR, min(FAR, (value - m) / s)) for value, m, s in zip(shape, mean, scale, strict=True)]


def choose(losses: Sequence[float], alone: Sequence[Alone], margin: float, among: Iterable[int]) -> int:
    """At which of these choices a call starts: the cheapest that is behind the first by no more than the margin. The first is one
    of them whatever its price.
    """
    good = [rung for rung in among if rung == 0 or losses[rung] <= margin]
    return min(good, key=lambda rung: (alone[rung].price, rung))


def loss(behind: Behind, shape: Sequence[float], told: Sequence[float]) -> float:
    """By how much less than the first a choice is expected to pass; `told` is what `Signals` say of it."""
    expected: float = behind.bias + sum(map(mul, behind.shape, shape)) + sum(map(mul, behind.weights, told))
    return expected


def read(
    data: bytes,
    *,
    where: str,
    next: str,
    feature: str,
    choices: Sequence[Choice],
    names: Sequence[str],
    give_up: float,
    check: float,
) -> Router:
    """A router's file, checked against the ladder that it is to serve. Raises `ConfigError`; `next` is what to type then."""
    file = learned.read(data, RouterFile, what="a router", format=FORMAT, where=where, next=next)
    try:
        _check(file)
    except ValueError as error:
        raise ConfigError(f"not a router that can be used: {error}", where=where, next=next) from None
    if file.card.feature != feature:
        what = f'it was learned for the feature "{file.card.feature}", and this one is "{feature}"'
        raise ConfigError(what, where=where, next=next)
    if [choice.what for choice in file.choices] != [choice.what for choice in choices]:
        what = f"it was learned for another ladder: {_said(file.choices)}; this one has {_said(choices)}"
        raise ConfigError(what, where=where, next=next)
    return Router(file, names=names, give_up=give_up, check=check)


def _said(choices: Sequence[Choice]) -> str:
    told = [f"{one.name} ({', '.join([one.kind, *one.models])})" for one in choices]
    return ", ".join(told) or "no rung at which a call could start"


def _check(file: RouterFile) -> None:
    """Raises `ValueError` with a sentence where the file contradicts itself."""
    tables, choices, others, subjects = file.tables, len(file.choices), len(file.choices) - 1, len(file.tables.subjects)
    if (len(file.alone), len(file.behind)) != (choices, others):
        raise ValueError(f"{choices} choices, and what is known of {len(file.alone)} and {len(file.behind)}")
    if any(len(row) != len(SHAPE) for row in (file.mean, file.scale, *[one.shape for one in file.behind])):
        raise ValueError(f"a shape of other than {len(SHAPE)} numbers")
    known = (len(tables.share), len(tables.unseen), *[len(row) for row in tables.behind])
    if subjects and known != (subjects,) * (2 + others):
        raise ValueError("the subjects and what is known of them do not go together")
    if any(len(row) != others for table in (tables.of_rung, *tables.of_field.values()) for row in table.values()):
        raise ValueError("the weights of a word or of a value do not fit the choices")
    if any(len(one.fields) != len(tables.of_field) for one in file.behind):
        raise ValueError("the weights of the fields do not fit the fields")
    for word, row in tables.of_subject.items():
        if len(row) % 2 or not all(subject in range(subjects) for subject in row[::2]):
            raise ValueError(f"the weights of {word!r} do not fit the subjects")
    if any(len(point.starts) != choices for point in file.card.curve):
        raise ValueError("the curve does not fit the choices")
