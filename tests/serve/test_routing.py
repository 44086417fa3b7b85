"""How the deadline is shared out between the rungs."""

from __future__ import annotations

import asyncio

import pytest

from mainstay.core.draft import ALLOW
from mainstay.core.evidence import Passage

STALLED = '[models.small]\nprovider = "scripted"\noptions = { replies = [""], fault = "stalled" }\n'
RULES = {"features/answers/rules.toml": "[[rule]]\nname = 'all'\nmatches = ['.']\nanswer = 'by rule'\n"}


async def test_the_time_that_is_kept_for_a_rung_is_enough_for_it(opened):
    """A rung that says what it needs is tried when the rung above it has used up all of its own time."""
    feature = """
        summary = "Answers"
        deadline = "1s"
        [[ladder]]
        model = "small"
        prompt = "prompt.md"
        [[ladder]]
        rules = "rules.toml"
        needs = "700ms"
        [[ladder]]
        message = "Sorry."
    """
    app = opened(STALLED, feature, RULES)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text, answer.reason) == ("degraded", "by rule", "over_deadline")


async def test_a_shortened_deadline_is_shared_out_in_the_same_proportions(opened):
    """A caller in a hurry still gets the first model: rungs below keep their share of the call's time, not of the feature's."""
    models = "".join(
        f'[models.{name}]\nprovider = "scripted"\noptions = {{ replies = ["from {name}"] }}\n' for name in ("small", "large")
    )
    feature = """
        summary = "Answers"
        deadline = "20s"
        [[ladder]]
        model = "small"
        prompt = "prompt.md"
        [[ladder]]
        model = "large"
        prompt = "prompt.md"
        [[ladder]]
        message = "Sorry."
    """
    app = opened(models, feature)
    answer = await app.run("answers", question="?", deadline=2.0)
    assert (answer.status, answer.text) == ("answered", "from small")


class Thinks:
    """A guard that needs the event loop to turn before it knows what to say."""

    hold = 0

    def __init__(self, seconds: float = 0.001):
        self._seconds = seconds

    async def check(self, draft):
        await asyncio.sleep(self._seconds)
        return ALLOW


async def test_the_message_passes_guards_that_take_a_moment(opened):
    """All time is used up by the model; the last rung still gets the little that a guard of one's own takes."""
    feature = """
        summary = "Answers"
        deadline = "300ms"
        [[ladder]]
        model = "small"
        prompt = "prompt.md"
        [[ladder]]
        message = "Sorry."
        [guards]
        output = ["test_routing:Thinks"]
    """
    app = opened(STALLED, feature)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text, answer.rung) == ("degraded", "Sorry.", "message")


RULED = """
    summary = "Answers"
    deadline = "2s"
    [[ladder]]
    rules = "rules.toml"
    {models}
    [[ladder]]
    message = "Sorry."
"""
MODEL = '[[ladder]]\nmodel = "small"\nprompt = "prompt.md"\n'


@pytest.mark.parametrize("models", [0, 1, 2, 3])
async def test_rules_above_models_answer(opened, models):
    """However many models share the deadline below them, rules, which take no time, are asked first and answer plainly."""
    feature = RULED.replace("    ", "").replace("{models}", MODEL * models)
    app = opened(STALLED, feature, RULES)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text, answer.reason) == ("answered", "by rule", None)


async def test_rules_have_the_time_that_their_guards_need(opened):
    """A guard of one's own that takes a moment does not make rules too slow, however much the models below them may need."""
    feature = RULED.replace("    ", "").replace("{models}", MODEL) + '[guards]\noutput = [{ "test_routing:Thinks" = 0.1 }]\n'
    app = opened(STALLED, feature, RULES)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text, answer.reason) == ("answered", "by rule", None)


class SlowSource:
    """A source that takes its time."""

    version = "1"

    def __init__(self, *, name, path, link=None):
        self._name = name

    async def search(self, query, *, limit, viewer):
        await asyncio.sleep(0.5)
        return [Passage(id="1", source=self._name, document="a.md", text="Something.")]


async def test_what_grounding_took_is_taken_from_all_rungs(opened):
    """The search for evidence took half of the time: what is left is shared out, and no model goes without."""
    settings = "".join(
        f'[models.{name}]\nprovider = "scripted"\noptions = {{ {options} }}\n'
        for name, options in (("small", 'fault = "stalled"'), ("large", 'replies = ["from large"]'))
    )
    settings += '[sources.slow]\nkind = "test_routing:SlowSource"\npath = "."\n'
    feature = """
        summary = "Answers"
        deadline = "1200ms"
        [grounding]
        sources = ["slow"]
        [[ladder]]
        model = "small"
        prompt = "prompt.md"
        [[ladder]]
        model = "large"
        prompt = "prompt.md"
        [[ladder]]
        message = "Sorry."
    """
    app = opened(settings, feature)
    answer = await app.run("answers", question="?")
    assert (answer.text, answer.reason) == ("from large", "over_deadline")
    record = await app.record(answer.id)
    assert [a.outcome for a in record.outcome.attempts] == ["too_slow", "ok"]


async def test_only_users_calls_teach_the_router_how_long_a_rung_takes(opened):
    """Evaluations and drills have a pace of their own kind: what they took is not held against, or for, a rung."""
    app = opened('[models.small]\nprovider = "scripted"\n')
    for origin, known in (("eval", False), ("user", True)):
        for n in range(20):
            assert (await app.run("answers", question=f"{n}", origin=origin)).status == "answered"
        assert (app.features.ready["answers"].rungs[0].pace.p50 is not None) is known
