"""Small text classifiers that run in plain Python: hashed features, one weight each, a logistic curve.

A text is folded (case, accents, hidden characters, look-alike letters, letters with blanks between them, digits that stand for
letters), cut into tokens, and each token, each pair of neighbours and each run of letters within a token is hashed to one of
`2 ** bits` weights; a guard adds marks of its own, which are hashed too. What a text's tokens add up to is divided by the square
root of their number, so that long and short texts compare; marks count in full. A file holds hashes and weights, and no words.

Fitting is in `bench/quality/textfit.py`. Limits: it knows words and their neighbours, not what a text means.
"""

from __future__ import annotations

import base64
import functools
import math
import re
import unicodedata
import zlib
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Any

import msgspec
import re2
from msgspec import Struct

LONGEST_TOKEN = 40  # characters of a token whose runs of letters count
KEPT_TOKENS = 50_000  # tokens whose weight is remembered
_LETTER = r"[^\W_\u0300-\u036f](?:[^\W_]|[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0dff\u0e00-\u0eff\u0f00-\u109f])*"
_TOKEN = re.compile(rf"{_LETTER}(?:'{_LETTER})*|[^\w\s]")
_HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_ACCENT = re.compile("(?<=[a-z])[\u0300-\u036f]+")
_SPACED = re.compile(r"(?<!\S)(?:[^\W\d_][ .\-*_]){2,}[^\W\d_](?![^\s.,!?\"'])")
_MIXED = re.compile(r"[^\W\d_]*(?:[a-z][\u0370-\u03ff\u0400-\u04ff]|[\u0370-\u03ff\u0400-\u04ff][a-z])[^\W\d_]*")
_LEET = re.compile(
    r"(?<![^\W_])(?=[a-z0-9@$]*[a-z][0-9@$]|[0-9@$]+[a-z])(?=[0-9@$]*[a-z][a-z0-9@$]*[a-z])[a-z0-9@$]{3,}(?![^\W_])"
)
_DISGUISED = re2.compile(r"[a-z][0-9@$]|[0-9@$][a-z]|\PM\b\pL[ .\-*_]\pL[ .\-*_]\pL\b|^\pL[ .\-*_]\pL[ .\-*_]\pL")
_ASCII_TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*|[^\w\s]")
_LETTERS = str.maketrans("0134578@$", "oieastbas")
_ALIKE = str.maketrans("аеорсхуіѕјһԁԛԝьвмнктіαεορνικτυχηβ", "aeopcxyisjhdqwbbmhktiaeopviktuxnb")


def folded(text: str) -> str:
    """The text as it is compared: without regard to case, accents, hidden characters and the commonest disguises of words."""
    if text.isascii():
        plain = text.lower()
    else:
        plain = _HIDDEN.sub(
            "",
            unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode())
            .casefold()
            .replace("\u2019", "'")
            .replace("\u2018", "'")
            .replace("ı", "i"),
        )
        plain = unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFKD", plain)))
        plain = _MIXED.sub(lambda m: m[0].translate(_ALIKE), plain)
    if _DISGUISED.search(plain) is None:
        return plain
    plain = _SPACED.sub(lambda m: re.sub(r"[ .\-*_]", "", m[0]), plain)
    return _LEET.sub(lambda m: m[0].translate(_LETTERS), plain)


def tokens(text: str) -> list[str]:
    """Words and single signs of a folded text, in their order."""
    return (_ASCII_TOKEN if text.isascii() else _TOKEN).findall(text)


