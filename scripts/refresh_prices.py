"""Writes src/mainstay/prices.json from the installed genai-prices package (MIT).

    pip install genai-prices && python scripts/refresh_prices.py

Prices are taken at their dearest, so that a cost is never under-stated: of a tiered price the highest tier, of prices by the time
of day the highest, and of the kinds of token that one of our four figures stands for (text, images, reasoning) the highest. A
model whose input or output has no price per token, or that costs something per request beside it, is left out: unknown is
unknown, never 0. Not in it are caches of an hour (twice the input,
where nothing else is said), and what Mainstay never asks for: audio, searches on the provider's side.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import math
from decimal import Decimal
from pathlib import Path

from genai_prices.data import providers

HOSTS = {
    "openai": ["api.openai.com"],
    "anthropic": ["api.anthropic.com"],
    "google": ["generativelanguage.googleapis.com"],
    "groq": ["api.groq.com"],
    "mistral": ["api.mistral.ai"],
    "deepseek": ["api.deepseek.com"],
    "openrouter": ["openrouter.ai"],
    "together": ["api.together.xyz", "api.together.ai"],
    "fireworks": ["api.fireworks.ai"],
    "x-ai": ["api.x.ai"],
    "perplexity": ["api.perplexity.ai"],
    "cerebras": ["api.cerebras.ai"],
}
FIELDS = {
    "input": ("input_mtok", "input_image_mtok"),
    "output": ("output_mtok", "output_image_mtok", "output_reasoning_mtok", "output_citation_mtok"),
    "cached_input": ("cache_read_mtok", "cache_image_read_mtok"),
    "cache_write": ("cache_write_mtok",),
}


def nano(price: object) -> int | None:
    """Nano-dollars per million tokens; of a tiered price the highest tier."""
    if price is None:
        return None
    tiers = [Decimal(price.base), *[Decimal(t.price) for t in price.tiers]] if hasattr(price, "tiers") else [Decimal(price)]
    return math.ceil(max(tiers) * 1_000_000_000)


def names(clause: object) -> list[str]:
    """The names that a match clause stands for; a prefix ends in `*`."""
    if hasattr(clause, "or_"):
        return [name for inner in clause.or_ for name in names(inner)]
    if hasattr(clause, "equals"):
        return [clause.equals]
    if hasattr(clause, "starts_with"):
        return [clause.starts_with + "*"]
    return []


def periods(prices: object) -> list[tuple[datetime.date, list[object]]]:
    """From which day on which prices hold: those by the time of day beside those by date."""
    if not isinstance(prices, list):
        return [(datetime.date.min, [prices])]
    daily = [p.prices for p in prices if hasattr(p.constraint, "start_time")]
    dated = [p for p in prices if not hasattr(p.constraint, "start_time")]
    return sorted(
        ((getattr(p.constraint, "start_date", datetime.date.min), [p.prices, *daily]) for p in dated), key=lambda p: p[0]
    )


def dearest(candidates: list[object]) -> dict[str, int] | None:
    """The highest of these prices, figure by figure; None where they are not known per token."""
    if any(getattr(prices, "requests_kcount", None) for prices in candidates):
        return None
    found: dict[str, int] = {}
    for ours, (first, *others) in FIELDS.items():
        told = [p for p in candidates if getattr(p, first, None) is not None]
        figures = [nano(getattr(p, name, None)) for p in told for name in (first, *others)]
        if figures:
            found[ours] = max(figure for figure in figures if figure is not None)
    return found if {"input", "output"} <= found.keys() else None


def prices_of(model: object, today: datetime.date) -> list[dict[str, object]]:
    """The model's prices from today on: the one in force, and behind it those that are announced, with the day they begin."""
    found = [(day, prices) for day, candidates in periods(model.prices) if (prices := dearest(candidates))]
    begun = [prices for day, prices in found if day <= today][-1:]
    return begun + [{"from": day.isoformat(), **prices} for day, prices in found if day > today] if begun else []


def main() -> None:
    table: dict[str, dict[str, list[dict[str, object]]]] = {}
    today = datetime.date.today()
    for provider in providers:
        if provider.id not in HOSTS:
            continue
        models = table[provider.id] = {}
        for model in provider.models:
            prices = prices_of(model, today)
            for name in [model.id, *names(model.match)] if prices else []:
                models.setdefault(name.lower(), prices)
    out = {
        "as_of": today.isoformat(),
        "source": f"genai-prices {importlib.metadata.version('genai-prices')} (MIT)",
        "unit": "nano-dollars per million tokens",
        "hosts": {host: provider for provider, hosts in HOSTS.items() for host in hosts},
        "providers": table,
    }
    path = Path(__file__).parents[1] / "src/mainstay/prices.json"
    lines = json.dumps(out, separators=(",", ":"), sort_keys=True).replace('"},"', '"},\n"').replace('}],"', '}],\n"')
    path.write_text(lines + "\n")
    print(f"{path}: {sum(map(len, table.values()))} names, {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
