"""Reads files that people write into frozen types; errors say file, line, key, what was expected, and the nearest right key.

`Written` is what every such file has in common; `Document` is a TOML file.
"""

from __future__ import annotations

import json
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from mainstay.core.errors import ConfigError, nearest
from mainstay.core.feature import GIVEN, POSITIVE_TIMES, Hedge
from mainstay.core.later import pattern
from mainstay.core.limits import Caps
from mainstay.core.units import Seconds, Usd
from mainstay.spec.places import Place, dotted, places

T = TypeVar("T")
NOT_KEPT = "{} cannot be enforced by this version, and a promise that is not kept is not accepted; remove it"
LONGEST_SHOWN = 60  # characters of a value that an error repeats

_AT = " - at `$"
_UNKNOWN = pattern(r"Object contains unknown field `(.+)`", re.DOTALL)
_MISSING = pattern(r"Object missing required field `(.+)`")
_STEP = pattern(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
_LINE = pattern(r" ?\(at (?:line (\d+), column \d+|end of document)\)")
_UNQUOTED = pattern(r"""\s*([\w.-]+)\s*=\s*([^"'\[{\s#][^#]*)""")
_HALF = pattern("[\ud800-\udfff]")  # a surrogate on its own, which JSON can escape and UTF-8 cannot hold
_WRONG_TYPE = pattern(r"Expected `([^`]+)`, got `([^`]+)`")
_BOUND = pattern(r"Expected `([^`]+)`(?: of length)? (>=|<=|>|<) (\S+)")

# What TOML calls the types that our errors are about.
_NAMES = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "object": "a table",
    "array": "an array",
    "datetime": "a date and time",
    "date": "a date",
    "time": "a time",
}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


class Written:
    """Data that somebody wrote, and where each key of it stands."""

    words: Mapping[str, str] = {}  # what this kind of file calls a type, where that is not TOML's word

    def where(self, place: Place) -> str:
        """How errors name that place."""
        raise NotImplementedError

    def error(self, place: Place, what: str, *, next: str = "") -> ConfigError:
        """An error at that place of this file."""
        return ConfigError(what, where=self.where(place), next=next)

    def read(self, data: Any, kind: type[T], place: Place = ()) -> T:
        """The data at that place as the type. Raises `ConfigError`."""
        try:
            return msgspec.convert(data, kind, dec_hook=_hook)
        except msgspec.ValidationError as error:
            raise self._explained(str(error), kind, data, place) from None

    def _explained(self, message: str, kind: Any, data: Any, place: Place) -> ConfigError:
        if unknown := _UNKNOWN.fullmatch(_without_path(message)):
            steps = _steps(message[len(unknown.group()) :], kind, data)
            names = _fields_of(_type_at(kind, steps))
            return self.error((*place, *steps, unknown[1]), f"unknown key; {nearest(unknown[1], names)}")
        what, _, path = message.rpartition(_AT) if _AT in message else (message, "", "")
        steps = _steps(_AT + path if path else "", kind, data)
        at, expected = place + steps, _type_at(kind, steps)
        if missing := _MISSING.fullmatch(what):
            return self.error(at, f"the key `{missing[1]}` is missing{_help(expected, missing[1], ': ')}")
        if get_origin(expected) is Literal:
            options = [str(option) for option in get_args(expected)]
            value = _value_at(data, steps)
            hint = nearest(value, options) if isinstance(value, str) else ""
            did_you_mean = f"; {hint}" if hint.startswith("did") else ""
            return self.error(at, f"{quoted(value)} is not one of {', '.join(options)}{did_you_mean}")
        expects = _worded(what, {**_NAMES, **self.words})
        return self.error(at, expects + _help(_type_at(kind, steps[:-1]), str(steps[-1]) if steps else "", ". "))


class Document(Written):
    """A TOML file: its data, and where each key stands. `shown` is how errors call the file."""

    def __init__(self, source: bytes, shown: str) -> None:
        self.source, self.shown = source, shown
        self._text = decoded(source, shown)
        try:
            self.data: dict[str, Any] = tomllib.loads(self._text)
        except (ValueError, RecursionError) as error:
            raise _not_toml(error, self._text, shown) from None

    @cached_property
    def _places(self) -> dict[Place, int]:
        return places(self._text)

    def has(self, place: Place) -> bool:
        """Whether the file says anything at that place."""
        return place in self._places

    def where(self, place: Place) -> str:
        """`features/a/feature.toml:12 ladder[1].prompt`; the line of the innermost table or key that is known."""
        known = place
        while known and known not in self._places:
            known = known[:-1]
        line = f":{self._places[known]}" if known else ""
        return f"{self.shown}{line} {dotted(place)}".rstrip()

    def refuse_no_time(self, value: Any, place: Place = ()) -> None:
        """Refuse `"0s"` wherever a time has to be longer than nothing, in a value that was read from this file."""
        if isinstance(value, msgspec.Struct):
            for field in value.__struct_fields__:
                inner = getattr(value, field)
                if field in POSITIVE_TIMES and isinstance(inner, Seconds) and inner <= 0:
                    raise self.error((*place, field), "this has to be longer than nothing")
                self.refuse_no_time(inner, (*place, field))
        elif isinstance(value, tuple | dict):
            for i, inner in value.items() if isinstance(value, dict) else enumerate(value):
                self.refuse_no_time(inner, (*place, i))


