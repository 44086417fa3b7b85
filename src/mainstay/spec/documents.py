"""Reads a TOML file into a frozen type, with errors that say file, line, key, what was expected, and the nearest right key."""

from __future__ import annotations

import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from mainstay.core.errors import ConfigError, nearest
from mainstay.core.units import Seconds, Usd

T = TypeVar("T")
Place = tuple[str | int, ...]

_TABLE = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_UNKNOWN = re.compile(r"Object contains unknown field `(.+?)`")
_MISSING = re.compile(r"Object missing required field `(.+?)`")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]")


class Document:
    """A TOML file: its data, and where each key stands."""

    def __init__(self, path: Path, text: str, shown: str) -> None:
        self.path, self.shown = path, shown
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            raise ConfigError(f"not TOML: {error}", where=f"{shown}:{line[1]}" if line else shown) from None
        self._lines = _lines(text)

    def where(self, place: Place) -> str:
        """`features/a/feature.toml:12 ladder[1].promt`; the line of the innermost table that is known."""
        known = place
        while known and known not in self._lines:
            known = known[:-1]
        line = f":{self._lines[known]}" if known else ""
        return f"{self.shown}{line} {dotted(place)}".rstrip()

    def error(self, place: Place, what: str, *, next: str = "") -> ConfigError:
        """An error at that place of this file."""
        return ConfigError(what, where=self.where(place), next=next)

    def read(self, data: Any, kind: type[T], place: Place = ()) -> T:
        """The data at that place as the type. Raises `ConfigError`."""
        try:
            return msgspec.convert(data, kind, dec_hook=_hook)
        except msgspec.ValidationError as error:
            raise self._explained(str(error), kind, data, place) from None

    def _explained(self, message: str, kind: type, data: Any, place: Place) -> ConfigError:
        what, _, path = message.partition(" - at `$")
        steps = tuple(name or int(number) for name, number in _STEP.findall(path.rstrip("`")) if name or number)
        at = place + steps
        if unknown := _UNKNOWN.match(what):
            names = _fields_of(_type_at(kind, steps))
            return self.error((*at, unknown[1]), f"unknown key; {nearest(unknown[1], names)}")
        if missing := _MISSING.match(what):
            return self.error(at, f"the key `{missing[1]}` is missing{_help(_type_at(kind, steps), missing[1])}")
        expected = _type_at(kind, steps)
        if get_origin(expected) is Literal:
            options = [str(option) for option in get_args(expected)]
            value = _value_at(data, steps)
            hint = nearest(value, options) if isinstance(value, str) else f"known: {', '.join(options)}"
            return self.error(at, f"{value!r} is not one of {', '.join(options)}; {hint}")
        return self.error(at, what[0].lower() + what[1:])


def read(path: Path, shown: str | None = None) -> Document:
    """Read a file. Raises `ConfigError` where it is missing, not UTF-8 or not TOML."""
    shown = shown or str(path)
    try:
        return Document(path, path.read_text(encoding="utf-8"), shown)
    except FileNotFoundError:
        raise ConfigError("the file is missing", where=shown, next="mainstay init") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"the file is not UTF-8: {error.reason} at byte {error.start}", where=shown) from None
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", where=shown) from None


def dotted(place: Place) -> str:
    """`ladder[1].prompt`"""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _hook(kind: Any, value: Any) -> Any:
    if kind in (Seconds, Usd):
        return kind.parse(value)
    raise NotImplementedError(kind)


def _lines(text: str) -> dict[Place, int]:
    """The line of each table and key. Good for errors: keys inside inline tables count as their table."""
    places: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    table: Place = ()
    quote = ""
    for number, line in enumerate(text.splitlines(), 1):
        if quote:
            quote = "" if quote in line else quote
            continue
        if header := _TABLE.match(line):
            table = _resolve(tuple(_names(header[2])), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            places.setdefault(table, number)
        elif key := _KEY.match(line):
            places.setdefault((*table, *_names(key[1])), number)
            for mark in ('"""', "'''"):
                if line.count(mark) % 2:
                    quote = mark
    return places


def _names(dotted_key: str) -> list[str]:
    return [part.strip().strip("\"'") for part in re.findall(r'"[^"]*"|\'[^\']*\'|[^.]+', dotted_key)]


def _resolve(names: Place, counts: Mapping[Place, int]) -> Place:
    """A header below an array of tables belongs to the array's last table."""
    place: Place = ()
    for i, name in enumerate(names):
        place = (*place, name)
        if i < len(names) - 1 and place in counts:
            place = (*place, counts[place])
    return place


def _bare(kind: Any) -> Any:
    """The type without Annotated and Optional."""
    while True:
        origin = get_origin(kind)
        if origin is typing.Annotated:
            kind = get_args(kind)[0]
        elif origin in (typing.Union, types.UnionType):
            inner = [a for a in get_args(kind) if a is not type(None)]
            if len(inner) != 1:
                return kind
            kind = inner[0]
        else:
            return kind


def _type_at(kind: Any, steps: Place) -> Any:
    for step in steps:
        kind = _bare(kind)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            kind = typing.get_type_hints(kind, include_extras=True).get(str(step), Any)
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif get_origin(kind) in (tuple, list):
            kind = get_args(kind)[0]
        else:
            return Any
    return _bare(kind)


def _fields_of(kind: Any) -> list[str]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [f.encode_name for f in msgspec.structs.fields(kind)]
    return []


def _help(kind: Any, field: str) -> str:
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return ""
    hint = typing.get_type_hints(kind, include_extras=True).get(field)
    notes = [m.description for m in get_args(hint) if isinstance(m, msgspec.Meta) and m.description]
    return f": {notes[0]}" if notes else ""


def _value_at(data: Any, steps: Place) -> Any:
    for step in steps:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data
