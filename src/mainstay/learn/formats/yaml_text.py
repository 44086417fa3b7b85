"""Reads YAML as people mean it: dates, `yes`, `no` and `12:30` are texts, and of a key that stands twice none is lost in silence.

These are the types of YAML 1.2's core schema, which the tools whose files are read here expect too. It is read event by event,
and aliases are copied under a limit, so neither a deep nor an exploding file can hurt.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from mainstay.core.errors import ConfigError

DEEPEST = 100  # levels of lists and mappings
MOST = 2_000_000  # values, aliases counted as often as they are used
_TOO_DEEP = f"this is nested more than {DEEPEST} levels deep"

_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map", "null", "bool", "int", "float"))
_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")  # 007 is rather a code than a number
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")


class Loaded(Struct, frozen=True):
    """What a file holds, and the line of each of its lists and mappings."""

    data: Any
    shown: str
    lines: dict[int, int]

    def where(self, value: Any, otherwise: str) -> str:
        """Where a value stands: `tests.yaml:12`; a value that has no line of its own stands where `otherwise` says."""
        line = self.lines.get(id(value))
        return otherwise if line is None else f"{self.shown}:{line}"


def load_yaml(text: str, shown: str) -> Loaded:
    """Read one YAML document. Raises `ConfigError` with the line."""
    import yaml  # 50 ms, and needed for this alone

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    reader = _Reader(shown, yaml)
    try:
        data = reader.document(yaml.parse(text, Loader=loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ConfigError(f"not YAML: {what}", where=shown if mark is None else f"{shown}:{mark.line + 1}") from None
    return Loaded(data, shown, reader.lines)


class _Reader:
    """Makes values of events."""

    def __init__(self, shown: str, yaml: Any) -> None:
        self._shown, self._yaml = shown, yaml
        self._anchors: dict[str, Any] = {}
        self._made = 0
        self.lines: dict[int, int] = {}

    def document(self, events: Iterator[Any]) -> Any:
        data, seen = None, False
        for event in events:
            if isinstance(event, self._yaml.DocumentStartEvent):
                if seen:
                    raise self._error(event, "this is a second document; one file holds one")
                data, seen = self._value(next(events), events, 0), True
        return data

    def _value(self, event: Any, events: Iterator[Any], depth: int) -> Any:
        yaml = self._yaml
        if depth > DEEPEST:
            raise self._error(event, _TOO_DEEP)
        if isinstance(event, yaml.AliasEvent):
            return self._copied(event, depth)
        if event.tag is not None and event.tag not in _TAGS:
            raise self._error(event, f"the tag {event.tag} is not understood")
        if isinstance(event, yaml.ScalarEvent):
            found = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            found = self._list(events, depth)
            self.lines[id(found)] = event.start_mark.line + 1
        else:
            found = self._mapping(events, depth)
            self.lines[id(found)] = event.start_mark.line + 1
        self._count(event, 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = found
        return found

    def _list(self, events: Iterator[Any], depth: int) -> list[Any]:
        found = []
        while not isinstance(event := next(events), self._yaml.SequenceEndEvent):
            found.append(self._value(event, events, depth + 1))
        return found

    def _mapping(self, events: Iterator[Any], depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: list[Any] = []
        while not isinstance(event := next(events), self._yaml.MappingEndEvent):
            key = self._key(event)
            value = self._value(next(events), events, depth + 1)
            if key == "<<" and event.implicit[0]:
                merged += value if isinstance(value, list) else [value]
            elif key in found:
                raise self._error(event, f"the key {json.dumps(key)} stands twice; the first would be lost")
            else:
                found[key] = value
            if key == "<<" and not all(isinstance(other, dict) for other in merged):
                raise self._error(event, "`<<` takes the keys of a mapping")
        for other in merged:  # the earlier one wins, and what is written here wins over both
            found = {**other, **found}
        return found

    def _key(self, event: Any) -> str:
        """A key is the text as it stands, whatever type it would have as a value."""
        if not isinstance(event, self._yaml.ScalarEvent):
            raise self._error(event, "a key has to be a text")
        self._count(event, 1)
        return str(event.value)

    def _scalar(self, event: Any) -> Any:
        text = event.value
        if event.tag is not None or not event.implicit[0]:
            return text
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        if _INT.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            return number if number - number == 0 else text
        return text

    def _copied(self, event: Any, depth: int) -> Any:
        if event.anchor not in self._anchors:
            raise self._error(event, f"*{event.anchor} names nothing that was read before")
        return self._copy(event, self._anchors[event.anchor], depth)

    def _copy(self, event: Any, value: Any, depth: int) -> Any:
        self._count(event, 1)
        if depth > DEEPEST:
            raise self._error(event, _TOO_DEEP)
        if isinstance(value, dict):
            copy: Any = {key: self._copy(event, inner, depth + 1) for key, inner in value.items()}
        elif isinstance(value, list):
            copy = [self._copy(event, inner, depth + 1) for inner in value]
        else:
            return value
        self.lines[id(copy)] = event.start_mark.line + 1
        return copy

    def _count(self, event: Any, more: int) -> None:
        self._made += more
        if self._made > MOST:
            raise self._error(event, f"the file holds more than {MOST} values; aliases are copied each time they are used")

    def _error(self, event: Any, what: str) -> ConfigError:
        return ConfigError(f"not YAML that can be read: {what}", where=f"{self._shown}:{event.start_mark.line + 1}")
