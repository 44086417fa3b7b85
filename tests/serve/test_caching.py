"""The exact cache, where it is not what it was."""

from __future__ import annotations

import msgspec
import pytest

from mainstay.serve.caching import key_of
from mainstay.serve.tracing import Trace
from projects import feature

CACHED = feature(
    """
    [cache]
    keep = "1h"
""",
    deadline="2s",
)


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


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("Caf\u00e9 hours?", "Cafe\u0301 hours?", True),
        ("opening hours", "  opening   hours \n", True),
        ("a\r\nb ", "a\nb", True),
        ("if x:\n  y", "if x:\n    y", False),
        ("opening hours", "Opening hours", False),
        ("opening hours", "opening hours?", False),
        ("x\u00b2", "x2", False),
    ],
)
async def test_the_key_normalises_what_is_safe_and_nothing_else(opened, first, second, same):
    """White space that says nothing and how a character is composed make no other question; case, signs and indentation do."""
    app = opened('[models.small]\nprovider = "scripted"\n', CACHED)
    await app.run("answers", question=first)
    assert (await app.run("answers", question=second)).status == ("cached" if same else "answered")
