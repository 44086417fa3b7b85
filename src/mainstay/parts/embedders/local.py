"""A small embedder on this machine: WordLlama's static word vectors (`pip install "mainstay[local]"`), 256 numbers, no network.

A text's vector is the mean of its words': about 0.1 ms a question, 16 MB, and no model to serve. It brings words of one meaning
together ("refund", "money back"), mostly English ones; it knows no order of words and little of other languages.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mainstay.core.errors import ConfigError
from mainstay.core.project import Service
from mainstay.parts.http import Http

FEW = 4  # texts that are embedded at once, without leaving the event loop
NAME = "wordllama:l2_supercat/256"


class Local:
    """The embedder. It takes no options; one copy of the vectors serves a process."""

    def __init__(self, service: Service, *, key: str, http: Http) -> None:
        if service.options or service.model:
            raise ConfigError("the embedder `local` has one model and no options", next="remove `model` and `options`")
        self._model = _loaded()
        self._one = threading.Lock()

    @property
    def name(self) -> str:
        """The model and its length."""
        return NAME

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """One vector a text, in their order."""
        if len(texts) <= FEW and sum(map(len, texts)) < 4000:
            return self._embed(texts)
        return await asyncio.to_thread(self._embed, texts)

    def _embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        if not texts:
            return []
        written = [text.encode("utf-8", "replace").decode().strip() or "." for text in texts]
        with self._one:
            vectors: list[Sequence[float]] = self._model.embed(written, norm=True).tolist()
        return vectors


_model: Any = None
_loading = threading.Lock()


def _loaded() -> Any:
    """The model, read from the files that its package brings. Its own search for them looks elsewhere, and then downloads."""
    global _model  # noqa: PLW0603  eleven megabytes, once a process
    with _loading:
        if _model is None:
            try:
                import wordllama
            except ImportError:
                raise ConfigError("the embedder `local` is not installed", next='pip install "mainstay[local]"') from None
            folder = Path(str(wordllama.__file__)).parent
            _model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    return _model
