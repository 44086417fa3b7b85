"""The exact cache, where it is not what it was."""

from __future__ import annotations

import msgspec

from mainstay.serve.caching import key_of
from mainstay.serve.tracing import Trace

CACHED = """
    summary = "Answers"
    deadline = "2s"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    [[ladder]]
    message = "Sorry."
    [cache]
    keep = "1h"
"""


async def test_a_stored_answer_that_cannot_be_read_is_no_answer(opened):
    """What another version stored, or a disk garbled, is as good as nothing: the model is asked."""
    app = opened('[models.small]\nprovider = "scripted"\noptions = { replies = ["well"] }\n', CACHED)
    first = await app.run("answers", question="?")
    call = (await app.record(first.id)).begun.call
    key = key_of(Trace(call, app.features.ready["answers"]))
    assert (await app.run("answers", question="?")).status == "cached"
    for garbled in (b"{", msgspec.json.encode({"event": "answer", "status": "quite_new"})):
        app.parts.cache.put(key, garbled, keep=60)
        answer = await app.run("answers", question="?")
        assert (answer.status, answer.text) == ("answered", "well")
