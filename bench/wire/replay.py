"""One exchange through the real adapter, over a real connection."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from bench.wire import asked, kept, oracle
from bench.wire.exchanges import Exchange
from bench.wire.server import Server, Told
from mainstay.core.errors import BadRequest, ModelError, Unsupported
from mainstay.core.model import Message, ModelRequest
from mainstay.core.project import Model
from mainstay.parts.http import Http
from mainstay.parts.providers.anthropic import Anthropic
from mainstay.parts.providers.gemini import Gemini
from mainstay.parts.providers.openai import OpenAI

LIMIT = 20.0  # seconds after which an exchange counts as hanging
PLAIN = ModelRequest(messages=(Message("user", "Hello"),), max_output=100)


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one exchange. `detail` is the refusal's name, or what differed.

    `kept` is whether the request that was sent means what was recorded (None where nothing was), `lost` what did not.
    `beyond` is whether the answer to a refused request would have been read all the same.
    """

    verdict: Literal["parsed", "refused", "missed"]
    detail: str = ""
    kept: bool | None = None
    lost: str = ""
    beyond: bool | None = None


async def replay(exchange: Exchange, server: Server, http: Http, *, piece: int = 0) -> Outcome:
    """Ask as it was asked, answer as it was answered, and compare. `piece` cuts the answer's body."""
    if exchange.wire is None:
        return Outcome(verdict="refused", detail=f"no adapter for {exchange.missing}")
    try:
        request = PLAIN if exchange.request is None else asked.read(exchange.wire, exchange.request)
        difference = await _compare(exchange, request, server, http, piece)
    except (BadRequest, Unsupported) as refusal:
        name = refusal.feature if isinstance(refusal, Unsupported) else refusal.what
        beyond = await _compare(exchange, PLAIN, server, http, piece) is None
        return Outcome(verdict="refused", detail=re.sub(r"\[\d+\]", "[]", name), beyond=beyond)
    difference = difference or _target(exchange, server.told)
    if difference is not None:
        return Outcome(verdict="missed", detail=difference)
    lost = None if exchange.request is None else _lost(exchange.wire, exchange.request, server.told.received)
    return Outcome(verdict="parsed", kept=None if exchange.request is None else lost is None, lost=lost or "")


async def _compare(exchange: Exchange, request: ModelRequest, server: Server, http: Http, piece: int) -> str | None:
    """What differs between the answer that was recorded and the one that came out; a crash is a difference."""
    assert exchange.wire is not None
    try:
        found = await _ask(exchange, request, server, http, piece)
        return _difference(oracle.read(exchange.wire, exchange.status, exchange.headers, exchange.body), found)
    except Unsupported:
        raise
    except Exception as crash:
        return f"{type(crash).__name__}: {crash}"


def _lost(wire: str, recorded: bytes, sent: bytes) -> str | None:
    try:
        return kept.difference(wire, recorded, sent)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return f"cannot be compared: {type(error).__name__}: {error}"


async def _ask(exchange: Exchange, request: ModelRequest, server: Server, http: Http, piece: int) -> oracle.Said | oracle.Failure:
    """The fold of what the adapter yields, or the error that it raises. `Unsupported` is no answer and goes on up."""
    server.told = Told(status=exchange.status, headers=exchange.headers, body=exchange.body, piece=piece)
    try:
        provider = _adapter(exchange, server.url, http)
        async with asyncio.timeout(LIMIT), aclosing(provider.generate(request, stream=exchange.streamed)) as answer:
            chunks = [chunk async for chunk in answer]
    except Unsupported:
        raise
    except ModelError as error:
        return oracle.Failure(error.kind, error.status, error.code, error.retry_after)
    except TimeoutError:
        return oracle.Failure("hangs")
    usages = [c.usage for c in chunks if c.usage is not None]
    last = usages[-1] if usages else None
    finishes = [c.finish for c in chunks if c.finish is not None]
    return oracle.Said(
        text="".join(c.text for c in chunks),
        reasoning="".join(c.reasoning for c in chunks),
        refusal="".join(c.refusal for c in chunks),
        calls=[(call.id, call.name, call.arguments) for c in chunks for call in c.tool_calls],
        finish=finishes[-1].value if finishes else "",
        usage=None if last is None else (last.input, last.output, last.cached_input, last.cache_write, last.reasoning),
        model=next((c.model for c in reversed(chunks) if c.model), None),
    )


def _adapter(exchange: Exchange, url: str, http: Http) -> OpenAI | Anthropic | Gemini:
    """The adapter, configured as a team would that calls this server."""
    recorded: dict[str, Any] = json.loads(exchange.request) if exchange.request else {}
    if exchange.wire == "chat completions":
        options: dict[str, Any] = {}
        if exchange.request:
            options["stream_usage"] = bool((recorded.get("stream_options") or {}).get("include_usage"))
            options["reasoning_field"] = _reasoning_field(recorded)
            if "max_completion_tokens" in recorded:
                options["max_tokens_field"] = "max_completion_tokens"
        base = url + exchange.path.removesuffix("/chat/completions")
        name = recorded.get("model") or "recorded"
        return OpenAI(Model(provider="openai", url=base, model=name, query=exchange.query, options=options), key="key", http=http)
    name = recorded.get("model") or "recorded"
    if exchange.wire == "messages":
        base = url + exchange.path.removesuffix("/messages")
        return Anthropic(Model(provider="anthropic", url=base, model=name, query=exchange.query), key="key", http=http)
    before, _, model = exchange.path.partition("/models/")
    query = {name: value for name, value in exchange.query.items() if name != "alt"}
    name = model.partition(":")[0] or "recorded"
    return Gemini(Model(provider="gemini", url=url + before, model=name, query=query), key="key", http=http)


def _reasoning_field(recorded: dict[str, Any]) -> str | None:
    fields = [name for m in recorded.get("messages") or [] for name in ("reasoning_details", "reasoning") if m.get(name)]
    return fields[0] if fields else None


def _target(exchange: Exchange, told: Told) -> str | None:
    """Whether the adapter asked where it was asked; DeepSeek takes both `/chat/completions` and `/v1/chat/completions`."""
    if exchange.request is None:
        return None
    parts = urlsplit(told.target)
    if unquote(parts.path) not in (unquote(exchange.path), "/v1" + exchange.path):
        return f"asked at {parts.path} instead of {exchange.path}"
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return None if query == exchange.query else f"asked with {query} instead of {exchange.query}"


def _difference(expected: oracle.Said | oracle.Failure, found: oracle.Said | oracle.Failure) -> str | None:
    """What differs between what was recorded and what came out; None where nothing does."""
    if isinstance(expected, oracle.Failure) or isinstance(found, oracle.Failure):
        return None if expected == found else f"expected {_short(expected)}, got {_short(found)}"
    for name in ("text", "reasoning", "finish", "usage", "model"):
        if getattr(expected, name) != getattr(found, name):
            return f"{name}: expected {_short(getattr(expected, name))}, got {_short(getattr(found, name))}"
    if not found.refusal.endswith(expected.refusal):
        return f"refusal: expected {_short(expected.refusal)}, got {_short(found.refusal)}"
    wanted, got = ([(name, _json(arguments)) for _, name, arguments in said.calls] for said in (expected, found))
    if wanted != got:
        return f"tool calls: expected {_short(wanted)}, got {_short(got)}"
    named = [(a[0], b[0]) for a, b in zip(expected.calls, found.calls, strict=True) if a[0] and a[0] != b[0]]
    return f"ids of tool calls: {_short(named)}" if named else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "..."
