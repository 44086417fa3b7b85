"""What a caller gives comes back to the caller over every door, and to nobody and nothing else."""

from __future__ import annotations

import json

from serving import TALKING, scripted

ANN = "ann.lee@example.org"
HIDING = TALKING + '[guards]\ninput = ["size", "personal_data"]\noutput = ["personal_data"]\n'
PLAIN = '\n[plain]\nguards = { input = ["personal_data"], output = [] }\n'
ECHO = 'replies = ["You wrote: {last}."], chunk = 3'


async def on_disk(app) -> bytes:
    await app.records(limit=1)
    return b"".join(p.read_bytes() for p in app.state.rglob("*") if p.is_file())


async def test_over_http_whole_and_streamed(served):
    """The native door: JSON and server-sent events restore, `GET /v1/answers` shows what the record holds."""
    server = await served(scripted(ECHO), HIDING)
    whole = (await server.ask(f"I am {ANN}")).json()
    assert whole["text"] == f"You wrote: I am {ANN}."
    streamed = (await server.ask(f"I am {ANN}", stream=True)).text
    pieces = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: ")]
    assert "".join(p["text"] for p in pieces if p["event"] == "text") == whole["text"]
    assert pieces[-1]["text"] == whole["text"]
    kept = (await server.http().get(f"/v1/answers/{whole['id']}")).json()
    assert kept["text"] == "You wrote: I am [email_1]."
    assert ANN.encode() not in await on_disk(server.app)


async def test_over_the_openai_door(served):
    """The unmodified SDK gets its own words back from a feature and from a plain model, streamed too, tool calls included."""
    tool = """{ tool_calls = [{ id = "c", name = "mail", arguments = '{"to": "[email_1]"}' }] }"""
    server = await served(scripted(f'replies = ["Dear {{last}}.", "Dear {{last}}.", {tool}], chunk = 4') + PLAIN, HIDING)
    client = server.sdk()
    earlier = [{"role": "user", "content": f"Write to {ANN}"}, {"role": "assistant", "content": "I will."}]
    for model in ("answers", "small"):
        messages = [*earlier, {"role": "user", "content": f"at {ANN}"}]
        stream = await client.chat.completions.create(model=model, messages=messages, stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
        assert text == f"Dear at {ANN}."
    asked = [m.text for request in server.asked for m in request.messages]
    assert "Write to [email_1]" in asked and not any(ANN in text for text in asked)
    reply = await client.chat.completions.create(model="small", messages=[{"role": "user", "content": ANN}])
    assert json.loads(reply.choices[0].message.tool_calls[0].function.arguments) == {"to": ANN}
    assert ANN.encode() not in await on_disk(server.app)


async def test_the_tool_calls_and_results_of_earlier_turns_are_hidden_too(served):
    """A plain model's caller sends back what tools were asked and said: both go on with placeholders, and stay JSON."""
    server = await served(scripted('replies = ["ok"]') + PLAIN, HIDING)
    call = {"id": "c", "type": "function", "function": {"name": "mail", "arguments": json.dumps({"to": ANN})}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": f"mail {ANN}"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": f"sent to {ANN}"},
    ]
    await server.sdk().chat.completions.create(model="small", messages=messages)
    sent = server.asked[0].messages
    assert json.loads(sent[1].tool_calls[0].arguments) == {"to": "[email_1]"}
    assert [sent[0].text, sent[2].text] == ["mail [email_1]", "sent to [email_1]"]
