"""Reads what was learned: what `mainstay learn` wrote beside a feature file, JSON that says which format it has, and the weights
that Mainstay ships.
"""

from __future__ import annotations

from importlib import resources
from typing import TypeVar

import msgspec

from mainstay.core.errors import ConfigError

T = TypeVar("T")


def read(data: bytes, kind: type[T], *, what: str, format: int, where: str, next: str) -> T:
    """The file as its type. Raises `ConfigError`, with `what` it should be, such as "a router", and what to type `next`.

    A file of another format is told by its number, whatever else is in it.
    """
    try:
        plain = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"not JSON: {error}", where=where, next=next) from None
    found = plain.get("format") if isinstance(plain, dict) else None
    if isinstance(found, int) and found != format:
        raise ConfigError(f"{what} of format {found}; this version reads format {format}", where=where, next=next)
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"not {what} that can be used: {error}", where=where, next=next) from None


def shipped(name: str, kind: type[T]) -> T:
    """The weights of that name in `parts/weights`, which the package brings."""
    return msgspec.json.decode(resources.files("mainstay.parts").joinpath("weights", f"{name}.json").read_bytes(), type=kind)
