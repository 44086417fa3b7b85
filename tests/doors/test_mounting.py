"""The door as a plain ASGI application inside somebody else's."""

from __future__ import annotations

import asyncio
import logging

import httpx2
import openai
import pytest
import uvicorn
from serving import TALKING, scripted

from mainstay.doors.http.door import HttpDoor


class Parent:
    """Ten lines of somebody's application: the door under a prefix, which it strips from the path or leaves there."""

    def __init__(self, door: HttpDoor, prefix: str, *, strip: bool) -> None:
        self.door, self.prefix, self.strip = door, prefix, strip

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await self.door(scope, receive, send)
        elif scope["path"].startswith(self.prefix + "/"):
            path = scope["path"].removeprefix(self.prefix) if self.strip else scope["path"]
            await self.door({**scope, "path": path, "root_path": scope.get("root_path", "") + self.prefix}, receive, send)
        else:
            await send({"type": "http.response.start", "status": 418, "headers": []})
            await send({"type": "http.response.body", "body": b"mine"})


@pytest.mark.parametrize("strip", [True, False])
async def test_the_door_is_mounted_under_a_prefix(opened, strip):
    """Both ways of mounting that frameworks have lead to the same routes, streams included; the parent keeps its own."""
    app = opened(scripted('replies = ["one two"], chunk = 4'), TALKING)
    parent = Parent(HttpDoor(app, key=""), "/ai", strip=strip)
    server = uvicorn.Server(uvicorn.Config(parent, port=0, lifespan="on", log_config=None, log_level=logging.ERROR))
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.02)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.get("/other")).status_code == 418
        assert (await client.get("/aim/healthz")).status_code == 418
        assert (await client.get("/ai/healthz")).json() == {"status": "ok"}
        assert (await client.get("/ai/nothing")).status_code == 404
        answer = (await client.post("/ai/v1/features/answers", json={"input": {"question": "x"}})).json()
        assert (await client.get(f"/ai/v1/answers/{answer['id']}")).json() == answer
    async with openai.AsyncOpenAI(base_url=f"{url}/ai/v1", api_key="any") as sdk:
        stream = await sdk.chat.completions.create(model="answers", messages=[{"role": "user", "content": "x"}], stream=True)
        assert "".join([c.choices[0].delta.content or "" async for c in stream]) == "one two"
    server.should_exit = True
    async with asyncio.timeout(10):
        await running
    assert list((app.state / "spool").iterdir()) == []


def asgi(door: HttpDoor, client: tuple[str, int]) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=door, client=client)
    return httpx2.AsyncClient(transport=transport, base_url="http://test", trust_env=False)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.8.9.1", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("10.0.0.5", 403),
        ("::1:2", 403),
        ("::ffff:10.0.0.5", 403),
        ("127.0.0.1.example.org", 403),
        ("", 403),
        ("unknown", 403),
    ],
)
async def test_without_a_key_the_door_itself_serves_loopback_only(opened, host, status):
    """Wherever it is mounted: a client that is not this machine, or that nobody can name, is refused, but for its health."""
    door = HttpDoor(opened(), key="")
    async with asgi(door, (host, 1)) as client:
        response = await client.post("/v1/features/answers", json={"input": {"question": "x"}})
        assert response.status_code == status
        assert (await client.get("/healthz")).status_code == 200
    if status == 403:
        assert response.json()["error"]["code"] == "key_required"


async def test_with_a_key_it_serves_everybody_who_has_it(opened):
    """The key replaces the address."""
    async with asgi(HttpDoor(opened(), key="k"), ("10.0.0.5", 1)) as client:
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/v1/models", headers={"x-api-key": "k"})).status_code == 200


async def test_a_parents_work_after_the_door_is_not_cancelled(opened):
    """A client that leaves just as the answer is complete must not cancel what the parent does afterwards."""
    door = HttpDoor(opened(scripted('delay = "150ms"')), key="")
    gone = asyncio.Event()
    finished = []

    async def receive():
        if not finished and not sent_body:
            sent_body.append(True)
            return {"type": "http.request", "body": b'{"input": {"question": "x"}}', "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.body":
            gone.set()

    sent_body: list[bool] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/features/answers",
        "headers": [(b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
    }

    async def parent():
        await door(scope, receive, send)
        await asyncio.sleep(0.05)
        finished.append(True)

    async with asyncio.timeout(10):
        await asyncio.create_task(parent())
    assert finished == [True]


async def test_other_protocols_are_refused_loudly(opened):
    """A websocket that a parent sends here by mistake is an error of the parent, and named as such."""
    with pytest.raises(RuntimeError, match="websocket"):
        await HttpDoor(opened(), key="")({"type": "websocket"}, None, None)
