"""One attempt at one model, and what a rung makes of it: every way in which a draft can be no answer."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from mainstay.core.answer import Text, fold
from mainstay.core.model import Chunk
from mainstay.core.reasons import Finish

TWO = """
    summary = "Answers"
    deadline = "2s"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    [[ladder]]
    model = "large"
    prompt = "prompt.md"
    [[ladder]]
    message = "Sorry."
"""

GUARDED = TWO + '\n[guards]\noutput = [{ terms = ["AcmeCo"] }]\n'

STEPS = """
    summary = "Answers"
    deadline = "2s"
    [[ladder]]
    tries = 2
    [[ladder.steps]]
    name = "brief"
    model = "small"
    prompt = "prompt.md"
    [[ladder.steps]]
    name = "final"
    model = "large"
    prompt = "final.md"
    [[ladder]]
    message = "Sorry."
"""
FINAL = {"features/answers/final.md": "{{ steps.brief }}\n"}


def models(small: str, large: str = 'replies = ["from large"]') -> str:
    """Two scripted models with these options."""
    return "\n".join(
        f'[models.{name}]\nprovider = "scripted"\noptions = {{ {options} }}'
        for name, options in (("small", small), ("large", large))
    )


def strange(kind: str) -> str:
    """A model behind a provider of this file, and a scripted one below it."""
    return f"""
[models.small]
provider = "test_attempts:{kind}"
[models.large]
provider = "scripted"
options = {{ replies = ["from large"] }}
"""


class Strange:
    """A provider that a stranger wrote."""

    def __init__(self, model, *, key, http):
        pass


class Swallows(Strange):
    """Catches its cancellation, and says something after all."""

    async def generate(self, request, *, stream):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        yield Chunk(text="too late", finish=Finish.STOP)


class Translates(Strange):
    """Turns its cancellation into an error of its own."""

    async def generate(self, request, *, stream):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            raise OSError("read timed out") from None
        yield Chunk()


class NeverLetsGo(Strange):
    """Will not be closed."""

    async def generate(self, request, *, stream):
        try:
            yield Chunk(text="Buy from AcmeCo, of all people. ")
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(30)


class FailsAtTheEnd(Strange):
    """Raises when it is closed."""

    async def generate(self, request, *, stream):
        try:
            yield Chunk(text="Buy from AcmeCo, of all people. ")
            await asyncio.sleep(30)
        finally:
            raise OSError("already closed")


class Tidy(Strange):
    """Notes whether the task that closes it is the one that opened it."""

    closed: list[bool] = []

    async def generate(self, request, *, stream):
        opened_by = asyncio.current_task()
        try:
            yield Chunk(text="Buy from AcmeCo, of all people. ")
            await asyncio.sleep(30)
        finally:
            self.closed.append(asyncio.current_task() is opened_by)


class NoGenerator(Strange):
    """Raises before there is anything to iterate."""

    def generate(self, request, *, stream):
        raise OSError("no such host")


@pytest.mark.parametrize("kind", ["Swallows", "Translates"])
async def test_a_provider_that_swallows_its_time_out_is_too_slow(opened, kind):
    """What comes after the limit is not an answer, whatever the provider did with its cancellation; the next rung answers."""
    app = opened(strange(kind), TWO.replace('"2s"', '"800ms"'))
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text, answer.reason) == ("degraded", "from large", "over_deadline")
    record = await app.record(answer.id)
    assert [a.outcome for a in record.outcome.attempts] == ["too_slow", "ok"]


@pytest.mark.parametrize("kind", ["NeverLetsGo", "FailsAtTheEnd"])
async def test_a_provider_that_cannot_be_closed_costs_nobody_the_answer(opened, kind):
    """A guard stopped the draft; that the provider then will not let go changes neither the verdict nor who answers next."""
    app = opened(strange(kind), GUARDED)
    events = [event async for event in app.stream("answers", question="?")]
    answer = fold(events)
    shown = "".join(e.text for e in events if isinstance(e, Text))
    assert (answer.status, answer.reason, answer.rung, shown) == ("degraded", "unsafe_output", "large", "from large")
    record = await app.record(answer.id)
    assert [a.outcome for a in record.outcome.attempts] == ["guarded", "ok"]


async def test_a_stopped_draft_lets_go_of_its_provider_at_once(opened):
    """The connection of a draft that a guard stopped is closed by the call itself, not whenever the collector comes by."""
    app = opened(strange("Tidy"), GUARDED)
    Tidy.closed.clear()
    async for _ in app.stream("answers", question="?"):
        pass
    assert Tidy.closed == [True]


async def test_an_answer_does_not_quote_what_a_guard_stopped(opened):
    """What may not be shown stands in the record for the team, not in the answer's detail for the caller."""
    app = opened(models('replies = ["You could also buy it from AcmeCo, they say."], chunk = 4'), GUARDED)
    events = [event async for event in app.stream("answers", question="?")]
    assert fold(events).status == "interrupted"
    assert "AcmeCo" not in str(events)
    (note,) = (await app.record(fold(events).id)).outcome.guards
    assert "AcmeCo" in note.detail


