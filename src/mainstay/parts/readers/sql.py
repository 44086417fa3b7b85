"""A query over a database of `mainstay.toml`: each row is a document.

Its columns are `id`, one of `text`, `markdown` and `html`, and whichever of `title`, `link`, `tenant` or `tenants`, `role` or
`roles`, `approver` and `review` there are; several names stand between commas. A column of another name is an error, because
who writes `tennant` means to hide something.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

from mainstay.core.errors import SourceError
from mainstay.core.seams import Database, Raw
from mainstay.parts.readers.described import document

MOST = 100_000  # rows
SECONDS = 60.0  # for the query


class Sql:
    """The reader. `database` is asked the `query`; `link` is put before a document's `id` where the row has no link."""

    def __init__(self, *, name: str, database: Database, query: str, link: str | None = None, seconds: float = SECONDS) -> None:
        self._database, self._query, self._link, self._seconds = database, query, link, seconds

    async def documents(self) -> AsyncIterator[Raw]:
        """Every row, as a document. Raises `SourceError` where the query fails, hangs, or gives more than can be read."""
        try:
            async with asyncio.timeout(self._seconds + 1):
                rows = await self._database.query(self._query, {}, limit=MOST, timeout=self._seconds)
        except TimeoutError:
            raise SourceError(f"the query gave no rows in {self._seconds:g} seconds", next="make it faster") from None
        if rows.more:
            raise SourceError(f"the query gives more than {MOST} rows", next="narrow it, or make several sources of it")
        if not rows.rows:
            raise SourceError("the query gives no rows", next="check it in the database")
        for number, row in enumerate(rows.rows, 1):
            values = dict(zip(rows.columns, row, strict=True))
            link = None if self._link is None else self._link + quote(str(values.get("id")))
            yield document(values, where=f"row {number}", link=link)
