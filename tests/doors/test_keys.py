"""Keys of callers, over real HTTP: what they open, what they do not, and that revoking them bites everywhere."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from serving import TALKING, Process, Served, asking, scripted

import mainstay
from mainstay.at_rest import switchboard
from mainstay.core.keys import Key
from mainstay.core.release import Switched, broken
from mainstay.learn import keyring
from mainstay.learn.switching import Switchboard
from mainstay.parts.stores.sqlite_releases import SqliteReleases

Serve = Callable[..., Any]
TWO = {"features/other/feature.toml": TALKING, "features/other/prompt.md": "{{ question }}\n"}
CHAT = {"model": "answers", "messages": [{"role": "user", "content": "Hello"}]}


def made(app: mainstay.Mainstay, **wanted: Any) -> tuple[str, Key]:
    """A key, as `mainstay keys create` makes it."""
    board = Switchboard(app.releases, who="test", changed=app.follow)
    return keyring.create(board, **{"tenant": "acme", **wanted})


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def cli(root: Path, *words: str, exit: int = 0) -> str:
    """What the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "mainstay", *words, "-C", str(root)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == exit, done.stderr
    return done.stdout


async def test_the_sdk_calls_for_the_tenant_of_its_key(served: Serve):
    """The unmodified SDK comes in with the key; records say for which tenant and with which key, and never hold the secret."""
    server: Served = await served()
    token, key = made(server.app)
    client = server.sdk(api_key=token)
    completion = await client.chat.completions.create(**CHAT)
    record = await server.app.record(completion.id.removeprefix("chatcmpl-"))
    assert record is not None
    assert (record.begun.call.tenant, record.begun.call.key) == ("acme", key.id)
    assert [model.id async for model in client.models.list()] == ["answers", "small"]
    secret = token.rpartition("_")[2]
    await server.app.close()
    for file in server.app.state.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    "wrong",
    ["any", "ms_", "ms_000000000000_" + "0" * 64, "ms_{id}_" + "0" * 64, "{token}0", "{id}", "MS_{id}_0", "ms_é_ü"],
)
async def test_what_is_not_the_key_opens_nothing(served: Serve, wrong: str):
    """Once there is a key nobody comes in without one, not even from this machine."""
    server: Served = await served()
    assert (await server.ask()).status_code == 200
    token, key = made(server.app)
    raw = wrong.format(token=token, id=key.id).encode()
    for headers in ({}, {b"authorization": b"Bearer " + raw}, {b"x-api-key": raw}):
        response = await server.http().post("/v1/features/answers", json={"input": {"question": "?"}}, headers=headers)
        assert code(response) == (401, "invalid_api_key")
    assert (await server.http().get("/healthz")).status_code == 200


async def test_revoking_the_last_key_does_not_open_the_door(served: Serve):
    """Who revokes a key wants less to be open, and not everything; neither does the end of its time open anything."""
    server: Served = await served()
    token, key = made(server.app)
    short, _ = made(server.app, expires=time.time() - 1)
    http = server.http()
    assert (await http.get("/v1/models", headers=bearer(token))).status_code == 200
    assert code(await http.get("/v1/models", headers=bearer(short))) == (401, "invalid_api_key")
    keyring.revoke(Switchboard(server.app.releases, who="test", changed=server.app.follow), key.id)
    assert code(await http.get("/v1/models", headers=bearer(token))) == (401, "invalid_api_key")
    assert code(await http.get("/v1/models")) == (401, "invalid_api_key")
    with pytest.raises(openai.AuthenticationError):
        await server.sdk(api_key=token).models.list()


async def test_the_operators_key_goes_on_beside_them(served: Serve):
    """It has no tenant of its own: the body names one."""
    server: Served = await served(key="operator")
    token, _ = made(server.app)
    http = server.http(headers=bearer("operator"))
    for tenant in ("acme", "other"):
        answer = (await http.post("/v1/features/answers", json={"input": {"question": "?"}, "tenant": tenant})).json()
        record = await server.app.record(answer["id"])
        assert record is not None and (record.begun.call.tenant, record.begun.call.key) == (tenant, None)
    assert (await http.get("/v1/models", headers=bearer(token))).status_code == 200


