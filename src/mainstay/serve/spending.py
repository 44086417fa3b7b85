"""Reserve, then settle: how money, calls and tokens stay below their caps, over all processes, whatever becomes of a call.

Before anything is asked, the worst case is held; when it is over, what it really took is settled, and the rest is free for the
next. A `Purse` is a process's share: it borrows slices of the shared counters ahead, about as much as it used in the last second,
so that most calls are counted in memory. Near a cap slices shrink to what is needed. What lies idle is given back every
second. What a dead process had borrowed stays spent until its window ends, which is the worst case; what it held `at_once` is
free again. A store that cannot be asked means that nothing may be spent.

An `Account` is what one call, and what is asked for it, may spend.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from msgspec import Struct

from mainstay.core.errors import StoreError
from mainstay.core.limits import Limit, Unit, Window, begins_and_ends
from mainstay.core.reasons import Reason
from mainstay.core.seams import Counters, Lacking, Take
from mainstay.core.units import Usd

log = logging.getLogger("mainstay.limits")
SOON = 0.02  # seconds for which what was lacking is still lacking
AGAIN = 0.5  # seconds for which a store that failed is left alone
ANY = 2**62  # a cap that is none
Amounts = Mapping[Unit, int]
MANY = 20_000  # sets of limits whose slices are remembered
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


class Binding(Struct, frozen=True):
    """The limits that bind a call: all of them, those that count it as it comes in, those that every attempt at a model is held
    under, and those whose room its caller is told.
    """

    limits: tuple[Limit, ...] = ()
    entering: tuple[Limit, ...] = ()
    asking: tuple[Limit, ...] = ()
    told: tuple[Limit, ...] = ()
    pays: bool = False

    @classmethod
    def of(cls, limits: Sequence[Limit]) -> Binding:
        """Sort them once, for all calls that they bind."""
        return cls(
            tuple(limits),
            entering=tuple([limit for limit in limits if limit.unit in ("calls", "at_once")]),
            asking=tuple([limit for limit in limits if limit.unit in ("usd", "tokens")]),
            told=tuple([limit for limit in limits if limit.unit in ("calls", "tokens")]),
            pays=any(limit.unit == "usd" for limit in limits),
        )


UNBOUND = Binding()


class Room(Struct, frozen=True):
    """What is left of a limit, and when its window ends."""

    limit: Limit
    left: int
    ends: int | None


class Slice:
    """What this process has of one counter: `free` may be held, and is negative where more was used than was held.

    `holds` are those of it that are not settled, `lately` was used since the purse was last tended and `pace` in a usual second.
    What was lacking at the last try, `lacked`, is lacking until `until` (`time.monotonic()`). `scarce` says that nothing was to
    be had ahead of the need, `retired` that nothing of it may be held any more, because its cap was lowered, and `filling` that
    more is being borrowed. `known` is what all processes together have taken, as far as this one knows.
    """

    __slots__ = (
        "begins",
        "counter",
        "ends",
        "filling",
        "free",
        "holds",
        "known",
        "lacked",
        "lately",
        "limit",
        "pace",
        "retired",
        "scarce",
        "until",
    )

    def __init__(self, counter: str, limit: Limit, begins: int, ends: int | None) -> None:
        self.counter, self.limit, self.begins, self.ends = counter, limit, begins, ends
        self.free = self.holds = self.known = self.lately = self.pace = self.lacked = 0
        self.until = 0.0
        self.scarce = self.retired = self.filling = False

    def use(self, amount: int) -> None:
        """This much of it is held."""
        self.free -= amount
        self.lately += amount
        self.holds += 1

    def hold(self, amount: int) -> None:
        """This much, which is no longer free, is held."""
        self.lately += amount
        self.holds += 1

    def low(self) -> bool:
        """Whether it will soon be used up, and more can be had."""
        return self.free < self.pace // 4 and not (self.filling or self.scarce or self.retired)

    def lacks(self, amount: int) -> bool:
        """Whether so much was not to be had a moment ago."""
        return amount - max(0, self.free) >= self.lacked and time.monotonic() < self.until

    def rests(self) -> int:
        """How much of it nobody seems to need: all but what is used in a second. A second has passed."""
        self.pace, self.lately = max(self.lately, self.pace // 2), 0
        return max(0, self.free if self.retired else self.free - self.pace)


class Counting(Struct, frozen=True):
    """The slices that count for these limits between two moments, as long as the purse's slices are those of `version`."""

    limits: Sequence[Limit]
    slices: tuple[Slice, ...]
    version: int
    begins: float
    ends: float


class Held(Struct):
    """What is held of some slices, to be settled once."""

    of: list[tuple[Slice, int]]


