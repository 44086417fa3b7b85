"""Reads a feature's folder: `feature.toml` and every file that it names, checked as far as the folder alone allows.

What needs the project (do these models exist?) is checked when the release is made ready.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from mainstay.core.errors import ConfigError
from mainstay.core.feature import (
    RUNGS,
    AnyRung,
    CallRung,
    Feature,
    Input,
    InputType,
    MessageRung,
    ModelRung,
    RulesRung,
    Rung,
    StepsRung,
)
from mainstay.spec import documents
from mainstay.spec.documents import Document, Place

FILE = "feature.toml"
NAME = re.compile(r"[a-z][a-z0-9_]*")


class Folder(msgspec.Struct, frozen=True):
    """A feature as its folder holds it: what the file says, and the bytes of every file that it names."""

    feature: Feature
    files: dict[str, bytes]
    shown: str


def read_folder(path: Path, *, shown: str | None = None) -> Folder:
    """Read a feature's folder. Raises `ConfigError` with file, line and key."""
    shown = shown or str(path)
    document = documents.read(path / FILE, f"{shown}/{FILE}")
    if not NAME.fullmatch(path.name):
        raise ConfigError(f'a feature\'s name is lower-case letters, digits and "_": {path.name!r}', where=shown)
    if "name" in document.data:
        raise document.error(("name",), "a feature's name is its folder's; remove the key")
    feature = _feature(document, path.name)
    _check(feature, document)
    files = {FILE: (path / FILE).read_bytes()}
    for name, place in _named_files(feature):
        files[name] = _read_named(path, name, document, place)
    return Folder(feature, files, shown)


def _feature(document: Document, name: str) -> Feature:
    data: dict[str, Any] = {**document.data, "name": name}
    if "ladder" not in data:
        raise document.error((), "the key `ladder` is missing: the ways of answering, best first", next="mainstay init")
    ladder, given = data.pop("ladder"), data.pop("input", None)
    if not isinstance(ladder, list) or not ladder or not all(isinstance(rung, dict) for rung in ladder):
        raise document.error(("ladder",), "expected at least one [[ladder]] table")
    # The ladder is a union that is told apart by its keys, which msgspec cannot do: the rest is read around it.
    shell = document.read({**data, "ladder": [{"message": ""}]}, _Shell)
    fields = {f.encode_name: getattr(shell, f.name) for f in msgspec.structs.fields(_Shell)} | {
        "ladder": tuple([_rung(document, rung, i) for i, rung in enumerate(ladder)])
    }
    if given is not None:
        fields["input"] = _input(document, given)
    return Feature(**fields)


class _Shell(Feature, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The feature file without its ladder."""

    ladder: tuple[MessageRung, ...]


def _rung(document: Document, data: dict[str, Any], i: int) -> AnyRung:
    kinds = [kind for kind in RUNGS if kind.kind in data]
    if len(kinds) != 1:
        names = ", ".join(kind.kind for kind in RUNGS)
        what = f"both `{kinds[0].kind}` and `{kinds[1].kind}`" if kinds else "no way of answering"
        raise document.error(("ladder", i), f"a rung is exactly one of {names}; this one names {what}")
    return document.read(data, kinds[0], ("ladder", i))  # type: ignore[return-value]


def _input(document: Document, data: Any) -> Input:
    if not isinstance(data, dict) or not data:
        raise document.error(("input",), 'expected names and types, such as `question = "text"`')
    schema = data.get("schema")
    if isinstance(schema, str) and schema.endswith(".json"):
        if len(data) > 1:
            raise document.error(("input",), "either `schema` or named fields, not both")
        return Input(schema=schema)
    for name, kind in data.items():
        document.read({"field": kind}, _Field, ("input", name))
        if not name.isidentifier():
            raise document.error(("input", name), "an input's name has letters, digits and `_`")
    return Input(fields=data)


class _Field(msgspec.Struct):
    field: InputType


def _check(feature: Feature, document: Document) -> None:
    """What the types cannot say."""
    last = feature.ladder[-1]
    if not isinstance(last, MessageRung):
        raise document.error(
            ("ladder", len(feature.ladder) - 1),
            f"the last rung can fail: `{last.kind}`; the ladder has to end in a `message`, which needs nothing",
            next='add [[ladder]] with message = "…" at the end of the file',
        )
    for i, rung in enumerate(feature.ladder[:-1]):
        if isinstance(rung, MessageRung):
            raise document.error(("ladder", i), "a `message` always answers, so nothing below it is ever reached")
    if feature.answer.schema is not None and feature.answer.python is not None:
        raise document.error(("answer",), "either `schema` or `python`, not both")
    if feature.structured and isinstance(last.message, str):
        raise document.error(
            ("ladder", len(feature.ladder) - 1, "message"),
            "the answer has a schema, so the last rung's message has to be data that fits it",
            next='write message = { key = "value", … }',
        )
    for place, what in _not_enforced(feature):
        raise document.error(
            place, f"{what} cannot be enforced by this version, and a promise that is not kept is not accepted; remove it"
        )


def _not_enforced(feature: Feature) -> list[tuple[Place, str]]:
    """Parts of the file that this version reads and cannot keep. `[gate]` binds releases, not calls, so it may stand."""
    found: list[tuple[Place, str]] = []
    if feature.delivery == "reviewed":
        found.append((("delivery",), 'delivery = "reviewed"'))
    if feature.stakes == "high":
        found.append((("stakes",), 'stakes = "high"'))
    if feature.grounding.slots:
        found.append((("grounding", "slots"), "a slot"))
    if feature.cache.near == "auto":
        found.append((("cache", "near"), 'near = "auto"'))
    limits = feature.limits
    found += [
        (("limits", field.name), f"the limit `{field.name}`")
        for field in msgspec.structs.fields(limits)
        if getattr(limits, field.name) is not None
    ]
    return found


def _named_files(feature: Feature) -> list[tuple[str, Place]]:
    """Every file that the feature names, with the place that names it."""
    named: list[tuple[str, Place]] = []
    for i, rung in enumerate(feature.ladder):
        named += _files_of(rung, ("ladder", i))
    if feature.input.schema is not None:
        named.append((feature.input.schema, ("input", "schema")))
    if feature.answer.schema is not None:
        named.append((feature.answer.schema, ("answer", "schema")))
    if feature.answer.python is not None and ".py:" in feature.answer.python:
        named.append((feature.answer.python.partition(":")[0], ("answer", "python")))
    return named


def _files_of(rung: Rung, place: Place) -> list[tuple[str, Place]]:
    if isinstance(rung, RulesRung):
        return [(rung.rules, (*place, "rules"))]
    if isinstance(rung, ModelRung):
        return [(rung.prompt, (*place, "prompt"))]
    if isinstance(rung, StepsRung):
        return [(step.prompt, (*place, "steps", i, "prompt")) for i, step in enumerate(rung.steps)]
    if isinstance(rung, CallRung) and ".py:" in rung.call:
        return [(rung.call.partition(":")[0], (*place, "call"))]
    return []


def _read_named(folder: Path, name: str, document: Document, place: Place) -> bytes:
    target = (folder / name).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise document.error(place, f'"{name}" is outside the feature\'s folder')
    try:
        return target.read_bytes()
    except OSError as error:
        near = [p.relative_to(folder).as_posix() for p in target.parent.glob("*")] if target.parent.is_dir() else []
        hint = f" (beside it: {', '.join(sorted(near)[:5])})" if near else ""
        raise document.error(place, f'the file "{name}" cannot be read: {error.strerror}{hint}') from None
