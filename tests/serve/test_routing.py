"""How the deadline is shared out between the rungs."""

from __future__ import annotations

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
