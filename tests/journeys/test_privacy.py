"""The log policy holds for the program's log too: where texts are not to be kept, an error's message is not told either."""

from __future__ import annotations

import logging

import pytest

PERSON = "ada.lovelace@example.org"
FEATURE = """
    summary = "Answers"
    deadline = "2s"
    log = "{policy}"
    [grounding]
    sources = ["own"]
    required = false
    [[ladder]]
    call = "reply.py:reply"
    [[ladder]]
    model = "small"
    prompt = "prompt.md"
    [[ladder]]
    message = "Sorry."
    [guards]
    input = {input}
    output = {output}
"""
SETTINGS = """
    [models.small]
    provider = "parts:Provider"
    model = "m"
    [sources.own]
    kind = "parts:Source"
"""
PARTS = """
    from mainstay.core.draft import ALLOW

    class Provider:
        def __init__(self, model, *, key, http):
            pass

        async def generate(self, request, *, stream):
            raise ValueError(f"cannot send {request.messages}")
            yield

    class Source:
        version = "1"

        def __init__(self, *, name):
            pass

        async def search(self, query, *, limit, viewer):
            raise ValueError(f"cannot look for {query}")

    class Input:
        hold = 0

        async def check(self, draft):
            raise ValueError(f"cannot read {draft.call.input}")

    class Output:
        hold = 0

        async def check(self, draft):
            if draft.call.id != "load":
                raise ValueError(f"cannot check an answer to {draft.call.input}")
            return ALLOW
"""
REPLY = """
    def reply(question):
        raise ValueError(f"cannot answer {question}")
"""


@pytest.mark.parametrize("guards", [{}, {"input": '["parts:Input"]'}, {"output": '["parts:Output"]'}])
@pytest.mark.parametrize("policy", ["full", "redacted", "none"])
async def test_what_is_not_to_be_kept_is_not_logged_either(opened, caplog, policy, guards):
    """A guard, a source, a function and a provider of the team fail with the user's words in their messages: with `full` the log
    has them, with `redacted` and `none` it has the kind of the error and where it was raised, and no record has more."""
    lists = {"input": "[]", "output": "[]", **guards}
    files = {"parts.py": PARTS, "features/answers/reply.py": REPLY}
    app = opened(SETTINGS, FEATURE.format(policy=policy, **lists), files)
    answer = await app.run("answers", question=f"I am {PERSON}")
    logged = "".join(logging.Formatter().format(record) for record in caplog.records)
    assert "ValueError" in logged
    assert "parts.py" in logged
    assert (PERSON in logged) is (policy == "full")
    on_disk = b"".join(p.read_bytes() for p in app.state.rglob("*") if p.is_file())
    assert (PERSON.encode() in on_disk) is (policy == "full")
    assert answer.status == ("refused" if guards else "degraded")
