"""What models cost: a dated table made from the public genai-prices data (MIT) by `scripts/refresh_prices.py`.

A model that the table does not know has no price, and its calls cost None: unknown is never 0. A price that was announced when
the table was made holds from its day on, for whoever loads the project then.
"""

from __future__ import annotations

import datetime
import functools
import importlib.resources
from typing import Any
from urllib.parse import urlsplit

import msgspec

from mainstay.core.project import Model, Price
from mainstay.core.units import Usd

_OWN = {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}
_SEARCHES = ("compound", "search-preview", "search-api", "deep-research", ":online")

# The most tokens of one image, by what the providers publish (November 2026): at OpenAI 48,169 for gpt-4o-mini and under 4,500
# for the others, at Anthropic 4,784, at Google 2,240; elsewhere 16,384, the most of Qwen's vision models.
_IMAGE = {"openai": 5_000, "anthropic": 5_000, "google": 5_000}
_IMAGE_ELSEWHERE, _IMAGE_MOST = 17_000, 50_000


@functools.cache
def table() -> dict[str, Any]:
    """The whole table: `as_of`, `hosts`, and for each provider its models' prices, in nano-dollars per million tokens."""
    data: dict[str, Any] = msgspec.json.decode(importlib.resources.files("mainstay").joinpath("prices.json").read_bytes())
    return data


def price_of(model: Model, today: datetime.date | None = None) -> Price | None:
    """The price that the table has for this model at this address; None for a server of one's own, and for what is unknown.

    A model that searches on its own reads what nobody sent, and is charged for it: no price per token says what such a one costs.
    """
    if not model.model or searches(model.model):
        return None
    provider = _provider(model)
    known = table()["providers"].get(provider, {})
    name = model.model.lower()
    prices = known.get(name) or _by_prefix(name, known)
    if prices is None:
        return None
    day = (today or datetime.date.today()).isoformat()
    in_force = [price for price in prices if price.get("from", "") <= day][-1]
    return Price(**{key: Usd(value) for key, value in in_force.items() if key != "from"})


def searches(model: str) -> bool:
    """Whether a model of that name searches on its own, and so reads what nobody sent."""
    return any(part in model.lower() for part in _SEARCHES)


def image_tokens(model: Model) -> int:
    """The most tokens that one image can be to this model."""
    if "gpt-4o-mini" in model.model.lower():
        return _IMAGE_MOST
    return _IMAGE.get(_provider(model) or "", _IMAGE_ELSEWHERE)


def _provider(model: Model) -> str | None:
    """Whose prices hold at the address of this model."""
    if model.url is None:
        return _OWN.get(model.provider)
    found: str | None = table()["hosts"].get(urlsplit(model.url).hostname)
    return found


def _by_prefix(name: str, known: dict[str, Any]) -> Any:
    """What the longest prefix stands for: providers add dates to their models' names."""
    prefixes = [key for key in known if key.endswith("*") and name.startswith(key[:-1])]
    return known[max(prefixes, key=len)] if prefixes else None
