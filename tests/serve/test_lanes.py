"""Places and lanes: who is let in, who waits and for how long, who does not wait, and that no place is ever lost."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

import pytest

from mainstay.core.call import Call
from mainstay.core.errors import Busy
from mainstay.core.model import Left, Message, ModelRequest, Quota
from mainstay.ids import new_id
from mainstay.serve.lanes import SHARE, Lanes
from mainstay.serve.watch import Watch


async def work(lanes: Lanes, priority="interactive", tenant="default", *, seconds=0.0, limit=5.0, done=None, name=None):
    """Take a place, keep it for a while, leave it; `done` hears the name in the order of being let in."""
    with Watch() as watch:
        if not lanes.enter():
            await lanes.wait(priority, tenant, until=time.monotonic() + limit, watch=watch)
        watch.until(time.monotonic() + limit)
        began = time.monotonic()
        try:
            if done is not None:
                done.append(name or tenant)
            await asyncio.sleep(seconds)
        finally:
            lanes.leave(time.monotonic() - began)


async def queued(lanes: Lanes, calls):
    """The order in which these calls, which queued in turn behind the only place, are let in when it is given back."""
    done: list[str] = []
    assert lanes.enter()
    tasks = []
    for priority, tenant, name in calls:
        tasks.append(asyncio.create_task(work(lanes, priority, tenant, done=done, name=name)))
        await asyncio.sleep(0)
    assert lanes.waiting == len(tasks)
    lanes.leave()
    await asyncio.wait_for(asyncio.gather(*tasks), 10)
    assert (lanes.running, lanes.waiting) == (0, 0)
    return done


async def test_no_more_than_the_number_are_in_at_one_moment():
    """Forty calls at a model with three places: never more than three at once, and all of them get their turn."""
    lanes, most = Lanes(3), 0

    async def one():
        nonlocal most
        with Watch() as watch:
            if not lanes.enter():
                await lanes.wait("interactive", "default", until=time.monotonic() + 5, watch=watch)
            most = max(most, lanes.running)
            await asyncio.sleep(0.002)
            lanes.leave(0.002)

    await asyncio.wait_for(asyncio.gather(*[one() for _ in range(40)]), 10)
    assert (most, lanes.running, lanes.waiting) == (3, 0, 0)


async def test_interactive_goes_before_standard_before_batch():
    """Whoever came first, the higher lane is let in first; inside of it, in the order of coming."""
    calls = [(lane, "a", f"{lane} {n}") for n in range(2) for lane in ("batch", "standard", "interactive")]
    done = await queued(Lanes(1), calls)
    assert done == [f"{lane} {n}" for lane in ("interactive", "standard", "batch") for n in range(2)]


async def test_batch_does_not_starve():
    """While interactive calls never end, one place of sixteen is a lower lane's."""
    calls = [("batch", "a", "batch")] * 3 + [("interactive", "a", "interactive")] * (3 * SHARE)
    done = await queued(Lanes(1), calls)
    assert [n for n, name in enumerate(done) if name == "batch"] == [SHARE - 1, 2 * SHARE - 1, 3 * SHARE - 1]


async def test_tenants_take_turns_however_many_calls_one_of_them_makes():
    """A tenant that asked fifty times before another asks twice does not make it wait for fifty."""
    done = await queued(Lanes(1), [("interactive", "many", "many")] * 50 + [("interactive", "few", "few")] * 2)
    assert max(n for n, name in enumerate(done) if name == "few") <= 4


async def test_a_tenant_has_as_many_turns_as_its_weight():
    """Of places for which two tenants wait, one with the weight 3 gets three times as many."""
    lanes = Lanes(1, lambda: {"large": 3.0})
    done = await queued(lanes, [("interactive", tenant, tenant) for _ in range(40) for tenant in ("small", "large")])
    assert Counter(done[:40])["large"] in (29, 30, 31)