async def test_a_provider_that_fails_before_it_generates_is_a_failed_attempt(opened):
    """An exception out of the call itself is translated like any other."""
    app = opened(strange("NoGenerator"), TWO)
    answer = await app.run("answers", question="?")
    assert (answer.text, answer.reason) == ("from large", "model_unavailable")
    record = await app.record(answer.id)
    assert [a.outcome for a in record.outcome.attempts] == ["failed", "ok"]


@pytest.mark.parametrize(
    ("reply", "reason", "tries"),
    [
        ('{ finish = "content_filter" }', "model_refused", 1),
        ('{ finish = "length" }', "cut_short", 1),
        ('{ finish = "error" }', "model_unavailable", 2),
        ('{ text = "", reasoning = "Let me think." }', "model_unavailable", 2),
        ('{ text = " \\n\\t " }', "model_unavailable", 2),
    ],
    ids=["filtered", "out of tokens", "failed", "thoughts only", "blank"],
)
async def test_a_draft_without_a_word_is_no_answer(opened, reply, reason, tries):
    """Nothing but a finish reason, nothing but thoughts, nothing but spaces: the next rung answers, and the record says why."""
    app = opened(models(f"replies = [{reply}]"), TWO)
    events = [event async for event in app.stream("answers", question="?")]
    answer = fold(events)
    assert (answer.status, answer.text, answer.reason) == ("degraded", "from large", reason)
    assert "".join(e.text for e in events if isinstance(e, Text)) == "from large"
    assert len(app.features.ready["answers"].rungs[0].models[0].provider.requests) == tries


async def test_a_text_that_its_model_gave_up_on_is_no_answer(opened):
    """The provider says that the model failed in the middle of its text: half of it is not shown as the whole."""
    app = opened(models('replies = [{ text = "The price is", finish = "error" }]'), TWO)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text, answer.reason) == ("degraded", "from large", "model_unavailable")


async def test_a_plain_model_may_run_out_of_tokens_before_its_first_word(opened):
    """Whoever calls a model by its own name gets what it said, with its finish reason, also where that is nothing."""
    from mainstay.app import new_id
    from mainstay.core.call import Call
    from mainstay.core.model import Message, ModelRequest

    app = opened(models('replies = [{ finish = "length", reasoning = "Hm." }]'), TWO)
    call = Call(id=new_id(), feature="small", request=ModelRequest(messages=(Message("user", "?"),)))
    answer = fold([event async for event in app.serve(call)])
    assert (answer.status, answer.text, answer.finish) == ("answered", "", "length")


async def test_a_stopped_step_is_on_the_record_at_once(opened):
    """A guard stops the last step in its middle: its attempt is closed, counted and recorded before the next rung starts."""
    feature = STEPS.replace("tries = 2", "tries = 1") + '\n[guards]\noutput = [{ terms = ["AcmeCo"] }]\n'
    app = opened(
        models('replies = ["brief"]', 'replies = ["Buy from AcmeCo, they say, of all people."], chunk = 8'), feature, FINAL
    )
    events = [event async for event in app.stream("answers", question="?")]
    record = await app.record(fold(events).id)
    assert [(a.rung, a.outcome) for a in record.outcome.attempts] == [("steps.brief", "ok"), ("steps", "guarded")]


async def test_each_step_has_its_own_tries(opened):
    """As the file's help says: each step may be asked `tries` times, so one failure in each of two steps is no failure."""
    flaky = 'replies = [{ fault = "overloaded" }, "well"]'
    app = opened(models(flaky, flaky), STEPS, FINAL)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.rung, answer.text) == ("answered", "steps", "well")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [('{ text = "half a", finish = "length" }', "cut_short"), ('{ text = "no", finish = "content_filter" }', "model_refused")],
    ids=["cut short", "filtered"],
)
async def test_a_step_that_is_no_answer_is_not_built_upon(opened, reply, reason):
    """What an earlier step could not finish, or would not write, never becomes the next step's prompt."""
    app = opened(models(f"replies = [{reply}]"), STEPS, FINAL)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.rung, answer.reason) == ("degraded", "message", reason)
    assert app.features.ready["answers"].rungs[0].models[1].provider.requests == []


async def test_a_pause_that_ends_with_the_rungs_time_gives_way_to_the_next_rung(opened):
    """The watchdog rings while a retry is being waited for, because the loop was held up: the next rung answers."""
    feature = """
        summary = "Answers"
        deadline = "1200ms"
        [[ladder]]
        model = "small"
        prompt = "prompt.md"
        [[ladder]]
        rules = "rules.toml"
        needs = "800ms"
        [[ladder]]
        message = "Sorry."
    """
    rules = {"features/answers/rules.toml": "[[rule]]\nname = 'all'\nmatches = ['.']\nanswer = 'by rule'\n"}
    app = opened(
        '[models.small]\nprovider = "scripted"\noptions = { fault = "overloaded", retry_after = 0.35 }\n', feature, rules
    )
    running = asyncio.create_task(app.run("answers", question="?"))
    await asyncio.sleep(0.1)
    time.sleep(0.4)  # past the rung's time of 0.4 s, well before the deadline
    answer = await running
    assert (answer.status, answer.text, answer.reason) == ("degraded", "by rule", "model_unavailable")


