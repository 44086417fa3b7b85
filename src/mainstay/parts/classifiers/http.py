"""A text classifier behind an address: a server of text classification, or a moderation API.

Options (`[classifiers.NAME.options]`): `shape`: `classify` (default; `url` takes `{"inputs": "…"}` and gives `[{"label",
"score"}]`, as text-embeddings-inference does under `/predict` and Hugging Face's endpoints do) or `moderations` (OpenAI's
`/v1/moderations`, `url` up to `/v1`; each category is a label, and `flagged` is 1 or 0). Each text is one request of `timeout`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from mainstay.core.errors import ConfigError, Garbled
from mainstay.core.project import Service
from mainstay.parts.http import Http
from mainstay.parts.remote import Remote

OFFICIAL = "https://api.openai.com/v1"


class Options(Struct, forbid_unknown_fields=True):
    """What `[classifiers.NAME.options]` may say."""

    shape: Literal["classify", "moderations"] = "classify"


class Labelled(Struct):
    """One label of an answer."""

    label: str
    score: float


class Moderated(Struct):
    """What a moderation API says of one text."""

    category_scores: dict[str, float]
    flagged: bool


class Moderation(Struct):
    """The answer of a moderation API."""

    results: list[Moderated]


class HttpClassifier:
    """One classifier behind one address."""

    def __init__(self, service: Service, *, key: str, http: Http) -> None:
        self._moderates = msgspec.convert(service.options, Options).shape == "moderations"
        if service.url is None and not self._moderates:
            raise ConfigError("it needs the `url` of the server", next='url = "http://127.0.0.1:8080/predict"')
        path = "/moderations" if self._moderates else ""
        self._remote = Remote(service, path, base=OFFICIAL, key=key, http=http)
        self._model = {"model": service.model} if service.model else {}

    async def classify(self, texts: Sequence[str]) -> list[Mapping[str, float]]:
        """For each text the probability of each label. Raises a `ModelError`."""
        ask = self._moderated if self._moderates else self._labelled
        return [self._sound(await ask(text.encode("utf-8", "replace").decode())) for text in texts]

    async def _labelled(self, text: str) -> dict[str, float]:
        body: dict[str, Any] = {"inputs": text, **self._model}
        labels: dict[str, float] = {}
        for entry in await self._remote.ask(body, list[Labelled | list[Labelled]]):  # flat, or in a list for each text
            labels |= {label.label: label.score for label in ([entry] if isinstance(entry, Labelled) else entry)}
        return labels

    async def _moderated(self, text: str) -> dict[str, float]:
        answer = await self._remote.ask({"input": text, **self._model}, Moderation)
        if len(answer.results) != 1:
            raise Garbled(f"one text was sent, and {len(answer.results)} results came back", where=self._remote.url)
        return {**answer.results[0].category_scores, "flagged": float(answer.results[0].flagged)}

    def _sound(self, found: dict[str, float]) -> dict[str, float]:
        if not found or not all(0 <= score <= 1 for score in found.values()):
            raise Garbled("there are no labels, or scores that are no probabilities", where=self._remote.url)
        return found
