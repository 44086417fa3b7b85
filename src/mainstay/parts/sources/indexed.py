"""An index as a source: what was indexed is found by words, by meaning where there is an embedder, and ranked again if asked.

The question is embedded, then the index is searched in a thread, then a reranker may put the best in another order. An embedder
or a reranker that fails, or is late, costs its part of the result and no more: words alone are searched for, or the order of the
index stands, and the record says so.
"""

from __future__ import annotations

import asyncio
import importlib.util
import math
import struct
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from mainstay.core.errors import ConfigError, TooSlow
from mainstay.core.evidence import Passage, Viewer
from mainstay.core.seams import Embedder, Index, Reranker

T = TypeVar("T")
EMBEDDING = 0.5  # of the time that there is, at most, for the question's vector
MARGIN = 0.02  # seconds that are left for what comes after a reranker that is late
WIDER, LONGEST = 4, 2000  # times the passages that are wanted go to the reranker, with so many characters of each


class Indexed:
    """The source over an `Index`."""

    def __init__(self, *, name: str, index: Index, embedder: Embedder | None = None, reranker: Reranker | None = None) -> None:
        if embedder is not None and importlib.util.find_spec("numpy") is None:
            what = f"the source {name} has an embedder, and vectors need numpy"
            raise ConfigError(what, next='pip install "mainstay[vectors]"')
        self._name, self._index, self._embedder, self._reranker = name, index, embedder, reranker

    @property
    def version(self) -> str:
        """Changes whenever the content does."""
        return self._index.version

    async def search(self, query: str, *, limit: int, viewer: Viewer) -> list[Passage]:
        """The passages that answer the query and that this viewer may see, best first."""
        passages, _ = await self.search_until(query, limit=limit, viewer=viewer, until=math.inf)
        return passages

    async def search_until(
        self, query: str, *, limit: int, viewer: Viewer, until: float
    ) -> tuple[list[Passage], tuple[str, ...]]:
        """As `search`, done by that moment (`time.monotonic()`) with whatever help came in time; and what did not help."""
        remarks: list[str] = []
        vector = await self._vector(query, until, remarks)
        wanted = limit if self._reranker is None else limit * WIDER
        passages = await asyncio.to_thread(self._index.search, query, vector, limit=wanted, viewer=viewer)
        if self._reranker is not None and len(passages) > 1:
            passages = await self._reranked(self._reranker, query, passages, until, remarks)
        return passages[:limit], tuple(remarks)

    async def passage(self, id: str, *, viewer: Viewer) -> Passage | None:
        """The passage with that id as it is now, if this viewer may see it."""
        return await asyncio.to_thread(self._index.passage, id, viewer=viewer)

    async def document(self, id: str, *, viewer: Viewer | None) -> list[Passage]:
        """The passages of a document in their order, if this viewer may see it; None sees everything."""
        entry = await asyncio.to_thread(self._index.entry, id)
        if entry is None or (viewer is not None and not viewer.among(entry.tenants, entry.roles)):
            return []
        return list(entry.passages)

    async def _vector(self, query: str, until: float, remarks: list[str]) -> bytes:
        """The question's vector; none where there is no embedder that the index was made with, or it did not answer in time."""
        embedder = self._embedder
        if embedder is None:
            return b""
        if self._index.embedder != embedder.name:
            remarks.append(f"{self._name}: words alone, for the index holds no vectors of {embedder.name}; next: mainstay index")
            return b""
        now = time.monotonic()
        try:
            (numbers,) = await _in_time(embedder.embed([query]), now + (until - now) * EMBEDDING)
            return struct.pack(f"<{len(numbers)}f", *numbers)
        except Exception as error:
            remarks.append(f"{self._name}: words alone, for the embedder failed: {type(error).__name__}: {error}")
            return b""

    async def _reranked(
        self, reranker: Reranker, query: str, passages: Sequence[Passage], until: float, remarks: list[str]
    ) -> list[Passage]:
        texts = ["\n".join([" › ".join(p.heading), p.text]).strip()[:LONGEST] for p in passages]
        try:
            scores = await _in_time(reranker.score(query, texts), until - MARGIN)
            if len(scores) != len(passages) or not all(map(math.isfinite, scores)):
                raise ValueError(f"{len(passages)} passages have the scores {scores}")
        except Exception as error:
            remarks.append(f"{self._name}: not ranked again, for the reranker failed: {type(error).__name__}: {error}")
            return list(passages)
        order = sorted(range(len(passages)), key=lambda i: -scores[i])
        return [passages[i] for i in order]


async def _in_time(work: Coroutine[Any, Any, T], until: float) -> T:
    """What this gives, if it does by that moment; raises `TooSlow` otherwise, and whatever it raises."""
    task = asyncio.ensure_future(work)
    try:
        left = None if until == math.inf else max(0.0, until - time.monotonic())
        done, _ = await asyncio.wait({task}, timeout=left)
        if not done:
            raise TooSlow("no answer in the time that there is for searching")
        return task.result()
    finally:
        task.cancel()
