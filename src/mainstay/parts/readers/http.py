"""An address as a source: one page of any kind that is read, or JSON that describes documents.

The JSON is `{"documents": [...], "next": address}`, whose pages are followed, or a list alone. A document is an object with
the names that a row of `sql` has. Pages are followed within their own origin only, each once, and only so many; each has to
come in time.

Limits: no redirect is followed, nothing is asked twice, and no header is sent but the usual ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from mainstay.core.errors import ConfigError, ModelError, SourceError
from mainstay.core.seams import Raw
from mainstay.parts.http import Http as Client
from mainstay.parts.readers.described import document

MOST_PAGES = 10_000
SECONDS = 30.0  # for one page, its whole body included


class Http:
    """The reader. `url` is the address; `link` is put before a document's `id` where it brings none of its own."""

    def __init__(self, *, name: str, url: str, http: Client, link: str | None = None, seconds: float = SECONDS) -> None:
        self._url, self._http, self._link, self._seconds = url, http, link, seconds

    async def documents(self) -> AsyncIterator[Raw]:
        """Every document of every page. Raises `SourceError` where a page is missing: then nobody knows what there is."""
        url: str = self._url
        seen: set[str] = set()
        empty = True
        while url:
            if url in seen or len(seen) >= MOST_PAGES:
                why = "leads to itself" if url in seen else f"is one of more than {MOST_PAGES}"
                raise SourceError(f"the page {why}: {url}", next="end the pages with no `next`")
            seen.add(url)
            kind, body = await self._page(url)
            if not _is_json(kind):
                if len(seen) > 1:
                    raise SourceError(f"expected JSON, got {kind[:60] or 'no content-type'}: {url}", next="check its `next`")
                link = self._url if self._link is None else self._link
                yield Raw(id=_id(self._url), data=body, media=kind or "text/plain", link=link)
                return
            described, next = _described(body, url)
            for number, values in enumerate(described, 1):
                if not isinstance(values, dict):
                    raise SourceError("a document is an object", where=f"{url} documents[{number}]", next="give it an `id`")
                empty = False
                linked = None if self._link is None else self._link + quote(str(values.get("id")))
                yield document(values, where=f"{url} documents[{number}]", link=linked)
            url = self._followed(url, next)
        if empty:
            raise SourceError(f"there are no documents: {self._url}", next="check its `url`")

    async def _page(self, url: str) -> tuple[str, bytes]:
        """The content type and the body of a page. Raises `SourceError`."""
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._http.endpoint(url, {"accept": "application/json, */*"}).ask() as reply,
            ):
                kind, status, moved = reply.headers.get("content-type", ""), reply.status, reply.headers.get("location", "")
                body = await reply.read()
        except TimeoutError:
            raise SourceError(
                f"no whole answer in {self._seconds:g} seconds: {url}", next="see whether the server is well"
            ) from None
        except ModelError as error:
            raise SourceError(f"{error.what}: {url}", next=error.next or "see whether the server is well") from None
        except ConfigError as error:
            raise SourceError(f"{error.what}: {url}", next=error.next or "check its `url`") from None
        if 300 <= status < 400 and moved:
            raise SourceError(f"it moved: {url}", next=f'url = "{urljoin(url, moved)}"')
        if status != 200:
            raise SourceError(
                f"the answer is {status}: {url}", next="see whether the server is well" if status >= 500 else "check its `url`"
            )
        return kind, body

    def _followed(self, url: str, next: str | None) -> str:
        """The address of the next page; empty where there is none. Another origin is nobody's page but an attacker's."""
        if not next:
            return ""
        found = urljoin(url, next)
        if urlsplit(found)[:2] != urlsplit(self._url)[:2]:
            raise SourceError(f"its `next` leads to another server: {found}", next=f"keep to {urlsplit(self._url).netloc}")
        return found


def _is_json(kind: str) -> bool:
    kind = kind.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _id(url: str) -> str:
    """The address without what may be secret, its user and its query."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}".strip("/")


def _described(body: bytes, url: str) -> tuple[list[Any], str | None]:
    """The documents of a page, and the next page's address. Raises `SourceError`."""
    try:
        page: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"the answer is no JSON: {error}: {url}", next="see what the server answers") from None
    found, next = (page.get("documents"), page.get("next")) if isinstance(page, dict) else (page, None)
    if not isinstance(found, list) or not isinstance(next, str | None):
        raise SourceError(f"the answer is no list of documents: {url}", next='answer {"documents": [...], "next": null}')
    return found, next
