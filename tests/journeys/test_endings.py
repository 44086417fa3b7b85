"""Exactly one record a call, for every way in which a call can end: its status, its reason, what it cost, and whose it was."""

from __future__ import annotations

import asyncio

import pytest
from serving import TALKING, Served, asking, events_of, request, scripted

from mainstay.core.record import Record

PRICED = """
    [models.small]
    provider = "scripted"
    options = { %s }
    price = { input = "1 USD", output = "2 USD" }
"""
CACHED = TALKING + '\n    [cache]\n    keep = "1h"\n'
USAGE = "usage = { input = 100, output = 10 }"
COST = 100 * 1_000 + 10 * 2_000  # nano-dollars, at 1 and 2 USD for a million tokens
HUNG = """
    import asyncio

    class Clinging:
        def __init__(self, model, *, key, http):
            pass

        async def generate(self, request, *, stream):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.15)
            yield
"""


async def only(server: Served, number: int = 1) -> list[Record]:
    """All records, which have to be this many: still so when everything has settled."""
    for _ in range(100):
        found = await server.app.records(limit=1000)
        if len(found) >= number:
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)
    found = await server.app.records(limit=1000)
    assert len(found) == number
    assert len({r.id for r in found}) == number
    return found


def told(record: Record) -> tuple:
    """What a record says of its call, in short."""
    answer, outcome = record.outcome.answer, record.outcome
    return str(answer.status), answer.reason and str(answer.reason), outcome.cost_nano_usd, record.begun.call.tenant


async def test_answered_then_cached(served):
    """The first is paid for, the second is `cached` and costs nothing; another tenant asks, and pays, for itself."""
    server = await served(PRICED % f'replies = ["one"], {USAGE}', CACHED)
    for tenant in ("a", "a", "b"):
        assert (await server.ask(tenant=tenant)).status_code == 200
    found = await only(server, 3)
    assert sorted(map(told, found)) == [
        ("answered", None, COST, "a"),
        ("answered", None, COST, "b"),
        ("cached", None, 0, "a"),
    ]


async def test_a_shared_production_is_paid_once(served):
    """Ten identical calls at once: ten records, one of them pays, and nine name the call whose production they joined."""
    server = await served(PRICED % f'replies = ["one"], delay = "300ms", {USAGE}', CACHED)
    answers = [r.json() for r in await asyncio.gather(*[server.ask(tenant="a") for _ in range(10)])]
    assert {a["status"] for a in answers} == {"answered"}
    found = await only(server, 10)
    assert sorted(r.outcome.cost_nano_usd for r in found) == [0] * 9 + [COST]
    leader = {r.outcome.shared_with for r in found} - {None}
    assert len(leader) == 1
    assert leader <= {r.id for r in found}
    assert {r.id for r in found} == {a["id"] for a in answers}


async def test_a_leader_that_leaves_does_not_take_the_bill_along(served):
    """Who started the production goes; who joined it is answered, and somebody pays for it exactly once."""
    server = await served(PRICED % f'replies = ["one"], delay = "700ms", {USAGE}', CACHED)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request("/v1/features/answers", asking(tenant="a")))
    await asyncio.sleep(0.2)
    follower = asyncio.create_task(server.ask(tenant="a"))
    await asyncio.sleep(0.2)
    writer.close()
    assert (await follower).json()["status"] == "answered"
    found = await only(server, 2)
    assert sorted(map(told, found)) == [("answered", None, COST, "a"), ("interrupted", "reader_left", 0, "a")]
    assert reader.at_eof()


async def test_refused(served):
    """What the feature does not take costs nothing and is on record with the reason, from either door."""
    feature = TALKING + "    [guards]\n    input = [{ size = { max = 20 } }]\n"
    server = await served(PRICED % USAGE, feature)
    await server.ask("x" * 100, tenant="a")
    await server.post("/v1/features/answers", {"input": {"nothing": 1}, "tenant": "a"})
    await server.post("/v1/chat/completions", {"model": "answers", "messages": [{"role": "user", "content": "x" * 100}]})
    found = await only(server, 3)
    assert sorted(map(told, found)) == [
        ("refused", "input_invalid", 0, "a"),
        ("refused", "input_invalid", 0, "a"),
        ("refused", "input_invalid", 0, "default"),
    ]
    assert server.asked == []


async def test_what_a_door_refuses_itself_is_no_call(served):
    """A body that is none, an unknown feature, a conversation that is not declared: no call, and so no record."""
    server = await served(None, TALKING.replace("history = 4\n", ""))
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert (await server.post("/v1/features/nothing", {"input": {}})).status_code == 404
    assert (await server.post("/v1/features/answers", [])).status_code == 400
    assert (await server.post("/v1/chat/completions", {"model": "answers", "messages": turns})).status_code == 400
    assert await server.app.records() == []


@pytest.mark.parametrize("stream", [True, False])
async def test_degraded(served, stream):
    """The model fails: the message answers, and the record says why and that it cost nothing."""
    server = await served(PRICED % 'fault = "overloaded"')
    assert "Sorry." in (await server.ask(tenant="a", stream=stream)).text
    (record,) = await only(server)
    assert told(record) == ("degraded", "model_unavailable", 0, "a")
    assert [a.outcome for a in record.outcome.attempts if a.model] == ["overloaded", "overloaded"]


