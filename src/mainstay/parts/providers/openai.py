"""OpenAI's chat completions, and every server that speaks them: Azure, Groq, Mistral, DeepSeek, OpenRouter, Together,
vLLM, Ollama, llama.cpp.

Options (`[models.NAME.options]`): `max_tokens_field` (by default `max_completion_tokens` for OpenAI and Azure, `max_tokens`
elsewhere), `stream_usage` (false for a server that refuses `stream_options`), `reasoning_field`, in which the server takes
reasoning back (by default `reasoning_details` for OpenRouter, `reasoning_content` elsewhere). Azure: `url` up to the
deployment, `query = { api-version = "…" }`. Without `model` the first one that the server lists is asked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal
from urllib.parse import urlencode, urlsplit

import msgspec

from mainstay.core.errors import Garbled
from mainstay.core.model import Chunk, ModelRequest
from mainstay.core.project import Model
from mainstay.parts.http import Http
from mainstay.wire import failures
from mainstay.wire.openai_requests import write_request
from mainstay.wire.openai_responses import StreamReader, read_response

OFFICIAL = "https://api.openai.com/v1"


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """What `[models.NAME.options]` may say."""

    max_tokens_field: str | None = None
    stream_usage: bool = True
    reasoning_field: Literal["reasoning_content", "reasoning", "reasoning_details"] | None = None


class OpenAI:
    """One model behind one OpenAI-compatible endpoint."""

    def __init__(self, model: Model, *, key: str, http: Http) -> None:
        self._model = model.model
        options = msgspec.convert(model.options, Options)
        base = (model.url or OFFICIAL).rstrip("/")
        host = urlsplit(base).hostname or ""
        azure = host.endswith(".azure.com")
        self._base = base if urlsplit(base).path else base + "/v1"
        url = self._base + "/chat/completions" + ("?" + urlencode(model.query) if model.query else "")
        headers = {"content-type": "application/json"}
        if key:
            headers |= {"api-key": key} if azure else {"authorization": f"Bearer {key}"}
        self._completions = http.endpoint(url, headers | model.headers)
        self._models = http.endpoint(self._base + "/models", headers | model.headers)
        own = azure or base == OFFICIAL
        self._max_tokens_field = options.max_tokens_field or ("max_completion_tokens" if own else "max_tokens")
        details = host == "openrouter.ai"
        self._reasoning_field = options.reasoning_field or ("reasoning_details" if details else "reasoning_content")
        self._stream_usage = options.stream_usage

    async def generate(self, request: ModelRequest, *, stream: bool) -> AsyncGenerator[Chunk, None]:
        body = write_request(
            request,
            model=self._model or await self._discover(),
            stream=stream,
            max_tokens_field=self._max_tokens_field,
            reasoning_field=self._reasoning_field,
            stream_usage=self._stream_usage,
        )
        async with self._completions.post(body) as reply:
            if reply.status >= 300:
                raise failures.failure(reply.status, reply.headers, await reply.read(), where=self._completions.url)
            if quota := reply.quota:
                yield Chunk(quota=quota)
            if not reply.streams:
                yield read_response(await reply.read(), where=self._completions.url)
                return
            reader = StreamReader(where=self._completions.url)
            async for data in reply.chunks():
                chunk = reader.feed(data)
                if chunk is not None:
                    yield chunk
            yield reader.close()

    async def _discover(self) -> str:
        """The first model that the server lists."""
        status, body = await self._models.get()
        if status >= 300:
            raise failures.failure(status, {}, body, where=self._models.url)
        try:
            self._model = str(msgspec.json.decode(body)["data"][0]["id"])
        except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError):
            raise Garbled("the server lists no model", where=self._models.url, next="set MAINSTAY_MODEL_NAME") from None
        return self._model
