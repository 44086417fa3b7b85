"""A service behind an address that is asked with JSON and answers with JSON: what embedders and rerankers have in common."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec

from mainstay.core.errors import Garbled, TooSlow
from mainstay.core.project import Service
from mainstay.parts.http import Http
from mainstay.wire import failures

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class Remote:
    """One address of a service, `service.url` and the path behind it. `url` is what errors name."""

    def __init__(self, service: Service, path: str, *, base: str, key: str, http: Http) -> None:
        headers = {"content-type": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        self._timeout = service.timeout
        self._endpoint = http.endpoint((service.url or base).rstrip("/") + path, headers)
        self.url = self._endpoint.url

    async def ask(self, body: dict[str, Any], kind: type[T]) -> T:
        """Its answer, read as `kind`. Raises a `ModelError`."""
        try:
            async with asyncio.timeout(self._timeout), self._endpoint.post(_encode(body)) as reply:
                data = await reply.read()
        except TimeoutError:
            what = f"no answer within {self._timeout}"
            raise TooSlow(what, where=self.url, next="give it more time with `timeout`") from None
        if reply.status >= 300:
            raise failures.failure(reply.status, reply.headers, data, where=self.url)
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Garbled(f"this is not what its API promises: {error}", where=self.url) from None