async def test_nobody_sees_anothers(served: Serve):
    """A body that names another tenant is 403; another tenant's answer is one that is not there, to read and to score."""
    server: Served = await served()
    ours, _ = made(server.app)
    theirs, _ = made(server.app, tenant="globex")
    http = server.http()
    body = {"input": {"question": "Hello"}}
    refused = await http.post("/v1/features/answers", json={**body, "tenant": "globex"}, headers=bearer(ours))
    assert code(refused) == (403, "tenant_not_allowed") and refused.json()["error"]["param"] == "tenant"
    assert (await http.post("/v1/features/answers", json={**body, "tenant": "acme"}, headers=bearer(ours))).status_code == 200
    id = (await http.post("/v1/features/answers", json=body, headers=bearer(ours))).json()["id"]
    unknown = await http.get("/v1/answers/a" + "0" * 27, headers=bearer(theirs))
    for method, path, json_ in (("GET", "", None), ("POST", "/scores", {"name": "thumb", "value": 1})):
        mine = await http.request(method, f"/v1/answers/{id}{path}", json=json_, headers=bearer(ours))
        not_mine = await http.request(method, f"/v1/answers/{id}{path}", json=json_, headers=bearer(theirs))
        assert mine.status_code in (200, 201) and code(not_mine) == (404, "unknown_answer")
        assert not_mine.json()["error"]["message"].replace(id, "x") == unknown.json()["error"]["message"].replace(
            "a" + "0" * 27, "x"
        )
    assert len(await server.app.scores(id)) == 1


async def test_passages_are_shown_to_the_tenant_of_the_key(served: Serve):
    """The query of a passage cannot name another tenant."""
    settings = scripted() + '[sources.ours]\npath = "docs"\ntenants = ["acme"]\n'
    feature = TALKING + '[grounding]\nsources = ["ours"]\n'
    server: Served = await served(settings, feature, {"docs/a.md": "# Returns\n\nWithin 30 days.\n"})
    ours, _ = made(server.app)
    theirs, _ = made(server.app, tenant="globex")
    http = server.http()
    path = "/v1/sources/ours/passages/a.md%23returns"
    assert (await http.get(path, headers=bearer(ours))).status_code == 200
    assert code(await http.get(path, headers=bearer(theirs))) == (404, "unknown_passage")
    assert code(await http.get(f"{path}?tenant=acme", headers=bearer(theirs))) == (403, "tenant_not_allowed")


