"""A guard may ask another feature: for the same tenant, in the call's time, one deep, and on the record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import mainstay
from mainstay import Reason, Status
from projects import feature

SETTINGS = """
    [models.small]
    provider = "scripted"
    [models.small.options]
    replies = ["The answer."]

    [models.arbiter]
    provider = "scripted"
    [models.arbiter.options]
    replies = ["yes"]

    [models.slow_judge]
    provider = "scripted"
    [models.slow_judge.options]
    replies = ["yes"]
    delay = "5s"
"""

FEATURE = feature(
    """
    [guards]
    output = [{ "asking_guards:Judged" = { judge = "JUDGE" } }]
""",
    deadline="1s",
)

JUDGE = """
    summary = "Says yes or no"
    deadline = "10s"

    [input]
    text = "text"

    [[ladder]]
    model = "MODEL"
    prompt = "prompt.md"

    [[ladder]]
    message = "no"
"""

GUARD = '''
    from mainstay.core.draft import ALLOW, refuse
    from mainstay.core.reasons import Reason
    from mainstay.core.seams import Hold


    class Judged:
        """Lets out what a judge says yes to."""

        hold = Hold.WHOLE

        def __init__(self, *, judge: str) -> None:
            self._judge = judge

        async def check(self, draft):
            if not draft.complete or draft.ask is None or draft.text == "Sorry.":
                return ALLOW
            answer = await draft.ask(self._judge, {"text": draft.text})
            return ALLOW if answer.text == "yes" else refuse(Reason.UNSAFE_OUTPUT, f"the judge says {answer.text}")
'''


def files(judge: str, *, model: str = "arbiter") -> dict[str, str]:
    return {
        "asking_guards.py": GUARD,
        f"features/{judge}/feature.toml": JUDGE.replace("MODEL", model),
        f"features/{judge}/prompt.md": "Is this right? {{ text }}\n",
    }


async def test_a_guard_asks_a_judge_for_the_same_tenant(opened: Callable[..., mainstay.Mainstay]):
    """What the judge was asked is a record of its own, that names the call it was asked for and whose it was."""
    app = opened(SETTINGS, FEATURE.replace("JUDGE", "judge"), files("judge"))
    answer = await app.run("answers", question="What?", tenant="acme")
    assert (answer.status, answer.text) == (Status.ANSWERED, "The answer.")
    [judged] = await app.records(feature="judge")
    assert (judged.begun.call.parent, judged.begun.call.tenant, judged.begun.call.origin) == (answer.id, "acme", "judge")


async def test_a_judge_that_says_no_stops_the_draft(opened: Callable[..., mainstay.Mainstay]):
    """The guard decides by what the other feature answered."""
    settings = SETTINGS.replace('["yes"]', '["no"]', 1)
    app = opened(settings, FEATURE.replace("JUDGE", "judge"), files("judge"))
    answer = await app.run("answers", question="What?")
    assert (answer.status, answer.reason, answer.text) == (Status.DEGRADED, Reason.UNSAFE_OUTPUT, "Sorry.")


async def test_a_slow_judge_has_no_more_time_than_the_call(opened: Callable[..., mainstay.Mainstay]):
    """However long a judge's own deadline, the call that asks it ends by its own."""
    app = opened(SETTINGS, FEATURE.replace("JUDGE", "slow"), files("slow", model="slow_judge"))
    began = time.monotonic()
    answer = await app.run("answers", question="What?")
    assert time.monotonic() - began < 3
    assert answer.text == "Sorry."
    [judged] = await app.records(feature="slow")
    assert 0 < judged.begun.call.deadline <= 1


async def test_calls_within_calls_are_one_deep(opened: Callable[..., mainstay.Mainstay]):
    """A judge whose own guard would ask asks nobody: its guard fails, so nothing of it leaves, and nothing runs in circles."""
    app = opened(
        SETTINGS, FEATURE.replace("JUDGE", "answers").replace("asking_guards", "asking_itself"), {"asking_itself.py": ITSELF}
    )
    answer = await asyncio.wait_for(app.run("answers", question="What?"), 5)
    assert (answer.status, answer.text) == (Status.DEGRADED, "Sorry.")
    inner, _ = sorted(await app.records(feature="answers"), key=lambda record: record.begun.call.parent is None)
    assert inner.begun.call.parent == answer.id
    said = [*inner.outcome.guards, *inner.outcome.attempts]
    assert any("one deep" in note.detail for note in said), said


ITSELF = GUARD.replace('{"text": draft.text}', '{"question": draft.text}')
