"""Facts as people write them: amounts of money, quantities with units, numbers, dates, times and codes, each in all that it
may mean.

`1.299,00 €`, `EUR 1299` and `1299 euros` are one amount, `2 kg` and `2000 g` one mass, `21 November 2026`, `2026-11-21` and
`21.11.2026` one day, `SKU-1234` and `sku 1234` one code. What has two readings has both (`1.299` is 1299 or 1.299, `$` one of
several dollars, `03/04` the third of April or the fourth of March, unless the order is known).

Limits: it knows spellings, not grammar. Small numbers in words are read in English, German, French, Spanish, Italian, Dutch and
Portuguese; compound ones (`twenty-one`), fractions, weekdays, relative dates (`tomorrow`) and time zones are not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from mainstay.core.later import pattern
from mainstay.parts.numerals import numerals
from mainstay.parts.units import COUNTED, MONTHS, ORDINALS, SCALES, SHORT_MONTHS, SPELLED, readings

Kind = Literal["number", "date", "time", "code"]
Key = tuple[str, Any]  # ("EUR", 1299), ("mass", 2000), ("", 12), ("date", (2026, 11, 21)), ("time", 870), ("code", "sku1234")
DayOrder = Literal["dm", "md", ""]
ReadDate = Callable[[re.Match[str], DayOrder], Iterator[Key]]

_NO_CODE = COUNTED | ORDINALS | SCALES.keys()
GONE = "\x1f"  # in place of what was read already
NEAR = 12  # characters before a number in which its currency stands
_BLANK = " \u00a0\u2007\u2009\u202f"
_WORD = pattern(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_DIGIT = pattern(r"\d")
_PIECE = pattern(r"\S+")
_MARK = pattern(r"\[\d{1,3}\]")
_MONTH = r"([^\W\d_]{3,10})(?!\w)\.?"
_OF_YEAR = rf"(?:,?[{_BLANK}](?:de |del |do )?(\d{{4}})(?!\w))?"
_DAY_MONTH = pattern(
    rf"(?i)(?<![\w.,])(\d{{1,2}})(?:\.|st|nd|rd|th|er|º|°|ª)?[{_BLANK}]?(?:of |de |di |d[’'])?{_MONTH}{_OF_YEAR}"
)
_MONTH_DAY = pattern(rf"(?i)(?<!\w){_MONTH}[{_BLANK}](\d{{1,2}})(?:st|nd|rd|th)?(?![\w.,]\d|\w)(?:,?[{_BLANK}](\d{{4}})(?!\w))?")
_MONTH_YEAR = pattern(rf"(?i)(?<!\w){_MONTH},?[{_BLANK}](?:de |del |do )?(\d{{4}})(?!\w)")
_YEAR_FIRST = pattern(
    r"(?<![\w.-])(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:[T ](\d{2}):(\d{2})(?::\d{2})?(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2})?)?(?![\w-])"
)
_DIGITS = pattern(r"(?<![\w./-])(\d{1,2})([./-])(\d{1,2})\2(\d{4}|\d{2})(?![\w/-]|[.,]\d)")
_DAY_DOT = pattern(r"(?<![\w.,])(\d{1,2})\.(\d{1,2})\.(?!\d)")
_TIME = pattern(
    r"(?i)(?<![\w.,:])(\d{1,2})(?:[:h](\d{2})(?::\d{2})?|\.(\d{2})(?= ?(?:uhr|[ap]\.?m\b)))?"
    rf"(?:[{_BLANK}]?([ap])\.?m\b\.?|[{_BLANK}]?(uhr|uur|o’clock|o'clock)\b)?(?![\d:])"
)
_IBAN = pattern(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_PHONE = pattern(r"(?<![\w.,])(?:\+\d|\(?0\d)[\d ()/.\u00a0-]{4,18}\d(?!\w)")
_VERSION = pattern(r"(?<![\w.,])[vV]?\d+(?:\.\d+){2,}(?:[-+.]?[A-Za-z][\w.]*)?(?!\w)")
_HASHED = pattern(r"#[ ]?([\w-]*\d[\w-]*)")
_DASHED = pattern(r"(?<![\w-])\d{2,}(?:-\d{2,}){2,}(?![\w-])")
_TOKEN = pattern(r"[^\W_]+(?:[-_.+][^\W_]+)*")
_DECADE = pattern(r"((?:1[5-9]|20)\d0)[’']?s(?!\w)")
_SPAN = pattern(r"((?:19|20)\d\d)[-–/](\d\d)(?!\d)")
_GROUPED = pattern(r"\d{1,3}(?:\.\d{3})+")
_NUMBER_THEN = pattern(r"\d+(?:[.,]\d+)*(-)?([^\W\d_]+)(?:-.*)?")
_THEN_NUMBER = pattern(r"([^\W\d_]+)\d+(?:[.,]\d+)*")
_AFTER = pattern(rf"(?:,?[-–—]{{1,2}}(?=[{_BLANK}]?(?:[€$£]|EUR|CHF|Fr)))?[{_BLANK}-]?(?=[^\s\d])")
_WORDS = pattern(r"(?:°[ ]?[CFcf](?!\w)|[€$£¥₹₺₽₩%‰″°]|[A-Za-zµμÀ-ÿ$][\wÀ-ÿ²³$]*(?:/\w+)?)(?:\.(?=\s\w))?")
_BEFORE = pattern(
    r"(?i)((?:US|AU|CA|NZ|MX|[AC])?\$|R\$|[€£¥₹₺₽₩]|(?<![^\W_])(?:[A-Z]{3}|Fr\.|SFr\.|kr|zł|Kč|euros?))"
    rf"[{_BLANK}]?([-−–])?[{_BLANK}]?\Z"
)
_MINUS = pattern(r"(?i)(?:\bminus|\bmoins|\bmenos|\bmeno|\bmin) ?\Z")
_RANGE = pattern(
    rf"(?i)[{_BLANK}]*(?:[-–—~x×]|\b(?:to|bis|à|al?|tot|até|hasta|fino a|and|or|und|oder|et|ou|e|y|o|en|of)\b)[{_BLANK}]*"
)
_STARTS_WORD = pattern(rf"[{_BLANK}-]?[^\W\d_]")


class Fact(NamedTuple):
    """A fact in a text: where it stands, how it is written, and all that it may mean.

    `spelled` says that it is a number in words, `bare` that no unit stands with it, `counts` that a word follows which may be
    one, and `numbers` are its values as they are written.
    """

    kind: Kind
    start: int
    end: int
    written: str
    keys: frozenset[Key]
    spelled: bool = False
    bare: bool = False
    counts: bool = False
    numbers: frozenset[Decimal] = frozenset()


def facts(text: str, order: DayOrder = "", language: Callable[[], str] = str) -> list[Fact]:
    """The facts of a text, in its order. Numbers in words are read in this language, or in all of them where none is given.

    >>> [sorted(fact.keys) for fact in facts("It weighs 2 kg.")]
    [[('mass', Decimal('2000'))]]
    """
    found: list[Fact] = []
    said = set(_WORD.findall(text.casefold()))
    if _DIGIT.search(text) is not None:
        rest = _MARK.sub(_gone, _PIECE.sub(_without_address, text))
        for read in (_DATES if said & MONTHS.keys() else _NUMBER_DATES, _times, _codes):
            for fact in read(rest, order):
                found.append(fact)
                rest = f"{rest[: fact.start]}{GONE * (fact.end - fact.start)}{rest[fact.end :]}"
        found += _numbers(rest)
    if (
        not said.isdisjoint(_SMALL)
        or "one" in said
        or ("-" in text and any(word.partition("-")[0] in _FIRST for word in said if "-" in word))
    ):
        found += _spelled(text, language())
    return sorted(found, key=lambda fact: fact.start)


def _gone(match: re.Match[str]) -> str:
    return GONE * len(match[0])


def _without_address(piece: re.Match[str]) -> str:
    """Addresses and links are not looked at here."""
    written = piece[0]
    address = "@" in written or "://" in written or written.startswith("www.")
    return GONE * len(written) if address else written


# Dates and times


def _dates(text: str, order: DayOrder, patterns: Sequence[tuple[re.Pattern[str], ReadDate]]) -> Iterator[Fact]:
    taken: list[tuple[int, int]] = []
    for written, read in patterns:
        for match in written.finditer(text):
            if any(match.start() < end and start < match.end() for start, end in taken):
                continue
            keys = [key for key in read(match, order) if key[0] != "date" or _is_date(*key[1])]
            if keys:
                taken.append(match.span())
                yield Fact("date", *match.span(), match[0], frozenset(keys))


def _is_date(year: int | None, month: int, day: int | None) -> bool:
    return 1 <= month <= 12 and (day is None or 1 <= day <= 31) and (year is None or 1000 <= year <= 2999)


def _month(written: str, whole: str) -> int:
    """The month of that name; 0 where it may well be another word, as in `5 out of 6`."""
    number = MONTHS.get(written.casefold(), 0)
    plain = written.casefold() in SHORT_MONTHS and not written[0].isupper() and "." not in whole
    return 0 if plain and not re.search(r"\d{4}", whole) else number


def _year(written: str | None) -> int | None:
    if not written:
        return None
    return int(written) if len(written) == 4 else 2000 + int(written)


def _read_day_month(match: re.Match[str], order: DayOrder) -> Iterator[Key]:
    yield "date", (_year(match[3]), _month(match[2], match[0]), int(match[1]))


def _read_month_day(match: re.Match[str], order: DayOrder) -> Iterator[Key]:
    yield "date", (_year(match[3]), _month(match[1], match[0]), int(match[2]))


def _read_month_year(match: re.Match[str], order: DayOrder) -> Iterator[Key]:
    yield "date", (int(match[2]), _month(match[1], match[0]), None)


def _read_year_first(match: re.Match[str], order: DayOrder) -> Iterator[Key]:
    yield "date", (int(match[1]), int(match[3]), int(match[4]))
    if match[5]:
        yield "moment", int(match[5]) * 60 + int(match[6])


def _read_digits(match: re.Match[str], order: DayOrder) -> Iterator[Key]:
    first, second, year = int(match[1]), int(match[3]), _year(match[4])
    if order != "md" or match[2] == "." or first > 12:
        yield "date", (year, second, first)
    if match[2] != "." and (order != "dm" or second > 12):
        yield "date", (year, first, second)
    if match[2] == "." and len(match[4]) == 2:  # or a version
        yield "code", match[0]


_IN_DIGITS: tuple[tuple[re.Pattern[str], ReadDate], ...] = (
    (_YEAR_FIRST, _read_year_first),
    (_DIGITS, _read_digits),
)
_WITH_MONTHS: tuple[tuple[re.Pattern[str], ReadDate], ...] = (
    (_DAY_MONTH, _read_day_month),
    (_MONTH_DAY, _read_month_day),
    (_MONTH_YEAR, _read_month_year),
)
_NUMBER_DATES = functools.partial(_dates, patterns=_IN_DIGITS)
_DATES = functools.partial(_dates, patterns=(*_IN_DIGITS[:1], *_WITH_MONTHS, *_IN_DIGITS[1:]))


def _times(text: str, order: DayOrder) -> Iterator[Fact]:
    for match in _TIME.finditer(text):
        hour, minute = int(match[1]), int(match[2] or match[3] or 0)
        half = (match[4] or "").lower()
        if not (match[2] or match[3] or half or match[5]) or hour > 24 or minute > 59 or (half and hour > 12):
            continue
        if half:
            hours = {hour % 12 + (12 if half == "p" else 0)}
        else:
            hours = {hour, hour + 12} if 0 < hour < 12 and not match[5] else {hour}
        yield Fact("time", *match.span(), match[0], frozenset(("time", h * 60 + minute) for h in hours))


# Codes


def _codes(text: str, order: DayOrder) -> Iterator[Fact]:
    taken: list[tuple[int, int]] = []
    for written in (_IBAN, _PHONE, _VERSION, _DASHED, _HASHED, _TOKEN):
        for match in _tokens(text) if written is _TOKEN else written.finditer(text):
            if any(match.start() < end and start < match.end() for start, end in taken):
                continue
            if _is_code(written, match[0]):
                taken.append(match.span())
                yield Fact("code", *match.span(), match[0], frozenset({("code", code(match[0]))}))


def _tokens(text: str) -> Iterator[re.Match[str]]:
    """The words with digits in them."""
    for piece in _PIECE.finditer(text):
        if any(map(str.isdigit, piece[0])):
            yield from _TOKEN.finditer(text, *piece.span())


def _is_code(pattern: re.Pattern[str], written: str) -> bool:
    if pattern is _PHONE:
        return sum(map(str.isdigit, written)) >= 7
    if pattern is _VERSION:
        return not _GROUPED.fullmatch(written)
    if pattern is not _TOKEN:
        return True
    if not any(map(str.isalpha, written)) or not any(map(str.isdigit, written)):
        return False
    if number := _NUMBER_THEN.fullmatch(written):  # 5kg, 27-inch, 3rd, 24-hour; but not 12ab
        dash, word = number[1], number[2]
        return not (dash or len(word) > 2 or word in "xX" or word.casefold() in _NO_CODE or readings(word))
    amount = _THEN_NUMBER.fullmatch(written)
    return amount is None or not readings(amount[1]) or len(amount[1]) == 1


def code(written: str) -> str:
    """A code as it is compared: without case, dashes, blanks and a version's `v`; dots and a plus sign within it count.

    >>> code("SKU-12 34"), code("v2.3.1")
    ('sku1234', '2.3.1')
    """
    plain = re.sub(r"[\s#_/()\u00a0-]", "", written.casefold()).strip(".,+")
    return plain[1:] if re.match(r"v\d", plain) else plain


# Numbers


def _numbers(text: str) -> list[Fact]:
    found = []
    for numeral in numerals(text):
        percent = numeral.written.endswith("%")
        values = numeral.values[: len(numeral.values) // 2] if percent else numeral.values
        digits = "".join(filter(str.isdigit, numeral.written)).lstrip("0")
        values += tuple([v for v in numeral.others if str(abs(v)).replace(".", "").lstrip("0") == digits])
        start, end = numeral.at, numeral.at + len(numeral.written.rstrip("%"))
        found.append(_decade(text, start, end) or _number(text, start, end, values))
    return _shared(found, text)


def _decade(text: str, start: int, end: int) -> Fact | None:
    """`1980s` and `1980’s`, which are no seconds."""
    match = _DECADE.match(text, start)
    if match is None or match.end(1) != end:
        return None
    year = Decimal(match[1])
    return Fact("number", *match.span(), match[0], frozenset({("decade", year // 10)}), numbers=frozenset({year}))


def _number(text: str, start: int, end: int, values: tuple[Decimal, ...], *, spelled: bool = False) -> Fact:
    """A number with the unit that stands before or behind it."""
    before = text[max(0, start - NEAR) : start]
    if _MINUS.search(before):
        values = tuple([-value for value in values])
    scale, units, until = _unit_behind(text, end)
    values = tuple([value * scale for value in values])
    if currency := _BEFORE.search(before):
        found = readings(currency[1].rstrip("."))
        if found:
            if text[end : end + 1] == "M" and not text[end + 1 : end + 2].isalnum():  # $5M
                scale, units, until = Decimal(10**6), (), end + 1
                values = tuple([value * scale for value in values])
            start -= len(before) - currency.start()
            negative = currency[2] and all(value > 0 for value in values)
            values = tuple([-value for value in values]) if negative else values
            units, until = found, until if not units else end
    keys: set[Key] = {(dimension, value * size) for dimension, size in units for value in values}
    day = None if units else _DAY_DOT.match(text, start)
    if day is not None and _is_date(None, int(day[2]), int(day[1])):  # 21.11., unless it is a number at the end of a sentence
        keys = {("date", (None, int(day[2]), int(day[1]))), *(("", value) for value in values)}
    counts = not units and _STARTS_WORD.match(text, until) is not None
    bare = frozenset(("", value) for value in values)
    numbers = frozenset(values)
    return Fact("number", start, until, text[start:until], frozenset(keys) or bare, spelled, not units, counts, numbers)


def _unit_behind(text: str, end: int) -> tuple[Decimal, tuple[tuple[str, Decimal], ...], int]:
    """The scale and the unit behind a number, and where they end."""
    scale, at = Decimal(1), end
    for _ in range(2):
        gap = _AFTER.match(text, at)
        word = _WORDS.match(text, gap.end()) if gap is not None else None
        if word is None:
            break
        both = _WORDS.match(text, word.end() + 1) if text[word.end() : word.end() + 1] in (" ", "\u00a0") else None
        if both is not None and (found := readings(f"{word[0]} {both[0]}".rstrip("."))):
            return scale, found, both.end()
        plain = word[0].rstrip(".")
        if found := readings(plain.replace(" ", "")):
            return scale, found, word.start() + len(plain)
        if scale != 1 or plain.casefold() not in SCALES or (plain.casefold() == "k" and gap is not None and gap.end() > at):
            if plain.casefold() in COUNTED:
                at = word.start() + len(plain)
            elif plain in ("de", "d", "di"):  # 2 millions de dollars
                at = word.end()
                continue
            break
        scale, at = SCALES[plain.casefold()], word.start() + len(plain)
    return scale, (), at


def _shared(found: list[Fact], text: str) -> list[Fact]:
    """Of a range or a list, such as `5 to 10 kg` and `€5–10`, both have the unit; the one without may be a number by itself
    too.
    """
    for i in range(len(found) - 1):
        first, second = found[i], found[i + 1]
        if (years := _SPAN.match(text, first.start)) and years.end() == second.end:  # 2018–19
            later = Decimal(years[1][:2] + years[2])
            found[i + 1] = second._replace(keys=frozenset({("", later)}), numbers=frozenset({later}))
        if first.bare is second.bare or not _RANGE.fullmatch(text, first.end, second.start):
            continue
        one, other = (first, second) if first.bare else (second, first)
        units = {_size(key, other) for key in other.keys}
        values = [value for dimension, value in one.keys if not dimension]
        keys = one.keys | {(dimension, value * size) for dimension, size in units for value in values}
        found[i if first.bare else i + 1] = one._replace(keys=frozenset(keys))
    return found


def _size(key: Key, fact: Fact) -> tuple[str, Decimal]:
    """The dimension of a key, and the size of the unit that it is written in."""
    for written in (fact.written, *re.split(r"[\d\s.,'’-]+", fact.written)):
        for dimension, size in readings(written.strip()):
            if dimension == key[0]:
                return dimension, size
    return key[0], Decimal(1)


_SMALL: dict[str, dict[str, int]] = {}  # each small number in words, and what it is in which language
for _language, _numbers_of in SPELLED.items():
    for _word, _number_of in _numbers_of.items():
        _SMALL.setdefault(_word, {})[_language] = _number_of


_FIRST = _SMALL.keys() | {"one"}


def _spelled(text: str, language: str) -> Iterator[Fact]:
    for match in _WORD.finditer(text):
        word, start = match[0].casefold(), match.start()
        if word not in _SMALL:
            word = word.partition("-")[0]
        meanings = _SMALL.get(word)
        if word == "one" and language in ("", "en"):
            fact = _number(text, start, start + 3, (Decimal(1),), spelled=True)
            if not fact.bare:
                yield fact
        elif meanings is not None and (language in meanings or language not in SPELLED):
            values = {meanings[language]} if language in meanings else set(meanings.values())
            yield _number(text, start, start + len(word), tuple(map(Decimal, sorted(values))), spelled=True)