async def test_a_prompt_that_cannot_be_filled_gives_way_to_the_next_rung(opened):
    """A template that fails on what this call brings is that rung's failure, not the end of the ladder."""
    feature = TWO.replace('model = "large"\n    prompt = "prompt.md"', 'model = "large"\n    prompt = "b.md"')
    files = {
        "features/answers/prompt.md": "{{ 100 // ((question | length) - 3) }}",
        "features/answers/b.md": "{{ question }}",
    }
    app = opened(models('replies = ["from small"]'), feature, files)
    assert (await app.run("answers", question="four")).text == "from small"
    answer = await app.run("answers", question="two")
    assert (answer.status, answer.text, answer.reason) == ("degraded", "from large", "rung_failed")
    record = await app.record(answer.id)
    assert [(a.rung, a.outcome) for a in record.outcome.attempts] == [("small", "failed"), ("large", "ok")]
    assert "the template cannot be filled" in record.outcome.attempts[0].detail


async def test_a_function_that_raises_is_named_in_the_record(opened, caplog):
    """A `call` rung that fails says so as `rung_failed`; its exception stands in the record, and its traceback in the log."""
    feature = TWO.replace('model = "small"\n    prompt = "prompt.md"', 'call = "own.py:reply"')
    app = opened(models(""), feature, {"features/answers/own.py": "def reply(question):\n    return {}[question]\n"})
    answer = await app.run("answers", question="key")
    assert (answer.status, answer.text, answer.reason) == ("degraded", "from large", "rung_failed")
    record = await app.record(answer.id)
    assert (record.outcome.attempts[0].rung, record.outcome.attempts[0].outcome) == ("call", "failed")
    assert "KeyError" in record.outcome.attempts[0].detail
    assert 'File "own.py", line 2, in reply' in caplog.text


async def test_a_function_that_swallows_its_time_out_is_too_slow(opened):
    """What a function returns after its time is no answer any more, and the record names the function."""
    feature = TWO.replace('model = "small"\n    prompt = "prompt.md"', 'call = "own.py:reply"').replace('"2s"', '"800ms"')
    own = """
        import asyncio, contextlib

        async def reply(question):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(30)
            return "too late"
    """
    app = opened(models(""), feature, {"features/answers/own.py": own})
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text, answer.reason) == ("degraded", "from large", "over_deadline")
    record = await app.record(answer.id)
    assert [(a.rung, a.outcome) for a in record.outcome.attempts] == [("call", "too_slow"), ("large", "ok")]


class Crashes:
    """A guard with a fault in it."""

    hold = 0

    async def check(self, draft):
        raise ZeroDivisionError


@pytest.mark.parametrize("stage", ["input", "output"])
async def test_a_guard_that_crashes_shows_nothing_unchecked(opened, stage):
    """A guard that raises lets nothing through, and the call still ends in a typed answer with its record."""
    feature = TWO + f'\n[guards]\n{stage} = ["test_attempts:Crashes"]\n'
    if stage == "output":  # the message is checked when the feature is loaded
        feature = feature.replace("Crashes", "CrashesLater")
    app = opened(models('replies = ["unchecked"]'), feature)
    events = [event async for event in app.stream("answers", question="?")]
    answer = fold(events)
    assert answer.status in ("refused", "degraded", "unavailable")
    assert answer.reason in ("rung_failed", "unsafe_input", "unsafe_output")
    assert "unchecked" not in answer.text + "".join(e.text for e in events if isinstance(e, Text))
    record = await app.record(answer.id)
    assert (record.outcome.answer.status, record.outcome.answer.reason) == (answer.status, answer.reason)


class CrashesLater(Crashes):
    """A guard that lets the feature's own message pass at load, and crashes on everything else."""

    async def check(self, draft):
        from mainstay.core.draft import ALLOW

        if draft.call.id != "load":
            raise ZeroDivisionError
        return ALLOW


async def test_a_guard_that_lets_nothing_pass_ends_the_ladder_in_a_refusal(opened):
    """A guard that fails whatever it is shown stops the message too: the call is refused, for that reason, and shows nothing of
    any draft nor of what raised. `unavailable` is for plain models, which have no ladder."""
    guard = """
        class Broken:
            hold = 0

            async def check(self, draft):
                if draft.call.id != "load":
                    raise ValueError("the inner secret")
                from mainstay.core.draft import ALLOW
                return ALLOW
    """
    feature = TWO + '    [guards]\n    output = ["broken_guard:Broken"]\n'
    app = opened(models('replies = ["unchecked"]'), feature, {"broken_guard.py": guard})
    for stream in (True, False):
        events = (
            [event async for event in app.stream("answers", question="?")] if stream else [await app.run("answers", question="?")]
        )
        answer = events[-1]
        assert (answer.status, answer.reason, answer.detail) == ("refused", "unsafe_output", None)
        assert "unchecked" not in repr(events) and "inner secret" not in repr(events)
        assert "inner secret" in repr(await app.record(answer.id))