async def test_a_tenant_that_left_the_queue_has_not_lost_its_turn():
    """Calls that were cancelled while they waited do not count as turns that the tenant had."""
    lanes, done = Lanes(1), []
    assert lanes.enter()
    leaving = [asyncio.create_task(work(lanes, tenant="fickle")) for _ in range(30)]
    staying = [asyncio.create_task(work(lanes, tenant="steady", done=done)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    staying.append(asyncio.create_task(work(lanes, tenant="fickle", done=done)))
    await asyncio.sleep(0)
    lanes.leave()
    await asyncio.wait_for(asyncio.gather(*staying), 10)
    assert done.index("fickle") <= 1
    assert (lanes.running, lanes.waiting, lanes.depths()) == (0, 0, {"interactive": 0, "standard": 0, "batch": 0})


async def test_who_cannot_be_let_in_in_time_does_not_wait():
    """The queue is too long for the time: the call is turned away at once, and batch waits all the same."""
    lanes = Lanes(1)
    assert lanes.enter()
    lanes.leave(2.0)
    assert lanes.enter() and lanes.usual == 2.0
    with Watch() as watch:
        began = time.monotonic()
        with pytest.raises(Busy):
            await lanes.wait("interactive", "default", until=began + 1, watch=watch)
        assert time.monotonic() - began < 0.5
    waiting = asyncio.create_task(work(lanes, "batch", limit=1))
    await asyncio.sleep(0.01)
    assert lanes.depths()["batch"] == 1
    lanes.leave()
    await asyncio.wait_for(waiting, 5)


async def test_waiting_ends_with_the_time_for_it():
    """Nobody waits past the moment, also where nothing was measured; it leaves nothing behind."""
    lanes = Lanes(1)
    assert lanes.enter()
    with Watch() as watch:
        began = time.monotonic()
        with pytest.raises(Busy):
            await lanes.wait("interactive", "default", until=began + 0.05, watch=watch)
        assert 0.04 < time.monotonic() - began < 2
    assert (lanes.running, lanes.waiting) == (1, 0)


async def test_more_places_are_given_at_once_to_those_who_wait():
    """A reload that raises the number lets in who waits; one that lowers it takes no place away."""
    lanes, done = Lanes(1), []
    assert lanes.enter()
    tasks = [asyncio.create_task(work(lanes, seconds=0.05, done=done)) for _ in range(2)]
    await asyncio.sleep(0)
    lanes.resize(3)
    await asyncio.sleep(0.01)
    assert len(done) == 2 and lanes.running == 3
    lanes.resize(1)
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert lanes.running == 1 and not lanes.enter()


@pytest.mark.parametrize("seed", range(8))
async def test_no_place_is_lost_whatever_becomes_of_a_call(seed):
    """Calls that end, raise, run out of time or are cancelled at any moment, in all lanes: in the end all places are free, none
    was given twice, and who was let in is out again."""
    chance, lanes, most = random.Random(seed), Lanes(3), 0
    outcomes: Counter[str] = Counter()

    async def one():
        nonlocal most
        with Watch() as watch:
            priority = chance.choice(("interactive", "standard", "batch"))
            if not lanes.enter():
                await lanes.wait(priority, str(chance.randrange(4)), until=time.monotonic() + chance.random() * 0.05, watch=watch)
            watch.until(time.monotonic() + 5)
            most = max(most, lanes.running)
            began = time.monotonic()
            try:
                await asyncio.sleep(chance.random() * 0.004)
                if chance.random() < 0.2:
                    raise RuntimeError("crashed")
            finally:
                lanes.leave(time.monotonic() - began)

    async def told():
        try:
            await one()
            outcomes["ended"] += 1
        except (Busy, RuntimeError, asyncio.CancelledError) as error:
            outcomes[type(error).__name__] += 1

    tasks = []
    for _ in range(300):
        tasks.append(asyncio.create_task(told()))
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
        if chance.random() < 0.3:
            await asyncio.sleep(chance.random() * 0.002)
    await asyncio.wait(tasks, timeout=20)
    assert (lanes.running, lanes.waiting, most) == (0, 0, 3)
    assert set(lanes.depths().values()) == {0}
    assert outcomes["ended"] and outcomes["CancelledError"] and outcomes["RuntimeError"]


async def test_places_are_shared_by_event_loops():
    """Who waits in one event loop is let in when a place is left in another."""
    lanes = Lanes(1)
    assert lanes.enter()
    waiting = asyncio.create_task(asyncio.to_thread(asyncio.run, work(lanes)))
    while not lanes.waiting:
        await asyncio.sleep(0.001)
    lanes.leave()
    await asyncio.wait_for(waiting, 5)
    assert (lanes.running, lanes.waiting) == (0, 0)


async def test_a_provider_that_allows_no_more_is_not_asked_until_it_does():
    """Its last answer said that nothing is left for 0.1 s: who has the time waits that long, who has not does not wait at all."""
    lanes = Lanes()
    assert lanes.enter()
    lanes.told(Quota(requests=Left(0, 0.1, 2)))
    lanes.leave(0.001, told=True)
    assert not lanes.enter()
    with Watch() as watch, pytest.raises(Busy):
        await lanes.wait("interactive", "default", until=time.monotonic() + 0.02, watch=watch)
    began = time.monotonic()
    await asyncio.wait_for(work(lanes), 5)
    assert 0.05 < time.monotonic() - began < 2


async def test_what_is_left_is_counted_down_and_no_more_are_asked():
    """Two are left and five wait: two are let in, and the other three when the limit is whole again."""
    lanes, done = Lanes(), []
    assert lanes.enter()
    lanes.told(Quota(requests=Left(2, 0.2, 5)))
    lanes.leave(0.001, told=True)
    tasks = [asyncio.create_task(work(lanes, done=done)) for _ in range(5)]
    await asyncio.sleep(0.05)
    assert len(done) == 2
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    assert len(done) == 5


async def test_what_is_on_its_way_counts_as_asked():
    """The provider says that three are left while two others are on their way: one more is let in."""
    lanes = Lanes()
    assert all(lanes.enter() for _ in range(3))
    lanes.told(Quota(requests=Left(3, 30.0, 60)))
    assert lanes.enter() and not lanes.enter()


async def test_a_429_closes_the_model_for_everybody():
    """The provider asked for a pause: nobody is let in before it is over."""
    lanes = Lanes()
    lanes.close(0.1)
    assert not lanes.enter()
    began = time.monotonic()
    await asyncio.wait_for(work(lanes), 5)
    assert time.monotonic() - began > 0.05


async def test_tokens_that_are_left_have_to_do_for_a_usual_call():
    """Where calls take about a thousand tokens and a hundred are left, none is asked."""
    lanes = Lanes()
    assert lanes.enter()
    lanes.told(Quota(tokens=Left(100, 30.0, 10_000)))
    lanes.leave(0.1, tokens=1000, told=True)
    assert not lanes.enter()


HOSTILE = """
    [models.small]
    provider = "scripted"
    at_once = 3
    price = { input = "1 USD", output = "1 USD" }
    [models.small.options]
    replies = [
        "well", { text = "well", delay = "5ms" }, { fault = "overloaded" }, { text = "part", fault = "cut_off" },
        { text = "part", fault = "stalled" }, { fault = "empty" }, { text = "AcmeCo", chunk = 2, gap = "1ms" },
        { text = "one two three", chunk = 3, gap = "2ms" }, { fault = "rate_limited", retry_after = 0.01 },
    ]
    [limits]
    tenant_per_day = "0.02 USD"
    [server]
    at_once = 12
"""
HOSTILE_FEATURE = """
    summary = "Answers"
    deadline = "400ms"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    hedge = "20ms"
    [[ladder]]
    message = "Sorry."
    [guards]
    output = [{ terms = ["AcmeCo"] }]
"""


@pytest.mark.parametrize("seed", range(3))
async def test_no_place_is_lost_by_anything_that_a_call_can_do(opened, seed):
    """Through the front door: models that fail in every way, guards that stop, readers that leave in the middle, limits that are
    reached, second attempts. In the end every place is free, nobody waits, and no attempt is noted as running."""
    app, chance = opened(HOSTILE, HOSTILE_FEATURE), random.Random(seed)

    async def one(n):
        stream = app.stream("answers", question=f"{n}", tenant=str(n % 5), priority=chance.choice((None, "standard", "batch")))
        leaves = chance.random() < 0.3
        try:
            async for _ in stream:
                if leaves and chance.random() < 0.5:
                    break
        finally:
            await stream.aclose()

    tasks = []
    for n in range(150):
        tasks.append(asyncio.create_task(one(n)))
        await asyncio.sleep(chance.random() * 0.004)
        if chance.random() < 0.2:
            chance.choice(tasks).cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
    small = app.features.project.models["small"].lanes
    async with asyncio.timeout(5):
        while small.running or app.parts.lanes.running:
            await asyncio.sleep(0.01)
    assert (small.waiting, app.parts.lanes.waiting) == (0, 0)
    outcomes = Counter(a.outcome for r in await app.records(limit=500) for a in r.outcome.attempts)
    assert outcomes["ok"] and outcomes["busy"] + outcomes["breaker_open"]


def trying(lane):
    """A feature with that priority."""
    model, message = 'model = "small"\nprompt = "prompt.md"', 'message = "Sorry."'
    return f'summary = "A"\ndeadline = "2s"\npriority = "{lane}"\n[[ladder]]\n{model}\n[[ladder]]\n{message}\n'


@pytest.mark.parametrize(
    ("feature", "call", "lane"),
    [
        ("interactive", None, "interactive"),
        ("interactive", "batch", "batch"),
        ("standard", "interactive", "standard"),
        ("batch", "interactive", "batch"),
        ("batch", None, "batch"),
    ],
)
async def test_a_call_may_lower_its_priority_and_not_raise_it(opened, feature, call, lane):
    """It waits in its feature's lane, or in a lower one that it asks for."""
    app = opened('[models.small]\nprovider = "scripted"\nat_once = 1\n', trying(feature))
    lanes = app.features.project.models["small"].lanes
    assert lanes.enter()
    asked = asyncio.create_task(app.run("answers", question="?", priority=call))
    async with asyncio.timeout(5):
        while not lanes.waiting:
            await asyncio.sleep(0.005)
    assert [name for name, depth in lanes.depths().items() if depth] == [lane]
    lanes.leave()
    answer = await asyncio.wait_for(asked, 5)
    (attempt,) = (await app.record(answer.id)).outcome.attempts
    assert answer.status == "answered" and attempt.queued_us > 0


async def test_money_is_held_when_it_can_be_spent_and_not_while_it_queues(opened):
    """A call that waits for a place holds no money: what it may cost is free for one that is asked now."""
    settings = """
    [models.small]
    provider = "scripted"
    at_once = 1
    price = { input = "1 USD", output = "1 USD" }
    [limits]
    project_per_day = "0.0016 USD"
    """
    app = opened(settings, trying("interactive"))
    lanes = app.features.project.models["small"].lanes
    assert lanes.enter()
    waiting = asyncio.create_task(app.run("answers", question="?"))
    async with asyncio.timeout(5):
        while not lanes.waiting:
            await asyncio.sleep(0.005)
    purse = app._limiting.purse
    assert sum(slice.lately for slice in purse._slices.values() if slice.limit.unit == "usd") == 0
    lanes.leave()
    assert (await asyncio.wait_for(waiting, 5)).status == "answered"


async def test_an_interactive_call_does_not_join_a_production_that_waits_as_batch(opened):
    """The same question was asked as batch a moment before: who asks interactively is not bound to that lane."""
    feature = trying("interactive") + '[cache]\nkeep = "1h"\n'
    app = opened('[models.small]\nprovider = "scripted"\nat_once = 1\n', feature)
    lanes = app.features.project.models["small"].lanes
    assert lanes.enter()
    both = [asyncio.create_task(app.run("answers", question="?", priority=lane)) for lane in ("batch", "interactive")]
    async with asyncio.timeout(5):
        while lanes.waiting < 2:
            await asyncio.sleep(0.005)
    assert lanes.depths() == {"interactive": 1, "standard": 0, "batch": 1}
    lanes.leave()
    assert {a.status for a in await asyncio.wait_for(asyncio.gather(*both), 5)} == {"answered"}


async def test_a_call_within_a_call_does_not_wait_for_the_place_of_the_call_that_waits_for_it():
    """All places are taken, one of them by the call that asks: what it asks is let in."""
    lanes = Lanes(1)
    assert lanes.enter() and not lanes.enter() and lanes.enter(anyway=True)


async def test_a_plain_model_whose_queue_is_too_long_says_so(opened):
    """There is no ladder to fall back on: it ends as unavailable, and the reason is `busy`."""
    app = opened('[models.small]\nprovider = "scripted"\nat_once = 1\n[plain]\ndeadline = "200ms"\n')
    lanes = app.features.project.models["small"].lanes
    assert lanes.enter()
    request = ModelRequest(messages=(Message("user", "?"),))
    *_, answer = [e async for e in app.serve(Call(id=new_id(), feature="small", request=request))]
    assert (answer.status, answer.reason) == ("unavailable", "busy")
    lanes.leave()


async def test_a_call_that_has_a_place_and_no_money_gives_the_place_back(opened):
    """The limit is reached when the place is there already: nothing is asked, and the place is free for the next."""
    settings = """
    [models.small]
    provider = "scripted"
    at_once = 1
    price = { input = "1 USD", output = "1 USD" }
    [limits]
    project_per_day = "0.0001 USD"
    """
    app = opened(settings, trying("interactive"))
    assert (await app.run("answers", question="?")).reason == "over_budget"
    assert app.features.project.models["small"].lanes.running == 0
