"""Reads a feature's folder: `feature.toml` and every file that it names, checked as far as the folder alone allows.

What needs the project (do these models exist?) is checked when the release is made ready.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mainstay.core.errors import ConfigError, NotFound, nearest
from mainstay.core.feature import (
    NOT_YET,
    RESERVED,
    RUNGS,
    AnyRung,
    CallRung,
    ClassifierRung,
    Feature,
    GuardSpec,
    Input,
    InputType,
    MessageRung,
    ModelRung,
    RulesRung,
    Rung,
    StepsRung,
)
from mainstay.spec import documents
from mainstay.spec.documents import Document
from mainstay.spec.places import Place

FILE = "feature.toml"
NAME = re.compile(r"[a-z][a-z0-9_]*")
CALIBRATION: Place = ("confidence", "file")
ROUTER: Place = ("router", "file")
NEAR: Place = ("cache", "near")  # which names no file: the one that is looked for has this name
NEAR_FILE = "near.json"
LARGEST = 10_000_000  # bytes of one file that a feature names; a folder of examples is no part of a prompt


class Folder(msgspec.Struct, frozen=True):
    """A feature as its folder holds it: what the file says, and the bytes of every file that it names."""

    feature: Feature
    files: dict[str, bytes]
    document: Document
    shown: str


def folders_of(features: Path) -> dict[str, Path]:
    """The folders of features in that folder, by name; none of them is read. There are none where there is no such folder."""
    inside = sorted(features.iterdir()) if features.is_dir() else []
    return {path.name: path for path in inside if (path / FILE).is_file()}


def folder_of(features: Path, feature: str) -> Path:
    """The folder of one feature. Raises `NotFound`."""
    known = folders_of(features)
    if feature not in known:
        raise NotFound(f'there is no feature "{feature}"; {nearest(feature, known)}', next="mainstay doctor")
    return known[feature]


def read_folder(path: Path, *, shown: str | None = None, fitted: bool = True) -> Folder:
    """Read a feature's folder. Raises `ConfigError` with file, line and key.

    With `fitted` false the files of classifiers, calibrations and routers are left out: whoever asks is about to write them.
    """
    shown = shown or str(path)
    if not NAME.fullmatch(path.name):
        raise ConfigError(f'a feature\'s name is lower-case letters, digits and "_": {path.name!r}', where=shown)
    document = documents.read(path / FILE, f"{shown}/{FILE}")
    if "name" in document.data:
        raise document.error(("name",), "unknown key; a feature's name is its folder's, so remove it")
    feature = _feature(document, path.name)
    _check(feature, document)
    files = {FILE: document.source}
    for name, place in _named_files(feature):
        if name not in files and (fitted or not _learned(place)):
            files[name] = _read_named(path, name, document, place)
    if fitted and feature.cache.near == "auto" and (path / NEAR_FILE).exists():
        files[NEAR_FILE] = _read_named(path, NEAR_FILE, document, NEAR)  # without it, near hits stay off
    return Folder(feature, files, document, shown)


def frozen_folder(name: str, files: dict[str, bytes], *, shown: str) -> Folder:
    """A feature as a release holds it. Raises `ConfigError` where this version of Mainstay does not take it any more."""
    document = Document(files[FILE], f"{shown}/{FILE}")
    feature = _feature(document, name)
    _check(feature, document)
    return Folder(feature, files, document, shown)


def _feature(document: Document, name: str) -> Feature:
    data: dict[str, Any] = {**document.data, "name": name}
    if "ladder" not in data:
        known = [f.encode_name for f in msgspec.structs.fields(Feature)]
        _unknown_first(document, data, known)
        raise document.error((), "the key `ladder` is missing: the ways of answering, best first", next="mainstay init")
    ladder, given = data.pop("ladder"), data.pop("input", None)
    # The ladder is a union that is told apart by its keys, which msgspec cannot do: the rest is read around it.
    shell = document.read({**data, "ladder": [{"message": ""}]}, _Shell)
    if not isinstance(ladder, list) or not ladder or not all(isinstance(rung, dict) for rung in ladder):
        raise document.error(("ladder",), "expected at least one [[ladder]] table, in double brackets")
    fields = {f.encode_name: getattr(shell, f.name) for f in msgspec.structs.fields(_Shell)} | {
        "ladder": tuple([_rung(document, rung, i) for i, rung in enumerate(ladder)])
    }
    if given is not None:
        fields["input"] = _input(document, given)
    return Feature(**fields)


class _Shell(Feature, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The feature file without its ladder."""

    ladder: tuple[MessageRung, ...]