async def test_an_allow_list_is_all_that_a_key_may_use(served: Serve):
    """A key that names a feature may use neither another one nor a model, and sees no other name anywhere."""
    server: Served = await served(None, TALKING, TWO)
    one, _ = made(server.app, features=("answers",))
    model, _ = made(server.app, models=("small",))
    http = server.http()
    body = {"input": {"question": "Hello"}}
    assert (await http.post("/v1/features/answers", json=body, headers=bearer(one))).status_code == 200
    for name in ("other", "nothing"):
        assert code(await http.post(f"/v1/features/{name}", json=body, headers=bearer(one))) == (403, "feature_not_allowed")
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await server.sdk(api_key=one).chat.completions.create(**{**CHAT, "model": "small"})
    assert (refused.value.param, refused.value.code) == ("model", "model_not_allowed")
    assert (await server.sdk(api_key=model).chat.completions.create(**{**CHAT, "model": "small"})).choices
    for token, features, models in ((one, ["answers"], ["answers"]), (model, [], ["small"])):
        listed = (await http.get("/v1/features", headers=bearer(token))).json()["data"]
        assert [feature["name"] for feature in listed] == features
        assert [m.id async for m in server.sdk(api_key=token).models.list()] == models
        for path in ("/openapi.json", "/"):
            assert '"other"' not in (await http.get(path, headers=bearer(token))).text
    assert code(await http.get("/v1/models/small", headers=bearer(one))) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("role", "opens"),
    [
        ("caller", {"ask", "chat", "score", "read", "list"}),
        ("reviewer", {"ask", "chat", "score", "read", "list"}),
        ("developer", {"read", "list", "metrics"}),
        ("admin", {"admin", "keys"}),
    ],
)
async def test_what_each_role_opens(served: Serve, role: str, opens: set[str]):
    """A role opens what it is for, and answers 403 to everything else."""
    server: Served = await served()
    id = (await server.ask(tenant="acme")).json()["id"]
    token, _ = made(server.app, roles=(role,))
    http = server.http(headers=bearer(token))
    requests = {
        "ask": ("POST", "/v1/features/answers", {"input": {"question": "?"}}),
        "chat": ("POST", "/v1/chat/completions", CHAT),
        "score": ("POST", f"/v1/answers/{id}/scores", {"name": "thumb", "value": 1}),
        "read": ("GET", f"/v1/answers/{id}", None),
        "list": ("GET", "/v1/features", None),
        "metrics": ("GET", "/metrics", None),
        "admin": ("GET", "/admin/features/answers", None),
        "keys": ("GET", "/admin/keys", None),
    }
    for name, (method, path, body) in requests.items():
        response = await http.request(method, path, json=body)
        if name in opens:
            assert response.status_code in (200, 201), name
        else:
            assert code(response) == (403, "role_not_allowed"), name


async def test_an_administrator_of_one_tenant_administers_that_tenant(served: Serve):
    """They switch and make keys for their own tenant, under the id of their key, and reach no other's."""
    server: Served = await served()
    token, key = made(server.app, roles=("admin",))
    other, theirs = made(server.app, tenant="globex")
    every, _ = made(server.app, tenant="*", roles=("admin",))
    Switchboard(server.app.releases, who="test", changed=server.app.follow).switch("answers", Switched(off=True, tenant="globex"))
    http, path = server.http(headers=bearer(token)), "/admin/features/answers"
    for body in ({"off": True}, {"off": True, "tenant": "globex"}, {"off": True, "tenant": "*"}):
        assert code(await http.put(f"{path}/switch", json=body)) == (403, "tenant_not_allowed")
    off = await http.put(f"{path}/switch", json={"off": True, "tenant": "acme", "who": "ada"})
    assert [switch["tenant"] for switch in off.json()["off"]] == ["acme"]
    assert code(await http.post(f"{path}/rollback", json={})) == (403, "tenant_not_allowed")
    assert code(await http.post("/admin/keys", json={"tenant": "globex"})) == (403, "tenant_not_allowed")
    assert code(await http.post("/admin/keys", json={"tenant": "*"})) == (403, "tenant_not_allowed")
    assert {found["tenant"] for found in (await http.get("/admin/keys")).json()["data"]} == {"acme"}
    assert code(await http.delete(f"/admin/keys/{theirs.id}")) == (404, "unknown_key")
    assert (await server.http().get("/v1/models", headers=bearer(other))).status_code == 200
    all_over = server.http(headers=bearer(every))
    assert (await all_over.put(f"{path}/switch", json={"off": True})).status_code == 200
    assert (await all_over.delete(f"/admin/keys/{theirs.id}")).status_code == 200
    who = [link.who for link in server.app.releases.links() if isinstance(link.change, Switched)]
    assert who[1] == f"key:{key.id}:ada" and broken(server.app.releases.links()) is None


