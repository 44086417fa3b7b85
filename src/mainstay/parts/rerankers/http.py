"""A reranker behind an address, in the shape that Cohere, Jina, vLLM and others share: `POST /v1/rerank`.

`url` is the address up to the version (`https://api.cohere.com/v2`, `http://localhost:8000/v1`), `model` the name that it has
for the model. It takes no options.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from mainstay.core.errors import ConfigError, Garbled
from mainstay.core.project import Service
from mainstay.parts.http import Http
from mainstay.parts.remote import Remote


class Result(Struct):
    """How well one text answers."""

    index: int
    relevance_score: float


class Results(Struct):
    """An answer."""

    results: list[Result]


class HttpReranker:
    """One model behind one address."""

    def __init__(self, service: Service, *, key: str, http: Http) -> None:
        if service.url is None:
            raise ConfigError("the reranker `http` needs an address", next='url = "http://localhost:8000/v1"')
        if service.options:
            raise ConfigError("the reranker `http` has no options", next="remove them")
        self._model = service.model
        self._remote = Remote(service, "/rerank", base="", key=key, http=http)

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """One number a text, in their order; the higher the better. Raises a `ModelError`."""
        if not texts:
            return []
        written = [text.encode("utf-8", "replace").decode() for text in (query, *texts)]
        body: dict[str, Any] = {"query": written[0], "documents": written[1:], "top_n": len(texts)}
        if self._model:
            body["model"] = self._model
        answer = await self._remote.ask(body, Results)
        scores = {result.index: result.relevance_score for result in answer.results}
        if sorted(scores) != list(range(len(texts))) or len(answer.results) != len(texts):
            raise Garbled(f"{len(texts)} texts were sent, and {len(answer.results)} scores came back", where=self._remote.url)
        return [scores[i] for i in range(len(texts))]
