"""Anthropic's Messages API, and whatever speaks it.

`url` is the address before `/v1/messages`, with or without the `/v1`. A header of `headers` replaces ours of the same name:
`anthropic-version` for another version of the API, `anthropic-beta` for what needs one. There are no options.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from urllib.parse import urlencode

import msgspec

from mainstay.core.errors import ConfigError
from mainstay.core.model import Chunk, ModelRequest
from mainstay.core.project import Model
from mainstay.parts.http import Http
from mainstay.wire import failures
from mainstay.wire.anthropic_requests import write_request
from mainstay.wire.anthropic_responses import StreamReader, read_response

OFFICIAL = "https://api.anthropic.com/v1"
VERSION = "2023-06-01"


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """What `[models.NAME.options]` may say: nothing."""


class Anthropic:
    """One model behind one endpoint of the Messages API."""

    def __init__(self, model: Model, *, key: str, http: Http) -> None:
        msgspec.convert(model.options, Options)
        if not model.model:
            raise ConfigError("this provider has to be told which model", where=model.name, next='model = "claude-haiku-4-5"')
        self._model, self._max_output = model.model, model.max_output
        base = (model.url or OFFICIAL).rstrip("/")
        base = base if base.endswith("/v1") else base + "/v1"
        url = base + "/messages" + ("?" + urlencode(model.query) if model.query else "")
        headers = {"content-type": "application/json", "anthropic-version": VERSION}
        if key:
            headers["x-api-key"] = key
        self._messages = http.endpoint(url, headers | model.headers)

    async def generate(self, request: ModelRequest, *, stream: bool) -> AsyncGenerator[Chunk, None]:
        body = write_request(request, model=self._model, stream=stream, max_output=self._max_output, where=self._messages.url)
        async with self._messages.post(body) as reply:
            if reply.status >= 300:
                raise failures.failure(reply.status, reply.headers, await reply.read(), where=self._messages.url)
            if quota := reply.quota:
                yield Chunk(quota=quota)
            if not reply.streams:
                yield read_response(await reply.read(), where=self._messages.url)
                return
            reader = StreamReader(where=self._messages.url)
            async for data in reply.chunks():
                chunk = reader.feed(data)
                if chunk is not None:
                    yield chunk
            yield reader.close()
