"""The retry-loop breaker: which calls are one request, and which outcomes count."""

from __future__ import annotations

from mainstay.core.reasons import Reason
from mainstay.serve.loops import FAILURES

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


async def test_who_is_in_a_hurry_is_in_a_loop_alone(opened):
    """The same question with all the time that the feature gives is another request."""
    app = opened(small('replies = ["well"], delay = "150ms"'), FEATURE)
    for n in range(2 * FAILURES):
        hurried = await app.run("answers", question="?", deadline=0.05)
        assert hurried.reason == (Reason.OVER_DEADLINE if n < FAILURES else Reason.RETRY_LOOP)
    assert (await app.run("answers", question="?")).status == "answered"


async def test_a_provider_that_is_down_is_no_loop(opened):
    """What costs nothing is the affair of the model's breaker, which lets calls through again within seconds."""
    app = opened(small('fault = "overloaded"'), FEATURE)
    for _ in range(3 * FAILURES):
        assert (await app.run("answers", question="?")).reason == Reason.MODEL_UNAVAILABLE


async def test_an_evaluation_is_never_stopped(opened):
    """Other origins than a user's neither feed nor obey it."""
    app = opened(small('fault = "rejected"'), FEATURE)
    for _ in range(2 * FAILURES):
        assert (await app.run("answers", question="?", origin="eval")).reason == Reason.MODEL_REFUSED
    assert (await app.run("answers", question="?")).reason == Reason.MODEL_REFUSED