async def test_keys_are_made_and_revoked_over_http(served: Serve, monkeypatch: pytest.MonkeyPatch):
    """The same as on the command line: the whole key once, its record without a secret, and nothing left after revoking."""
    monkeypatch.setenv("MAINSTAY_ADMIN_KEY", "admins")
    server: Served = await served(None, TALKING, TWO, key="operator")
    http = server.http(headers=bearer("admins"))
    wanted = {
        "tenant": "acme",
        "features": ["answers"],
        "expires": "90d",
        "limits": {"per_day": ["100000 tokens", 2]},
        "name": "shop",
    }
    reply = await http.post("/admin/keys", json=wanted)
    key = reply.json()
    assert (reply.status_code, reply.headers["cache-control"]) == (201, "no-store")
    assert 0 < key["expires"] - time.time() <= 90 * 86400 and "sha256" not in reply.text
    ours = bearer(key["key"])
    (listed,) = (await http.get("/admin/keys")).json()["data"]
    assert listed == {name: value for name, value in key.items() if name != "key"}
    call = {"json": {"input": {"question": "?"}}, "headers": ours}
    assert (await server.http().post("/v1/features/answers", **call)).json()["status"] == "answered"
    assert (await http.delete(f"/admin/keys/{key['id']}")).status_code == 200
    assert code(await server.http().post("/v1/features/answers", **call)) == (401, "invalid_api_key")
    assert code(await http.delete(f"/admin/keys/{key['id']}")) == (404, "unknown_key")
    wrong = (
        ({}, "tenant"),
        ({"tenant": ""}, "tenant"),
        ({"tenant": "a\nb"}, "tenant"),
        ({"tenant": "a", "roles": ["king"]}, "roles"),
        ({"tenant": "a", "roles": []}, "roles"),
        ({"tenant": "a", "expires": "0s"}, "expires"),
        ({"tenant": "a", "features": ["nothing"]}, "features"),
        ({"tenant": "a", "models": ["nothing"]}, "models"),
        ({"tenant": "a", "limits": {"per_dy": [1]}}, "limits"),
        ({"tenant": "a", "limits": {"per_day": ["much"]}}, "limits"),
        ({"tenant": "a", "limits": {"per_day": []}}, "limits"),
        ({"tenant": "a", "limits": {"at_once": [0]}}, "limits"),
        ({"tenant": "a", "limit": {}}, "limit"),
    )
    before = len(server.app.releases.links())
    for body, param in wrong:
        response = await http.post("/admin/keys", json=body)
        assert response.status_code == 400 and param in json.dumps(response.json()["error"]), (body, response.text)
    assert len(server.app.releases.links()) == before


async def test_an_administrator_makes_no_key_that_opens_more_than_their_own(served: Serve):
    """An allow-list is handed on."""
    server: Served = await served(None, TALKING, TWO)
    token, _ = made(server.app, roles=("admin",), features=("answers",))
    http = server.http(headers=bearer(token))
    for body in ({}, {"features": ["other"]}, {"models": ["small"]}, {"features": ["answers", "other"]}):
        assert code(await http.post("/admin/keys", json={"tenant": "acme", **body})) == (403, "feature_not_allowed"), body
    assert (await http.post("/admin/keys", json={"tenant": "acme", "features": ["answers"]})).status_code == 201
    assert code(await http.get("/admin/features/other")) == (403, "feature_not_allowed")


async def test_the_limits_of_a_key_bind_its_calls(served: Serve):
    """They stand in the place of what `[limits]` says of every key, and bind no other key of the tenant."""
    server: Served = await served(scripted() + "[limits]\nkey_per_hour = 1\n")
    tight, own = made(server.app, limits={"per_hour": (2,)})
    usual, other = made(server.app)
    http, plain = server.http(), {**CHAT, "model": "small"}
    for token, most in ((tight, 2), (usual, 1)):
        for _ in range(most):
            assert (await http.post("/v1/chat/completions", json=plain, headers=bearer(token))).status_code == 200
        refused = await http.post("/v1/chat/completions", json=plain, headers=bearer(token))
        assert code(refused) == (429, "rate_limited")
    shown = json.loads(await asyncio.to_thread(cli, server.app.root, "limits", "--json"))["limits"]
    most = {one["scope"]: one["most"] for one in shown}
    assert (most[f'key "{own.id}"'], most[f'key "{other.id}"']) == (2, 1)