def _unknown_first(document: Document, data: dict[str, Any], known: list[str]) -> None:
    """Where the ladder is missing, a key that looks like it says more than its absence."""
    for key in data:
        if key not in known and nearest(key, ["ladder"]).startswith("did"):
            raise document.error((key,), 'unknown key; did you mean "ladder"?')


def _rung(document: Document, data: dict[str, Any], i: int) -> AnyRung:
    kinds = [kind for kind in RUNGS if kind.kind in data]
    if len(kinds) == 1:
        return document.read(data, kinds[0], ("ladder", i))  # type: ignore[return-value]
    names = [kind.kind for kind in RUNGS]
    if kinds:
        what = f"this one names both `{kinds[0].kind}` and `{kinds[1].kind}`"
        place: Place = ("ladder", i, kinds[1].kind)
    else:
        what, place = "this one names no way of answering", ("ladder", i)
        known = {field for kind in RUNGS for field in kind.__struct_fields__}
        for key in [key for key in data if key not in known]:
            if close := difflib.get_close_matches(key, names, n=1, cutoff=0.6):
                what, place = f'`{key}` is unknown; did you mean "{close[0]}"?', ("ladder", i, key)
                break
    raise document.error(place, f"a rung is exactly one of {', '.join(names)}; {what}")


def _input(document: Document, data: Any) -> Input:
    if not isinstance(data, dict) or not data:
        raise document.error(("input",), 'expected names and types, such as `question = "text"`')
    schema = data.get("schema")
    if isinstance(schema, str) and schema.endswith(".json"):
        if len(data) > 1:
            other = next(name for name in data if name != "schema")
            raise document.error(("input", other), "either `schema` or named fields, not both")
        return Input(schema=schema)
    for name, kind in data.items():
        if not name.isidentifier() or not name.isascii():
            raise document.error(("input", name), "an input's name has letters, digits and `_`, and begins with no digit")
        if name in RESERVED:
            raise document.error(("input", name), f"`{name}` is what Mainstay gives to templates; choose another name")
        document.read(kind, InputType, ("input", name))  # type: ignore[arg-type]
    return Input(fields=data)


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
    _check_names(feature, document)
    document.refuse_no_time(feature)
    if feature.answer.schema is not None and feature.answer.python is not None:
        raise document.error(("answer", "python"), "either `schema` or `python`, not both")
    _check_message(feature, last, document)
    if feature.cache.keep is None and (feature.cache.near == "auto" or feature.cache.ahead is not None):
        key = "near" if feature.cache.near == "auto" else "ahead"
        raise document.error(("cache", key), f"`{key}` needs a cache, and nothing is kept", next='write keep = "1h" beside it')
    for place, what in _not_enforced(feature):
        raise document.error(place, documents.NOT_KEPT.format(what))


def _check_names(feature: Feature, document: Document) -> None:
    seen: dict[str, int] = {}
    for i, rung in enumerate(feature.ladder):
        if rung.name is not None:
            if rung.name in seen:
                raise document.error(
                    ("ladder", i, "name"), f'ladder[{seen[rung.name]}] has the name "{rung.name}" already; choose another'
                )
            seen[rung.name] = i
        if isinstance(rung, StepsRung):
            names = [step.name for step in rung.steps]
            for j, name in enumerate(names):
                if name in names[:j]:
                    place = ("ladder", i, "steps", j, "name")
                    raise document.error(place, f'steps[{names.index(name)}] has the name "{name}" already; choose another')


