"""Where each adapter asks, with which headers, and what it refuses before it asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import pytest
from provider_backend import Backend, Scene, Seen

from mainstay.core.errors import ConfigError, Garbled, Unauthorized, Unsupported
from mainstay.core.model import Message, ModelRequest, OutputSchema
from mainstay.core.project import Model
from mainstay.core.seams import Provider
from mainstay.parts.http import Http
from mainstay.registry import part

REQUEST = ModelRequest(messages=(Message("user", "Hi"),), max_output=100)

Made = Callable[..., Provider]


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """A pool that is closed at the end."""
    pool = Http()
    yield pool
    await pool.close()


async def asked(
    backend: Backend, http: Http, path: str = "", *, key: str = "secret", stream: bool = False, **fields: Any
) -> Seen:
    """What arrives when a model with this address is asked."""
    model = Model(**{"name": "m", "provider": backend.wire, "model": "m", "url": backend.url + path, **fields})
    provider = part("providers", backend.wire, where="")(model, key=key, http=http)
    async with aclosing(provider.generate(REQUEST, stream=stream)) as chunks:
        async for _ in chunks:
            pass
    return backend.seen[-1]


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        ("", {}, "/v1/chat/completions"),
        ("/v1", {}, "/v1/chat/completions"),
        ("/api/v1/", {}, "/api/v1/chat/completions"),
        ("/openai/deployments/d", {"api-version": "2026-01-01"}, "/openai/deployments/d/chat/completions?api-version=2026-01-01"),
    ],
)
async def test_openai_address(http: Http, path: str, query: dict[str, str], target: str) -> None:
    """The address of a compatible server is the one that its own documentation gives, with or without a path."""
    async with Backend("openai") as backend:
        seen = await asked(backend, http, path, query=query)
    assert seen.target == target
    assert seen.headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("path", "target"),
    [("", "/v1/messages"), ("/v1/", "/v1/messages"), ("/anthropic", "/anthropic/v1/messages")],
)
async def test_anthropic_address(http: Http, path: str, target: str) -> None:
    """The address may end before or after `/v1`; key and version are headers, and a header of one's own replaces ours."""
    async with Backend("anthropic") as backend:
        seen = await asked(backend, http, path)
        assert seen.target == target
        assert (seen.headers["x-api-key"], seen.headers["anthropic-version"]) == ("secret", "2023-06-01")
        assert "authorization" not in seen.headers
        own = await asked(backend, http, path, headers={"anthropic-version": "2026-10-21", "anthropic-beta": "x"})
    assert (own.headers["anthropic-version"], own.headers["anthropic-beta"]) == ("2026-10-21", "x")


@pytest.mark.parametrize(
    ("path", "model", "stream", "target"),
    [
        ("/v1beta", "gemini-x", False, "/v1beta/models/gemini-x:generateContent"),
        ("/v1beta/", "gemini-x", True, "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"),
        ("/v1beta", "tunedModels/mine", False, "/v1beta/tunedModels/mine:generateContent"),
        (
            "/v1/projects/p/locations/l/publishers/google",
            "gemini-x",
            False,
            "/v1/projects/p/locations/l/publishers/google/models/gemini-x:generateContent",
        ),
    ],
)
async def test_gemini_address(http: Http, path: str, model: str, stream: bool, target: str) -> None:
    """One adapter serves AI Studio and Vertex; the key is a header and never part of the address."""
    async with Backend("gemini") as backend:
        seen = await asked(backend, http, path, model=model, stream=stream)
        assert seen.target == target
        assert seen.headers["x-goog-api-key"] == "secret"
        token = await asked(backend, http, path, key="ya29.token")
    assert token.headers["authorization"] == "Bearer ya29.token"
    assert "x-goog-api-key" not in token.headers


@pytest.mark.parametrize("wire", ["openai", "anthropic", "gemini"])
async def test_a_server_without_a_key(http: Http, wire: str) -> None:
    """A local server needs no key and is sent none."""
    async with Backend(wire) as backend:
        seen = await asked(backend, http, key="")
    assert not {"authorization", "x-api-key", "x-goog-api-key", "api-key"} & seen.headers.keys()


async def test_the_model_that_the_server_has(http: Http) -> None:
    """Without a name the first model that a compatible server lists is asked, and asked for only once."""
    async with Backend("openai") as backend:
        model = Model(name="m", provider="openai", url=backend.url)
        provider = part("providers", "openai", where="")(model, key="", http=http)
        for _ in range(2):
            async with aclosing(provider.generate(REQUEST, stream=False)) as chunks:
                assert [chunk.text async for chunk in chunks] == ["Hello wörld"]
    assert [seen.target for seen in backend.seen] == ["/v1/models", "/v1/chat/completions", "/v1/chat/completions"]
    assert backend.seen[1].body["model"] == "listed"


