"""Gemini's generateContent, at Google AI Studio or on Google Vertex.

`url` is the address before `/models/…`. Vertex: `url = "https://aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION/\
publishers/google"`; its key is an API key, or an access token that starts with `ya29.`, which somebody has to renew. There are no
options.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from urllib.parse import quote, urlencode

import msgspec

from mainstay.core.errors import ConfigError
from mainstay.core.model import Chunk, ModelRequest
from mainstay.core.project import Model
from mainstay.parts.http import Http
from mainstay.wire import failures
from mainstay.wire.gemini_requests import write_request
from mainstay.wire.gemini_responses import StreamReader, read_response

OFFICIAL = "https://generativelanguage.googleapis.com/v1beta"
TOKEN = "ya29."  # noqa: S105 what an access token of Google begins with


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """What `[models.NAME.options]` may say: nothing."""


class Gemini:
    """One model behind generateContent and streamGenerateContent."""

    def __init__(self, model: Model, *, key: str, http: Http) -> None:
        msgspec.convert(model.options, Options)
        if not model.model:
            raise ConfigError("this provider has to be told which model", where=model.name, next='model = "gemini-2.5-flash"')
        self._model, self._max_output = model.model, model.max_output
        base = (model.url or OFFICIAL).rstrip("/")
        named = model.model if "/" in model.model else f"models/{model.model}"  # as in tunedModels/NAME
        url = f"{base}/{quote(named)}"
        headers = {"content-type": "application/json"}
        if key:
            headers |= {"authorization": f"Bearer {key}"} if key.startswith(TOKEN) else {"x-goog-api-key": key}
        whole = ":generateContent" + ("?" + urlencode(model.query) if model.query else "")
        streamed = ":streamGenerateContent?" + urlencode({**model.query, "alt": "sse"})
        self._whole = http.endpoint(url + whole, headers | model.headers)
        self._streamed = http.endpoint(url + streamed, headers | model.headers)

    async def generate(self, request: ModelRequest, *, stream: bool) -> AsyncGenerator[Chunk, None]:
        endpoint = self._streamed if stream else self._whole
        body = write_request(request, model=self._model, max_output=self._max_output, where=endpoint.url)
        async with endpoint.post(body) as reply:
            if reply.status >= 300:
                raise failures.failure(reply.status, reply.headers, await reply.read(), where=endpoint.url)
            if quota := reply.quota:
                yield Chunk(quota=quota)
            if not reply.streams:
                yield read_response(await reply.read(), where=endpoint.url)
                return
            reader = StreamReader(where=endpoint.url)
            async for data in reply.chunks():
                chunk = reader.feed(data)
                if chunk is not None:
                    yield chunk
            yield reader.close()
