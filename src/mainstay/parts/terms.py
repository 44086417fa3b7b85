"""What is compared when passages are searched: texts taken apart into terms, in a way that fits their script and language.

English, and what is in no language that we know, is stemmed (Porter). Words of other languages that set words apart are compared
by their beginnings, which is what remains of most of them through all their forms; Arabic words lose their article first, and
Vietnamese ones, which do not change, are compared whole and with their marks. Where words are not set apart, two characters
(Chinese, Japanese, Korean) or three (Thai, Lao, Khmer, Burmese) that stand together are a term.

A passage is kept as lines of words: its own heading as terms, its headings, and one line a sentence. Whether a term stands in a
line is a search in a string. What it does not know: compounds, synonyms, and the forms of words that change at their beginning.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal, cast

import apsw
import apsw.fts5
from msgspec import Struct

from mainstay.core.evidence import Passage
from mainstay.core.languages import FUNCTION_WORDS, folded, guess, without_asking
from mainstay.core.later import pattern
from mainstay.core.words import telling

Style = Literal["stems", "starts", "whole"]

START = 5  # letters by which the forms of a word are held to be one
ROOT = 3  # of those of Arabic and Hebrew words, whose forms change within
GRAM = 4  # letters of the pieces in which words are compared when passages are ranked
HEADING, TITLE, BODY = 6, 3, 1  # how much a term counts by where it stands
CHARACTERS = {2: 0.8, 3: 0.12}  # how much of a word a term of two and of three characters is
SYLLABLE = 0.55  # and a word of Vietnamese, which is a syllable

_RUN = pattern(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+"
    r"|[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af\u1100-\u11ff]+"
    r"|[\u0900-\u0963\u0966-\u0dff]+"
    r"|[^\W_\u0900-\u0dff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af\u1100-\u11ff]+"
)
_SENTENCE = pattern(r"(?<=[.!?:])\s+|(?<=[。！？।؟])\s*|\n+")
_NAME = pattern(r"(?<!\w)\w+(?:[_-]\w+)+")  # only where a word begins, or a long one is read again from each letter
_ARTICLE = pattern(r"(?:[وفبك]?ال|لل)(?=.{3})")
_own = threading.local()


class Unit(Struct, frozen=True):
    """A word of a question: the term under which passages have it, what to look for in their lines, and how much of a word it is.

    An `optional` one says nothing where no passage has it.
    """

    term: str
    needle: str
    mass: float = 1.0
    optional: bool = False


class Question(Struct, frozen=True):
    """A question taken apart: its telling words, and the pieces by which passages that have them are told apart."""

    units: tuple[Unit, ...]
    pieces: tuple[str, ...]


class Analysis(Struct, frozen=True):
    """A passage taken apart: how often each term stands in it, where counts, and its lines."""

    style: Style
    terms: dict[str, int]
    length: int
    lines: str


def analysed(passage: Passage) -> Analysis:
    """A passage, taken apart as it will be compared."""
    title, *rest = passage.heading or ("",)
    language = guess(f"{passage.text}\n{' '.join(passage.heading)}")
    style = _style(language)
    above, inner = tokens(title, style), tokens(" ".join(rest), style)
    sentences = [tokens(sentence, style) for sentence in _SENTENCE.split(passage.text)]
    counts: Counter[str] = Counter()
    length = 0
    for weight, words in ((HEADING, inner), (TITLE, above), *((BODY, words) for words in sentences)):
        for term in _terms(words, style):
            counts[term] += weight
            length += 1
    last = [unit.term for unit in _units(passage.heading[-1], style, language)] if passage.heading else []
    lines = [" ".join(last), _line(above + inner), *[_line(words) for words in sentences if words]]
    return Analysis(style, dict(counts), length, "\n".join(lines))


def asked(query: str, styles: Collection[Style]) -> Question:
    """A question, taken apart as passages of these styles are compared."""
    language = guess(query)
    own = _style(language)
    fitting: list[Style] = [own] if language and own in styles else sorted(styles)
    text = without_asking(query, language)
    units: dict[str, Unit] = {}
    pieces: dict[str, None] = {}
    for style in fitting:
        for unit in _units(text, style, language):
            units.setdefault(unit.term, unit)
        words = tokens(text, style)
        pieces |= dict.fromkeys(f" {a} {b} " for a, b in itertools.pairwise(words))
        pieces |= dict.fromkeys(piece for word in words for piece in _pieces(word))
    return Question(tuple(units.values()), tuple(pieces))


def tokens(text: str, style: Style) -> list[str]:
    """The words of a text, as they are compared; what is not set apart stays together."""
    if style == "stems":
        if not text.strip():
            return []
        raw = _with_names(text).encode("utf-8", "ignore")
        found = [token[2] for token in cast(list[Any], _porter()(raw, apsw.FTS5_TOKENIZE_QUERY, None))]
        return found if text.isascii() else [part for token in found for part in _RUN.findall(token)]
    words = _RUN.findall(folded(text, accents=style == "whole"))
    return [
        _ARTICLE.sub("", word, count=1) if "\u0600" <= word[0] <= "\u06ff" and _ARTICLE.match(word) else word for word in words
    ]


def _style(language: str) -> Style:
    return "whole" if language == "vi" else "stems" if language in ("", "en") else "starts"


def _porter() -> Any:
    """This thread's tokenizer: apsw's must not be used by two at once."""
    try:
        return _own.porter
    except AttributeError:
        _own.db = apsw.Connection(":memory:")
        _own.porter = _own.db.fts5_tokenizer("porter", ["unicode61", "remove_diacritics", "2"])
        return _own.porter


def _terms(words: Iterable[str], style: Style) -> Iterable[str]:
    for word in words:
        size = _together(word)
        if size:
            yield from _cut(word, size)
        else:
            yield _start(word) if style == "starts" else word


def _units(text: str, style: Style, language: str) -> list[Unit]:
    """The telling words of a text; all of them, where none tells."""
    units: dict[str, Unit] = {}
    if style == "stems":
        words = tokens(" ".join(telling(text)), style)
        for name in tokens(" ".join(_names(text)), style):
            units[name] = Unit(name, f" {name} ", optional=True)
    else:
        known = FUNCTION_WORDS.get(language, frozenset())
        every = tokens(text, style)
        words = [word for word in every if word not in known] or every
    for word in words:
        size = _together(word)
        for term in _cut(word, size) if size else ():
            units[term] = Unit(term, term, CHARACTERS[size])
        if not size:
            term = _start(word) if style == "starts" else word
            open_ended = style == "starts" and len(word) >= START and not word[0].isdigit()
            needle = f" {term}" if open_ended else f" {term} "
            units[term] = Unit(term, needle, SYLLABLE if style == "whole" else 1.0)
    return list(units.values())


def _together(word: str) -> int:
    """How many characters of a word are a term; 0 where words are set apart."""
    first = word[0]
    if first < "\u0e00":
        return 0
    if first <= "\u0eff" or "\u1000" <= first <= "\u109f" or "\u1780" <= first <= "\u17ff":
        return 3
    return 2 if "\u3040" <= first <= "\ufaff" or "\u1100" <= first <= "\u11ff" else 0


def _cut(word: str, size: int) -> list[str]:
    return [word[i : i + size] for i in range(max(1, len(word) - size + 1))]


def _start(word: str) -> str:
    return word if word[0].isdigit() else word[:START]


def _pieces(word: str) -> Sequence[str]:
    """A word whole, and in overlapping pieces."""
    size = _together(word)
    if size:
        return [*_cut(word, size), *_cut(word, size + 1), *(word if size == 2 else "")]
    gram = ROOT if "\u0590" <= word[0] <= "\u06ff" else GRAM
    return [f" {word} ", *(_cut(word, gram) if len(word) > gram else ())]


def _line(words: Sequence[str]) -> str:
    return f" {' '.join(words)} "


def _with_names(text: str) -> str:
    names = _names(text)
    return f"{text} {' '.join(names)}" if names else text


def _names(text: str) -> list[str]:
    """Each name that has several parts, in one."""
    return [re.sub("[_-]", "", name).casefold() for name in _NAME.findall(text)]
