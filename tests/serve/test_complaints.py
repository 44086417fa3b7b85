"""What the log says when a model fails: enough to act on, once a minute, and nothing that must not be there."""

from __future__ import annotations

import logging

LADDER = """
    summary = "Answers"
    deadline = "2s"
    {log}
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    [[ladder]]
    message = "Sorry."
"""
FAILING = '[models.small]\nprovider = "scripted"\noptions = { replies = [{ fault = "unauthorized" }] }\n'


async def test_a_failing_model_is_in_the_log_once_a_minute(opened, caplog):
    """A wrong key shows in the log at once, and not a thousand times."""
    app = opened(FAILING, LADDER.format(log=""))
    with caplog.at_level(logging.WARNING, "mainstay.models"):
        for question in ("one", "two", "three"):
            assert (await app.run("answers", question=question)).rung == "message"
    lines = [record.getMessage() for record in caplog.records if record.name == "mainstay.models"]
    assert len(lines) == 1
    assert lines[0].startswith("small: unauthorized")


async def test_the_log_says_no_more_than_the_record_may(opened, caplog):
    """Of a feature that keeps no texts, a provider's words about its input are kept out of the log too."""
    app = opened(FAILING, LADDER.format(log='log = "none"'))
    with caplog.at_level(logging.WARNING, "mainstay.models"):
        await app.run("answers", question="one")
    assert [record.getMessage() for record in caplog.records if record.name == "mainstay.models"] == ["small: unauthorized"]