def _check_message(feature: Feature, last: MessageRung, document: Document) -> None:
    place: Place = ("ladder", len(feature.ladder) - 1, "message")
    if feature.structured and isinstance(last.message, str):
        raise document.error(
            place,
            "the answer has a schema, so the last rung's message has to be data that fits it",
            next='write message = { key = "value", … }',
        )
    if not feature.structured and not isinstance(last.message, str):
        raise document.error(place, "the answer is text, so the message has to be a text too", next="or give [answer] a schema")
    if isinstance(last.message, str) and not last.message.strip():
        raise document.error(place, "the message is empty; it is what people read when nothing else answers")
    if not documents.is_json(last.message):
        raise document.error(place, "the message cannot be written as JSON: a number is too large, or not a number")


def _not_enforced(feature: Feature) -> Iterator[tuple[Place, str]]:
    """What the file asks for and this version cannot keep, each with its place."""
    for path, too_much in NOT_YET:
        value: Any = feature
        for step in path:
            value = getattr(value, step)
        if value and (too_much is None or value == too_much):
            yield path, f"`{path[-1]}`" if too_much is None else f'{path[-1]} = "{value}"'


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
    if feature.confidence.file is not None:
        named.append((feature.confidence.file, CALIBRATION))
    if feature.router.file is not None:
        named.append((feature.router.file, ROUTER))
    if isinstance(feature.cache.ahead, str):
        named.append((feature.cache.ahead, ("cache", "ahead")))
    for stage in ("input", "output"):
        for i, spec in enumerate(getattr(feature.guards, stage)):
            named += _files_of_guard(spec, ("guards", stage, i))
    return named


def _files_of_guard(spec: GuardSpec, place: Place) -> list[tuple[str, Place]]:
    """A guard's option called `file` names one beside the feature file."""
    if isinstance(spec, str):
        return []
    tables = [(name, given) for name, given in spec.items() if isinstance(given, dict)]
    return [(given["file"], (*place, name, "file")) for name, given in tables if isinstance(given.get("file"), str)]


def _learned(place: Place) -> str:
    """Which `mainstay learn` command writes the file that is named there; empty where none does."""
    if place[-1] == ClassifierRung.kind:
        return "classify"
    return {CALIBRATION: "confidence", ROUTER: "router"}.get(place, "")


def _files_of(rung: Rung, place: Place) -> list[tuple[str, Place]]:
    if isinstance(rung, RulesRung):
        return [(rung.rules, (*place, "rules"))]
    if isinstance(rung, ClassifierRung):
        return [(rung.classifier, (*place, "classifier"))]
    if isinstance(rung, ModelRung):
        return [(rung.prompt, (*place, "prompt"))]
    if isinstance(rung, StepsRung):
        return [(step.prompt, (*place, "steps", i, "prompt")) for i, step in enumerate(rung.steps)]
    if isinstance(rung, CallRung) and ".py:" in rung.call:
        return [(rung.call.partition(":")[0], (*place, "call"))]
    return []


def _read_named(folder: Path, name: str, document: Document, place: Place) -> bytes:
    try:
        target = (folder / name).resolve()
        outside = not target.is_relative_to(folder.resolve())
        missing = outside or not target.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a zero byte, links in a circle
        reason = getattr(error, "strerror", None) or error
        raise document.error(place, f"the file {documents.quoted(name)} cannot be read: {reason}") from None
    if outside:
        raise document.error(place, f"the file {documents.quoted(name)} is outside the feature's folder")
    if missing:
        what = "is a folder" if target.is_dir() else "is missing"
        next = f"mainstay learn {_learned(place)} {folder.name}" if _learned(place) else ""
        raise document.error(place, f"the file {documents.quoted(name)} {what}; {_beside(folder, name)}", next=next)
    try:
        size = target.stat().st_size
        if size > LARGEST:
            raise document.error(place, f"the file {documents.quoted(name)} has {size} bytes; at most {LARGEST}")
        return target.read_bytes()
    except OSError as error:
        raise document.error(place, f"the file {documents.quoted(name)} cannot be read: {error.strerror}") from None


def _beside(folder: Path, name: str) -> str:
    """The nearest of the files that there are, or some of them."""
    found = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    files = [file for file in found if file != FILE and not file.startswith((".", "cases/"))]
    hint = nearest(name, files)
    if hint.startswith("did"):
        return hint
    return f"beside {FILE} there is {', '.join(files[:8])}" if files else f"there is nothing beside {FILE}"
