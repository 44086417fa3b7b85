"""Recognises personal data by pattern and check digit: e-mail addresses, telephone, card and account numbers, IP addresses.

What it does not know: names, postal addresses, national numbers without a check here. It is what the log policy `redacted`
masks. Patterns run on RE2, in linear time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import re2


class Found(NamedTuple):
    """A stretch of personal data: its kind and its character offsets."""

    kind: str
    start: int
    end: int


def luhn(digits: str) -> bool:
    """The check digit of card numbers (ISO/IEC 7812-1, annex B)."""
    total = 0
    for i, char in enumerate(reversed(digits)):
        value = int(char) * (1 + i % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def iban(text: str) -> bool:
    """The check digits of an account number (ISO 13616: modulo 97 is 1)."""
    compact = text.replace(" ", "").upper()
    moved = compact[4:] + compact[:4]
    return len(compact) >= 15 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit())


def _card(text: str) -> bool:
    digits = _digits(text)
    return 13 <= len(digits) <= 19 and luhn(digits)


def _phone(text: str) -> bool:
    return 8 <= len(_digits(text)) <= 15


def _address(text: str) -> bool:
    return all(int(part) <= 255 for part in text.split("."))


# The order matters: a longer, surer kind claims its characters first.
_KINDS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("email", r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}", bool),
    ("iban", r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b", iban),
    ("card", r"\b(?:[0-9][ -]?){12,18}[0-9]\b", _card),
    ("ip", r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b", _address),
    (
        "phone",
        r"(?:\+|\b00)[0-9][0-9 ()/.-]{6,20}[0-9]\b|\(?\b0[0-9]{2,4}\)?[ /-][0-9][0-9 -]{4,10}[0-9]\b"
        r"|\b[0-9]{3}[-.][0-9]{3}[-.][0-9]{4}\b",
        _phone,
    ),
)
_PATTERNS = tuple((kind, re2.compile(pattern), check) for kind, pattern, check in _KINDS)


def find(text: str) -> list[Found]:
    """Every stretch of personal data, in order, without overlaps."""
    found: list[Found] = []
    for kind, pattern, check in _PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span()
            if check(match.group()) and not any(start < f.end and f.start < end for f in found):
                found.append(Found(kind, start, end))
    return sorted(found, key=lambda f: f.start)


def mask(text: str) -> str:
    """The text with each stretch replaced by its kind.

    >>> mask("Write to ann@example.org")
    'Write to [email]'
    """
    return "".join(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    at = 0
    for found in find(text):
        yield text[at : found.start]
        yield f"[{found.kind}]"
        at = found.end
    yield text[at:]
