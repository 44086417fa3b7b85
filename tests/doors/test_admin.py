"""`/admin/features/{feature}` over HTTP: who may, what it says, what it changes, and what it leaves in the audit."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from releasing import FEATURE, learn, production, working, write_project
from serving import Served, asking, request

import mainstay
from mainstay.core.release import Switched
from mainstay.doors.http.door import HttpDoor
from mainstay.learn.releasing import Wanted

PATH = "/admin/features/desk"
Start = Callable[..., Awaitable[Served]]


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[mainstay.Mainstay]:
    """What production serves after two releases."""
    root = write_project(tmp_path, feature=FEATURE.replace("pass_rate = 0.5", "pass_rate = 0.3"), skills=("a",))
    for skills in (("a",), ("a", "b")):
        learn(root, *skills)
        async with working(root) as folder:
            assert (await folder.desk.release("desk", Wanted())).link is not None
    async with production(root) as app:
        yield app


@pytest.fixture
async def server(served: Start, app: mainstay.Mainstay) -> Served:
    """A server of it, which has no keys."""
    return await served(app=app)


async def call(door: HttpDoor, method: str, path: str, body: bytes = b"", *, client: str = "10.0.0.9", **headers: str) -> int:
    """The status that a client of that address gets, asked without a socket."""
    sent: list[Any] = []
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    given += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": given, "client": (client, 1)}
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await door(scope, receive, send)  # type: ignore[arg-type]
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("key", "admin_key", "given", "client", "status"),
    [
        ("", "", "", "127.0.0.1", 200),
        ("", "", "", "10.0.0.9", 403),
        ("callers", "", "", "127.0.0.1", 403),
        ("callers", "", "callers", "127.0.0.1", 403),  # whoever may ask may not switch
        ("callers", "admins", "callers", "127.0.0.1", 401),
        ("callers", "admins", "", "127.0.0.1", 401),
        ("callers", "admins", "admins", "10.0.0.9", 200),
        ("", "admins", "admins", "10.0.0.9", 200),
        ("", "admins", "", "127.0.0.1", 401),
        ("", "admins", "admin", "127.0.0.1", 401),
        (" ", " ", "", "10.0.0.9", 403),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("PUT", "/switch"), ("POST", "/rollback")])
async def test_who_may(app, key: str, admin_key: str, given: str, client: str, status: int, method: str, path: str):
    """The key of callers opens nothing here; without any key only this machine comes in."""
    door = HttpDoor(app, key=key, admin_key=admin_key)
    body = {"/switch": b'{"off": true}', "/rollback": b"{}"}.get(path, b"")
    before = len(app.releases.links())
    for headers in ({"authorization": f"Bearer {given}"}, {"x_api_key": given}) if given else ({},):
        assert await call(door, method, PATH + path, body, client=client, **headers) in (status, 409 if status == 200 else status)
    assert status == 200 or len(app.releases.links()) == before


async def test_the_key_of_administrators_opens_nothing_else(app):
    """Two keys, two doors."""
    door = HttpDoor(app, key="callers", admin_key="admins")
    assert await call(door, "POST", "/v1/features/desk", asking("a 1"), authorization="Bearer admins") == 401
    assert await call(door, "POST", "/v1/features/desk", asking("a 1"), authorization="Bearer callers") == 200


async def test_off_and_on_and_back(server: Served, app):
    """What is switched shows at once, in the answer of the request, in the next answer, and in the audit with who it was."""
    http = server.http()
    first, second = (link.change.digest for link in app.releases.links())
    assert (await http.get(PATH)).json()["live"]["digest"] == second
    off = await http.put(f"{PATH}/switch", json={"off": True, "why": "it invents prices", "who": "ada"})
    assert off.status_code == 200 and off.json()["off"][0]["why"] == "it invents prices"
    answer = (await http.post("/v1/features/desk", json={"input": {"question": "a 1"}})).json()
    assert (answer["status"], answer["reason"], answer["text"]) == ("degraded", "switched_off", "Sorry.")
    assert (await http.put(f"{PATH}/switch", json={"off": False})).json()["off"] == []
    back = await http.post(f"{PATH}/rollback", json={"why": "a test", "who": "büro"})
    assert back.status_code == 200 and back.json()["live"]["digest"] == first
    nothing = await http.post(f"{PATH}/rollback", json={})
    assert (nothing.status_code, nothing.json()["error"]["code"]) == (409, "refused")
    assert nothing.headers["x-should-retry"] == "false"
    links = app.releases.links()[2:]
    assert [(link.who, type(link.change).__name__) for link in links] == [
        ("http:ada", "Switched"),
        ("http:admin", "Switched"),
        ("http:büro", "RolledBack"),
    ]
    assert back.json()["head"] == links[-1].hash


async def test_rollback_to_one_that_is_named(server: Served, app):
    """By the beginning of its digest; one that never was live is none."""
    first = app.releases.links()[0].change.digest
    http = server.http()
    assert (await http.post(f"{PATH}/rollback", json={"to": "ffff"})).status_code == 409
    assert (await http.post(f"{PATH}/rollback", json={"to": first[:12]})).json()["live"]["digest"] == first


async def test_everything_one_tenant_or_a_share(server: Served, app):
    """`*` is every feature, plain models too; a tenant and a share are only those."""
    http = server.http()

    async def reason(**fields: str) -> str | None:
        body = {"input": {"question": "a 1"}, **fields}
        return (await http.post("/v1/features/desk", json=body)).json().get("reason")

    assert (await http.put(f"{PATH}/switch", json={"off": True, "tenant": "acme"})).status_code == 200
    assert await reason(tenant="acme") == "switched_off" and await reason() is None
    await http.put(f"{PATH}/switch", json={"off": False, "tenant": "acme"})
    assert (await http.put(f"{PATH}/switch", json={"off": True, "share": 0.5})).status_code == 200
    said = [await reason(user=f"user-{n}") for n in range(40)]
    assert 5 < said.count("switched_off") < 35 and said == [await reason(user=f"user-{n}") for n in range(40)]
    await http.put(f"{PATH}/switch", json={"off": False})
    assert (await http.put("/admin/features/*/switch", json={"off": True})).json()["off"][0]["feature"] == "*"
    assert await reason() == "switched_off" and (await http.get(PATH)).json()["off"][0]["feature"] == "*"
    plain = {"model": "small", "messages": [{"role": "user", "content": "a 1"}]}
    before = app.features.project.models["small"].provider.asked
    assert (await http.post("/v1/chat/completions", json=plain)).status_code == 503
    assert app.features.project.models["small"].provider.asked == before
    await http.put("/admin/features/*/switch", json={"off": False})
    assert (await http.post("/v1/chat/completions", json=plain)).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/switch", b"", 400, "off"),
        ("/switch", b"{}", 400, "off"),
        ("/switch", b'{"off": "yes"}', 400, "off"),
        ("/switch", b'{"off": true, "of": 1}', 400, "of"),
        ("/switch", b'{"off": true, "share": 0}', 400, "share"),
        ("/switch", b'{"off": true, "share": 1.5}', 400, "share"),
        ("/switch", b'{"off": true, "share": "10%"}', 400, "share"),
        ("/switch", b'{"off": true, "share": NaN}', 400, ""),
        ("/switch", b'{"off": true, "rungs": "some"}', 400, "rungs"),
        ("/switch", b'{"off": true, "tenant": ""}', 400, "tenant"),
        ("/switch", b'{"off": true, "who": "' + b"x" * 201 + b'"}', 400, "who"),
        ("/switch", b'{"off": true, "why": "\\ud800"}', 400, ""),
        ("/switch", b'{"off": true, "why": "\xff"}', 400, ""),
        ("/switch", b"[" * 5000, 400, ""),
        ("/rollback", b'{"to": 3}', 400, "to"),
        ("/rollback", b'{"to": ""}', 400, "to"),
        ("/rollback", b"null", 400, ""),
        ("/switch", b'{"off": true, "why": "' + b"x" * 1001 + b'"}', 400, "why"),
    ],
)
async def test_a_body_that_is_wrong_changes_nothing(server: Served, app, path: str, body: bytes, status: int, said: str):
    """The field at fault is named, and nothing is in the audit."""
    method = "PUT" if path == "/switch" else "POST"
    response = await server.http().request(method, PATH + path, content=body, headers={"content-type": "application/json"})
    assert response.status_code == status and said in json.dumps(response.json()["error"])
    assert len(app.releases.links()) == 2


async def test_other_methods_names_and_kinds_of_body(server: Served, app):
    """405 with what is allowed, 404 with the nearest name, 415 for a form of another site."""
    http = server.http()
    for method, path, allowed in (("POST", "/switch", "PUT"), ("PUT", "/rollback", "POST"), ("DELETE", "", "GET, HEAD")):
        response = await http.request(method, PATH + path)
        assert (response.status_code, response.headers["allow"]) == (405, allowed)
    for method, path in (("GET", "dsk"), ("PUT", "dsk/switch"), ("POST", "dsk/rollback"), ("GET", "*"), ("POST", "*/rollback")):
        response = await http.request(method, f"/admin/features/{path}", json={"off": True} if "switch" in path else {})
        assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown_feature")
    for path in ("/admin", "/admin/", "/admin/features", "/admin/features/", f"{PATH}/", f"{PATH}/switch/x", f"{PATH}/nothing"):
        assert (await http.get(path)).status_code == 404, path
    form = await http.post(f"{PATH}/rollback", content=b"{}", headers={"content-type": "text/plain"})
    assert form.status_code == 415 and len(app.releases.links()) == 2


async def test_what_was_never_released_is_told_at_every_door(served: Start, tmp_path: Path):
    """503 `not_released`, also where a client of OpenAI asks; the process is ready, for what is released it serves."""
    root = write_project(tmp_path)
    async with production(root) as app:
        server = await served(app=app)
        http = server.http()
        chat = {"model": "desk", "messages": [{"role": "user", "content": "a 1"}]}
        for path, body in (("/v1/features/desk", {"input": {"question": "a 1"}}), ("/v1/chat/completions", chat)):
            for stream in (False, True):
                response = await http.post(path, json={**body, "stream": stream})
                assert (response.status_code, response.json()["error"]["code"]) == (503, "not_released"), path
        assert (await http.get("/readyz")).status_code == 200
        standing = (await http.get(PATH)).json()
        assert standing["live"] is None and standing["feature"] == "desk"
        document = (await http.get("/openapi.json")).json()
        (parameter,) = document["paths"]["/admin/features/{feature}/switch"]["put"]["parameters"]
        assert "desk" in parameter["schema"]["enum"]


async def test_a_client_that_leaves_in_a_trial_leaves_nothing_behind(server: Served, app):
    """Streams that are broken off in the middle of a canary keep no record in memory, and are recorded."""
    root = app.root
    learn(root, "a", "b", "c")
    async with working(root) as folder:
        assert (await folder.desk.on_trial("desk", Wanted(), kind="canary", share=0.5)).link is not None
    app.follow()
    for n in range(20):
        await server.raw(request("/v1/features/desk", asking(f"a {n}", stream=True, user=f"user-{n}")), until=b"event:")
    assert len((await server.http().get(PATH)).json()["canary"]["id"]) > 10
    assert not [record for record in app._sealed._expected.values() if record is not None]


async def test_a_change_by_somebody_else_shows_here(server: Served, app):
    """What `mainstay off` does in another process is what this door says."""
    async with working(app.root) as other:
        other.desk.board.switch("desk", Switched(off=True, rungs="all"))
    app.follow()
    assert (await server.http().get(PATH)).json()["off"][0]["rungs"] == "all"
