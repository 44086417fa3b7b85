"""Writes src/mainstay/prices.json from the installed genai-prices package (MIT).

    pip install genai-prices && python scripts/refresh_prices.py

Prices are taken at their dearest: of a tiered price the highest tier, so that a cost is never under-stated. A model whose
input or output has no price per token is left out: unknown is unknown, never 0.
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
FIELDS = {"input": "input_mtok", "output": "output_mtok", "cached_input": "cache_read_mtok", "cache_write": "cache_write_mtok"}


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


def prices_of(model: object) -> dict[str, int] | None:
    """The model's prices today; of conditional prices the last one whose condition is a date that has passed, or none."""
    prices = model.prices
    if isinstance(prices, list):
        prices = prices[-1].prices
    found = {ours: value for ours, theirs in FIELDS.items() if (value := nano(getattr(prices, theirs, None))) is not None}
    return found if {"input", "output"} <= found.keys() else None


def main() -> None:
    table: dict[str, dict[str, dict[str, int]]] = {}
    for provider in providers:
        if provider.id not in HOSTS:
            continue
        models = table[provider.id] = {}
        for model in provider.models:
            prices = prices_of(model)
            for name in [model.id, *names(model.match)] if prices else []:
                models.setdefault(name.lower(), prices)
    out = {
        "as_of": datetime.date.today().isoformat(),
        "source": f"genai-prices {importlib.metadata.version('genai-prices')} (MIT)",
        "unit": "nano-dollars per million tokens",
        "hosts": {host: provider for provider, hosts in HOSTS.items() for host in hosts},
        "providers": table,
    }
    path = Path(__file__).parents[1] / "src/mainstay/prices.json"
    lines = json.dumps(out, separators=(",", ":"), sort_keys=True).replace('"},"', '"},\n"').replace('},"', '},\n"')
    path.write_text(lines + "\n")
    print(f"{path}: {sum(map(len, table.values()))} names, {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
