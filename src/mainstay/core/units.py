"""Quantities with units, as people write them in files: `"8s"`, `"500ms"`, `"7d"`, `"0.02 USD"`.

Inside the program a duration is a float of seconds and money is a whole number of nano-dollars
(billionths of a US dollar), so that sums are exact. Parsing raises `ValueError` with the sentence that
the file's reader turns into an error with a place.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

NANO = 1_000_000_000
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = r"([0-9]{1,12}(?:\.[0-9]{1,12})?) ?(ms|s|m|h|d)"
MONEY = r"([0-9]{1,12}(?:\.[0-9]{1,12})?) ?USD"
_DURATION, _MONEY = re.compile(DURATION), re.compile(MONEY)


class Seconds(float):
    """A length of time in seconds, written with its unit in files.

    >>> Seconds.parse("500ms")
    Seconds(0.5)
    """

    @classmethod
    def parse(cls, text: object) -> Seconds:
        """Read `"8s"`; raises `ValueError` for a bare number, because 8 what?"""
        match = _DURATION.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(
                f'expected a duration with its unit, such as "500ms", "8s", "5m", "1h" or "7d", got {_written(text)}'
            )
        return cls(float(match[1]) * _SECONDS[match[2]])

    def __repr__(self) -> str:
        return f"Seconds({float(self)!r})"

    def __str__(self) -> str:
        """The shortest way to write it: `8s`, `500ms`, `7d`."""
        for unit in ("d", "h", "m", "s"):
            if self >= _SECONDS[unit] and math.isclose(self % _SECONDS[unit], 0):
                return f"{float(self) / _SECONDS[unit]:g}{unit}"
        return f"{float(self) * 1000:g}ms" if self < 1 else f"{float(self):g}s"


class Usd(int):
    """An amount of money in nano-dollars, written as `"0.02 USD"` in files.

    >>> Usd.parse("0.02 USD")
    Usd('0.02 USD')
    """

    @classmethod
    def parse(cls, text: object) -> Usd:
        """Read `"0.02 USD"`, rounded up to the next nano-dollar; raises `ValueError` without the currency."""
        match = _MONEY.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f'expected an amount with its currency, such as "0.02 USD", got {_written(text)}')
        return cls(math.ceil(Decimal(match[1]) * NANO))

    def __repr__(self) -> str:
        return f"Usd({str(self)!r})"

    def __str__(self) -> str:
        return f"{Decimal(int(self)) / NANO:f} USD"


def _written(value: object) -> str:
    """The value as a file would hold it, as far as an error has room for it."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