@pytest.mark.parametrize(
    ("scene", "kind"),
    [(Scene(status=401), Unauthorized), (Scene(fault="garbled"), Garbled), (Scene(fault="empty"), Garbled)],
)
async def test_a_server_that_lists_no_model(http: Http, scene: Scene, kind: type[Exception]) -> None:
    """A list that cannot be had is a typed error, as for any other request."""
    async with Backend("openai", scene) as backend:
        model = Model(name="m", provider="openai", url=backend.url)
        provider = part("providers", "openai", where="")(model, key="", http=http)
        with pytest.raises(kind):
            await anext(provider.generate(REQUEST, stream=False))


@pytest.mark.parametrize(
    ("wire", "request_"),
    [
        ("anthropic", msgspec.structs.replace(REQUEST, seed=7)),
        ("anthropic", msgspec.structs.replace(REQUEST, output=OutputSchema())),
        ("gemini", msgspec.structs.replace(REQUEST, parallel_tool_calls=False)),
        ("gemini", msgspec.structs.replace(REQUEST, extra={"logit_bias": msgspec.Raw(b'{"1":1}')})),
    ],
)
async def test_what_cannot_be_carried_is_not_sent(http: Http, wire: str, request_: ModelRequest) -> None:
    """A request that this wire cannot carry is refused by name, before a connection is made and money is spent."""
    async with Backend(wire) as backend:
        model = Model(name="m", provider=wire, model="m", url=backend.url)
        with pytest.raises(Unsupported) as refusal:
            await anext(part("providers", wire, where="")(model, key="", http=http).generate(request_, stream=False))
        assert backend.seen == []
    assert backend.url in refusal.value.where


@pytest.mark.parametrize("wire", ["anthropic", "gemini"])
async def test_a_model_has_to_be_named(http: Http, wire: str) -> None:
    """These servers have no default model: a setting without one is an error at load, with what to type."""
    with pytest.raises(ConfigError, match="which model") as error:
        part("providers", wire, where="")(Model(name="small", provider=wire), key="", http=http)
    assert error.value.next.startswith("model = ")


@pytest.mark.parametrize(
    ("wire", "options"),
    [
        ("openai", {"max_token_field": "x"}),
        ("openai", {"reasoning_field": "thoughts"}),
        ("anthropic", {"x": 1}),
        ("gemini", {"x": 1}),
    ],
)
async def test_unknown_options_are_errors(http: Http, wire: str, options: dict[str, Any]) -> None:
    """A misspelt option is an error at load, not a setting that does nothing."""
    with pytest.raises(msgspec.ValidationError):
        part("providers", wire, where="")(Model(name="m", provider=wire, model="m", options=options), key="", http=http)


@pytest.mark.parametrize(
    ("wire", "asked", "sent"),
    [
        ("openai", "flex", "flex"),
        ("openai", "priority", "priority"),
        ("anthropic", "auto", "auto"),
        ("anthropic", "default", "standard_only"),
        ("anthropic", "flex", "standard_only"),
        ("anthropic", "standard_only", "standard_only"),
        ("gemini", "auto", None),
        ("gemini", "flex", None),
    ],
)
async def test_a_service_tier_in_the_providers_own_words(http: Http, wire: str, asked: str, sent: str | None) -> None:
    """OpenAI's clients ask in OpenAI's words, whoever the provider is; what has no word there asks for nothing."""
    async with Backend(wire) as backend:
        model = Model(name="m", provider=wire, model="m", url=backend.url)
        request = msgspec.structs.replace(REQUEST, extra={"service_tier": msgspec.Raw(msgspec.json.encode(asked))})
        provider = part("providers", wire, where="")(model, key="", http=http)
        async for _ in provider.generate(request, stream=False):
            pass
        assert backend.seen[0].body.get("service_tier") == sent


@pytest.mark.parametrize("wire", ["anthropic", "gemini"])
@pytest.mark.parametrize("asked", ["priority", 7, ["flex"]])
async def test_a_dearer_tier_that_a_provider_has_no_word_for_is_refused(http: Http, wire: str, asked: Any) -> None:
    """A caller who pays for speed is told that there is none, by name."""
    async with Backend(wire) as backend:
        model = Model(name="m", provider=wire, model="m", url=backend.url)
        request = msgspec.structs.replace(REQUEST, extra={"service_tier": msgspec.Raw(msgspec.json.encode(asked))})
        with pytest.raises(Unsupported, match="service_tier"):
            await anext(part("providers", wire, where="")(model, key="", http=http).generate(request, stream=False))
        assert backend.seen == []
