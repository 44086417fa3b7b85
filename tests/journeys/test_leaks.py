"""What may not get out: keys, refused drafts, and what only the record should tell."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from mainstay import registry
from mainstay.core.answer import fold
from mainstay.core.call import Call
from mainstay.core.draft import Draft
from mainstay.core.errors import Overloaded
from mainstay.core.model import Message, ModelRequest
from mainstay.core.project import Model
from mainstay.ids import new_id
from mainstay.parts.http import Http

KEY = "sk-loopback-0123456789abcdef-SECRET"
WHOLE = KEY.encode()


class Refusing:
    """A loopback upstream that answers every request with this status, and quotes the key back at us; `heads` is what it saw."""

    def __init__(self, status: int, said: str) -> None:
        self.status, self.said = status, said
        self.heads: list[bytes] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        body = json.dumps({"error": {"message": self.said, "type": "invalid_request_error", "code": "invalid_api_key"}}).encode()
        writer.write(f"HTTP/1.1 {self.status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n".encode())
        writer.write(b"connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()


@pytest.fixture
async def refusing() -> AsyncIterator[Callable]:
    """`await refusing(401, "…")` runs such an upstream."""
    servers = []

    async def start(status: int, said: str) -> Refusing:
        made = Refusing(status, said)
        servers.append(await asyncio.start_server(made.answer, "127.0.0.1", 0))
        made.port = servers[-1].sockets[0].getsockname()[1]
        return made

    yield start
    for server in servers:
        server.close()


def model(adapter: str, url: str) -> str:
    return f'[models.small]\nprovider = "{adapter}"\nmodel = "m"\nurl = "{url}"\nkey = "env:UPSTREAM_KEY"\n'


async def everything(app, answer, caplog) -> bytes:
    """All that is left of a call: its answer, its record, the files on disk, the log and the metrics."""
    record = await app.record(answer.id)
    on_disk = b"".join(p.read_bytes() for p in app.state.rglob("*") if p.is_file())
    logged = "".join(logging.Formatter().format(r) for r in caplog.records)
    return b"\n".join([repr(answer).encode(), repr(record).encode(), on_disk, logged.encode(), app.metrics()])


@pytest.mark.parametrize("adapter", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("feature", ["answers", "small"])
async def test_a_wrong_key_is_said_everywhere_and_shown_nowhere(opened, refusing, caplog, adapter, feature):
    """401: the user gets the next rung, the record and the metrics say `unauthorized`, and the key, which the provider quotes
    back, is in none of them, nor in the log. It is asked once, whatever `tries` say."""
    upstream = await refusing(401, f"Incorrect API key provided: {KEY}. You can find yours somewhere.")
    settings = 'observers = ["prometheus"]\n' + model(adapter, f"http://127.0.0.1:{upstream.port}/v1")
    app = opened(settings, environ={"UPSTREAM_KEY": KEY})
    if feature == "small":
        call = Call(id=new_id(), feature="small", request=ModelRequest(messages=(Message("user", "?"),), max_output=5))
        answer = fold([event async for event in app.serve(call)])
        assert (answer.status, answer.reason) == ("unavailable", "model_unavailable")
        assert "[secret]" in answer.detail
    else:
        answer = await app.run("answers", question="?")
        assert (answer.status, answer.reason, answer.text, answer.detail) == ("degraded", "model_unavailable", "Sorry.", None)
    (attempt,) = [a for a in (await app.record(answer.id)).outcome.attempts if a.model]
    assert (attempt.outcome, attempt.http_status) == ("unauthorized", 401)
    assert "[secret]" in attempt.detail
    assert len(upstream.heads) == 1
    assert any(WHOLE in head for head in upstream.heads)
    assert b'outcome="unauthorized"' in app.metrics()
    assert WHOLE not in await everything(app, answer, caplog)


async def test_a_key_that_is_refused_again_and_again_is_in_the_log_once(opened, refusing, caplog):
    """Who looks into the log at night finds which model does not answer and why: a line when its breaker opens, and no key."""
    upstream = await refusing(401, f"Incorrect API key provided: {KEY}.")
    app = opened(model("openai", f"http://127.0.0.1:{upstream.port}/v1"), environ={"UPSTREAM_KEY": KEY})
    for _ in range(8):
        answer = await app.run("answers", question="?")
    assert len(upstream.heads) == 5
    said = [record.getMessage() for record in caplog.records if record.name == "mainstay.models"]
    assert [line for line in said if "breaker" in line] == [
        "the breaker of small is open, after an attempt that was unauthorized"
    ]
    assert WHOLE not in await everything(app, answer, caplog)


@pytest.mark.parametrize("length", [430, 440])
async def test_a_key_that_an_error_message_is_cut_in_is_not_shown_in_part(opened, refusing, caplog, length):
    """Long messages of providers are cut; where the cut goes through the key, its first half is not left standing."""
    upstream = await refusing(401, "x" * length + KEY + "y" * 600)
    app = opened(model("openai", f"http://127.0.0.1:{upstream.port}/v1"), environ={"UPSTREAM_KEY": KEY})
    answer = await app.run("answers", question="?")
    left = await everything(app, answer, caplog)
    assert b"xxxxx[secret]" in left
    assert WHOLE[:6] not in left


@pytest.mark.parametrize("adapter", ["openai", "anthropic", "gemini"])
async def test_what_an_address_holds_beside_host_and_path_is_not_shown(refusing, adapter):
    """A password in an address, or what its query says, may be a secret: errors name host and path only."""
    upstream = await refusing(500, "down")
    http = Http()
    made = Model(
        name="m",
        provider=adapter,
        model="m",
        url=f"http://user:hunter2@127.0.0.1:{upstream.port}/v1",
        query={"token": "querysecret"},
    )
    provider = registry.part("providers", adapter, where="")(made, key="k", http=http)
    with pytest.raises(Overloaded) as caught:
        await anext(provider.generate(ModelRequest(messages=(Message("user", "?"),), max_output=5), stream=True))
    assert f"127.0.0.1:{upstream.port}/v1" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "querysecret" not in str(caught.value)
    await http.close()


async def test_a_refused_draft_is_not_told_as_progress(opened):
    """A guard's remark may quote the draft that it refused; the reader's `step` event names the rung and no more."""
    settings = '[models.small]\nprovider = "scripted"\noptions = { replies = ["{\\"kind\\": \\"zwiebel\\"}"] }\n'
    feature = """
        summary = "Answers"
        deadline = "2s"
        [answer]
        schema = "answer.schema.json"
        [[ladder]]
        model = "small"
        prompt = "prompt.md"
        tries = 2
        [[ladder]]
        message = { kind = "other" }
    """
    schema = '{"type": "object", "properties": {"kind": {"enum": ["other", "one"]}}, "required": ["kind"]}'
    app = opened(settings, feature, {"features/answers/answer.schema.json": schema})
    events = [event async for event in app.stream("answers", question="?", progress=True)]
    assert [(e.name, e.detail) for e in events if type(e).__name__ == "Step"] == [("asked_again", "small"), ("rung", "message")]
    assert "zwiebel" not in repr(events)
    assert events[-1].reason == "schema_invalid"


async def test_a_cached_tool_call_is_shown_to_the_guards_again(opened, refusing):
    """Guards look at what comes from the cache as at what is fresh, a tool's arguments too."""

    settings = """
        [models.small]
        provider = "scripted"
        options = { replies = [{ tool_calls = [{ id = "1", name = "look", arguments = "{}" }] }] }
        [plain]
        guards = { output = ["witness:Seeing"] }
        cache = { keep = "1h" }
    """
    witness = """
        from mainstay.core.draft import ALLOW

        SEEN = []

        class Seeing:
            hold = 0

            async def check(self, draft):
                SEEN.append(draft)
                return ALLOW
    """
    app = opened(settings, files={"witness.py": witness})
    import witness as project_module

    answers = []
    for _ in range(2):
        call = Call(id=new_id(), feature="small", request=ModelRequest(messages=(Message("user", "?"),), max_output=5))
        answers.append(fold([event async for event in app.serve(call)]))
    assert [a.status for a in answers] == ["answered", "cached"]
    seen: list[Draft] = project_module.SEEN
    assert seen[0].tool_calls
    assert [draft.tool_calls for draft in seen] == [answers[0].tool_calls] * len(seen)
