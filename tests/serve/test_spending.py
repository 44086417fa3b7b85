"""Reserve, then settle: whatever happens in whatever order, no cap is passed and nothing stays held."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from mainstay.core.errors import StoreError
from mainstay.core.limits import Limit
from mainstay.core.seams import Lacking, Take
from mainstay.core.units import Usd
from mainstay.parts.stores.memory import MemoryCounters
from mainstay.parts.stores.sqlite_counters import SqliteCounters
from mainstay.serve.spending import Account, Binding, Held, Purse, Reserved, Short

DAY = Limit(counter="day", unit="usd", window="day", most=1000, said="the limit per day")
HOUR = Limit(counter="hour", unit="usd", window="hour", most=600, said="the limit per hour")
TOKENS = Limit(counter="tokens", unit="tokens", window="day", most=300, said="the tokens")
AT_ONCE = Limit(counter="at once", unit="at_once", window=None, most=4, said="the limit at once")
CALLS = Limit(counter="calls", unit="calls", window="day", most=30, said="the calls")
ALL = (DAY, HOUR, TOKENS, AT_ONCE, CALLS)


def taken(counters: MemoryCounters, limit: Limit) -> int:
    """How much was taken of the counter of this limit, in whichever window."""
    return sum(amount for name, amount in counters.all() if name.startswith(f"{limit.counter}|"))


class Spending(RuleBasedStateMachine):
    """Three processes that share one store, as one sees them from outside: what is held, what was spent, what the store says."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.counters = MemoryCounters()
        self.purses = [Purse(self.counters) for _ in range(3)]
        self.holding: dict[int, tuple[int, Held, dict[str, int]]] = {}
        self.spent = dict.fromkeys(["usd", "tokens", "calls", "at_once"], 0)
        self.lost = dict(self.spent)
        self.most = {limit.counter: limit.most for limit in ALL}
        self.number = 0

    @rule(target=held, who=st.integers(0, 2), cost=st.integers(0, 400), tokens=st.integers(0, 100), calls=st.integers(0, 2))
    def hold(self, who: int, cost: int, tokens: int, calls: int) -> object:
        amounts = {"usd": cost, "tokens": tokens, "calls": calls, "at_once": 1}
        limits = [msgspec.structs.replace(limit, most=self.most[limit.counter]) for limit in ALL]
        found = self.purses[who].borrow(limits, amounts)
        self.number += 1  # also of what was not held: threads give back meanwhile, and what is drawn may not depend on when
        if isinstance(found, Short):
            return self.number
        self.holding[self.number] = (who, found, amounts)
        for limit in limits:
            assert self._used(limit) <= limit.most or not amounts[limit.unit], f"{limit.said} was passed"
        return self.number

    @rule(number=consumes(held), share=st.floats(0, 1))
    def settle(self, number: int, share: float) -> None:
        if number in self.holding:
            who, held, amounts = self.holding.pop(number)
            used = {name: int(amount * share) for name, amount in amounts.items()}
            for name, amount in used.items():
                self.spent[name] += amount if name != "at_once" else 0
            self.purses[who].settle(held, used)
            self.purses[who].settle(held, used)  # a second time does nothing

    @rule(who=st.integers(0, 2))
    def tend(self, who: int) -> None:
        self.purses[who].tend()

    @rule(who=st.integers(0, 2))
    def restart(self, who: int) -> None:
        """Closed while some of its calls are still running: those count at their worst case."""
        self.purses[who].close()
        for number, (whose, _, amounts) in list(self.holding.items()):
            if whose == who:
                del self.holding[number]
                for name, amount in amounts.items():
                    self.lost[name] += amount
        self.purses[who] = Purse(self.counters)

    @rule(most=st.integers(0, 1500))
    def change_a_cap(self, most: int) -> None:
        self.most["day"] = most

    def _used(self, limit: Limit) -> int:
        return self.spent[limit.unit] + self.lost[limit.unit] + sum(a[limit.unit] for _, _, a in self.holding.values())

    @invariant()
    def the_store_knows_of_all(self) -> None:
        for limit in ALL:
            assert taken(self.counters, limit) >= self._used(limit)
            assert taken(self.counters, limit) <= limit.most or limit is DAY

    def teardown(self) -> None:
        for number in list(self.holding):
            self.settle(number, 0.5)
        for purse in self.purses:
            purse.close()
        for limit in ALL:
            assert taken(self.counters, limit) == self.spent[limit.unit] + self.lost[limit.unit], limit.said


Spending.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestSpending = Spending.TestCase


def test_threads_of_one_process_do_not_hold_the_same_money_twice():
    """Calls on several event loops share one purse: what they hold together never passes the cap, and nothing is left over."""
    counters = MemoryCounters()
    purse, counting = Purse(counters), threading.Lock()
    holding = most = 0

    def work(seed: int) -> None:
        nonlocal holding, most
        chance = random.Random(seed)
        for _ in range(400):
            amount = chance.randrange(1, 200)
            held = purse.borrow([DAY], {"usd": amount})
            if isinstance(held, Held):
                with counting:
                    holding += amount
                    most = max(most, holding)
                with counting:
                    holding -= amount
                purse.settle(held, {"usd": 0})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    purse.close()
    assert most <= DAY.most and taken(counters, DAY) == 0


