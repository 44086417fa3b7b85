"""Recognises personal data by shape and check digit: e-mail addresses, account, card and telephone numbers, IP addresses, and
the social security numbers of the United States.

What it does not know: names, postal addresses, dates of birth, other countries' identity numbers, and telephone numbers that
look like any other number (those it takes only after a word such as "call" or "Tel."). It is what the log policy `redacted`
masks. Patterns run on RE2, in linear time, over any text; digits, signs and spaces of other scripts count as the usual ones.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import re2


class Found(NamedTuple):
    """A stretch of personal data: its kind and its character offsets."""

    kind: str
    start: int
    end: int


Span = tuple[int, int]


def luhn(digits: str) -> bool:
    """The check digit of card numbers (ISO/IEC 7812-1, annex B)."""
    total = 0
    for i, char in enumerate(reversed(digits)):
        value = int(char) * (1 + i % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def iban(text: str) -> bool:
    """The length and the check digits of an account number (ISO 13616: modulo 97 is 1)."""
    compact = text.replace(" ", "").upper()
    if len(compact) != _IBAN_LENGTHS.get(compact[:2]):
        return False
    moved = compact[4:] + compact[:4]
    return int("".join([str(int(c, 36)) for c in moved])) % 97 == 1


# The countries of the IBAN registry (ISO 13616), by the length of their numbers.
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FK FO FI GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


def _digits(text: str) -> str:
    return "".join([c for c in text if c.isdigit()])


def _all(text: str, before: str) -> Span:
    return 0, len(text)


def _iban(text: str, before: str) -> Span | None:
    """The account number at the start of the match, which may have swallowed the words behind it."""
    wanted = _IBAN_LENGTHS.get(text[:2].upper(), 0)
    seen = 0
    for end, char in enumerate(text, 1):
        seen += char != " "
        if seen == wanted:
            return (0, end) if iban(text[:end]) else None
    return None


def _card(text: str, before: str) -> Span | None:
    """The longest run of whole groups of digits that is a card number."""
    groups = [m.span() for m in _GROUP.finditer(text)]
    runs = [(a[0], b[1]) for i, a in enumerate(groups) for b in groups[i:] if 12 <= b[1] - a[0] <= 24]
    return next((run for run in sorted(runs, key=lambda r: r[0] - r[1]) if _is_card(_digits(text[slice(*run)]))), None)


def _is_card(digits: str) -> bool:
    """Twelve digits are Maestro's alone; of the cards that begin with 0, 1, 7, 8 or 9 only JCB's old ones are in use."""
    if len(digits) == 12 and digits[:2] not in _MAESTRO:
        return False
    issued = digits[0] in "23456" or digits.startswith("1800")
    return 12 <= len(digits) <= 19 and issued and len(set(digits)) > 1 and luhn(digits)


def _ip(text: str, before: str) -> Span | None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return None
    return (0, len(text)) if any(c.isdigit() for c in text) else None


def _ssn(text: str, before: str) -> Span | None:
    """Area, group and serial are never all zeros, and no area is 666 or above 899."""
    area, group, serial = text.split("-")
    return None if area in ("000", "666") or area >= "900" or group == "00" or serial == "0000" else (0, len(text))


def _phone(text: str, before: str) -> Span | None:
    """A telephone number by its shape (a sign of country or area, three and three and four, pairs) or by the word before it."""
    groups = _GROUP.findall(text)
    sizes = [len(g) for g in groups]
    digits = sum(sizes)
    if not 7 <= digits <= 15 or _is_date(groups):
        return None
    shaped = digits >= 8 and (
        text[0] in "+("
        or (text[0] == "0" and ((len(sizes) > 1 and sizes[0] <= 5 and "." not in text) or _TRUNK.fullmatch(text)))
        or sizes == [3, 3, 4]
        or (len(sizes) in (4, 5) and set(sizes) == {2})
    )
    return (0, len(text)) if shaped or _CALL.search(before) else None


def _is_date(groups: list[str]) -> bool:
    """2026-11-21, 21.11.2026 and their like, with or without a time behind them."""
    if len(groups) < 3:
        return False
    a, b, c = (int(g) for g in groups[:3])
    if len(groups[0]) == 4:
        return 1900 <= a <= 2100 and 1 <= b <= 12 and 1 <= c <= 31
    short_year = len(groups) == 3 and len(groups[2]) == 2
    return 1 <= a <= 31 and 1 <= b <= 31 and (short_year or (len(groups[2]) == 4 and 1900 <= c <= 2100))


_GROUP = re.compile(r"[0-9]+")
_MAESTRO = ("50", "56", "57", "58", "60", "63", "67")
_TRUNK = re.compile(r"00?[1-9][0-9]{8,12}")
_CALL = re.compile(
    r"(?i)\b(?:call|phone|mobile|cell|tel|fax|whatsapp|sms|text|dial|ring|reach|handy|t[ée]l[ée]phone|tel[ée]fono?|anruf|appel|ll[aá]m)"
    r"[^0-9\n]{0,40}$"
)
_LETTER = r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{N}"
# The order matters: a longer, surer kind claims its characters first.
_KINDS: tuple[tuple[str, str, Callable[[str, str], Span | None]], ...] = (
    ("email", rf"{_LETTER}._%+'-]+@{_LETTER}-]+(?:\.{_LETTER}-]+)*\.[\p{{Latin}}\p{{Greek}}\p{{Cyrillic}}]{{2,}}", _all),
    ("iban", rf"(?i)\b(?:{'|'.join(sorted(_IBAN_LENGTHS))})[0-9]{{2}}(?: ?[A-Z0-9]){{11,30}}\b", _iban),
    ("card", r"\b[0-9]{2,19}(?:[ -][0-9]{2,19}){0,8}\b", _card),
    ("ip", r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b|\b[0-9A-Fa-f]{1,4}(?:::?[0-9A-Fa-f]{1,4}){1,7}\b", _ip),
    ("ssn", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", _ssn),
    ("phone", r"[+(]{0,2}\b[0-9]{1,15}\)?(?:[ ./-]{0,2}\(?[0-9]{1,15}\)?){0,7}\b", _phone),
)
_PATTERNS = tuple([(kind, re2.compile(pattern), check) for kind, pattern, check in _KINDS])
_SIGN = re2.compile(r"[0-9@:]")  # without one of these there is nothing to find
BEFORE = 60  # characters before a number in which a word may say what it is
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


def find(text: str) -> list[Found]:
    """Every stretch of personal data, in order, without overlaps."""
    seen = text if text.isascii() else text.translate(_ALIKE)
    if _SIGN.search(seen) is None:
        return []
    found: list[Found] = []
    for kind, pattern, check in _PATTERNS:
        new: list[Found] = []
        for match in pattern.finditer(seen):
            start = match.start()
            span = check(match.group(), seen[max(0, start - BEFORE) : start])
            if span is not None:
                new.append(Found(kind, start + span[0], start + span[1]))
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
    return any(f"[{kind}]" in text for kind, _, _ in _KINDS)


def _replaced(text: str, found: list[Found], by: Callable[[Found], str]) -> Iterator[str]:
    at = 0
    for f in found:
        yield text[at : f.start]
        yield by(f)
        at = f.end
    yield text[at:]
