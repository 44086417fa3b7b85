"""Which language a text is probably in, and which of its words say nothing about its subject: enough to search by.

The guess rests on the script, and among languages of one script on their commonest words; it is meant for questions and
passages, not for single words, and says nothing where it does not know. Function words are short lists that were written by
hand: articles, pronouns, prepositions, auxiliaries, and the words that questions begin with.

Limits: languages that share a script and are not listed are taken for unknown, or for their nearest relative.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from mainstay.core import function_words
from mainstay.core.later import later, pattern
from mainstay.core.words import telling

_SCRIPTS = [  # the first that half of the letters are of
    ("ja", pattern(r"[\u3040-\u30ff]")),
    ("zh", pattern(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")),
    ("ko", pattern(r"[\uac00-\ud7af\u1100-\u11ff]")),
    ("th", pattern(r"[\u0e01-\u0e4e]")),
    ("hi", pattern(r"[\u0900-\u0963]")),
    ("el", pattern(r"[\u0370-\u03ff\u1f00-\u1fff]")),
    ("he", pattern(r"[\u0590-\u05ff]")),
    ("ar", pattern(r"[\u0600-\u06ff]")),
    ("ru", pattern(r"[\u0400-\u04ff]")),
]
_MARKS = pattern(r"[\u0300-\u036f\u0591-\u05c7\u064b-\u0652\u0670\u0640]")  # accents, points, and the Arabic stretch
_VIETNAMESE = pattern(r"[\u1ea0-\u1ef9đơưĐƠƯ]")
_LETTERS = pattern(r"[^\W\d_]")
_WORDS = pattern(r"[\w\u0900-\u0963]+")
OWN = 2  # telling words before a pronoun, which may be what it stands for
SAMPLE = 1000  # characters of a text by which it is guessed
_KIN = {"ar": ("ar", "fa"), "ru": ("ru", "uk")}  # languages of one script


def folded(text: str, *, accents: bool = False) -> str:
    """A text as it is compared: case folded, compatible forms made one, and without accents unless they are asked for.

    >>> folded("Ｃafé İZMİR")
    'cafe izmir'
    """
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", text.casefold())
    if not accents:
        text = _MARKS.sub("", text).replace("ı", "i").replace("đ", "d").replace("ø", "o").replace("ł", "l")
    return unicodedata.normalize("NFC", text)


_ENGLISH = frozenset(
    """a about an and any are as at be been but by can could did do does for from had has have how i if in into is it its may my
    not of on or our should so than that the their there these they this to was we were what when where which who whom whose why
    will with would you your""".split()
)
_ASKING = {
    language: pattern("|".join([re.escape(p) for p in phrases.split()])) for language, phrases in function_words.ASKED.items()
}


def _function_words() -> dict[str, frozenset[str]]:
    """The function words of each language but English, with their accents and without."""
    return {
        language: frozenset(form for word in words.split() for form in (folded(word), folded(word, accents=True)))
        for language, words in function_words.FUNCTION_WORDS.items()
    }


def _languages() -> dict[str, list[str]]:
    """Of which languages each word is a function word."""
    found = {word: ["en"] for word in _ENGLISH}
    for language, words in FUNCTION_WORDS.items():
        for word in words:
            found.setdefault(word, []).append(language)
    return found


FUNCTION_WORDS = later(_function_words)
_LANGUAGES = later(_languages)


def guess(text: str) -> str:
    """The language that a text is probably in (ISO 639-1); empty where that cannot be said.

    >>> guess("Wie lange habe ich Zeit?"), guess("退货需要多长时间？"), guess("invoice 4711")
    ('de', 'zh', '')
    """
    text = text[:SAMPLE]
    if text.isascii():
        return _by_words(text)
    letters = len(_LETTERS.findall(text))
    counts = [(language, len(pattern.findall(text))) for language, pattern in _SCRIPTS]
    found = max(counts, key=lambda entry: entry[1])
    if dict(counts)["ja"] * 10 > found[1] > 0:
        return "ja"
    if found[1] * 2 < letters or not found[1]:
        return "vi" if _VIETNAMESE.search(text) and len(_VIETNAMESE.findall(text)) * 12 > letters else _by_words(text)
    if found[0] not in _KIN:
        return found[0]
    known = _by_words(text)
    return known if known in _KIN[found[0]] else found[0]


def _by_words(text: str) -> str:
    """The language most of whose function words occur, if any do; of two with as many, none."""
    words = _WORDS.findall(folded(text, accents=True))
    counts = Counter([language for word in words for language in _LANGUAGES.get(word, ())]).most_common(2)
    return counts[0][0] if counts and (len(counts) == 1 or counts[0][1] > counts[1][1]) else ""


def telling_words(text: str, language: str) -> list[str]:
    """The words of a text that say what it is about, as they stand there; what is not set apart stays together."""
    if language in ("", "en"):
        return telling(text)
    known = FUNCTION_WORDS.get(language, frozenset())
    words = _WORDS.findall(without_asking(text, language))
    return [word for word in words if folded(word, accents=True) not in known]


def refers_back(text: str, language: str) -> bool:
    """Whether a question seems to go on from what was said before it: it begins with a word that does, or has a pronoun before
    it has said what it is about.
    """
    if language in function_words.BACK_TOGETHER:
        return re.search(function_words.BACK_TOGETHER[language], text.strip()) is not None
    pronouns, openings = function_words.BACK.get(language or "en", ("", "-"))
    written = " ".join(_WORDS.findall(folded(text, accents=True)))
    written = re.sub(function_words.EXPLETIVE, " ", written) if language == "en" else written
    beginnings = "|".join(" ".join(opening.split()) for opening in folded(openings, accents=True).split("|"))
    if re.match(f"(?:{beginnings})\\b", written):
        return True
    known, words = set(folded(pronouns, accents=True).split()), written.split()
    first = next((i for i, word in enumerate(words) if word in known or (i == len(words) - 1 and f"{word}$" in known)), None)
    return first is not None and len(telling_words(" ".join(words[:first]), language)) < OWN


def without_asking(text: str, language: str) -> str:
    """A question in a language that sets no words apart, without what makes it a question."""
    asking = _ASKING.get(language)
    return text if asking is None else asking.sub(" ", text)
