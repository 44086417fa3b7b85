"""The texts in data, for whoever has to look at all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def texts_in(value: Any) -> Iterator[str]:
    """Every text in data, however deep, in its order; the names of fields are none.

    >>> list(texts_in({"city": "Rome", "stops": ["Pisa", {"by": "train"}], "days": 3}))
    ['Rome', 'Pisa', 'train']
    """
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from texts_in(inner)
