"""The breaker on spending: money a minute far above the usual takes the paid rungs away for a while, in all processes.

The usual is the median of the busiest minutes of the last hours, as the shared counters have them, so that neither a quiet night
nor one busy minute says what is usual; before there were `ENOUGH` minutes with spending nothing is unusual. What is above it is
a limit like any other, so no process passes it. Once it was reached, nothing that costs is asked for `PAUSE` seconds; then it
closes by itself. Whatever it does is logged. Evaluations are not counted: they come in bursts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from msgspec import Struct

from mainstay.core.limits import Limit
from mainstay.core.project import ProjectLimits
from mainstay.core.units import Usd
from mainstay.serve.spending import ANY, Purse, Short

log = logging.getLogger("mainstay.limits")
MEMORY = 6 * 60  # minutes that are looked back
BUSIEST, ENOUGH = 31, 30  # minutes: of those with spending, whose median is the usual; without which nothing is known
PAUSE = 300  # seconds without paid rungs
FLOOR = Usd(1_000_000_000)  # a minute; below it nothing is unusual
COUNTER, TRIPPED, KIND = "spending|usd|minute", "surge", "surge"


class Seen(Struct, frozen=True):
    """How the breaker stands: what is usual and what is too much, in nano-dollars a minute, and when its pause ends; each None
    where there is none.
    """

    usual: int | None
    most: int | None
    until: int | None


def seen(counted: Iterable[tuple[str, int]], limits: ProjectLimits, *, now: float) -> Seen | None:
    """How it stands by the counting of all processes (`Counters.all`); None where nobody asked for it."""
    if limits.surge is None:
        return None
    known, minute = dict(counted), int(now) // 60 * 60
    common = usual(tuple([known.get(f"{COUNTER}|{minute - 60 * ago}", 0) for ago in range(1, MEMORY + 1)]))
    tripped = [int(name.rpartition("|")[2]) + PAUSE for name in known if name.startswith(f"{TRIPPED}|")]
    until = max([end for end in tripped if end > now], default=None)
    return Seen(common, None if common is None else _most(limits, common), until)


class Surge:
    """Watches one project's spending. `limit` binds every call that may cost; None where nobody asked for it.

    `usual` is in nano-dollars a minute, None where it is not known yet; `until` when a pause ends, 0 where there is none.
    """

    def __init__(self, purse: Purse, limits: ProjectLimits) -> None:
        self._purse = purse
        self._minute, self._denied = 0, 0
        self.limit: Limit | None = None
        self.usual: int | None = None
        self.until = 0.0
        self.take_up(limits)

    def take_up(self, limits: ProjectLimits) -> None:
        """These are the settings from now on."""
        self._limits, self._times = limits, limits.surge
        self._minute = 0
        self._set()

    def tend(self) -> None:
        """Look at what is usual once a minute, and at what other processes say each second. Blocking."""
        if self._times is None:
            return
        now = time.time()
        minute = int(now) // 60 * 60
        if minute != self._minute:
            past = self._purse.taken([f"{COUNTER}|{minute - 60 * ago}" for ago in range(1, MEMORY + 1)])
            if past is not None:
                self._minute, self.usual = minute, usual(past)
                self._set()
        if (denied := self._purse.denied[KIND]) > self._denied:
            self._denied = denied
            self._purse.note(f"{TRIPPED}|{minute}", minute + PAUSE)
        self._look(now, minute)

    def _look(self, now: float, minute: int) -> None:
        """Pause while any process has tripped within the last `PAUSE` seconds."""
        minutes = [minute - 60 * ago for ago in range(PAUSE // 60 + 1)]
        told = self._purse.taken([f"{TRIPPED}|{begin}" for begin in minutes])
        last = max([begin for begin, count in zip(minutes, told or (), strict=False) if count], default=None)
        until = 0.0 if last is None else last + PAUSE
        if until > now and not self.until:
            what = f"{self.limit.shown(self.limit.most)} a minute" if self.limit is not None else "the usual"
            log.error("spending is far above the usual, more than %s: no paid rung is tried for %d s", what, until - now)
        if self.until and until <= now:
            log.warning("paid rungs are tried again, after a pause for unusual spending")
        self.until = until if until > now else 0.0
        pause = Limit(counter=COUNTER, unit="usd", window="minute", most=0, said="the pause after unusual spending", kind="pause")
        self._purse.stop = Short(pause, int(self.until)) if self.until else None

    def _set(self) -> None:
        """The limit that follows from what is usual. While that is not known it only counts."""
        if self._times is None:
            self.limit, self._purse.stop = None, None
            return
        most = ANY if self.usual is None else _most(self._limits, self.usual)
        if self.limit is None or self.limit.most != most:
            said = f"{self._times:g} times the usual spending a minute"
            kept = 60 * MEMORY
            self.limit = Limit(counter=COUNTER, unit="usd", window="minute", most=most, said=said, kept=kept, kind=KIND)


def _most(limits: ProjectLimits, usual: int) -> int:
    """What may be spent in a minute where that much is usual."""
    return max(limits.surge_floor or FLOOR, int(usual * (limits.surge or 1)))


def usual(minutes: tuple[int, ...]) -> int | None:
    """The median of the busiest of these; None where too few of them saw any spending."""
    busy = sorted([spent for spent in minutes if spent > 0], reverse=True)
    return busy[:BUSIEST][len(busy[:BUSIEST]) // 2] if len(busy) >= ENOUGH else None