async def test_interrupted_by_the_model(served):
    """A stream that breaks after the first word: one record, and its cost is an upper estimate that is marked as one."""
    server = await served(PRICED % 'replies = ["one two"], fault = "cut_off", chunk = 3')
    events = events_of((await server.ask(tenant="a", stream=True)).text)
    (record,) = await only(server)
    status, reason, cost, tenant = told(record)
    assert (status, reason, tenant) == ("interrupted", "model_unavailable", "a")
    assert (events[-1][1]["status"], events[-1][1]["text"]) == ("interrupted", record.outcome.answer.text)
    assert cost > 0
    assert record.outcome.attempts[0].estimated


async def test_interrupted_by_a_guard(served):
    """A forbidden word in mid-stream: one record, with the guard's note and no text."""
    feature = TALKING + '    [guards]\n    output = [{ terms = ["badword"] }]\n'
    server = await served(PRICED % f'replies = ["one two three four five six badword seven"], chunk = 4, {USAGE}', feature)
    events = events_of((await server.ask(tenant="a", stream=True)).text)
    assert [name for name, _ in events[-2:]] == ["retract", "answer"]
    (record,) = await only(server)
    assert told(record)[:2] == ("interrupted", "unsafe_output")
    assert told(record)[2] > 0
    assert record.outcome.answer.text == ""
    assert [(n.guard, n.action) for n in record.outcome.guards] == [("terms", "refuse")]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_reader_that_leaves(served, stream):
    """The client hangs up in the middle: one record, `reader_left`, and what the model had to be paid is not zero."""
    server = await served(PRICED % 'replies = ["one two three"], chunk = 4, gap = "200ms", delay = "400ms"')
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request("/v1/features/answers", asking(stream=stream, tenant="a")))
    if stream:
        await reader.readuntil(b"event: text")
    else:
        await asyncio.sleep(0.3)
    writer.close()
    (record,) = await only(server)
    status, reason, cost, tenant = told(record)
    assert (status, reason, tenant) == ("interrupted", "reader_left", "a")
    assert cost > 0
    assert [a.outcome for a in record.outcome.attempts] == ["abandoned"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_deadline(served, stream):
    """A model that says nothing: the message by the deadline, `over_deadline`, at an upper estimate."""
    server = await served(PRICED % 'replies = [""], fault = "stalled"')
    assert "Sorry." in (await server.ask(tenant="a", stream=stream, deadline="400ms")).text
    (record,) = await only(server)
    status, reason, cost, tenant = told(record)
    assert (status, reason, tenant) == ("degraded", "over_deadline", "a")
    assert cost > 0
    assert record.outcome.took_us < 1_500_000


async def test_cancelled_twice(opened):
    """A caller that is cancelled, and cancelled again while the model is let go, leaves its record; its cost is not known."""
    settings = '[models.small]\nprovider = "clinging:Clinging"\nmodel = "m"\nprice = { input = "1 USD", output = "2 USD" }\n'
    app = opened(settings, TALKING, {"clinging.py": HUNG})
    task = asyncio.create_task(app.run("answers", question="?"))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (record,) = await app.records()
    assert told(record) == ("interrupted", "reader_left", None, "default")
    assert [a.outcome for a in record.outcome.attempts] == ["abandoned"]
    await asyncio.sleep(0.3)
    assert len(await app.records()) == 1


async def test_a_reader_that_just_stops(opened):
    """An `async for` that is left by `break`, and never closed, leaves its record when the generator is collected."""
    app = opened(scripted('replies = ["one two three"], chunk = 4, gap = "100ms"'), TALKING)

    async def first_word() -> None:
        async for event in app.stream("answers", question="?"):
            if type(event).__name__ == "Text":
                break

    await first_word()
    for _ in range(50):
        await asyncio.sleep(0.02)
        if found := await app.records():
            break
    assert [r.outcome.answer.reason for r in found] == ["reader_left"]


async def test_reloading_under_load_drops_no_call(served):
    """Forty calls while the project is loaded again ten times, with another prompt each time: all are answered, each by one of
    the releases, and each has its record."""
    server = await served(scripted('chunk = 2, gap = "20ms"'))
    prompt = server.app.root / "features" / "answers" / "prompt.md"
    digests = {server.app.features.ready["answers"].digest}

    async def reload() -> None:
        for n in range(10):
            await asyncio.sleep(0.05)
            await asyncio.to_thread(prompt.write_text, f"{n}: {{{{ question }}}}\n")
            await asyncio.to_thread(server.app.reload)
            digests.add(server.app.features.ready["answers"].digest)

    client = server.http()

    async def ask(n: int) -> str:
        await asyncio.sleep(n * 0.03)
        body = {"input": {"question": f"question {n}"}, "stream": True}
        return (await client.post("/v1/features/answers", json=body)).text

    said, _ = await asyncio.gather(asyncio.gather(*[ask(n) for n in range(40)]), reload())
    answers = [events_of(text)[-1][1] for text in said]
    assert [a["status"] for a in answers] == ["answered"] * 40
    assert [n for n, a in enumerate(answers) if not a["text"].endswith(f"question {n}")] == []
    found = await only(server, 40)
    assert {r.begun.release for r in found} <= digests
    assert len({r.begun.release for r in found}) > 2
    assert {r.id: r.begun.release for r in found} == {a["id"]: a["release"] for a in answers}
