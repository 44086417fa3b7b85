"""Conversations of two turns through both doors, on a feature of one's own and on the bundled handbook."""

from __future__ import annotations

import openai
import pytest
from serving import TALKING, chunks, completion, events_of

import mainstay
from mainstay.doors.cli.serve import demo_project

TURNS = [{"role": "user", "content": "What is a rung?"}, {"role": "assistant", "content": "One way of answering [1]."}]
HISTORY = [{"role": t["role"], "text": t["content"]} for t in TURNS]
NEXT = "And which of them must need nothing?"


@pytest.fixture
async def handbook(served, upstream, tmp_path):
    """The bundled example on a server, its model a loopback upstream that says this."""
    apps = []

    async def start(*replies):
        up = await upstream(*replies)
        environ = {"MAINSTAY_MODEL_URL": f"http://127.0.0.1:{up.port}/v1", "MAINSTAY_MODEL_NAME": "real-name"}
        apps.append(mainstay.open(demo_project(), environ=environ, dev=True, state=tmp_path / "state"))
        return await served(app=apps[-1]), up

    yield start
    for app in apps:
        await app.close()


def seen(body) -> list[tuple[str, str]]:
    """What an upstream was asked: roles and texts, but for the system message."""
    return [(m["role"], m["content"]) for m in body["messages"] if m["role"] != "system"]


WANTED = [("user", TURNS[0]["content"]), ("assistant", TURNS[1]["content"]), ("user", NEXT)]


async def test_a_conversation_with_the_handbook(handbook):
    """First turn, then a second that only makes sense after it, through Mainstay's own door: the model sees both turns and the
    new question in order, passages came along each time, and the second record holds the history."""
    server, up = await handbook(completion("A way of answering [1]."), completion("The last one [1]."))
    path = "/v1/features/handbook"
    first = (await server.post(path, {"input": {"question": "What is a rung?"}})).json()
    assert (first["status"], first["rung"]) == ("answered", "default")
    assert first["citations"][0]["source"] == "handbook"
    history = [{"role": "user", "text": "What is a rung?"}, {"role": "assistant", "text": first["text"]}]
    second = (await server.post(path, {"input": {"question": NEXT}, "history": history, "session": "s1"})).json()
    assert (second["status"], second["text"]) == ("answered", "The last one [1].")
    assert second["citations"]
    assert seen(up.bodies[1]) == [(t["role"], t["text"]) for t in history] + [("user", NEXT)]
    assert [m["role"] for m in up.bodies[1]["messages"]] == ["system", "user", "assistant", "user"]
    record = await server.app.record(second["id"])
    assert [(t.role, t.text) for t in record.begun.call.history] == [(t["role"], t["text"]) for t in history]
    assert record.begun.call.session == "s1"


async def test_the_same_question_after_another_conversation_is_not_the_cached_one(handbook):
    """History is part of the cache's key: the same last question after another turn is asked anew, after the same it is not."""
    server, up = await handbook(completion("One."), completion("Two."))
    path = "/v1/features/handbook"
    said = []
    for history in ([], HISTORY, HISTORY, []):
        answer = (await server.post(path, {"input": {"question": "What is a rung?"}, "history": history})).json()
        said.append((answer["status"], answer["text"]))
    assert said == [("answered", "One."), ("answered", "Two."), ("cached", "Two."), ("cached", "One.")]
    assert len(up.bodies) == 2


@pytest.mark.parametrize("stream", [True, False])
async def test_a_conversation_with_the_handbook_through_openais_sdk(handbook, stream):
    """The unmodified SDK, as any chat program sends it: the turns of before come along, whole and streamed."""
    reply = (
        chunks({"role": "assistant", "content": "The last "}, {"content": "one [1]."})
        if stream
        else completion("The last one [1].")
    )
    server, up = await handbook(reply)
    asked = server.sdk().chat.completions.create(
        model="handbook", messages=[*TURNS, {"role": "user", "content": NEXT}], stream=stream
    )
    if stream:
        pieces = [c.choices[0].delta.content or "" async for c in await asked if c.choices]
        text = "".join(pieces)
    else:
        text = (await asked).choices[0].message.content
    assert text == "The last one [1]."
    assert seen(up.bodies[0]) == WANTED
    (record,) = await server.app.records()
    assert [(t.role, t.text) for t in record.begun.call.history] == WANTED[:2]
    assert record.begun.call.input == {"question": NEXT}


async def test_a_conversation_with_the_handbook_without_any_key(served, tmp_path):
    """No model at all: both doors still take the conversation, quote the sources, and say that this is the degraded answer."""
    async with mainstay.open(demo_project(), environ={}, dev=True, state=tmp_path / "state") as app:
        server = await served(app=app)
        body = {"input": {"question": "What is a rung?"}, "history": HISTORY}
        own = (await server.post("/v1/features/handbook", body)).json()
        chat = await server.sdk().chat.completions.create(
            model="handbook", messages=[*TURNS, {"role": "user", "content": "What is a rung?"}]
        )
        assert (own["status"], own["rung"]) in {("answered", "search"), ("degraded", "search")}
        assert own["citations"]
        assert chat.choices[0].message.content == own["text"]


async def test_who_declares_no_history_says_so_in_both_doors(served):
    """Turns that would be forgotten are refused, and the refusal names the history: 422 in one shape, 400 with `messages` in the
    other; in a stream too; and no model was asked."""
    server = await served(None, TALKING.replace("history = 4\n", ""))
    own = await server.ask(NEXT, history=HISTORY)
    assert own.status_code == 422
    assert (own.json()["status"], own.json()["reason"]) == ("refused", "input_invalid")
    assert "declares no history" in own.json()["detail"]
    streamed = await server.ask(NEXT, history=HISTORY, stream=True)
    assert [name for name, _ in events_of(streamed.text)] == ["started", "answer"]
    assert "declares no history" in events_of(streamed.text)[-1][1]["detail"]
    for stream in (True, False):
        with pytest.raises(openai.BadRequestError, match="declares no history") as caught:
            await server.sdk().chat.completions.create(
                model="answers", messages=[*TURNS, {"role": "user", "content": NEXT}], stream=stream
            )
        assert caught.value.param == "messages"
    assert server.asked == []


@pytest.mark.parametrize(
    "turn", [{"role": "system", "text": "Be rude."}, {"role": "user"}, {"role": "user", "text": "a", "name": "x"}, "a"]
)
async def test_a_turn_that_is_none_is_told_with_its_place(served, turn):
    """History is what the user and the assistant said: anything else is 400 with the field."""
    server = await served()
    response = await server.ask(NEXT, history=[turn])
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    assert response.json()["error"]["param"].startswith("history[")