class Marks:
    """Names patterns, and says in one pass over a folded text which of them it holds.

    Patterns are RE2's: `^` is the start of a line, and `\\b` and `\\w` know ASCII alone.
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        options = re2.Options()
        options.max_mem = 64 << 20
        self.names = tuple(patterns)
        self._set = re2.Set.SearchSet(options)
        for pattern in patterns.values():
            self._set.Add(f"(?m:{pattern})")
        self._set.Compile()

    def of(self, text: str) -> list[str]:
        """The names of what is there, in their order."""
        return [self.names[i] for i in sorted(self._set.Match(text.encode("utf-8", "replace")) or ())]


class Recipe(Struct, frozen=True, kw_only=True):
    """Which features a model has: `grams` are the lengths of the runs of letters within a token, `pairs` neighbours."""

    bits: int = 14
    grams: tuple[int, ...] = (3, 4, 5)
    pairs: bool = True

    def of_token(self, token: str) -> list[int]:
        """The places of a token and of its runs of letters; the first is the token's own."""
        mask = (1 << self.bits) - 1
        places = [zlib.crc32(f"w{token}".encode("utf-8", "replace")) & mask]
        if len(token) > 1:
            edged = f"<{token[:LONGEST_TOKEN]}>"
            runs = [edged[i : i + n] for n in self.grams for i in range(len(edged) - n + 1)]
            places += [zlib.crc32(f"g{run}".encode("utf-8", "replace")) & mask for run in runs]
        return places

    def of_pairs(self, places: Sequence[int]) -> list[int]:
        """The place of each two neighbours, from the tokens' own places."""
        mask = (1 << self.bits) - 1
        return [((a + 1) * 40503 + b * 9973 + (a ^ b)) & mask for a, b in pairwise(places)]

    def of_mark(self, mark: str) -> int:
        """The place of a mark."""
        return zlib.crc32(f"m{mark}".encode()) & ((1 << self.bits) - 1)


class Head(Struct, frozen=True, kw_only=True):
    """The weights of one model, as they are kept: one signed byte each, packed, times `scale`."""

    recipe: Recipe
    scale: float
    bias: float
    slope: float
    offset: float
    threshold: float
    weights: str


class WeightsFile(Struct, frozen=True, kw_only=True):
    """A file of weights: its card, and a model by each name."""

    card: dict[str, Any]
    models: dict[str, Head]


class TextModel:
    """One model, ready to be asked. `threshold` is the probability from which on it was measured to say yes."""

    def __init__(self, head: Head) -> None:
        self._recipe, self._scale, self._bias = head.recipe, head.scale, head.bias
        self._slope, self._offset, self.threshold = head.slope, head.offset, head.threshold
        self._weights = memoryview(unpacked(head.weights)).cast("b")
        self._known: dict[str, tuple[int, int, int]] = {}

    def probability(self, words: Sequence[str], marks: Iterable[str] = ()) -> float:
        """How probable it is that the answer is yes, for the tokens and marks of one text; between 0 and 1."""
        known, weights = self._known, self._weights
        found = [known.get(word) or self._learn(word) for word in words]
        total, count = sum([weight for _, weight, _ in found]), sum([features for _, _, features in found])
        if self._recipe.pairs:
            pairs = self._recipe.of_pairs([place for place, _, _ in found])
            total += sum([weights[pair] for pair in pairs])
            count += len(pairs)
        score = total / math.sqrt(count) if count else 0.0
        marked = sum([weights[self._recipe.of_mark(mark)] for mark in marks])
        return logistic(self._slope * ((score + marked) * self._scale + self._bias) + self._offset)

    def _learn(self, word: str) -> tuple[int, int, int]:
        if len(self._known) >= KEPT_TOKENS:
            self._known.clear()
        places = self._recipe.of_token(word)
        self._known[word] = found = (places[0], sum([self._weights[place] for place in places]), len(places))
        return found


def logistic(x: float) -> float:
    """1 / (1 + e^-x), without overflow."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    e = math.exp(x)
    return e / (1 + e)


def packed(weights: bytes) -> str:
    """Signed bytes as a text."""
    return base64.b85encode(zlib.compress(weights, 9)).decode("ascii")


def unpacked(text: str) -> bytes:
    """What `packed` made a text of."""
    return zlib.decompress(base64.b85decode(text))


@functools.cache
def models(name: str) -> Mapping[str, TextModel]:
    """The models of a file of weights that is shipped, loaded once."""
    return {key: TextModel(head) for key, head in weights_file(name).models.items()}


def weights_file(name: str) -> WeightsFile:
    """A file of weights that is shipped, with its card."""
    path = files("mainstay.parts") / "weights" / f"{name}.json"
    return msgspec.json.decode(path.read_bytes(), type=WeightsFile)
