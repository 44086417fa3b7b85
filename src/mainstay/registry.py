"""Finds parts: by entry point (ours come in by the guests' door) or by path, `"shop.guards:NoCompetitors"`.

A path is looked up like any import. The folder of the project that is opened is put at the end of Python's search path, so
that a part may simply stand beside mainstay.toml; what is installed wins over what stands there.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from mainstay.core.errors import ConfigError, MainstayError, nearest
from mainstay.spec.documents import Document
from mainstay.spec.places import Place

KEYWORDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@functools.cache
def offered(seam: str) -> dict[str, EntryPoint]:
    """The parts of a seam that are installed, by name."""
    return {point.name: point for point in _installed().select(group=f"mainstay.{seam}")}


@functools.cache
def _installed() -> Any:
    """What all installed packages offer: reading that takes tens of milliseconds, so it is read once for all seams."""
    return entry_points()


def importable(root: Path) -> None:
    """Let Python find modules in a project's folder, after everything that is installed."""
    folder = str(root.resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()


def part(seam: str, name: str, *, where: str) -> Any:
    """The class of a part. Raises `ConfigError` where there is none by that name, or it cannot be imported."""
    known = offered(seam)
    if seam == "sources":  # one of ours is a reader, whose documents are kept in an index
        known = {**offered("readers"), **known}
    kind = "kind of source" if seam == "sources" else seam.removesuffix("s")
    found: Any = None
    try:
        if name in known:
            found = known[name].load()
        elif ":" in name:
            found = imported(name)
    except MainstayError:
        raise
    except (Exception, SystemExit) as error:
        whose, next = _whose(name, known.get(name), error)
        raise ConfigError(
            f'the {kind} "{name}"{whose} cannot be imported: {type(error).__name__}: {error}', where=where, next=next
        ) from error
    if found is None:
        raise ConfigError(
            f'there is no {kind} "{name}"; {nearest(name, known)}',
            where=where,
            next='or name one of your own by path, "package.module:Class"',
        )
    if not callable(found):
        raise ConfigError(f'the {kind} "{name}" is not a class', where=where)
    return found


def _whose(name: str, point: EntryPoint | None, error: BaseException) -> tuple[str, str]:
    """Which package brought a part, for an error's sentence, and what to type when it cannot be imported."""
    package = None if point is None else point.dist
    if package is not None:
        return f" of the package {package.name} {package.version}", f"pip check, or pip install --force-reinstall {package.name}"
    if isinstance(error, ModuleNotFoundError):
        return "", "install it, or put its module beside mainstay.toml"
    module, _, attribute = name.partition(":")
    return "", f'python -c "from {module} import {attribute.partition(".")[0]}"'


def imported(path: str) -> Any:
    """The object at `package.module:name`. Raises whatever the import raises."""
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in name.split("."):
        found = getattr(found, attribute)
    return found


def versions(seam: str, names: Iterable[str]) -> dict[str, str]:
    """The package and version that each of these parts comes from, for those that are not Mainstay's own."""
    found = {name: offered(seam)[name].dist for name in names if name in offered(seam)}
    return {name: f"{dist.name} {dist.version}" for name, dist in found.items() if dist is not None and dist.name != "mainstay"}


def made(
    kind: Any,
    options: dict[str, Any],
    document: Document,
    place: Place,
    lent: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Any:
    """A part made with its options as keywords, checked by the types that it declares (a `Struct`, or its `options` Struct).

    An option that is called after something `lent`, and names one of those, becomes the thing itself.
    """
    declared = declared_options(kind)
    if declared is None:
        _check_keywords(kind, options, document, place)
    else:
        checked = document.read(options, declared, place)
        if declared is kind:
            return checked
        options = msgspec.structs.asdict(checked)
    for name, known in lent.items():
        wanted = options.get(name)
        if isinstance(wanted, str):
            if wanted not in known:
                hint = f"add [{name}s.{wanted}] to mainstay.toml"
                raise document.error(place, f'there is no {name} "{wanted}"; {nearest(wanted, known)}', next=hint)
            options = {**options, name: known[wanted]}
    return built(lambda: kind(**options), document.where(place))


def built(make: Callable[[], Any], where: str) -> Any:
    """What `make` gives. Whatever the part raises while it is made becomes a `ConfigError` at that place."""
    try:
        return make()
    except MainstayError as error:
        if error.where:
            raise
        raise ConfigError(error.what, where=where, next=error.next) from error
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(str(error).replace("Object contains", "it has"), where=where) from error
    except Exception as error:
        raise ConfigError(f"the part cannot be made: {type(error).__name__}: {error}", where=where) from error


def declared_options(kind: Any) -> type[msgspec.Struct] | None:
    """The Struct that says what options a part takes; None where its signature has to do."""
    declared = kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else getattr(kind, "options", None)
    return declared if isinstance(declared, type) and issubclass(declared, msgspec.Struct) else None


def takes(kind: Any, keyword: str) -> bool:
    """Whether a part's signature has that keyword."""
    return any(p.name == keyword and p.kind in KEYWORDS for p in _parameters(kind))


def first_option(kind: Any) -> str:
    """The option of a shorthand: `{ terms = [...] }` gives the guard `terms` its first one; empty where there is none."""
    declared = declared_options(kind)
    if declared is not None:
        return str(next((f.encode_name for f in msgspec.structs.fields(declared)), ""))
    return next((p.name for p in _parameters(kind) if p.kind in KEYWORDS), "")


def _parameters(kind: Any) -> list[inspect.Parameter]:
    """What a part's signature takes; anything, where it cannot be seen."""
    try:
        return list(inspect.signature(kind).parameters.values())
    except (TypeError, ValueError):
        return [inspect.Parameter("options", inspect.Parameter.VAR_KEYWORD)]


def _check_keywords(kind: Any, options: dict[str, Any], document: Document, place: Place) -> None:
    parameters = _parameters(kind)
    keywords = {p.name: p for p in parameters if p.kind in KEYWORDS}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name in options:
        if name not in keywords and not open_ended:
            written = (*place, "options", name)  # where a source's table keeps what only its part understands
            at = written if document.has(written) else (*place, name)
            raise document.error(at, f"unknown key; {nearest(name, keywords)}")
    for name, parameter in keywords.items():
        if parameter.default is parameter.empty and name not in options:
            raise document.error(place, f"the key `{name}` is missing")
