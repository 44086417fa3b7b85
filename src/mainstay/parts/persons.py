"""Tells names of persons, organisations and places, postal addresses, dates and ages in a text, by a small trained model.

A token is judged by its shape, its first and last letters, and the words beside it, all of them hashed: there is no list of
names. The most probable sequence of labels is found by Viterbi's algorithm, over stretches of at most `STRETCH` tokens. The
weights, what they were fitted on and how well they do lie in `weights/personal_data.json`. English; other languages are not
claimed.
"""

from __future__ import annotations

import functools
import json
import re
import zlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from mainstay.core.personal_data import Found

BUCKETS = 1 << 14
STRETCH = 200
KINDS = ("person", "organisation", "place", "address", "date", "age", "nationality", "title")
LABELS = ("O", *[f"{b}-{kind}" for kind in KINDS for b in "BI"])
_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+|\n+|[^\w\s]|_")
_VOWELS = frozenset("aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýœ")


class Token(NamedTuple):
    """A word, a number, a sign or a line end; `kind` is what a pattern took it for already."""

    start: int
    end: int
    text: str
    kind: str = ""


def tokens_of(text: str, known: Sequence[Found] = ()) -> list[Token]:
    """The tokens of a text. What is known already is one token each."""
    tokens: list[Token] = []
    at = 0
    for found in [*known, Found("", len(text), len(text))]:
        tokens += [Token(m.start(), m.end(), m[0]) for m in _TOKEN.finditer(text, at, found.start)]
        if found.kind:
            tokens.append(Token(found.start, found.end, f"<{found.kind}>", found.kind))
        at = found.end
    return tokens


@functools.lru_cache(8192)
def _about(text: str) -> tuple[str, str, str]:
    """A token's shape, its word in lower case, and its class."""
    if text[0] == "<" and len(text) > 1:
        return text, text, "K"
    if text[0] == "\n":
        return "\\n", "\\n", "N"
    if text.isdigit():
        return f"d{min(len(text), 6)}", "0" * min(len(text), 6), "D"
    if not text[0].isalpha():
        return text, text, "P"
    low = text.lower()
    if text == low:
        shape = "x"
    elif text.isupper():
        shape = "X" if len(text) == 1 else "XX"
    else:
        shape = "Xx" if text[1:] == low[1:] else "xX"
    return shape, low, shape


@functools.lru_cache(65536)
def _hash(feature: str) -> int:
    return zlib.crc32(feature.encode("utf-8", "replace")) % BUCKETS


def features_of(tokens: Sequence[Token]) -> list[list[int]]:
    """What the model sees of each token, as places in its table of weights."""
    edge = ("^", "^", "^")
    about = [edge, edge, *[_about(t.text) for t in tokens], edge, edge]
    found = []
    for i in range(2, len(about) - 2):
        (s2, w2, _), (s1, w1, _), (s, w, c), (n1, v1, _), (n2, v2, _) = about[i - 2 : i + 3]
        names = [
            f"s={s}", f"s1={s1}", f"n1={n1}", f"s1s={s1} {s}", f"sn1={s} {n1}", f"s1sn1={s1} {s} {n1}", f"s2s1s={s2} {s1} {s}",
            f"sn1n2={s} {n1} {n2}", f"w1={w1}", f"v1={v1}", f"w2={w2}", f"v2={v2}", f"w1s={w1} {s}", f"v1s={v1} {s}",
            f"w2w1={w2} {w1}", f"v1v2={v1} {v2}", f"w={w}",
        ]  # fmt: skip
        if c not in "KNP":
            names += [f"p3={s} {w[:3]}", f"e3={s} {w[-3:]}", f"e2={s} {w[-2:]}", f"e4={w[-4:]}", f"l={s} {min(len(w), 12)}"]
            if not w.isascii():
                names.append(f"u={s}")
        found.append([_hash(name) for name in names])
    return found


class Model:
    """The weights: for each bucket one a label, and one for each pair of labels that follow each other."""

    def __init__(self, table: dict[int, tuple[float, ...]], follow: Sequence[Sequence[float]]) -> None:
        self._table, self._follow = table, follow
        self._nothing = (0.0,) * len(LABELS)
        self._before = [
            [j for j in range(len(LABELS)) if not LABELS[i].startswith("I-") or LABELS[j][2:] == LABELS[i][2:]]
            for i in range(len(LABELS))
        ]

    def scores(self, features: Sequence[int]) -> list[float]:
        """How well each label fits a token by itself."""
        rows = [row for place in features if (row := self._table.get(place)) is not None]
        return [sum(column) for column in zip(*rows, strict=True)] if rows else list(self._nothing)

    def labels(self, features: Sequence[Sequence[int]]) -> list[int]:
        """The best sequence of labels for so many tokens."""
        if not features:
            return []
        best = [s if not LABELS[i].startswith("I-") else -1e9 for i, s in enumerate(self.scores(features[0]))]
        back: list[list[int]] = []
        for own in features[1:]:
            step, came = [], []
            for i, score in enumerate(self.scores(own)):
                j = max(self._before[i], key=lambda j: best[j] + self._follow[j][i])
                came.append(j)
                step.append(best[j] + self._follow[j][i] + score)
            best = step
            back.append(came)
        path = [max(range(len(LABELS)), key=best.__getitem__)]
        for came in reversed(back):
            path.append(came[path[-1]])
        return path[::-1]

    def find(self, text: str, known: Sequence[Found] = ()) -> list[Found]:
        """The names and other things that no pattern tells, beside what is known already."""
        tokens = tokens_of(text, known)
        features = features_of(tokens)
        found: list[Found] = []
        for at in range(0, len(tokens), STRETCH):
            found += spans(tokens[at : at + STRETCH], self.labels(features[at : at + STRETCH]))
        return found

    def beside(self, text: str, known: Sequence[Found]) -> list[Found]:
        """Everything: what patterns found, and what the model does. Of addresses it sees more than they do."""
        found = [*sure(known), *self.find(text, sure(known))]
        found += [f for f in known if f not in found and all(f.end <= o.start or f.start >= o.end for o in found)]
        return sorted(found, key=lambda f: f.start)


def sure(known: Sequence[Found]) -> list[Found]:
    """What patterns know better than the model."""
    return [f for f in known if f.kind not in ("address", "birth_date")]


def spans(tokens: Sequence[Token], labels: Sequence[int]) -> list[Found]:
    """What a sequence of labels says of its tokens."""
    found: list[Found] = []
    for token, label in zip(tokens, labels, strict=True):
        name = LABELS[label]
        if name == "O" or token.kind:
            continue
        if name.startswith("I-") and found and found[-1].kind == name[2:]:
            found[-1] = found[-1]._replace(end=token.end)
        else:
            found.append(Found(name[2:], token.start, token.end))
    return found


def read(content: dict[str, Any]) -> Model:
    """The model in the form in which it is kept: whole numbers of `unit` each."""
    unit, unit_follow = content["unit"], content["unit_follow"]
    table = {int(place): _row(row, unit) for place, row in content["table"].items()}
    return Model(table, [[w * unit_follow for w in row] for row in content["follow"]])


def _row(written: Sequence[int], unit: float) -> tuple[float, ...]:
    """The weights of a bucket, which are written as label and number, label and number."""
    row = [0.0] * len(LABELS)
    for label, steps in zip(written[::2], written[1::2], strict=True):
        row[label] = steps * unit
    return tuple(row)


@functools.cache
def shipped() -> Model:
    """The model that Mainstay ships, read once."""
    return read(json.loads(files("mainstay.parts").joinpath("weights/personal_data.json").read_bytes()))
