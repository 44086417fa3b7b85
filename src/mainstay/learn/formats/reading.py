"""What every importer shares: what it is given, what it hands back, and where it writes down what it did not understand."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from mainstay.core.case import Case, named
from mainstay.core.errors import ConfigError
from mainstay.learn.formats.yaml_text import Loaded, load_yaml
from mainstay.spec import documents
from mainstay.spec.cases import Line

LARGEST = 100_000_000  # bytes of one file of cases
LARGEST_BESIDE = 10_000_000  # bytes of a file that another one names

_KINDS = {"number": (int, float), "integer": (int,), "boolean": (bool,), "texts": (list,)}
_NUMBERED = re.compile(r"(.*[: ])(\d+)")


class Imported(Struct, frozen=True):
    """The cases of a file, each with an id, and what of it is in none of them: each thing with its place, key and reason."""

    cases: list[Case]
    unread: list[str]


class Origin(Struct, frozen=True, kw_only=True):
    """A file that is imported. `fields` are the inputs of the feature, each with its declared type, empty where unknown."""

    path: Path
    shown: str
    fields: Mapping[str, str]

    @property
    def inputs(self) -> str:
        """The names of the inputs, for a sentence."""
        return ", ".join(self.fields)

    def beside(self, name: str) -> str | None:
        """The text of a file that this one names, in its folder or below; None where it cannot be had."""
        folder = self.path.parent.resolve()
        try:
            target = (folder / name).resolve()
            if not target.is_relative_to(folder) or not target.is_file() or target.stat().st_size > LARGEST_BESIDE:
                return None
            return documents.decoded(target.read_bytes(), name)
        except (OSError, ValueError, ConfigError):
            return None


class Reading:
    """Cases as they are found. Nothing is left out without `unread` being told."""

    def __init__(self, origin: Origin, format: str) -> None:
        self.origin, self._source = origin, f"{format}:{origin.path.name}"
        self._cases: list[Case] = []
        self._unread: dict[tuple[str, str], list[str]] = {}

    def unread(self, where: str, key: str, why: str) -> None:
        """Something of the file that is in no case. What is the same at several places is told once, with all of them."""
        self._unread.setdefault((key, why), []).append(where)

    def case(self, where: str, data: Mapping[str, Any]) -> None:
        """One case, given by its keys; those that say nothing are left out. One that cannot be kept is unread."""
        filled = {key: value for key, value in data.items() if key not in Case.__struct_fields__ or value not in ("", None, {})}
        whole = {"source": self._source, **filled, "input": data["input"]}
        try:
            # What is written here is read again by the same rules.
            self._cases.append(Line(where).case(Line(where).data(json.dumps(whole))))
        except ConfigError as error:
            self.unread(where, error.where.removeprefix(where).strip(), error.what)

    def done(self) -> Imported:
        """What was found."""
        told = [f"{places(found)} {key}".rstrip() + f": {why}" for (key, why), found in self._unread.items()]
        return Imported(named(self._cases), told)


def places(found: Iterable[str]) -> str:
    """Several places in few words: `tests.csv:2-5,9`."""
    numbers: dict[str, list[int]] = {}
    for place in dict.fromkeys(found):
        match = _NUMBERED.fullmatch(place)
        numbers.setdefault(match[1] if match else place, []).extend([int(match[2])] if match else [])
    return ", ".join(before + ",".join(_ranges(sorted(those))) for before, those in numbers.items())


def _ranges(numbers: list[int]) -> Iterator[str]:
    for _, group in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        yield str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}"


def load(text: str, shown: str) -> Loaded:
    """A document of JSON, where the name says so, or of YAML. Raises `ConfigError`."""
    if shown.endswith(".json"):
        return Loaded(Line(shown).data(text), shown, {})
    return load_yaml(text, shown)


def typed(value: Any, kind: str) -> Any:
    """A value as the feature declares the input, where there is no doubt: `"42"` for a number is 42, 42 for a text is `"42"`."""
    kind = kind.removesuffix("?")
    if kind == "text":
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str) or kind not in _KINDS:
        return value
    try:
        found = json.loads(value.strip().lower() if kind == "boolean" else value)
    except ValueError:
        return value
    return found if type(found) in _KINDS[kind] else value


def one_line(text: str) -> str:
    """A text as an id or the name of a slice can hold it: no line breaks, no control characters, at most 200 characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200].strip()


def slices(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The category, language and tags that metadata give, and the names of those that are no single value."""
    found: dict[str, Any] = {"tags": {}}
    left = []
    for name, value in metadata.items():
        text = one_line(value if isinstance(value, str) else json.dumps(value))
        if not isinstance(value, str | int | float) or not name:
            left.append(name)
        elif name in ("category", "language"):
            found[name] = text
        elif text:
            found["tags"][name] = text
    return found, left


def noted(*texts: str) -> str:
    """Notes made of those texts that are not empty."""
    return "\n".join(text.strip() for text in texts if text.strip())


def listed(names: Iterable[str]) -> str:
    """Names for a sentence."""
    return ", ".join(f"`{name}`" for name in names)
