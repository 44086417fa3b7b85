"""OpenAI's embeddings, and every server that speaks them: `POST /v1/embeddings`.

`model` is the name that the server has for the model, `url` its address (by default OpenAI's). Options
(`[embedders.NAME.options]`): `dimensions`, how long the vectors shall be, for models that can shorten them (256 is usually
plenty, and a search takes the less time); `batch`, how many texts are sent at once (64). The vectors that an index holds and
those of questions have to be of one model: the embedder's name is made of model and dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mainstay.core.errors import Garbled
from mainstay.core.project import Service
from mainstay.parts.http import Http
from mainstay.parts.remote import Remote

OFFICIAL = "https://api.openai.com/v1"


class Options(Struct, forbid_unknown_fields=True):
    """What `[embedders.NAME.options]` may say."""

    dimensions: Annotated[int, Meta(ge=1)] | None = None
    batch: Annotated[int, Meta(ge=1)] = 64


class Embedding(Struct):
    """One vector of an answer, and to which text it belongs."""

    index: int
    embedding: list[float]


class Embeddings(Struct):
    """An answer."""

    data: list[Embedding]


class OpenAI:
    """One model behind one OpenAI-compatible endpoint."""

    def __init__(self, service: Service, *, key: str, http: Http) -> None:
        self._options = msgspec.convert(service.options, Options)
        self._model = service.model
        self._remote = Remote(service, "/embeddings", base=OFFICIAL, key=key, http=http)
        length = f"/{self._options.dimensions}" if self._options.dimensions else ""
        self._name = f"openai:{self._model or self._remote.url}{length}"

    @property
    def name(self) -> str:
        """Model and dimensions; the address, where no model is named."""
        return self._name

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """One vector a text, in their order. Raises a `ModelError`."""
        vectors: list[Sequence[float]] = []
        for start in range(0, len(texts), self._options.batch):
            vectors += await self._batch(texts[start : start + self._options.batch])
        return vectors

    async def _batch(self, texts: Sequence[str]) -> list[Sequence[float]]:
        written = [text.encode("utf-8", "replace").decode() or " " for text in texts]  # servers refuse what is empty
        body: dict[str, Any] = {"input": written, "encoding_format": "float"}
        if self._model:
            body["model"] = self._model
        if self._options.dimensions:
            body["dimensions"] = self._options.dimensions
        answer = await self._remote.ask(body, Embeddings)
        found = {entry.index: entry.embedding for entry in answer.data}
        if sorted(found) != list(range(len(texts))) or len(answer.data) != len(texts):
            raise Garbled(f"{len(texts)} texts were sent, and {len(answer.data)} vectors came back", where=self._remote.url)
        if len({len(vector) for vector in found.values()}) > 1 or not found[0]:
            raise Garbled("the vectors are of different lengths, or empty", where=self._remote.url)
        if not all(map(math.isfinite, (number for vector in found.values() for number in vector))):
            raise Garbled("a vector holds what is no number", where=self._remote.url)
        return [found[i] for i in range(len(texts))]
