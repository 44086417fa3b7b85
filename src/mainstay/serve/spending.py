"""Reserve, then settle: how money, calls and tokens stay below their caps, over all processes, whatever becomes of a call.

Before anything is asked, the worst case is held; when it is over, what it really took is settled, and the rest is free for the
next. A `Purse` is a process's share: it borrows slices of the shared counters ahead, about as much as it used in the last second,
so that most calls are counted in memory. Near a cap slices shrink to what is needed. What lies idle is given back every
second. What a dead process had borrowed stays spent until its window ends, which is the worst case; what it held `at_once` is
free again when its lease is over.

An `Account` is what one call, and what is asked for it, may spend.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence

from msgspec import Struct

from mainstay.core.errors import StoreError
from mainstay.core.limits import Limit, Unit, Window, begins_and_ends
from mainstay.core.reasons import Reason
from mainstay.core.seams import Counters, Lacking, Take
from mainstay.core.units import Usd

Amounts = Mapping[Unit, int]
SHOWN = 1000  # counters of which the state of all processes is asked for once a second, to be shown to callers


class Short(Struct, frozen=True):
    """Nothing was held: this limit would have been passed. `ends` is when its window does; None where calls have to end first."""

    limit: Limit
    ends: int | None
    trouble: str = ""

    @property
    def reason(self) -> Reason:
        """Why a call that needs it is not answered by a model."""
        return Reason.OVER_BUDGET if self.limit.unit == "usd" else Reason.RATE_LIMITED

    def wait(self, now: float) -> float | None:
        """Seconds until the limit may no longer stand in the way; None where waiting does not help, or nobody knows."""
        if self.ends is not None:
            return max(0.0, self.ends - now)
        return 1.0 if self.limit.unit == "at_once" and not self.trouble else None

    @property
    def what(self) -> str:
        """For people."""
        if self.trouble:
            return f"{self.limit.said} cannot be counted now: {self.trouble}"
        return f"{self.limit.said} would be passed: {self.limit.shown(self.limit.most)}"


class Room(Struct, frozen=True):
    """What is left of a limit, and when its window ends."""

    limit: Limit
    left: int
    ends: int | None


class Slice:
    """What this process has of one counter: `free` may be held, `lately` was used since the purse was last tended.

    `taken` is what all processes together have taken, as far as this one knows.
    """

    __slots__ = ("counter", "ends", "free", "lately", "limit", "pace", "taken")

    def __init__(self, counter: str, limit: Limit, ends: int | None) -> None:
        self.counter, self.limit, self.ends = counter, limit, ends
        self.free = self.lately = self.pace = self.taken = 0

    def use(self, amount: int) -> None:
        """This much of it is held."""
        self.free -= amount
        self.lately += amount


class Held(Struct):
    """What is held of some slices, to be settled once."""

    of: list[tuple[Slice, int]]


class Purse:
    """This process's share of what all processes may spend. Any thread may use it."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._slices: dict[str, Slice] = {}
        self._windows: dict[Window, tuple[int, int]] = {}
        self._using, self._borrowing = threading.Lock(), threading.Lock()

    async def hold(self, limits: Sequence[Limit], amounts: Amounts) -> Held | Short:
        """Hold these amounts under every limit on one of them, or nothing. Leaves the event loop only where it has to borrow."""
        if not limits:
            return Held([])
        held = self._from_memory(limits, amounts)
        if held is not None:
            return held
        borrowing = asyncio.get_running_loop().run_in_executor(None, self.borrow, limits, amounts)
        try:
            return await asyncio.shield(borrowing)
        except asyncio.CancelledError:
            borrowing.add_done_callback(self._unwanted)
            raise

    def borrow(self, limits: Sequence[Limit], amounts: Amounts) -> Held | Short:
        """As `hold`, and asks the shared counters where memory does not do. Blocking."""
        with self._borrowing:
            held = self._from_memory(limits, amounts)
            if held is not None:
                return held
            with self._using:
                wanted = [(self._slice(limit), amounts[limit.unit]) for limit in limits if limit.unit in amounts]
                takes = [_take(slice, amount) for slice, amount in wanted if slice.free < amount]
            try:
                taken = self._counters.take(takes)
            except StoreError as error:
                return Short(wanted[0][0].limit, None, error.what)
            with self._using:
                if isinstance(taken, Lacking):
                    short = self._slices[taken.counter]
                    short.taken = taken.taken
                    return Short(short.limit, short.ends)
                for take, amount in zip(takes, taken, strict=True):
                    self._slices[take.counter].free += amount
                    self._slices[take.counter].taken += amount
                for slice, amount in wanted:
                    slice.use(amount)
                return Held(wanted)

    def settle(self, held: Held, amounts: Amounts) -> None:
        """This is what was really used; nothing of what has no window stays used. A second time does nothing."""
        with self._using:
            of, held.of = held.of, []
            for slice, amount in of:
                used = amounts.get(slice.limit.unit, 0) if slice.ends is not None else 0
                slice.free += amount - used
                slice.lately += min(0, used - amount)

    def tend(self) -> None:
        """Give back what lies idle, and say that this process lives. Blocking: called once a second, by a thread of its own."""
        now, back = time.time(), {}
        with self._borrowing:
            with self._using:
                for name, slice in list(self._slices.items()):
                    if slice.ends is not None and slice.ends <= now:
                        del self._slices[name]
                        continue
                    slice.pace, slice.lately = max(slice.lately, slice.pace // 2), 0
                    if (idle := slice.free - slice.pace) > 0:
                        slice.free -= idle
                        back[name] = idle
            if back:
                self._counters.give(back)
            used = [slice for slice in list(self._slices.values()) if slice.pace and slice.ends is not None][:SHOWN]
            for slice, taken in zip(used, self._counters.taken([slice.counter for slice in used]) if used else (), strict=True):
                slice.taken = taken
            self._counters.tend()

    def room(self, limit: Limit) -> Room:
        """What is left of a limit, as far as this process knows: by its own counting, and by that of all a second ago."""
        ends = None if limit.window is None else self._window(limit.window)[1]
        slice = self._slices.get(self._counter(limit))
        used = 0 if slice is None else slice.taken - slice.free
        return Room(limit, max(0, min(limit.most, limit.most - used)), ends)

    def close(self) -> None:
        """Give back everything that is not held."""
        with self._borrowing, self._using:
            back = {name: slice.free for name, slice in self._slices.items() if slice.free > 0}
            for name in back:
                self._slices[name].free = 0
        if back:
            self._counters.give(back)

    def _unwanted(self, borrowing: asyncio.Future[Held | Short]) -> None:
        """Whoever waited for it is gone."""
        if not borrowing.cancelled() and borrowing.exception() is None and isinstance(held := borrowing.result(), Held):
            self.settle(held, {})

    def _from_memory(self, limits: Sequence[Limit], amounts: Amounts) -> Held | None:
        with self._using:
            of = []
            for limit in limits:
                amount = amounts.get(limit.unit)
                if amount is None:
                    continue
                slice = self._slice(limit)
                if slice.free < amount:
                    return None
                of.append((slice, amount))
            for slice, amount in of:
                slice.use(amount)
            return Held(of)

    def _counter(self, limit: Limit) -> str:
        return f"{limit.counter}|{0 if limit.window is None else self._window(limit.window)[0]}"

    def _slice(self, limit: Limit) -> Slice:
        counter, ends = self._counter(limit), None if limit.window is None else self._window(limit.window)[1]
        slice = self._slices.get(counter)
        if slice is None:
            slice = self._slices[counter] = Slice(counter, limit, ends)
        slice.limit = limit  # its cap may have been changed
        return slice

    def _window(self, window: Window) -> tuple[int, int]:
        known, now = self._windows.get(window), time.time()
        if known is None or not known[0] <= now < known[1]:
            known = self._windows[window] = begins_and_ends(window, now)
        return known


def _take(slice: Slice, amount: int) -> Take:
    """What is missing, and as much ahead as is used in a second."""
    need = amount - slice.free
    return Take(slice.counter, need, need + max(slice.pace, slice.lately), slice.limit.most, slice.ends)


class Account:
    """What one call may spend, with everything that is asked for it: under its limits, and `per_call` nano-dollars in all.

    `short` is the limit that stood in its way last.
    """

    __slots__ = ("_held", "_purse", "_spent", "limits", "per_call", "short")

    def __init__(self, purse: Purse | None = None, limits: Sequence[Limit] = (), per_call: Usd | None = None) -> None:
        self._purse, self.limits, self.per_call = purse, tuple(limits), per_call
        self._held: Held | None = None
        self.short: Short | None = None
        self._spent = 0  # nano-dollars, what is held included

    @property
    def bounded(self) -> bool:
        """Whether money or tokens have to be reserved at all."""
        return self.per_call is not None or any(limit.unit in ("usd", "tokens") for limit in self.limits)

    @property
    def pays(self) -> bool:
        """Whether there is a limit on money."""
        return self.per_call is not None or any(limit.unit == "usd" for limit in self.limits)

    @property
    def left(self) -> int | None:
        """Nano-dollars that the call may still spend by its own limit; None where it has none."""
        return None if self.per_call is None else max(0, self.per_call - self._spent)

    async def enter(self) -> Short | None:
        """Count the call, and that it runs, once; `leave` ends that."""
        counted = any(limit.unit in ("calls", "at_once") for limit in self.limits)
        if self._purse is not None and counted and self._held is None:
            held = await self._purse.hold(self.limits, {"calls": 1, "at_once": 1})
            if isinstance(held, Short):
                self.short = held
                return held
            self._held = held
        return None

    def leave(self) -> None:
        """The call has ended."""
        if self._held is not None and self._purse is not None:
            held, self._held = self._held, None
            self._purse.settle(held, {"calls": 1})

    async def reserve(self, *, cost: int, tokens: int) -> Reserved | Short:
        """Hold the worst case of one attempt."""
        if self.per_call is not None and self._spent + cost > self.per_call:
            limit = Limit(counter="", unit="usd", window=None, most=self.per_call, said="per_call")
            self.short = Short(limit, None)
            return self.short
        self._spent += cost
        held: Held | Short = Held([])
        if self._purse is not None and self.limits:
            try:
                held = await self._purse.hold(self.limits, {"usd": cost, "tokens": tokens})
            except BaseException:
                self._spent -= cost
                raise
        if isinstance(held, Short):
            self._spent -= cost
            self.short = held
            return held
        return Reserved(self, held, cost)

    def settle(self, reserved: Reserved, *, cost: int, tokens: int) -> None:
        """What the attempt really took."""
        self._spent += cost - reserved.cost
        if self._purse is not None:
            self._purse.settle(reserved.held, {"usd": cost, "tokens": tokens})


class Reserved:
    """The worst case of one attempt, held until `settle`."""

    __slots__ = ("account", "cost", "held")

    def __init__(self, account: Account, held: Held, cost: int) -> None:
        self.account, self.held, self.cost = account, held, cost

    def settle(self, *, cost: int, tokens: int) -> None:
        """What the attempt really took; nothing, where nothing was asked."""
        self.account.settle(self, cost=cost, tokens=tokens)