async def test_a_call_over_its_keys_limit_takes_no_rung_from_another_key(served: Serve):
    """Two keys of a tenant share answers, but not the lack of money: who may pay does not join a call that may not."""
    feature = TALKING + '[cache]\nkeep = "1h"\n'
    server: Served = await served(scripted('delay = "300ms"'), feature)
    spent, _ = made(server.app, limits={"per_hour": (0,)})
    rich, _ = made(server.app)
    http = server.http()
    body = {"input": {"question": "Hello"}}
    first, second = await asyncio.gather(
        *[http.post("/v1/features/answers", json=body, headers=bearer(token)) for token in (spent, rich)]
    )
    assert (first.json()["status"], first.json()["reason"]) == ("degraded", "rate_limited")
    assert second.json()["status"] == "answered"


async def test_beyond_loopback_a_key_is_needed(
    opened: Callable[..., mainstay.Mainstay], spawned: Callable[..., Process], tmp_path
):
    """One live key does; none, or one whose time is over, does not."""
    root = opened(scripted(), TALKING).root
    bound = ("--port", "0", "--host", "0.0.0.0")
    refused = spawned(root, *bound)
    assert refused.ended() == 2 and "mainstay keys create" in refused.err
    with switchboard(root) as board:
        keyring.create(board, tenant="acme", expires=time.time() - 1)
    assert spawned(root, *bound).ended() == 2
    token = cli(root, "keys", "create", "--tenant", "acme").strip()
    process = spawned(root, *bound)
    url = f"http://127.0.0.1:{process.port}/v1/features/answers"
    json_ = {"content-type": "application/json"}
    with process.http() as http:
        assert http.post(url, content=asking(), headers=json_).status_code == 401
        assert http.post(url, content=asking(), headers={**json_, **bearer(token)}).status_code == 200


def test_a_revoked_key_opens_nothing_in_any_process(project: Callable[..., Path], spawned: Callable[..., Process]):
    """Two servers, and the command line as a third process: what it makes opens both, and what it revokes opens neither."""
    root = project(scripted(), TALKING)
    token = cli(root, "keys", "create", "--tenant", "acme").strip()
    both = [spawned(root, "--port", "0") for _ in range(2)]
    clients = [process.http() for process in both]

    def status(given: str) -> set[int]:
        return {client.get("/v1/models", headers=bearer(given)).status_code for client in clients}

    assert status(token) == {200}
    later = json.loads(cli(root, "keys", "create", "--tenant", "acme", "--json"))
    both[0].until(lambda: status(later["key"]) == {200}, limit=5)
    began = time.monotonic()
    cli(root, "keys", "revoke", token.split("_")[1], "--why", "it leaked")
    both[0].until(lambda: status(token) == {401}, limit=5)
    assert time.monotonic() - began < 10
    assert status(later["key"]) == {200}
    assert "revoked" not in cli(root, "keys", "list") and "key_revoked" in cli(root, "audit", "list")
    assert "3 changes" in cli(root, "audit", "verify")
    cli(root, "keys", "revoke", "nothing", exit=1)
    for client in clients:
        client.close()


async def test_a_chain_that_is_deleted_opens_no_door(served: Serve):
    """Whoever deletes the store of keys lets nobody in: what it held opens nothing, and the door stays locked."""
    server: Served = await served()
    token, _ = made(server.app)
    http = server.http()
    assert (await http.get("/v1/models", headers=bearer(token))).status_code == 200
    for file in server.app.state.glob("releases.db*"):
        file.unlink()
    SqliteReleases(server.app.state / "releases.db").close()
    server.app.releases.close()
    server.app.releases = SqliteReleases(server.app.state / "releases.db")
    server.app._obey()
    assert (await http.get("/v1/models", headers=bearer(token))).status_code == 401
    assert (await http.get("/v1/models")).status_code == 401
