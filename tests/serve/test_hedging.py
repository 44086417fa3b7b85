"""The second attempt: when it is made and when not, who answers, and what becomes of the other."""

from __future__ import annotations

import asyncio

FEATURE = """
    summary = "Answers"
    deadline = "5s"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    hedge = "50ms"
    hedge_with = "other"
    [[ladder]]
    message = "Sorry."
"""
PRICE = 'price = { input = "1 USD", output = "1 USD" }'


def models(small: str, other: str = 'replies = ["other"]') -> str:
    return f"""
[models.small]
provider = "scripted"
{PRICE}
options = {{ {small} }}
[models.other]
provider = "scripted"
{PRICE}
options = {{ {other} }}
"""


async def warmed(app, feature="answers"):
    """Enough attempts that one of ten may be hedged."""
    tempo = app.features.ready[feature].rungs[0].models[0].tempo
    for _ in range(50):
        tempo.began()
    return tempo


async def attempts_of(app, answer):
    return [(a.model, a.outcome) for a in (await app.record(answer.id)).outcome.attempts]


async def test_the_first_to_speak_answers_and_the_other_is_cancelled(opened):
    """The first word is late: another model is asked too, its answer is the answer, and the late one is on the record with its
    cost, marked as an estimate."""
    app = opened(models('replies = ["small"], delay = "3s"'), FEATURE)
    await warmed(app)
    answer = await asyncio.wait_for(app.run("answers", question="?"), 2.5)
    assert (answer.status, answer.text) == ("answered", "other")
    record = await app.record(answer.id)
    assert {(a.model, a.outcome) for a in record.outcome.attempts} == {("small", "overtaken"), ("other", "ok")}
    late = next(a for a in record.outcome.attempts if a.model == "small")
    assert late.estimated and late.cost_nano_usd and record.outcome.cost_nano_usd >= late.cost_nano_usd
    small = app.features.project.models["small"]
    assert (small.lanes.running, small.breaker.state) == (0, "closed")


async def test_a_first_word_in_time_is_not_hedged(opened):
    """Nobody else is asked where the first word comes in time."""
    app = opened(models('replies = ["small"]'), FEATURE)
    await warmed(app)
    answer = await app.run("answers", question="?")
    assert (answer.text, await attempts_of(app, answer)) == ("small", [("small", "ok")])


async def test_the_late_one_may_still_win(opened):
    """The second attempt is slower than the first: the first answers, and the second is settled."""
    app = opened(models('replies = ["small"], delay = "200ms"', 'delay = "3s"'), FEATURE)
    await warmed(app)
    answer = await asyncio.wait_for(app.run("answers", question="?"), 2.5)
    assert answer.text == "small"
    assert set(await attempts_of(app, answer)) == {("other", "overtaken"), ("small", "ok")}


async def test_a_second_attempt_that_fails_leaves_the_first_alone(opened):
    """What goes wrong with the second attempt is on the record, and the first answers."""
    app = opened(models('replies = ["small"], delay = "200ms"', 'fault = "overloaded"'), FEATURE)
    await warmed(app)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text) == ("answered", "small")
    assert set(await attempts_of(app, answer)) == {("other", "overloaded"), ("small", "ok")}


async def test_no_more_than_one_in_ten_is_hedged(opened):
    """A model that has become slow is not asked twice as often for it."""
    app = opened(models('replies = ["small"], delay = "120ms"'), FEATURE)
    answers = [await app.run("answers", question=f"{n}") for n in range(21)]
    assert [a.text for a in answers].count("other") in (1, 2)


async def test_nothing_is_hedged_under_pressure(opened):
    """The second model had no room when the first word was late: it is not asked, also when a place comes free a little later."""
    settings = models('replies = ["small"], delay = "500ms"').replace("[models.other]", "[models.other]\nat_once = 1")
    app = opened(settings, FEATURE)
    await warmed(app)
    other = app.features.project.models["other"].lanes
    assert other.enter()
    asyncio.get_running_loop().call_later(0.2, other.leave)
    answer = await app.run("answers", question="?")
    assert (answer.text, await attempts_of(app, answer)) == ("small", [("small", "ok")])


async def test_nothing_is_hedged_where_the_money_for_both_is_not_there(opened):
    """The limit leaves money for one attempt: the second is not made, and the first answers."""
    app = opened(models('replies = ["small"], delay = "200ms"'), FEATURE + '[limits]\nper_call = "0.0015 USD"\n')
    await warmed(app)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text) == ("answered", "small")
    assert ("other", "ok") not in await attempts_of(app, answer)


async def test_a_reader_that_leaves_takes_both_with_it(opened):
    """Nothing runs on and no place is held when the reader has gone while both attempts ran; both are on the record."""
    app = opened(models('delay = "3s"', 'delay = "3s"'), FEATURE)
    await warmed(app)
    stream = app.stream("answers", question="?")
    started = await anext(stream)
    reading = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.3)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await stream.aclose()
    record = await app.record(started.id)
    assert {(a.model, a.outcome) for a in record.outcome.attempts} == {("small", "abandoned"), ("other", "abandoned")}
    assert all(app.features.project.models[name].lanes.running == 0 for name in ("small", "other"))


async def test_p95_is_that_of_the_model_itself(opened):
    """With `p95` nothing is hedged before it is known, and then what is later than that."""
    slow_at_last = ", ".join(['"small"'] * 25 + ['{ text = "small", delay = "2s" }'])
    app = opened(models(f"replies = [{slow_at_last}]"), FEATURE.replace('"50ms"', '"p95"'))
    for number in range(25):
        assert (await app.run("answers", question=f"{number}")).text == "small"
    assert (await asyncio.wait_for(app.run("answers", question="last"), 1.9)).text == "other"
