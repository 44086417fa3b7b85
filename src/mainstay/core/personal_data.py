"""Recognises personal data by shape, check digit and the words beside it: e-mail addresses, URLs that carry somebody's data,
account, card and telephone numbers, IP addresses, national identity and tax numbers of fifteen countries, passports, driving
licences, dates of birth, and postal addresses of a street and a number.

What it does not know: names, addresses without a word for a street, and telephone numbers that look like any other number (those
it takes only after a word such as "call" or "Tel."). It is what the log policy `redacted` masks, and the guard `personal_data`
looks for. It takes linear time over any text; digits, signs and spaces of other scripts count as the usual ones.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import re2

from mainstay.core.check_digits import IBAN_LENGTHS, NUMBERS, card, es_id, fi_person, iban, it_code, us_ssn
from mainstay.core.later import later, pattern


class Found(NamedTuple):
    """A stretch of personal data: its kind and its character offsets."""

    kind: str
    start: int
    end: int


KINDS = (*("email", "url", "iban", "card", "ip", "ssn", "national_id", "passport", "licence", "birth_date", "phone", "address"),)
BEFORE = 60  # characters before a number in which a word may say what it is
LONGEST = 120  # characters that something found may have

# What is found by a pattern alone. Group 1 is what is masked, where it is not all of it.

_LETTER = r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{N}"
_EMAIL = rf"({_LETTER}._%+'-]+@{_LETTER}-]+(?:\.{_LETTER}-]+)*\.[\p{{Latin}}\p{{Greek}}\p{{Cyrillic}}]{{2,}})"
_OF_A_PERSON = r"(?:e?-?mail|user(?:name)?|login|name|surname|phone|tel|mobile|session(?:id)?|birth(?:day|date)?|dob|ssn|address)"
_URL = (
    r"(?i)(\b(?:https?|ftp)://[^\s/?#@<>\"']*@[^\s<>\"']+"
    rf"|\bhttps?://[^\s<>\"'?]*\?(?:[^\s<>\"'&]*&)*{_OF_A_PERSON}=[^\s<>\"'&]+[^\s<>\"']*"
    r"|\bhttps?://(?:[a-z]{2,3}\.)?(?:linkedin\.com/in|facebook\.com|instagram\.com|x\.com|twitter\.com|t\.me)/[A-Za-z0-9._%-]{2,})"
)
_DATE = (
    r"[0-9]{1,2}[./-][0-9]{1,2}[./-](?:[0-9]{4}|[0-9]{2})|[0-9]{4}[-/.年] ?[0-9]{1,2}[-/.月] ?[0-9]{1,2}日?"
    r"|[0-9]{1,2}(?:\.|er|st|nd|rd|th)? (?:de |of )?\p{L}{3,10}\.?,? (?:de )?[0-9]{4}"
    r"|\p{L}{3,10}\.? [0-9]{1,2}(?:st|nd|rd|th)?,? [0-9]{4}"
)
_BORN = (
    r"\bborn(?: on)?|date of birth|\bd\.?o\.?b\b\.?|birth ?da(?:y|te)|\bgeboren(?: am| op)?|geburts(?:datum|tag)|\bgeb\."
    r"|\bnée?(?: le)?|date de naissance|\bnacid[oa](?: el)?|fecha de nacimiento|\bnat[oa](?: il)?|data di nascita"
    r"|data de nascimento|\bnascid[oa](?: em)?|geboortedatum|\burodzon[yaą]|data urodzenia|\bfödd"
    r"|дата рождения|родил(?:ся|ась)|出生(?:日期|于)?|生日|生年月日|تاريخ الميلاد"
)
_PASSPORT = r"\b(?:passport|reisepass|passeport|pasaporte|passaporto|passaporte|paspoort|paszport|паспорт)\w*|护照|パスポート"
_LICENCE = (
    r"\b(?:driver'?s?|driving) licen[cs]e|führerschein\w*|permis de conduire|(?:carn[eé]|licencia|permiso) de conducir"
    r"|\bpatente di guida|rijbewijs\w*|carteira de motorista|prawo jazdy|водительск\w+|驾驶证|運転免許"
)
_NUMBERED = r"[A-Z]{0,4}[0-9][0-9A-Z]*(?:[ -][0-9A-Z]*[0-9][0-9A-Z]*){0,4}"
_CAPITAL = r"\p{Lu}[\p{L}'’.-]*"
_HOUSE = r"[0-9]{1,5}(?: ?[a-zA-Z]\b)?"
_GERMAN_TOWN = rf",? (?:D-|A-|CH-)?[0-9]{{4,5}} {_CAPITAL}"
_ADDRESS = "|".join(
    [
        rf"\b\p{{Lu}}[\p{{L}}-]*(?:straße|strasse|str\.|gasse|allee) {_HOUSE}(?:{_GERMAN_TOWN})?",
        rf"\b\p{{Lu}}[\p{{L}}-]*(?:er |[a-z]-)(?:Straße|Strasse|Str\.|Allee|Gasse|Weg|Ufer|Damm) {_HOUSE}(?:{_GERMAN_TOWN})?",
        rf"\b\p{{Lu}}[\p{{L}}-]*(?:weg|platz|damm|ufer|ring) {_HOUSE}{_GERMAN_TOWN}",
        rf"\b\p{{Lu}}\p{{L}}*(?:straat|laan|plein|gracht|kade) {_HOUSE}(?:,? [0-9]{{4}} ?[A-Z]{{2}}(?: {_CAPITAL})?)?",
        r"\b[0-9]{1,5},? (?:bis |ter )?(?:[Rr]ue|[Aa]venue|[Bb]oulevard|[Cc]hemin|[Aa]llée|[Ii]mpasse|[Qq]uai) "
        rf"(?:de |du |des |la |l['’]|d['’])*{_CAPITAL}(?:[ -]{_CAPITAL}){{0,2}}(?:,? [0-9]{{5}} {_CAPITAL})?",
        rf"\b[0-9]{{1,5}} (?:{_CAPITAL} ){{1,3}}(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Terrace"
        r"|Place|Square|Highway|Close|Crescent)\b\.?(?:,? (?:Apt|Suite|Unit|Flat|#)\.? ?[0-9A-Z]+)?"
        rf"(?:,? {_CAPITAL},? [A-Z]{{2}} [0-9]{{5}}\b)?",
        r"\b(?:[Cc]alle|[Aa]venida|[Pp]laza|[Pp]aseo|[Vv]ia|[Vv]iale|[Pp]iazza|[Cc]orso|[Rr]ua|[Tt]ravessa|ul\.|улица|ул\.) "
        rf"(?:de |del |della |dei |da |do |la |las |los )*{_CAPITAL}(?: (?:de |del |da |do )?{_CAPITAL}){{0,2}},? "
        rf"(?:n\.?[ºo°] ?)?{_HOUSE}",
        r"\b[Pp]\.? ?[Oo]\.? [Bb]ox [0-9]+|\b[Pp]ostfach [0-9][0-9 ]*[0-9]",
    ]
)
# Letters and digits that a check letter proves, or a shape that nothing else has.
_CODES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    (r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPR-T][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]", it_code),
    (r"(?:[0-9]{8}|[XYZ]-?[0-9]{7})-?[A-Z]", lambda text: es_id(text.replace("-", ""))),
    (r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]", lambda text: True),
    (r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Y]", fi_person),
)


# Numbers are read by hand, in one pass.

_RUN = later(lambda: re2.compile(r"[+(]{0,2}\b[0-9](?:[ ./()-]{0,3}[0-9]){6,}\b\)?"))
_GROUP = pattern(r"[0-9]+")
_ACCOUNT = later(lambda: re2.compile(r"\b[A-Za-z]{2}[0-9]{2}"))
_QUAD = pattern(r"(?<![0-9.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9]|\.[0-9])")
_SIX = later(lambda: re2.compile(r"\b[0-9A-Fa-f]{1,4}(?:::?[0-9A-Fa-f]{1,4}){1,7}\b"))
_TRUNK = pattern(r"00?[1-9][0-9]{8,12}")
_CALL = pattern(
    r"(?i)\b(?:call|phone|mobile|cell|tel|fax|whatsapp|sms|text|dial|ring|reach|handy|t[ée]l[ée]phone|tel[ée]fono?|anruf|appel|ll[aá]m)"
)
_NAMED = tuple([(size, test, pattern(f"(?i){words}"), groups) for size, test, words, groups in NUMBERS])
_SHAPED: dict[tuple[int, ...], list[tuple[Any, ...]]] = {}
for _entry in _NAMED:
    if _entry[3]:
        _SHAPED.setdefault(_entry[3], []).append(_entry)
_DIGIT = re.compile(r"[0-9]")
_SIGNS = dict.fromkeys([i for i in range(128) if not 48 <= i < 58])
_ZEROS = (0x0660, 0x06F0, 0x0966, 0x09E6, 0x0E50, 0xFF10)  # Arabic (two), Devanagari, Bengali, Thai, full width
_ALIKE = {zero + i: ord("0") + i for zero in _ZEROS for i in range(10)}
_ALIKE |= {
    0xFF20: ord("@"),
    0xFF0B: ord("+"),
    0xFF0E: ord("."),
    0x2010: ord("-"),
    0x2011: ord("-"),
    0x2013: ord("-"),
    0xFF0D: ord("-"),
}
_ALIKE |= dict.fromkeys((0xA0, 0x2007, 0x2009, 0x202F, 0x3000), ord(" "))
_ALIKE |= dict.fromkeys(range(0xD800, 0xE000), ord("?"))  # lone surrogates, which RE2 cannot read


class _Pattern:
    """Finds one kind by a pattern, where the text holds the sign without which there is none, and a test agrees."""

    def __init__(self, kind: str, pattern: str, *, sign: str = "", test: Callable[[str], bool] = bool) -> None:
        self._kind, self._written, self._sign, self._test = kind, pattern, sign, test

    @functools.cached_property
    def _pattern(self) -> Any:
        options = re2.Options()
        options.log_errors = False
        return re2.compile(self._written, options)

    def __call__(self, text: str) -> Iterator[Found]:
        if self._sign in text if self._sign else _DIGIT.search(text):
            for match in self._pattern.finditer(text):
                start, end = match.span(self._pattern.groups)
                if self._test(text[start:end]):
                    yield Found(self._kind, start, end)


def _accounts(text: str) -> Iterator[Found]:
    """Account numbers. What follows one may look as if it belonged to it, so the country says where it ends."""
    at = 0
    for match in _ACCOUNT.finditer(text):
        wanted, seen = IBAN_LENGTHS.get(match[0][:2].upper(), 0), 0
        for end in range(match.start(), min(len(text), match.start() + 2 * wanted)):
            char = text[end]
            if not (char.isalnum() or (char == " " and text[end - 1] != " ")):
                break
            seen += char != " "
            if seen == wanted:
                whole = not text[end + 1 : end + 2].isalnum()
                if whole and match.start() >= at and iban(text[match.start() : end + 1]):
                    at = end + 1
                    yield Found("iban", match.start(), at)
                break


def _addresses(text: str) -> Iterator[Found]:
    """IP addresses with colons. Those with dots are read with the other numbers."""
    if ":" in text:
        for match in _SIX.finditer(text):
            around = text[match.start() - 1 : match.start()] + text[match.end() : match.end() + 1]
            if ":" not in around and any(c.isdigit() for c in match[0]) and _is_ip(match[0]):
                yield Found("ip", *match.span())


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _numbers(text: str) -> Iterator[Found]:
    """What digits alone can be, run by run: IP addresses, cards, national numbers, telephone numbers."""
    for match in _RUN.finditer(text):
        start, end = match.span()
        run, at = text[start:end], 0
        quads = [quad.span() for quad in _QUAD.finditer(run) if _is_ip(quad[0])] if "." in run else []
        for a, b in [*quads, (len(run), len(run))]:
            if a - at >= 7:
                before = text[max(0, start + at - BEFORE) : start + at]
                yield from [Found(kind, start + x, start + y) for kind, x, y in _numbers_in(run, at, a, before)]
            if b > a:
                yield Found("ip", start + a, start + b)
            at = b


def _numbers_in(run: str, at: int, end: int, before: str) -> Iterator[Found]:
    """The cards and national numbers in a stretch of digits, and the telephone numbers in what is left of it."""
    groups = [m.span() for m in _GROUP.finditer(run, at, end)]
    digits = _digits(run[at:end])
    places = [0, *itertools.accumulate([b - a for a, b in groups])]
    named = [entry for entry in _NAMED if entry[2].search(before)]
    rest = i = 0
    while i < len(groups):
        kind, after = "", i + 1
        if named and groups[i][0] - at >= BEFORE:
            named = []
        for last in range(i, min(len(groups), i + 8)):
            size = places[last + 1] - places[i]
            if size > 19:
                break
            if size >= 9:
                own = digits[places[i] : places[last + 1]]
                found = _kind(own, run[groups[i][0] : groups[last][1]], [b - a for a, b in groups[i : last + 1]], named)
                kind, after = (found, last + 1) if found else (kind, after)
        if kind:
            yield from _phones(run, at, groups[i][0], before)
            at, rest = groups[after - 1][1], after
            yield Found(kind, groups[i][0], at)
        i = after
    if rest < len(groups):
        yield from _phones(run, at, end, before)


def _kind(digits: str, written: str, sizes: list[int], named: list[tuple[Any, ...]]) -> str:
    """What a number of so many groups is, if its check digits say so: a card, or a national number in the way it is written."""
    if card(digits) and (len(sizes) == 1 or min(sizes) >= 3):
        return "card"
    shaped = _SHAPED.get(tuple(sizes), ()) if "  " not in written else ()
    return _national(digits, written, shaped, named) if shaped or named else ""


def _national(digits: str, written: str, shaped: Sequence[tuple[Any, ...]], named: Sequence[tuple[Any, ...]]) -> str:
    """Which kind of national number this is: its check digits fit, and it is written as such, or a word before it says so."""
    for entry in (*named, *shaped):
        if entry[0] == len(digits) and entry[1](digits):
            if entry[1] is not us_ssn:
                return "national_id"
            if entry in named or written.count("-") == 2:
                return "ssn"
    return ""


def _phones(run: str, at: int, end: int, before: str) -> Iterator[Found]:
    """A stretch of digits as a telephone number; where it is too long for one, its pieces between blanks."""
    stretch = run[at:end]
    text = stretch.strip(" ./-")
    start = at + stretch.find(text)
    if len(_digits(text)) <= 15:
        if _is_phone(text, before):
            yield Found("phone", start, start + len(text))
        return
    for piece in re.finditer(r"[^ ]+", text):
        if 7 <= len(_digits(piece[0])) <= 15 and _is_phone(piece[0], before if piece.start() == 0 else ""):
            yield Found("phone", start + piece.start(), start + piece.end())


def _digits(text: str) -> str:
    return text.translate(_SIGNS)


def _is_phone(text: str, before: str) -> bool:
    """A telephone number by its shape (a sign of country or area, three and three and four, pairs) or by the word before it."""
    groups = _GROUP.findall(text)
    sizes = [len(g) for g in groups]
    digits = sum(sizes)
    if not 7 <= digits <= 15 or _is_date(groups):
        return False
    if "-" in text and sizes == [3, 2, 4]:
        return False  # a social security number that nobody has
    shaped = digits >= 8 and (
        text[0] in "+("
        or (text[0] == "0" and ((len(sizes) > 1 and sizes[0] <= 5 and "." not in text) or _TRUNK.fullmatch(text)))
        or sizes == [3, 3, 4]
        or (len(sizes) in (4, 5) and set(sizes) == {2})
    )
    return bool(shaped) or _CALL.search(re.split(r"[0-9\n]", before)[-1][-48:]) is not None


def _is_date(groups: list[str]) -> bool:
    """2026-11-21, 21.11.2026 and their like, with or without a time behind them."""
    if len(groups) < 3:
        return False
    a, b, c = (int(g) for g in groups[:3])
    if len(groups[0]) == 4:
        return 1900 <= a <= 2100 and 1 <= b <= 12 and 1 <= c <= 31
    short_year = len(groups) == 3 and len(groups[2]) == 2
    return 1 <= a <= 31 and 1 <= b <= 31 and (short_year or (len(groups[2]) == 4 and 1900 <= c <= 2100))


# The order matters: a longer, surer kind claims its characters first.
_FINDERS: tuple[Callable[[str], Iterable[Found]], ...] = (
    _Pattern("url", _URL, sign="://"),
    _Pattern("email", _EMAIL, sign="@"),
    _accounts,
    _Pattern("birth_date", rf"(?i)(?:{_BORN})[^0-9\n]{{0,12}}?\b({_DATE})"),
    _Pattern("passport", rf"(?i)(?:{_PASSPORT})[^0-9\n]{{0,24}}?\b([A-Z]{{0,3}}[0-9][A-Z0-9]{{5,10}})\b"),
    _Pattern("licence", rf"(?i)(?:{_LICENCE})[^0-9\n]{{0,24}}?\b({_NUMBERED})\b", test=lambda text: len(_digits(text)) >= 4),
    *[_Pattern("national_id", rf"\b({pattern})\b", test=test) for pattern, test in _CODES],
    _addresses,
    _numbers,
    _Pattern("address", f"({_ADDRESS})", test=lambda text: any(c.isupper() for c in text)),
)


def find(text: str) -> list[Found]:
    """Every stretch of personal data, in order, without overlaps."""
    seen = text if text.isascii() else text.translate(_ALIKE)
    found: list[Found] = []
    if not _DIGIT.search(seen) and "@" not in seen and "://" not in seen:
        return found
    for finder in _FINDERS:
        new = sorted(finder(seen), key=lambda f: f.start)
        if new:
            seen = "".join(_replaced(seen, new, lambda f: "\n" * (f.end - f.start)))  # what is claimed, no other kind sees
            found += new
    return sorted(found, key=lambda f: f.start)


def mask(text: str) -> str:
    """The text with each stretch replaced by its kind.

    >>> mask("Write to ann@example.org")
    'Write to [email]'
    """
    found = find(text)
    return "".join(_replaced(text, found, lambda f: f"[{f.kind}]")) if found else text


def masked(text: str) -> bool:
    """Whether something in the text was masked: then two that read alike need not have been alike."""
    return any(f"[{kind}]" in text for kind in KINDS)


def _replaced(text: str, found: list[Found], by: Callable[[Found], str]) -> Iterator[str]:
    at = 0
    for f in found:
        yield text[at : f.start]
        yield by(f)
        at = f.end
    yield text[at:]
