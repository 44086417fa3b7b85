"""An index as a source: what was indexed is found by words, by meaning where there is an embedder, and ranked again if asked.

The question is embedded first, then the index is searched in a thread, then a reranker may put the best in another order. An
embedder or a reranker that fails or is late costs its part of the result and no more.
"""

from __future__ import annotations

import asyncio
import struct

from mainstay.core.evidence import Passage, Viewer
from mainstay.core.seams import Embedder, Index, Reranker


class Indexed:
    """The source over an `Index`."""

    def __init__(self, *, name: str, index: Index, embedder: Embedder | None = None, reranker: Reranker | None = None) -> None:
        self._name, self._index, self._embedder, self._reranker = name, index, embedder, reranker

    @property
    def version(self) -> str:
        """Changes whenever the content does."""
        return self._index.version

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        """The passages that answer the query and that this viewer may see, best first."""
        vector = b""
        if self._embedder is not None and self._index.embedder == self._embedder.name:
            (numbers,) = await self._embedder.embed([query])
            vector = struct.pack(f"<{len(numbers)}f", *numbers)
        return await asyncio.to_thread(self._index.search, query, vector, limit=limit, viewer=viewer)

    async def passage(self, id: str, *, viewer: Viewer) -> Passage | None:
        """The passage with that id as it is now, if this viewer may see it."""
        return await asyncio.to_thread(self._index.passage, id, viewer=viewer)

    async def document(self, id: str, *, viewer: Viewer | None) -> list[Passage]:
        """The passages of a document in their order, if this viewer may see it; None sees everything."""
        entry = await asyncio.to_thread(self._index.entry, id)
        if entry is None or (viewer is not None and not viewer.among(entry.tenants, entry.roles)):
            return []
        return list(entry.passages)
