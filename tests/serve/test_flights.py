"""Single flight: who may join whom, and who goes down with whom."""

from __future__ import annotations

import asyncio
import contextlib
import time

from mainstay.core.answer import Started, Text
from mainstay.core.model import Chunk
from projects import feature

CACHED = feature(
    """
    [cache]
    keep = "1h"
""",
    deadline="2s",
)


def small(options: str) -> str:
    return f'[models.small]\nprovider = "scripted"\noptions = {{ {options} }}\n'


async def test_nobody_joins_a_production_that_is_being_given_up(opened):
    """The only reader leaves in the very moment in which somebody asks the same: the newcomer gets an answer of its own."""
    app = opened(small('replies = [{ text = "one two", chunk = 4, gap = "10s" }, "three"]'), CACHED)
    leader = app.stream("answers", question="?")
    assert isinstance(await anext(leader), Started)
    assert isinstance(await anext(leader), Text)
    leaving = asyncio.create_task(leader.aclose())
    answer = await asyncio.create_task(app.run("answers", question="?"))
    assert (answer.status, answer.text, answer.reason) == ("answered", "three", None)
    await leaving


async def test_a_hurried_caller_hurries_nobody_else(opened):
    """A call that shortened its own deadline is joined by none that has more time."""
    app = opened(small('replies = ["one"], delay = "500ms"'), CACHED)
    hurried = asyncio.create_task(app.run("answers", question="?", deadline=0.2))
    await asyncio.sleep(0.05)
    patient = await app.run("answers", question="?")
    assert (patient.status, patient.text) == ("answered", "one")
    assert (await hurried).reason == "over_deadline"


async def test_a_hurried_follower_leaves_in_its_own_time(opened):
    """A follower with less time than the production is answered by its own deadline, and the others by theirs."""
    app = opened(small('replies = ["one"], delay = "700ms"'), CACHED)
    patient = asyncio.create_task(app.run("answers", question="?"))
    await asyncio.sleep(0.05)
    hurried = await app.run("answers", question="?", deadline=0.2)
    assert not patient.done()
    assert (hurried.status, hurried.reason, hurried.rung) == ("degraded", "over_deadline", "message")
    assert (await patient).status == "answered"
    assert len(app.features.ready["answers"].rungs[0].models[0].provider.requests) == 1


class Stubborn:
    """A provider that catches every cancellation, for two seconds."""

    def __init__(self, model, *, key, http):
        pass

    async def generate(self, request, *, stream):
        until = time.monotonic() + 2
        while time.monotonic() < until:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(until - time.monotonic())
        yield Chunk(text="at last")


async def test_a_production_that_cannot_be_stopped_delays_nobody(opened):
    """Promise 1: a provider that ignores every cancellation costs the answer, not the deadline, and the record names it."""
    app = opened('[models.small]\nprovider = "test_flights:Stubborn"\n', CACHED.replace('"2s"', '"300ms"'))
    began = time.monotonic()
    answer = await app.run("answers", question="?")
    assert time.monotonic() - began < 1.0
    assert (answer.status, answer.reason, answer.rung) == ("degraded", "over_deadline", "message")
    (attempt,) = (await app.record(answer.id)).outcome.attempts
    assert (attempt.model, attempt.outcome) == ("small", "abandoned")
    assert (await app.record(answer.id)).outcome.cost_nano_usd is None


async def test_a_call_without_any_time_is_answered_by_the_message(opened):
    """A deadline of nothing is a deadline, not the absence of one."""
    app = opened(small('replies = ["one"]'), CACHED)
    answer = await app.run("answers", question="?", deadline=0.0)
    assert (answer.status, answer.reason, answer.rung) == ("degraded", "over_deadline", "message")


async def test_threads_share_no_production(opened):
    """The same question from `run` and, at the same time, from `run_sync` in a thread: two event loops, two productions."""
    app = opened(small('replies = ["one"], delay = "300ms"'), CACHED)
    here = asyncio.create_task(app.run("answers", question="?"))
    await asyncio.sleep(0.05)
    there = await asyncio.wait_for(asyncio.to_thread(app.run_sync, "answers", question="?"), 5)
    assert ((await here).text, there.text) == ("one", "one")
    assert (there.status, there.reason) == ("answered", None)
    assert len(app.features.ready["answers"].rungs[0].models[0].provider.requests) == 2


async def test_who_wants_the_whole_is_not_cut_off_with_a_stream(opened):
    """A production that is shown word by word breaks; who asked the same for the whole, and saw no word, has the next rung."""
    app = opened(small('replies = [{ text = "one two three", chunk = 4, gap = "100ms", fault = "cut_off" }]'), CACHED)
    events = app.stream("answers", question="?")
    assert isinstance(await anext(events), Started)
    assert isinstance(await anext(events), Text)
    whole = await app.run("answers", question="?")
    assert (whole.status, whole.rung, whole.text) == ("degraded", "message", "Sorry.")
    streamed = [event async for event in events][-1]
    assert (streamed.status, streamed.text) == ("interrupted", "one two three")


CLINGING = """
    import asyncio
    import time

    from mainstay.core.model import Chunk

    class Clinging:
        def __init__(self, model, *, key, http):
            pass

        async def generate(self, request, *, stream):
            yield Chunk(text="one")
            end = time.monotonic() + 0.8
            while time.monotonic() < end:
                try:
                    await asyncio.sleep(0.05)
                except asyncio.CancelledError:
                    pass
"""


async def test_a_reader_that_holds_an_event_past_a_late_production_is_dropped(opened, monkeypatch):
    """The production outlasts the deadline and its reader takes nothing: the call is on record all the same, while it is held."""
    monkeypatch.setattr("mainstay.serve.flights.STALLED", 0.5)
    settings = '[models.small]\nprovider = "clinging_provider:Clinging"\nmodel = "m"\n'
    app = opened(settings, CACHED.replace('"2s"', '"300ms"'), {"clinging_provider.py": CLINGING})
    held = app.stream("answers", question="?")
    assert [type(await anext(held)) for _ in range(2)] == [Started, Text]
    await asyncio.sleep(1.2)
    assert [r.outcome.answer.reason for r in await app.records()] == ["reader_left"]
    await held.aclose()
    assert len(await app.records()) == 1