class Interrupted(MemoryCounters):
    """While the store is asked, something else of the same process happens."""

    meanwhile = staticmethod(lambda: None)

    def take(self, takes: Sequence[Take]) -> tuple[int, ...] | Lacking:
        self.meanwhile()
        return super().take(takes)


def test_what_is_free_is_not_lent_twice_while_the_store_is_asked():
    """A call that needs more than memory has uses up what is there: another one, at that moment, does not get it too."""
    counters = Interrupted()
    purse = Purse(counters)
    purse.settle(purse.borrow([DAY], {"usd": 600}), {"usd": 0})  # which leaves 600 in memory
    stolen: list[object] = []
    counters.meanwhile = lambda: stolen.append(purse._at_hand([DAY], {"usd": 500}))
    assert isinstance(purse.borrow([DAY], {"usd": 900}), Held)
    assert stolen == [None]
    assert taken(counters, DAY) >= 900


class Slow(MemoryCounters):
    """Takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.going_on, self.times = threading.Event(), threading.Event(), 0

    def take(self, takes: Sequence[Take]) -> tuple[int, ...] | Lacking:
        self.times += 1
        self.asked.set()
        self.going_on.wait(20)
        return super().take(takes)


async def test_a_call_that_is_cancelled_while_it_waits_leaves_nothing_held():
    """The one that is being asked for and those that wait behind it: after they were cancelled, all is free again."""
    counters = Slow()
    purse = Purse(counters)
    waiting = [asyncio.create_task(purse.hold([DAY], {"usd": 300})) for _ in range(5)]
    await asyncio.to_thread(counters.asked.wait, 20)
    for task in waiting:
        task.cancel()
    assert all(isinstance(e, asyncio.CancelledError) for e in await asyncio.gather(*waiting, return_exceptions=True))
    counters.going_on.set()
    await asyncio.to_thread(purse.close)
    assert taken(counters, DAY) == 0
    assert counters.times == 1, "what nobody waits for any more is not asked for"


async def test_cancelled_at_every_moment_nothing_is_held():
    """However far a call had come when it was cancelled, what it held is free in the end."""
    counters = MemoryCounters()
    purse = Purse(counters)
    for steps in range(12):
        for _ in range(5):
            account = Account(purse, Binding.of((DAY, AT_ONCE, CALLS)), Usd(900))

            async def call(account: Account = account) -> None:
                try:
                    await account.enter()
                    reserved = await account.reserve(cost=400, tokens=1)
                    if isinstance(reserved, Reserved):
                        try:
                            await asyncio.sleep(0)
                        finally:
                            reserved.settle(cost=0, tokens=0)
                finally:
                    account.leave()

            task = asyncio.create_task(call())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert account.left == 900
    await asyncio.to_thread(purse.close)
    assert taken(counters, DAY) == taken(counters, AT_ONCE) == 0


def test_what_was_lacking_is_not_asked_for_again_and_again():
    """Once a limit is reached, a flood of calls does not become a flood of transactions; when money is back, it is had."""
    counters = Slow()
    counters.going_on.set()
    purse = Purse(counters)
    held = purse.borrow([DAY], {"usd": 1000})
    before = counters.times
    began = time.monotonic()
    asked = 0
    while time.monotonic() - began < 0.2:
        assert isinstance(purse.borrow([DAY], {"usd": 10}), Short)
        asked += 1
    assert asked > 100 and counters.times - before <= 20
    purse.settle(held, {"usd": 0})
    assert isinstance(purse.borrow([DAY], {"usd": 10}), Held)


def test_what_nobody_uses_is_forgotten_and_what_is_held_is_not():
    """A thousand tenants that came once cost no memory any more; the one that is still being answered is settled all the same."""
    counters = MemoryCounters()
    purse = Purse(counters)
    limits = [msgspec.structs.replace(DAY, counter=f"tenant {n}") for n in range(1000)]
    held = [purse.borrow([limit], {"usd": 500}) for limit in limits]
    for one in held[1:]:
        purse.settle(one, {"usd": 7})
    for _ in range(14):
        purse.tend()
    assert len(purse._slices) == 1
    purse.settle(held[0], {"usd": 100})
    purse.close()
    assert taken(counters, limits[0]) == 100 and taken(counters, limits[1]) == 7


def test_more_than_was_held_is_counted_and_told(caplog):
    """A provider that says it used more than is possible: it is told loudly, counted, and taken from what is left."""
    counters = MemoryCounters()
    purse = Purse(counters)
    held = purse.borrow([DAY], {"usd": 100})
    with caplog.at_level(logging.ERROR):
        purse.settle(held, {"usd": 1500})
    assert purse.overruns == 1 and "more was used than a model call can use" in caplog.text
    assert isinstance(purse.borrow([DAY], {"usd": 1}), Held) is (taken(counters, DAY) < 1000)
    purse.tend()
    assert taken(counters, DAY) >= 1500
    assert isinstance(purse.borrow([DAY], {"usd": 1}), Short)
    purse.close()


def test_a_cap_that_is_lowered_holds_for_what_was_borrowed_before():
    """After a reload with a lower cap nothing is spent that was borrowed under the higher one."""
    counters = MemoryCounters()
    purse = Purse(counters)
    purse.settle(purse.borrow([DAY], {"usd": 500}), {"usd": 100})
    running = purse.borrow([DAY], {"usd": 200})
    lower = msgspec.structs.replace(DAY, most=150)
    assert isinstance(purse.borrow([lower], {"usd": 60}), Short)
    purse.settle(running, {"usd": 0})
    assert isinstance(purse.borrow([lower], {"usd": 60}), Short)
    purse.tend()
    time.sleep(0.03)
    assert isinstance(purse.borrow([lower], {"usd": 60}), Short)
    assert isinstance(purse.borrow([lower], {"usd": 50}), Held)


class Clock:
    """A clock that a test sets."""

    def __init__(self, at: float) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.mark.parametrize("stored", ["memory", "sqlite"])
def test_a_clock_that_jumps_back_does_not_give_a_window_twice(monkeypatch, stored, tmp_path):
    """At the end of a minute the clock is set back into it: what was spent in it then is still spent."""
    counters = MemoryCounters() if stored == "memory" else SqliteCounters(tmp_path / "counters.db")
    purse = Purse(counters)
    minute = msgspec.structs.replace(DAY, window="minute")
    clock = Clock(1_800_000_030.0)
    monkeypatch.setattr(time, "time", clock)
    held = purse.borrow([minute], {"usd": 1000})
    assert isinstance(held, Held)
    purse.settle(held, {"usd": 1000})
    clock.at += 60
    assert isinstance(purse.borrow([minute], {"usd": 1000}), Held)
    purse.tend()
    clock.at -= 60
    assert isinstance(purse.borrow([minute], {"usd": 1}), Short)
    clock.at += 7200
    assert isinstance(purse.borrow([minute], {"usd": 1000}), Held)


def test_a_store_that_is_locked_means_short_and_is_told_once(tmp_path: Path, caplog):
    """While another program locks the file nothing is lent, nobody waits long, and the log has one line; then it goes on."""
    counters = SqliteCounters(tmp_path / "counters.db")
    purse, other = Purse(counters), apsw.Connection(str(tmp_path / "counters.db"))
    other.execute("begin immediate")
    began = time.monotonic()
    with caplog.at_level(logging.INFO):
        for _ in range(300):
            short = purse.borrow([DAY], {"usd": 1})
            assert isinstance(short, Short) and "cannot be counted" in short.what
        purse.tend()
    assert time.monotonic() - began < 5 and len(caplog.records) == 1 and purse.trouble
    other.execute("rollback")
    purse.tend()
    assert not purse.trouble
    purse._again = 0.0
    assert isinstance(purse.borrow([DAY], {"usd": 1}), Held) and not purse.trouble
    purse.close()
    counters.close()
    other.close()


class Failing(MemoryCounters):
    """Takes nothing, and nothing back, while `broken`."""

    broken = False

    def take(self, takes: Sequence[Take]) -> tuple[int, ...] | Lacking:
        if self.broken:
            raise StoreError("broken")
        return super().take(takes)

    def give(self, back: Mapping[str, int]) -> None:
        if self.broken:
            raise StoreError("broken")
        super().give(back)


def test_what_could_not_be_given_back_is_given_back_later():
    """A store that fails at the moment of giving back loses no money for good."""
    counters = Failing()
    purse = Purse(counters)
    purse.settle(purse.borrow([DAY], {"usd": 900}), {"usd": 0})
    counters.broken = True
    for _ in range(12):
        purse.tend()
    assert taken(counters, DAY) == 900 and purse.trouble == "broken"
    counters.broken = False
    purse.tend()
    assert taken(counters, DAY) == 0 and not purse.trouble


def test_what_runs_at_once_is_free_for_another_process_as_soon_as_it_ends(tmp_path: Path):
    """Near its cap, what was held at once is given back when the call ends and not a second later."""
    counters = MemoryCounters()
    one, other = Purse(counters), Purse(counters)
    single = msgspec.structs.replace(AT_ONCE, most=1)
    held = one.borrow([single], {"at_once": 1})
    assert isinstance(other.borrow([single], {"at_once": 1}), Short)
    one.settle(held, {})
    until = time.monotonic() + 10
    while isinstance(again := other.borrow([single], {"at_once": 1}), Short):
        assert time.monotonic() < until
        time.sleep(0.001)
    assert isinstance(again, Held)


async def test_after_closing_nothing_is_lent_and_nothing_raises():
    """A call that is still running when the project is closed gets no more money, and settles without an error."""
    counters = MemoryCounters()
    purse = Purse(counters)
    held = purse.borrow([DAY, AT_ONCE], {"usd": 100, "at_once": 1})
    purse.close()
    assert isinstance(await purse.hold([DAY], {"usd": 100}), Short)
    purse.settle(held, {"usd": 3})
    assert taken(counters, DAY) == 100
