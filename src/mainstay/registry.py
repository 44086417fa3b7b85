"""Finds parts: by entry point (ours come in by the guests' door) or by path, `"shop.guards:NoCompetitors"`."""

from __future__ import annotations

import functools
import importlib
import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec

from mainstay.core.errors import ConfigError, MainstayError, nearest

SEAMS = ("providers", "sources", "guards", "observers")


@functools.cache
def offered(seam: str) -> dict[str, EntryPoint]:
    """The parts of a seam that are installed, by name."""
    return {point.name: point for point in entry_points(group=f"mainstay.{seam}")}


def part(seam: str, name: str, *, where: str) -> Any:
    """The class of a part. Raises `ConfigError` where there is none by that name, or it cannot be imported."""
    known = offered(seam)
    try:
        if name in known:
            return known[name].load()
        if ":" in name:
            return imported(name)
    except MainstayError:
        raise
    except Exception as error:
        raise ConfigError(f'the part "{name}" cannot be imported: {type(error).__name__}: {error}', where=where) from error
    kind = seam.removesuffix("s")
    raise ConfigError(
        f'there is no {kind} "{name}"; {nearest(name, known)}',
        where=where,
        next='or name one of your own by path, "package.module:Class"',
    )


def imported(path: str) -> Any:
    """The object at `package.module:name`. Raises whatever the import raises."""
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in name.split("."):
        found = getattr(found, attribute)
    return found


def made(kind: Any, options: dict[str, Any], *, where: str) -> Any:
    """A part made with its options as keywords, checked by the types it declares (a `Struct`, or its `options` Struct)."""
    declared = kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else getattr(kind, "options", None)
    try:
        if declared is not None and isinstance(declared, type) and issubclass(declared, msgspec.Struct):
            checked = msgspec.convert(options, declared)
            if declared is kind:
                return checked
            options = msgspec.structs.asdict(checked)
        else:
            inspect.signature(kind).bind(**options)
        return kind(**options)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise ConfigError(str(error).replace("Object contains", "it has"), where=where) from None


def first_option(kind: Any) -> str:
    """The option that a shorthand stands for: `{ terms = [...] }` gives the guard `terms` its first option."""
    declared = kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else getattr(kind, "options", None)
    if declared is not None:
        return str(msgspec.structs.fields(declared)[0].name)
    return next(iter(inspect.signature(kind).parameters))
