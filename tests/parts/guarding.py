"""What the tests of guards share: a guard asked at once, and a feature that streams through one."""

from __future__ import annotations

import json
from typing import Any

from mainstay.core.answer import Answer, Text, fold
from mainstay.core.call import Call, Turn
from mainstay.core.draft import Draft, Verdict
from mainstay.core.model import ModelRequest

DELIVERIES = ("stream", "checked")


def said(guard: Any, text: str = "", **draft: Any) -> Verdict:
    """What a guard says at once."""
    checking = guard.check(Draft(**{"call": Call(id="t", feature="f"), "text": text, **draft}))
    try:
        checking.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the guard waits for something")


def on_input(guard: Any, *, history: tuple[Turn, ...] = (), request: ModelRequest | None = None, **fields: Any) -> Verdict:
    """What a guard says of an input."""
    return said(guard, call=Call(id="t", feature="f", input=fields, history=history, request=request), stage="input")


def becomes(guard: Any, text: str) -> str | None:
    """What a guard makes of a whole text; None where it stops it."""
    verdict = said(guard, text)
    return None if verdict.action in ("retry", "refuse") else text if verdict.text is None else verdict.text


async def streamed(opened: Any, guard: str, reply: str, delivery: str, *, chunk: int = 3, **call: Any) -> tuple[str, Answer]:
    """What a reader saw, and the answer, of a feature with this guard on its output whose model writes `reply`."""
    feature = f"""
        summary = "Answers"
        delivery = "{delivery}"
        deadline = "4s"
        [[ladder]]
        model = "small"
        prompt = "prompt.md"
        [[ladder]]
        message = "Sorry."
        [guards]
        input = []
        output = [{guard}]
    """
    settings = f'[models.small]\nprovider = "scripted"\noptions = {{ replies = [{json.dumps(reply)}], chunk = {chunk} }}\n'
    app = opened(settings, feature)
    events = [event async for event in app.stream("answers", **{"question": "What do you say?", **call})]
    return "".join([event.text for event in events if isinstance(event, Text)]), fold(events)
