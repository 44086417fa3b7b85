"""Rungs that ask nobody are tried whatever the rungs below them need."""

from __future__ import annotations

ONE_MODEL = '[models.small]\nprovider = "scripted"\noptions = { replies = ["by model"] }\n'
RULES = {"features/answers/rules.toml": "[[rule]]\nname = 'all'\nmatches = ['.']\nanswer = 'by rule'\n"}


async def test_rules_answer_above_a_model_that_was_never_measured(opened):
    """A new process knows nothing of its one model's pace and keeps all the time for it; rules still come first."""
    feature = """
        summary = "Answers"
        [[ladder]]
        rules = "rules.toml"
        [[ladder]]
        model = "small"
        prompt = "prompt.md"
        [[ladder]]
        message = "Sorry."
    """
    app = opened(ONE_MODEL, feature, RULES)
    answer = await app.run("answers", question="?")
    assert (answer.status, answer.text, answer.reason) == ("answered", "by rule", None)
