"""What may be spent and asked: caps on what is counted, each in a window of time.

A `Limit` is one cap as it binds one call: `counter` names what is counted over all processes, such as `tenant acme|usd|day`.
Money is in nano-dollars. Windows are those of the calendar in UTC: the minute, hour, day or month that it is. What is counted
`at_once` has no window: it is given back when the call ends. Nothing here knows what has been spent.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from typing import Literal

from msgspec import Struct

from mainstay.core.units import Usd

Unit = Literal["usd", "calls", "tokens", "at_once"]
Window = Literal["minute", "hour", "day", "month"]

WINDOWS: tuple[Window, ...] = ("minute", "hour", "day", "month")
COUNTED = r"([0-9]{1,15}) (calls|tokens)"
_COUNTED = re.compile(COUNTED)
_SECONDS: dict[str, int] = {"minute": 60, "hour": 3600, "day": 86400}


class Cap(Struct, frozen=True):
    """The most of one thing: nano-dollars, calls or tokens."""

    unit: Unit
    most: int


class Caps(tuple[Cap, ...]):
    """The caps of one window, as files write them: `60` (calls), `"5 USD"`, `"100000 tokens"`, or a list of these.

    >>> Caps.parse(["5 USD", 60])
    Caps((Cap(unit='usd', most=5000000000), Cap(unit='calls', most=60)))
    """

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Caps:
        """Raises `ValueError` with what was expected."""
        values = value if isinstance(value, list | tuple) else [value]
        caps = [_cap(one) for one in values]
        if not caps or len({cap.unit for cap in caps}) < len(caps):
            raise ValueError("expected each of money, calls and tokens at most once, and one of them at least")
        return cls(caps)

    def __repr__(self) -> str:
        return f"Caps({tuple(self)!r})"


def _cap(value: object) -> Cap:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Cap("calls", value)
    if isinstance(value, str) and (counted := _COUNTED.fullmatch(value)):
        return Cap("calls" if counted[2] == "calls" else "tokens", int(counted[1]))
    if isinstance(value, str) and value.endswith("USD"):
        return Cap("usd", int(Usd.parse(value)))
    raise ValueError(f'expected a number of calls, or a text such as "5 USD" or "100000 tokens", got {value!r}')


class Limit(Struct, frozen=True, kw_only=True):
    """One cap as it binds one call. `said` is how people call it: `tenant_per_day of acme`. `kept` is for how many seconds after
    its window what was counted can still be looked up. `kind` names it without naming anybody, for metrics.
    """

    counter: str
    unit: Unit
    window: Window | None
    most: int
    said: str
    kept: int = 0
    kind: str = ""

    def shown(self, amount: int) -> str:
        """An amount of what it counts, for people."""
        return str(Usd(amount)) if self.unit == "usd" else f"{amount} {self.unit.replace('_', ' ')}"


def begins_and_ends(window: Window, now: float) -> tuple[int, int]:
    """The window that this moment (seconds since 1970) is in: its first second, and the first one after it."""
    if window != "month":
        length = _SECONDS[window]
        begin = int(now) // length * length
        return begin, begin + length
    date = time.gmtime(now)
    following = (date.tm_year + 1, 1) if date.tm_mon == 12 else (date.tm_year, date.tm_mon + 1)
    return timegm((date.tm_year, date.tm_mon, 1, 0, 0, 0)), timegm((*following, 1, 0, 0, 0))
