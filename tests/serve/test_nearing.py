"""Near hits, through the door: who is given the answer to a question in nearly the same words, and who is not."""

from __future__ import annotations

import asyncio
import json

import pytest

from mainstay.parts import nearness

NEAR = """
    summary = "Answers"
    deadline = "2s"
    [input]
    question = "text"
    product = "text?"
    number = "number?"
    picture = "image?"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    [[ladder]]
    message = "Sorry."
    [cache]
    keep = "1h"
    near = "auto"
    checked = 0.0
"""
MODEL = """
    [models.small]
    provider = "scripted"
    price = { input = "1 USD", output = "2 USD" }
"""


def measured(**changes: object) -> dict[str, str]:
    """A near.json by which near hits are on."""
    file = {
        "fitted": "2026-11-21",
        "verifier": nearness.shared().name,
        "target": 0.01,
        "threshold": 0.5,
        "upper": 0.008,
        "asked": 1000,
        "hits": 600,
        "wrong": 0,
        **changes,
    }
    return {"features/answers/near.json": json.dumps(file)}


ASKED = "How can I reset my password?"
SAME = "how can i reset my password"


@pytest.fixture
def app(opened):
    """A project whose feature has near hits on."""
    return opened(MODEL, NEAR, files=measured())


async def test_a_near_question_is_given_the_answer_and_marked(app):
    """The answer of the earlier call, by the guards, with the status `cached`, and the record names that call and its cost."""
    first = await app.run("answers", question=ASKED)
    events = [event async for event in app.stream("answers", question=SAME, progress=True)]
    answer = events[-1]
    assert (first.status, answer.status, answer.text) == ("answered", "cached", first.text)
    assert "near" in [event.name for event in events if hasattr(event, "detail") and hasattr(event, "name")]
    record = await app.record(answer.id)
    recalled = record.outcome.recalled
    assert recalled.of == first.id and recalled.near >= 0.5
    assert recalled.cost_nano_usd == (await app.record(first.id)).outcome.cost_nano_usd > 0
    assert record.outcome.cost_nano_usd == 0