def read(path: Path, shown: str | None = None) -> Document:
    """Read a file. Raises `ConfigError` where it is missing, not UTF-8 or not TOML."""
    shown = shown or str(path)
    try:
        return Document(path.read_bytes(), shown)
    except FileNotFoundError:
        raise ConfigError("the file is missing", where=shown, next="mainstay init") from None
    except OSError as error:
        raise ConfigError(f"the file cannot be read: {error.strerror}", where=shown) from None


def decoded(source: bytes, shown: str) -> str:
    """The text of a file that people edit: UTF-8, with or without a byte order mark, any line ends. Raises `ConfigError`."""
    try:
        return source.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"the file is not UTF-8: {error.reason} at byte {error.start}", where=f"{shown}:{line}", next="save it as UTF-8"
        ) from None


def is_json(value: Any) -> bool:
    """Whether the value can be written as JSON and read again: no number too large, or not a number, no half of a character."""
    if isinstance(value, float):
        return value - value == 0
    if isinstance(value, str):
        return value.isascii() or not _HALF.search(value)
    if isinstance(value, dict):
        return all(is_json(key) and is_json(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(is_json(inner) for inner in value)
    return not isinstance(value, int) or -(2**63) <= value < 2**64


def quoted(value: Any) -> str:
    """A value as an error shows it: on one line, and not all of it where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


def _not_toml(error: Exception, text: str, shown: str) -> ConfigError:
    if isinstance(error, RecursionError):
        return ConfigError("not TOML that can be read: it is nested too deeply", where=shown)
    found = _LINE.search(str(error))
    line = int(found[1]) if found and found[1] else max(1, len(text.rstrip("\n").split("\n")))
    what = _LINE.sub("", str(error))
    # The commonest slip is a text without quotes, of which the parser only says that something is invalid.
    pair = _UNQUOTED.fullmatch(text.split("\n")[line - 1])
    hint = f'a text stands in quotes: {pair[1]} = "…"' if pair and not _is_toml(f"k = {pair[2]}") else ""
    return ConfigError(f"not TOML: {what[:1].lower() + what[1:]}", where=f"{shown}:{line}", next=hint)


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True


def _hook(kind: Any, value: Any) -> Any:
    if kind in (Seconds, Usd, Caps, Hedge):
        return kind.parse(value)
    raise NotImplementedError(kind)


def _worded(what: str, words: Mapping[str, str]) -> str:
    """msgspec's sentence in the words of the file."""
    if wrong := _WRONG_TYPE.fullmatch(what):
        expected = [words.get(name, name) for name in wrong[1].split(" | ") if name != "null"]
        return f"expected {' or '.join(expected)}, got {words.get(wrong[2], wrong[2])}"
    if bound := _BOUND.fullmatch(what):
        kinds = [name for name in bound[1].split(" | ") if name != "null"]
        number = bound[3].removesuffix(".0")
        if kinds[0] in ("str", "array") and bound[2] == ">=" and number == "1":
            return f"expected {words[kinds[0]]} that is not empty"
        counted = {"str": " characters", "array": " items"}.get(kinds[0], "")
        return f"expected {words.get(kinds[0], kinds[0])} of {_BOUNDS[bound[2]]} {number}{counted}"
    if what.startswith("Expected `str") and "matching regex" in what:
        return "this is not written as it has to be"
    return what[0].lower() + what[1:]


def _without_path(message: str) -> str:
    """The message without msgspec's path, even where the unknown key at fault holds what looks like one."""
    head, at, path = message.rpartition(_AT)
    return head if at and path.endswith("`") and head.endswith("`") else message


def _steps(path: str, kind: Any, data: Any) -> Place:
    """msgspec's path as a place. It writes `[...]` for a table's key, so the key at fault is looked for."""
    steps: Place = ()
    for name, number, any_key in _STEP.findall(path.removeprefix(_AT).rstrip("`")):
        if any_key:
            entries, inner = _value_at(data, steps), _type_at(kind, (*steps, ""))
            key = next((key for key, value in entries.items() if not _fits(value, inner)), None)
            if key is None:
                return steps
            steps = (*steps, key)
        else:
            steps = (*steps, name or int(number))
    return steps


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, dec_hook=_hook)
    except msgspec.ValidationError:
        return False
    return True


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
    """The keys that may be written in a table of that type."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [f.encode_name for f in msgspec.structs.fields(kind) if GIVEN not in get_args(f.type)]
    return []


def _help(kind: Any, field: str, before: str) -> str:
    """The sentence that describes a field, and what stands before it; nothing where there is none."""
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return ""
    hint = typing.get_type_hints(kind, include_extras=True).get(field)
    notes = [m.description for m in get_args(hint) if isinstance(m, msgspec.Meta) and m.description]
    return before + notes[0] if notes else ""


def _value_at(data: Any, steps: Place) -> Any:
    for step in steps:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data
