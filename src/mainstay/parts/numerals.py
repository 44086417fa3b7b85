"""Numbers as people write them in texts: `1,299.00`, `1.299,00`, `1 299`, `1'299`, `1,00,000`, `$5`, `-€5`, `.5`, `3%`, `1.5e3`.

What a comma or a dot means depends on the language. Where it is not known, a number that can be read in two ways has both: the
plainer one first (`1,299` is 1299, `1.299` is 1.299, `1,5` is 1.5, `1 299` is 1299), the other one apart. A percentage is both
what is written and its hundredth: `3%` is 3 and 0.03.

No numbers: digits behind a letter (`B2B`, `v3`), versions, dates and addresses with dots (`1.2.3`), what has over a hundred
digits. Limits: words (`five`, `1.3 million`), fractions (`½`), Roman numerals and separators of other scripts are not read; a
time or a date with colons, slashes or dashes is the numbers in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, NamedTuple

from mainstay.core.later import pattern

DecimalMark = Literal[".", ",", ""]
MOST_DIGITS = 100

_BLANK = "\u00a0\u2007\u2009\u202f"  # between the groups of one number; a plain space may also stand between two
_RUN = pattern(rf"(\d+(?:[.,'’ {_BLANK}]\d+)*)(?:[eE]([+-]?\d{{1,3}})(?!\w))?")
_SPACED = pattern(rf"[ {_BLANK}]")
_GROUPS = pattern(r"\d{1,3}(?:[ ]\d{3})+(?:[.,]\d+)?")
_THOUSANDS = pattern(r"\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3}")
_NEGATIVE = pattern(r"(?:^|[^\w)\].,])[-−][$€£¥]?$|[$€£¥][-−]$")
_PERCENT = pattern(rf"[ {_BLANK}]?%")
_COMMA = frozenset(
    "be bg bs ca cs da de el es et eu fi fr gl hr hu hy id is it ka kk lt lv nb nl nn no pl pt ro ru sk sl sq sr sv tr uk".split()
)
_DOT = frozenset("bn cy en fil ga gu he hi ja kn ko ml mr ms mt ne pa si ta te th ur zh".split())
_OTHERWISE = frozenset("AT CH DO GT HN LI MX NI PA PE PR SV US ZA".split())  # countries that differ from their languages


class Numeral(NamedTuple):
    """A number in a text: how it is written, what it is, what else it could be, and where it begins (without its sign)."""

    written: str
    values: tuple[Decimal, ...]
    others: tuple[Decimal, ...] = ()
    at: int = 0


def decimal_mark(language: str) -> DecimalMark:
    """What stands before the decimals in a language such as `de` or `de-CH`; empty where that is not known.

    >>> decimal_mark("de"), decimal_mark("en-GB"), decimal_mark("")
    (',', '.', '')
    """
    code, _, rest = language.replace("_", "-").partition("-")
    if code.lower() in _DOT and "ZA" not in rest.upper():
        return "."
    if code.lower() in _COMMA and not _OTHERWISE & set(rest.upper().split("-")):
        return ","
    return ""


def numerals(text: str, mark: DecimalMark = "") -> Iterator[Numeral]:
    """The numbers of a text, in its order.

    >>> [str(n.values[0]) for n in numerals("It was $1,299.00, now 1.299 or 15 % off")]
    ['1299.00', '1.299', '15']
    """
    for run in _RUN.finditer(text):
        start, written, exponent = run.start(), run[1], int(run[2] or 0)
        glued = start > 0 and (text[start - 1].isalpha() or text[start - 1] == "_")
        pieces = list(_pieces(written))
        joined = _SPACED.sub(" ", written)
        if len(pieces) > 1 and not glued and _GROUPS.fullmatch(joined):
            whole = _signed(_piece(joined.replace(" ", ""), mark), text, start)
            apart = [value for at, piece in pieces for value in _piece(piece, mark).values] if " " in written else []
            yield _percent(Numeral(written, whole.values, (*whole.others, *apart), start), text, run.end())
            continue
        for at, piece in pieces[1 if glued else 0 :]:
            end = start + at + len(piece)
            numeral = _signed(_piece(piece, mark), text, start + at)._replace(at=start + at)
            if exponent and end == run.end(1):
                numeral = numeral._replace(values=tuple(value.scaleb(exponent) for value in numeral.values))
            if numeral.values:
                yield _percent(numeral, text, end)


def _pieces(written: str) -> Iterator[tuple[int, str]]:
    at = 0
    for piece in _SPACED.split(written):
        yield at, piece
        at += len(piece) + 1


def _signed(numeral: Numeral, text: str, start: int) -> Numeral:
    """With its sign, and the dot before it where it begins with its decimals."""
    if not numeral.values:
        return numeral
    before = text[max(0, start - 3) : start]
    values, others = numeral.values, numeral.others
    if before.endswith(".") and not before[-2:-1].isalnum() and numeral.written.isdigit():
        values, before = (Decimal(f"0.{numeral.written}"),), before[:-1]
    if _NEGATIVE.search(before):
        values, others = tuple(-value for value in values), tuple(-value for value in others)
    return Numeral(numeral.written, values, others)


def _percent(numeral: Numeral, text: str, end: int) -> Numeral:
    if not _PERCENT.match(text, end):
        return numeral
    return numeral._replace(written=f"{numeral.written}%", values=(*numeral.values, *(value / 100 for value in numeral.values)))


def _piece(piece: str, mark: DecimalMark) -> Numeral:
    """What digits with separators, but without spaces, are; no values where they are no number."""
    if sum(map(str.isdigit, piece)) > MOST_DIGITS:
        return Numeral(piece, ())
    plain = piece.replace("’", "'")
    if "'" in plain:
        if re.fullmatch(r"\d{1,3}(?:'\d{3})+(?:[.,]\d+)?", plain):
            return Numeral(piece, (Decimal(plain.replace("'", "").replace(",", ".")),))
        return Numeral(piece, tuple(v for part in plain.split("'") for v in _piece(part, mark).values))
    if "." in plain and "," in plain:
        return Numeral(piece, _mixed(plain, mark))
    if plain.count(".") + plain.count(",") == 1:
        return _one_separator(piece, mark)
    if "." in plain:
        return Numeral(piece, (Decimal(plain.replace(".", "")),) if _THOUSANDS.fullmatch(plain.replace(".", ",")) else ())
    if "," in plain and not _THOUSANDS.fullmatch(plain):
        return Numeral(piece, tuple(map(Decimal, plain.split(","))))
    return Numeral(piece, (Decimal(plain.replace(",", "")),))


def _mixed(plain: str, mark: DecimalMark) -> tuple[Decimal, ...]:
    """Dots and commas: the last one is for the decimals."""
    last = max(plain.rfind("."), plain.rfind(","))
    whole, decimals = plain[:last], plain[last + 1 :]
    if plain[last] not in whole and _THOUSANDS.fullmatch(whole.replace(".", ",")):
        return (Decimal(re.sub("[.,]", "", whole) + "." + decimals),)
    return tuple(value for part in plain.split(",") for value in _piece(part, mark).values)


def _one_separator(piece: str, mark: DecimalMark) -> Numeral:
    separator = "." if "." in piece else ","
    first, last = piece.split(separator)
    as_decimals = Decimal(f"{first}.{last}")
    if len(last) == 3 and len(first) <= 3 and not first.startswith("0"):
        grouped = Decimal(first + last)
        if mark:
            return Numeral(piece, (as_decimals if separator == mark else grouped,))
        return Numeral(piece, (as_decimals,), (grouped,)) if separator == "." else Numeral(piece, (grouped,), (as_decimals,))
    if separator == "," and mark == ".":
        return Numeral(piece, (Decimal(first), Decimal(last)))
    if separator == "," and not mark:
        return Numeral(piece, (as_decimals,), (Decimal(first), Decimal(last)))
    return Numeral(piece, (as_decimals,))
