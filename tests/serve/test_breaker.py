"""The circuit breaker: when it opens, who may try again, and whose failures count."""

from __future__ import annotations

from mainstay.core.reasons import Status
from mainstay.serve.breaker import FIRST_PAUSE, LEAST, LONGEST_PAUSE, LOST, MEMORY, Breaker

FEATURE = """
    summary = "Answers"
    deadline = "2s"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    tries = 1
    [[ladder]]
    message = "Sorry."
"""


def small(options: str) -> str:
    return f'[models.small]\nprovider = "scripted"\noptions = {{ {options} }}\n'


def opened_at(now: float) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker()
    for _ in range(LEAST):
        breaker.report(breaker.admit(now), False, now)
    assert breaker.state == "open"
    return breaker


def test_it_opens_on_the_failure_rate_and_not_before():
    """A few failures among many successes, or too few calls to judge by, do not open it; half of them do."""
    breaker = Breaker()
    for _ in range(LEAST - 1):
        breaker.report(breaker.admit(0.0), False, 0.0)
    assert breaker.state == "closed"
    mixed = Breaker()
    for ok in [True, True, True, False] * 5:
        mixed.report(mixed.admit(0.0), ok, 0.0)
    assert mixed.state == "closed"
    breaker.report(breaker.admit(1.0), False, 1.0)
    assert (breaker.state, breaker.admit(1.0)) == ("open", None)


def test_old_failures_are_forgotten():
    """What happened longer ago than its memory does not open it."""
    breaker = Breaker()
    for _ in range(LEAST - 1):
        breaker.report(breaker.admit(0.0), False, 0.0)
    later = MEMORY + 1
    breaker.report(breaker.admit(later), False, later)
    assert breaker.state == "closed"


def test_one_call_at_a_time_tries_it_and_two_good_ones_close_it():
    """Half-open: one probe passes, the others are turned away; two in a row that succeed close it."""
    breaker = opened_at(0.0)
    now = FIRST_PAUSE
    for _ in range(2):
        probe = breaker.admit(now)
        assert probe is not None and breaker.admit(now) is None
        breaker.report(probe, True, now)
    assert breaker.state == "closed"
    assert breaker.admit(now) is not None and breaker.admit(now) is not None


def test_a_failed_probe_opens_it_for_longer_up_to_a_limit():
    """Each failed probe doubles the pause, never beyond the longest; closing forgets that."""
    breaker, now, pause = opened_at(0.0), 0.0, FIRST_PAUSE
    for _ in range(10):
        now += pause
        assert breaker.admit(now - 0.001) is None
        breaker.report(breaker.admit(now), False, now)
        pause = min(LONGEST_PAUSE, pause * 2)
        assert breaker.open_for(now) == pause


def test_a_straggler_from_before_is_no_probe():
    """Calls that went out while it was closed and end while it is half-open say nothing about now, neither good nor bad."""
    breaker = Breaker()
    early, late = breaker.admit(0.0), breaker.admit(0.0)
    for _ in range(LEAST):
        breaker.report(breaker.admit(0.0), False, 0.0)
    now = FIRST_PAUSE
    probe = breaker.admit(now)
    breaker.report(early, False, now)
    assert breaker.state == "half_open", "a straggler's failure does not end the probe"
    breaker.report(late, True, now)
    breaker.release(late)
    assert breaker.admit(now) is None, "a straggler's end does not free the probe's place"
    breaker.report(probe, True, now)
    assert breaker.state == "half_open", "a straggler's success is not the first of two good probes"


def test_a_probe_whose_reader_left_makes_room_for_the_next():
    """A probe that ends without telling anything gives its place back."""
    breaker = opened_at(0.0)
    breaker.release(breaker.admit(FIRST_PAUSE))
    assert breaker.admit(FIRST_PAUSE) is not None


def test_a_probe_that_is_lost_does_not_keep_the_model_out_for_ever():
    """A probe that never ends, because its provider hangs, is replaced after a while, and then counts no more."""
    breaker = opened_at(0.0)
    lost = breaker.admit(FIRST_PAUSE)
    now = FIRST_PAUSE + LOST
    assert breaker.admit(now - 0.001) is None
    probe = breaker.admit(now)
    assert probe is not None
    breaker.report(lost, False, now)
    assert breaker.state == "half_open"
    breaker.report(probe, True, now)
    breaker.report(breaker.admit(now), True, now)
    assert breaker.state == "closed"


async def test_an_open_breaker_costs_no_time_and_no_call(opened):
    """Once it is open the model is not asked, the next rung answers, and the record says why."""
    app = opened(small('fault = "overloaded"'), FEATURE)
    for _ in range(LEAST):
        await app.run("answers", question="?")
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.reason) == ("degraded", "model_unavailable")
    (attempt,) = (await app.record(answer.id)).outcome.attempts
    assert (attempt.rung, attempt.outcome, attempt.model) == ("small", "breaker_open", None)
    assert len(app.features.ready["answers"].rungs[0].models[0].provider.requests) == LEAST


async def test_callers_in_a_hurry_do_not_switch_the_model_off_for_everybody(opened):
    """A model that had hardly any time is not to blame: what one caller's short deadline does stays with that caller."""
    app = opened(small('replies = ["well"], delay = "150ms"'), FEATURE)
    for n in range(2 * LEAST):
        hurried = await app.run("answers", question=f"? {n}", deadline=0.05)
        assert hurried.reason == "over_deadline"
    assert (await app.run("answers", question="?")).status == Status.ANSWERED


async def test_a_model_that_passes_the_rungs_own_limit_is_to_blame(opened):
    """The file says how long the first word may take, however short: a model that is slower fails, and is left out in the end."""
    feature = FEATURE.replace("tries = 1", 'tries = 1\n    first_word = "30ms"')
    app = opened(small('replies = [""], fault = "stalled"'), feature)
    for n in range(LEAST):
        await app.run("answers", question=f"? {n}")
    answer = await app.run("answers", question="?")
    assert [a.outcome for a in (await app.record(answer.id)).outcome.attempts] == ["breaker_open"]


async def test_a_drill_neither_feeds_nor_obeys_the_breaker(opened):
    """Other origins than a user's leave the breaker as it is, and are not kept out by it."""
    app = opened(small('fault = "overloaded"'), FEATURE)
    model = app.features.ready["answers"].rungs[0].models[0]
    for _ in range(2 * LEAST):
        await app.run("answers", question="?", origin="drill")
    assert model.breaker.state == "closed"
    for _ in range(LEAST):
        await app.run("answers", question="?")
    assert model.breaker.state == "open"
    answer = await app.run("answers", question="?", origin="drill")
    assert [a.outcome for a in (await app.record(answer.id)).outcome.attempts] == ["overloaded"]


async def test_a_reader_that_leaves_says_nothing_against_the_model(opened):
    """Readers that go before the first word are not the model's failures."""
    app = opened(small('replies = ["one two"], delay = "10s"'), FEATURE)
    for _ in range(LEAST):
        stream = app.stream("answers", question="?")
        await anext(stream)
        await stream.aclose()
    assert app.features.ready["answers"].rungs[0].models[0].breaker.state == "closed"
