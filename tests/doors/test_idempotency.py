"""`Idempotency-Key` on calls, through real HTTP: sent again it costs nothing, wherever and whenever it is sent again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from serving import TALKING, Process, Served, asking, events_of, request, scripted

Serve = Callable[..., Any]
HELLO = [{"role": "user", "content": "Hello"}]
ONCE = {"idempotency-key": "7f3a"}
BODY = {"input": {"question": "Hello"}}
COUNTING = scripted('replies = ["one", "two", "three", "four"], chunk = 2')


async def chat(server: Served, model: str = "answers", key: str = "7f3a", **fields: Any) -> Any:
    client = server.sdk(max_retries=0)
    return await client.chat.completions.create(model=model, messages=HELLO, extra_headers={"Idempotency-Key": key}, **fields)


@pytest.mark.parametrize("model", ["small", "answers"])
async def test_the_sdk_gets_the_same_completion_again(served: Serve, model: str):
    """Whole and streamed: same id, same text, and the model was asked once."""
    server: Served = await served(COUNTING)
    first, second = [await chat(server, model) for _ in range(2)]
    assert (first.id, first.choices, first.usage) == (second.id, second.choices, second.usage)
    streams = [[chunk async for chunk in await chat(server, model, "other", stream=True)] for _ in range(2)]
    assert len({chunk.id for stream in streams for chunk in stream}) == 1
    texts = ["".join(c.choices[0].delta.content or "" for c in stream if c.choices) for stream in streams]
    assert texts == ["two", "two"] and len(server.asked) == 2
    assert len(await server.app.records()) == 2


async def test_a_feature_gives_its_answer_again(served: Serve):
    """Its own shape too, whole and as events; the header says that it is a replay, and no limit counts it."""
    server: Served = await served(COUNTING + "[limits]\ntenant_per_hour = 2\n")
    first, second = [await server.post("/v1/features/answers", BODY, headers=ONCE) for _ in range(2)]
    assert first.json() == second.json() and first.json()["text"] == "one"
    assert [reply.headers.get("x-mainstay-replayed") for reply in (first, second)] == [None, "true"]
    stream = {**BODY, "stream": True}
    both = [await server.post("/v1/features/answers", stream, headers={"idempotency-key": "s"}) for _ in range(2)]
    ends = [events_of(reply.text) for reply in both]
    assert ends[0][0] == ends[1][0] and ends[0][-1] == ends[1][-1] and ends[1][-1][1]["text"] == "two"
    assert both[1].headers["x-mainstay-replayed"] == "true" and both[1].headers["x-ratelimit-remaining-requests"] == "0"
    assert len(server.asked) == 2


async def test_a_second_request_joins_the_first_while_it_runs(served: Serve):
    """Ten at once are one call."""
    server: Served = await served(scripted('delay = "400ms", replies = ["one", "two"]'))
    found = await asyncio.gather(*[chat(server) for _ in range(10)])
    assert len({(one.id, one.choices[0].message.content) for one in found}) == 1
    assert len(server.asked) == 1


async def test_who_lost_the_connection_gets_the_answer_later(served: Serve):
    """A call with a key runs to its end when its reader leaves, so nothing is paid twice."""
    server: Served = await served(scripted('delay = "1s", replies = ["one", "two"]'))
    await server.raw(request("/v1/features/answers", asking(stream=True), "idempotency-key: k"), until=b"started")
    reply = await server.http().post(
        "/v1/features/answers", content=asking(stream=True), headers={"content-type": "application/json", "idempotency-key": "k"}
    )
    assert events_of(reply.text)[-1][1]["text"] == "one" and len(server.asked) == 1
    assert (await server.recorded("answered")).outcome.answer.reason is None


async def test_another_request_under_the_same_key_is_refused(served: Serve):
    """Another body, and the same body to another feature or at another door; another tenant has keys of its own."""
    server: Served = await served(COUNTING)
    assert (await server.post("/v1/features/answers", BODY, headers=ONCE)).status_code == 200
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        await chat(server)
    assert refused.value.code == "idempotency_key_reused" and refused.value.response.headers["x-should-retry"] == "false"
    other = await server.post("/v1/features/answers", {**BODY, "user": "u"}, headers=ONCE)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert (await server.post("/v1/features/answers", {**BODY, "tenant": "acme"}, headers=ONCE)).json()["text"] == "two"


async def test_a_failure_is_tried_again_under_its_key(served: Serve):
    """What failed, and an input that was invalid, gives the key back."""
    server: Served = await served(scripted('replies = [{ fault = "rejected" }, "fine", "two"]'))
    with pytest.raises(openai.BadRequestError):
        await chat(server, "small")
    assert (await chat(server, "small")).choices[0].message.content == "fine"
    headers = {"idempotency-key": "i"}
    assert (await server.post("/v1/features/answers", {"input": {"wrong": "x"}}, headers=headers)).status_code == 422
    assert (await server.post("/v1/features/answers", BODY, headers=headers)).status_code == 200


@pytest.mark.parametrize(("key", "status"), [("", 400), ("x" * 256, 400), ("x" * 255, 200), ("a key, with ünïcode", 200)])
async def test_what_a_key_may_be(served: Serve, key: str, status: int):
    """1 to 255 bytes of anything."""
    server: Served = await served()
    headers = {b"idempotency-key": key.encode("latin-1")}
    response = await server.post("/v1/features/answers", BODY, headers=headers)
    assert response.status_code == status
    assert status == 200 or response.json()["error"]["param"] == "Idempotency-Key"


def _ask(process: Process, key: str = "k") -> Any:
    with process.http() as http:
        return http.post("/v1/features/answers", json=BODY, headers={"idempotency-key": key})


def test_another_process_and_the_next_one_give_the_same_answer(project: Callable[..., Path], spawned: Callable[..., Process]):
    """Two servers of a project, and one that starts after both ended: one call, one record, one answer."""
    root = project(scripted('delay = "1s", replies = ["one", "two"]'), TALKING)
    one, two = spawned(root, "--port", "0"), spawned(root, "--port", "0")
    assert one.url and two.url
    first = _ask(one).json()
    assert _ask(two).json() == first and first["text"] == "one"
    for process in (one, two):
        process.stop()
        assert process.ended() == 0
    later = _ask(spawned(root, "--port", "0"))
    assert later.json() == first and later.headers["x-mainstay-replayed"] == "true"


async def test_a_call_whose_process_was_killed_runs_again(project: Callable[..., Path], spawned: Callable[..., Process]):
    """kill -9 in the middle: the orphan is on record as interrupted, and its key is not stuck."""
    root = project(scripted('delay = "3s"'), TALKING)
    dying = spawned(root, "--port", "0")
    waiting = asyncio.create_task(asyncio.to_thread(_ask, dying))
    await asyncio.to_thread(dying.until, lambda: any((root / ".mainstay").glob("repeats.db")))
    await asyncio.sleep(1)
    dying.stop(signal.SIGKILL)
    with pytest.raises(Exception, match=r"disconnect|reset|closed|EOF"):
        await waiting
    began = time.monotonic()
    again = await asyncio.to_thread(_ask, spawned(root, "--port", "0"))
    assert (again.status_code, again.json()["status"]) == (200, "answered") and time.monotonic() - began < 20
    assert "x-mainstay-replayed" not in again.headers


def test_what_may_not_be_kept_is_in_no_file(project: Callable[..., Path], spawned: Callable[..., Process]):
    """With `log = "none"` the process that answered has the answer in memory; another one says so and asks no model."""
    root = project(scripted('replies = ["wombat", "other"]'), 'log = "none"\n' + TALKING)
    one, two = spawned(root, "--port", "0"), spawned(root, "--port", "0")
    assert two.url
    assert [_ask(one).json()["text"] for _ in range(2)] == ["wombat", "wombat"]
    refused = _ask(two)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_answer_not_kept")
    assert refused.headers["x-should-retry"] == "false"
    for file in (root / ".mainstay").rglob("*"):
        assert not file.is_file() or (b"wombat" not in file.read_bytes() and b"Hello" not in file.read_bytes()), file