class Purse:
    """This process's share of what all processes may spend. Any thread may use it, and any number of event loops.

    `denied` counts by limit how often one would have been passed, `overruns` how often more was used than was held. While there
    is a `stop`, nothing that costs money is held.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._slices: dict[str, Slice] = {}
        self._counting: dict[int, Counting] = {}
        self._version = 0  # of the slices: another one when what counts for a limit may be another slice
        self._windows: dict[Window, tuple[int, int]] = {}
        self._using, self._borrowing = threading.Lock(), threading.Lock()
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="mainstay-counting")
        self._again = 0.0  # when a store that failed is asked again
        self._closed = False
        self.trouble = ""
        self.stop: Short | None = None
        self.denied: Counter[str] = Counter()
        self.overruns = 0

    async def hold(self, limits: Sequence[Limit], amounts: Amounts) -> Held | Short:
        """Hold these amounts under every limit on one of them, or nothing. Leaves the event loop only where it has to borrow."""
        held = self._at_hand(limits, amounts) if limits else Held([])
        if held is None:
            try:
                work = self._asking.submit(self.borrow, limits, amounts)
            except RuntimeError:
                return Short(limits[0], None, "the project was closed")
            try:
                held = await asyncio.wrap_future(work)
            except asyncio.CancelledError:
                if not work.cancel():
                    work.add_done_callback(self._unwanted)
                raise
        return held

    def borrow(self, limits: Sequence[Limit], amounts: Amounts) -> Held | Short:
        """As `hold`, and asks the shared counters where memory does not do. Blocking."""
        with self._borrowing:
            held = self._at_hand(limits, amounts)
            if held is not None:
                return held
            with self._using:
                wanted = [(slice, amounts[slice.limit.unit]) for slice in self._slices_of(limits)]
                own = [min(amount, max(0, slice.free)) for slice, amount in wanted]
                for (slice, _), amount in zip(wanted, own, strict=True):
                    slice.free -= amount  # so that no other thread uses it while the store is asked
            missing = [(slice, amount - mine) for (slice, amount), mine in zip(wanted, own, strict=True) if amount > mine]
            taken: tuple[int, ...] | Lacking | None = None
            try:
                taken = self._take(missing)
            finally:
                with self._using:
                    if not isinstance(taken, tuple):
                        for (slice, _), amount in zip(wanted, own, strict=True):
                            slice.free += amount
            if taken is None:
                return Short(missing[0][0].limit, None, self.trouble)
            with self._using:
                if isinstance(taken, Lacking):
                    return self._short(taken, missing)
                for (slice, need), amount in zip(missing, taken, strict=True):
                    slice.free += amount - need
                    slice.known += amount
                    slice.scarce = amount == need
                for slice, amount in wanted:
                    slice.hold(amount)
                return Held(wanted)

    def settle(self, held: Held, amounts: Amounts) -> None:
        """This is what was really used; nothing of what has no window stays used. A second time does nothing."""
        wanted = False
        with self._using:
            of, held.of = held.of, []
            for slice, amount in of:
                used = amounts.get(slice.limit.unit, 0) if slice.ends is not None else 0
                slice.free += amount - used
                slice.lately += min(0, used - amount)
                slice.holds -= 1
                wanted = wanted or (slice.ends is None and slice.scarce)
                if used > amount:
                    self._overrun(slice.limit, amount, used)
        if wanted and not self._closed:  # another process may be waiting for it
            with contextlib.suppress(RuntimeError):  # the purse is closed at this moment
                self._asking.submit(self._give_scarce)

    def tend(self) -> None:
        """Give back what lies idle, and clear up after dead processes. Blocking: called once a second, by a thread of its own.

        Never raises for what the store does: `trouble` says so.
        """
        now, back = time.time(), {}
        with self._borrowing:
            with self._using:
                for name, slice in list(self._slices.items()):
                    if slice.ends is not None and slice.ends <= now:
                        self._drop(name)
                    elif idle := slice.rests():
                        back[slice] = idle
                    elif not (slice.free or slice.holds) and (slice.retired or not slice.pace):
                        self._drop(name)
            self._return(back)
            self._look()
            with self._reaching(mends=False):
                self._counters.tend()
            if self.trouble:
                with self._reaching():
                    self._counters.take([])

    def _look(self) -> None:
        """Ask what all processes have taken of what is in use, to tell callers. Blocking."""
        with self._using:
            used = [slice for slice in self._slices.values() if slice.pace and slice.ends is not None][:SHOWN]
        taken = self.taken([slice.counter for slice in used]) if used else None
        for slice, amount in zip(used, taken or (), strict=taken is not None):
            slice.known = amount

    def room(self, limits: Sequence[Limit]) -> list[Room]:
        """What is left of each, as far as this process knows: by its own counting, and by that of all a second ago."""
        with self._using:
            slices = self._slices_of(limits)
        return [Room(s.limit, max(0, min(s.limit.most, s.limit.most - s.known + s.free)), s.ends) for s in slices]

    def close(self) -> None:
        """Give back everything that is not held. What is settled later stays spent at its worst case."""
        self._closed = True
        self._asking.shutdown()
        with self._borrowing:
            with self._using:
                back = {slice: slice.free for slice in self._slices.values() if slice.free > 0}
            self._return(back)

    def taken(self, counters: Sequence[str]) -> tuple[int, ...] | None:
        """How much of each was taken by all processes; None where the store does not say. Blocking."""
        found = None
        with self._reaching(mends=False):
            found = self._counters.taken(counters)
        return found  # noqa: RET504 None, where it failed

    def note(self, counter: str, ends: int) -> None:
        """Count something that has no cap. Blocking."""
        with self._reaching():
            self._counters.take([Take(counter, 1, 1, ANY, ends)])

    def _take(self, missing: Sequence[tuple[Slice, int]]) -> tuple[int, ...] | Lacking | None:
        """What the store gives; None where it failed, or has just failed."""
        taken = None
        if time.monotonic() >= self._again:
            with self._reaching():
                taken = self._counters.take([_take(slice, need) for slice, need in missing])
        return taken

    def _short(self, lacking: Lacking, missing: Sequence[tuple[Slice, int]]) -> Short:
        slice, need = next(entry for entry in missing if entry[0].counter == lacking.counter)
        self.denied[slice.limit.kind] += 1
        slice.lacked, slice.until, slice.scarce = need, time.monotonic() + SOON, True
        return Short(slice.limit, slice.ends)

    def _refill(self, low: Sequence[Slice]) -> None:
        """Borrow ahead before it is needed, so that no call waits for it. Blocking."""
        with self._borrowing:
            given: tuple[int, ...] | Lacking | None = None
            if time.monotonic() >= self._again:
                with self._reaching():
                    given = self._counters.take([Take(s.counter, 0, s.pace, s.limit.most, _gone(s)) for s in low])
            with self._using:
                for slice, amount in zip(low, given if isinstance(given, tuple) else [0] * len(low), strict=True):
                    slice.free += amount
                    slice.known += amount
                    slice.filling, slice.scarce = False, not amount

    def _return(self, back: Mapping[Slice, int]) -> None:
        """Give this back, and take what was used beyond what was held, whatever the cap. The caller is the only borrower."""
        with self._using:
            debts = {slice: -slice.free for slice in self._slices.values() if slice.free < 0}
            for slice, amount in back.items():
                slice.free -= amount
        done: list[Slice] = []
        with self._reaching(mends=bool(back or debts)):
            if back:
                given: Counter[str] = Counter()
                for slice, amount in back.items():
                    given[slice.counter] += amount
                self._counters.give(given)
                done += back
            if debts:
                self._counters.take([Take(s.counter, debt, debt, ANY, _gone(s)) for s, debt in debts.items()])
                done += debts
        with self._using:
            for slice, amount in back.items():
                slice.free += 0 if slice in done else amount
            for slice, amount in debts.items():
                slice.free += amount if slice in done else 0

    def _give_scarce(self) -> None:
        """Give back at once what has no window and is near its cap. Blocking."""
        with self._borrowing:
            with self._using:
                back = {s: s.free for s in self._slices.values() if s.ends is None and s.scarce and s.free > 0}
            self._return(back)

    @contextlib.contextmanager
    def _reaching(self, *, mends: bool = True) -> Iterator[None]:
        """Around what is asked of the store: that it failed is told once, and it is left alone for a moment.

        `mends` says whether it is well again where this works: what only reads shows nothing.
        """
        try:
            yield
        except StoreError as error:
            if not self.trouble:
                log.error("money and calls cannot be counted, so whatever is limited is not asked: %s", error)
            self.trouble, self._again = error.what, time.monotonic() + AGAIN
        else:
            if self.trouble and mends:
                log.warning("money and calls can be counted again")
                self.trouble = ""

    def _overrun(self, limit: Limit, held: int, used: int) -> None:
        self.overruns += 1
        log.error(
            "more was used than a model call can use by what it was asked: %s, of %s held, under %s. "
            "Report this, with the model's name: the limits hold by that bound.",
            *(limit.shown(used), limit.shown(held), limit.said),
        )

    def _unwanted(self, work: Future[Held | Short]) -> None:
        """Whoever waited for it is gone."""
        if not work.cancelled() and work.exception() is None and isinstance(held := work.result(), Held):
            self.settle(held, {})

    def _at_hand(self, limits: Sequence[Limit], amounts: Amounts) -> Held | Short | None:
        """What memory alone allows; None where the store has to be asked."""
        if self.stop is not None and amounts.get("usd"):
            return self.stop
        with self._using:
            of, enough = [(slice, amounts[slice.limit.unit]) for slice in self._slices_of(limits)], True
            for slice, amount in of:
                if slice.free < amount and amount:
                    if slice.lacks(amount):
                        self.denied[slice.limit.kind] += 1
                        return Short(slice.limit, slice.ends)
                    enough = False
            if not enough:
                return None
            low = []
            for slice, amount in of:
                slice.use(amount)
                if slice.low():
                    slice.filling = True
                    low.append(slice)
            if low and not self._closed:
                with contextlib.suppress(RuntimeError):  # the purse is closed at this moment
                    self._asking.submit(self._refill, low)
            return Held(of)

    def _drop(self, name: str) -> None:
        del self._slices[name]
        self._version += 1

    def _slices_of(self, limits: Sequence[Limit]) -> tuple[Slice, ...]:
        """The slices that count for these limits now. What binds a call is one object for all calls that it binds."""
        known, now = self._counting.get(id(limits)), time.time()
        if known is None or known.limits is not limits or known.version != self._version or not known.begins <= now < known.ends:
            if len(self._counting) >= MANY:
                self._counting.clear()
            slices = tuple([self._found(limit) for limit in limits])
            begins, ends = max([s.begins for s in slices], default=0), min([s.ends or math.inf for s in slices], default=math.inf)
            known = self._counting[id(limits)] = Counting(limits, slices, self._version, begins, ends)
        return known.slices

    def _found(self, limit: Limit) -> Slice:
        begins, ends = (0, None) if limit.window is None else self._window(limit.window)
        counter = f"{limit.counter}|{begins}"
        slice = self._slices.get(counter)
        if slice is None:
            slice = self._slices[counter] = Slice(counter, limit, begins, ends)
        return slice if slice.limit == limit else self._renewed(slice, limit)

    def _renewed(self, slice: Slice, limit: Limit) -> Slice:
        """The slice under this limit, whose cap may have changed: what was taken under a higher one is given back."""
        if limit.most < slice.limit.most and (slice.holds or slice.free > 0):
            slice.retired = True
            self._slices[f"{slice.counter}|{id(slice)}"] = slice
            slice = self._slices[slice.counter] = Slice(slice.counter, limit, slice.begins, slice.ends)
        if limit.most != slice.limit.most:
            slice.until = 0.0
        slice.limit = limit
        self._version += 1
        return slice

    def _window(self, window: Window) -> tuple[int, int]:
        known, now = self._windows.get(window), time.time()
        if known is None or not known[0] <= now < known[1]:
            known = self._windows[window] = begins_and_ends(window, now)
        return known


def _take(slice: Slice, need: int) -> Take:
    """What is missing, and as much ahead as is used in a second."""
    want = need + max(slice.pace, slice.lately)
    return Take(slice.counter, need, want, slice.limit.most, _gone(slice))


def _gone(slice: Slice) -> int | None:
    """When nobody will ask for its counter any more."""
    return None if slice.ends is None else slice.ends + slice.limit.kept


class Account:
    """What one call may spend, with everything that is asked for it: under what binds it, and `per_call` nano-dollars in all.

    `bounded` says whether money or tokens have to be reserved at all, `pays` whether there is a limit on money. `short` is the
    limit that stood in its way last.
    """

    __slots__ = ("_binding", "_held", "_purse", "_spent", "bounded", "pays", "per_call", "short")

    def __init__(self, purse: Purse | None = None, binding: Binding = UNBOUND, per_call: Usd | None = None) -> None:
        self._purse, self._binding, self.per_call = purse, binding, per_call
        self.bounded = per_call is not None or bool(binding.asking)
        self.pays = per_call is not None or binding.pays
        self._held: Held | None = None
        self.short: Short | None = None
        self._spent = 0  # nano-dollars, what is held included

    @property
    def left(self) -> int | None:
        """Nano-dollars that the call may still spend by its own limit; None where it has none."""
        return None if self.per_call is None else max(0, self.per_call - self._spent)

    async def enter(self) -> Short | None:
        """Count the call, and that it runs, once; `leave` ends that."""
        if self._purse is not None and self._binding.entering and self._held is None:
            held = await self._purse.hold(self._binding.entering, {"calls": 1, "at_once": 1})
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
        if self._purse is not None and self._binding.asking:
            try:
                held = await self._purse.hold(self._binding.asking, {"usd": cost, "tokens": tokens})
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
