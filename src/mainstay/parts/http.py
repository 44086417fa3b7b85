"""The one pooled HTTP client, handed to every provider.

aiohttp, chosen by measurement (docs/performance.md): about a fifteenth of httpx's cost per request. It sets no time limit
of its own, because whoever awaits a provider does; it follows no redirect, keeps no cookies, and translates aiohttp's
errors into ours in one place.
"""

from __future__ import annotations

import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mainstay.core.errors import CutOff, Garbled, Unreachable

if TYPE_CHECKING:
    import aiohttp

MAX_REPLY = 64 * 1024 * 1024


class Reply:
    """An HTTP answer whose head has arrived."""

    __slots__ = ("_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def streams(self) -> bool:
        """Whether the body is a stream of server-sent events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    async def read(self) -> bytes:
        """The whole body. Raises `Garbled` above 64 MB."""
        length = self._response.content_length
        if length is not None and length <= MAX_REPLY:
            return await self._response.read()
        body = bytearray()
        async for data in self._response.content.iter_any():
            body += data
            if len(body) > MAX_REPLY:
                raise Garbled(f"the answer is longer than {MAX_REPLY} bytes")
        return bytes(body)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, one item a socket read."""
        return self._response.content.iter_any().__aiter__()


class Http:
    """A pool of kept-alive connections. Made once; belongs to the event loop of its first request."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> AsyncIterator[Reply]:
        """Send and wait for the head of the answer. Raises `Unreachable` before it, `CutOff` after it."""
        import aiohttp

        session = self._session or self._open()
        began = False
        try:
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                began = True
                yield Reply(response)
        except (aiohttp.ClientError, OSError) as error:
            what = str(error) or type(error).__name__
            raise (CutOff if began else Unreachable)(what, where=url) from error

    async def get(self, url: str, *, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """A small GET: status and body. Raises `Unreachable`."""
        import aiohttp

        session = self._session or self._open()
        try:
            async with session.get(url, headers=headers, allow_redirects=False) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(str(error) or type(error).__name__, where=url) from error

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=bool(urllib.request.getproxies()),
            read_bufsize=2**18,
        )
        return self._session

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
