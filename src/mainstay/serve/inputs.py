"""Does a call bring what the feature declares? One reader a release, made when the release is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema_rs

from mainstay.core.errors import BadRequest, ConfigError, nearest
from mainstay.core.feature import Input

ReadInput = Callable[[Mapping[str, Any]], dict[str, Any]]

_WORDS: dict[str, tuple[Any, str]] = {
    "text": (str, "a text"),
    "number": ((int, float), "a number"),
    "integer": (int, "a whole number"),
    "boolean": (bool, "true or false"),
    "texts": (list, "a list of texts"),
    "image": (str, "an https: address or a data: URL"),
}


def reader(declared: Input, files: Mapping[str, bytes], *, where: str) -> ReadInput:
    """The function that reads a call's input: gives the values that templates see, raises `BadRequest` with the field."""
    if declared.schema is not None:
        return _schema_reader(files[declared.schema], f"{where}/{declared.schema}")
    fields = {name: (kind.rstrip("?"), kind.endswith("?")) for name, kind in declared.fields.items()}

    def read(given: Mapping[str, Any]) -> dict[str, Any]:
        for name in given:
            if name not in fields:
                raise BadRequest(f"unknown input `{name}`; {nearest(name, fields)}", param=f"input.{name}")
        return {name: _value(name, given.get(name), kind, optional) for name, (kind, optional) in fields.items()}

    return read


def _value(name: str, value: Any, kind: str, optional: bool) -> Any:
    if value is None:
        if optional:
            return "" if kind in ("text", "image") else [] if kind == "texts" else None
        raise BadRequest(f"the input `{name}` is missing; it is {_WORDS[kind][1]}", param=f"input.{name}")
    wanted, words = _WORDS[kind]
    fits = isinstance(value, wanted) and (kind == "boolean" or not isinstance(value, bool))
    if kind == "texts":
        fits = fits and all(isinstance(v, str) for v in value)
    if kind == "image":
        fits = fits and value.startswith(("https://", "data:image/"))
    if not fits:
        raise BadRequest(f"the input `{name}` has to be {words}, not {_shown(value)}", param=f"input.{name}")
    return value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse_to_fetch(uri: str) -> Any:
    raise ValueError(f"a schema may not refer to {uri}")


def _schema_reader(source: bytes, where: str) -> ReadInput:
    validator = compiled(source, where)

    def read(given: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(given)
        for fault in validator.iter_errors(values):
            path = ".".join(["input", *map(str, fault.instance_path)])
            raise BadRequest(f"{path}: {fault.message[:300]}", param=path)
        return values

    return read


def compiled(source: bytes, where: str) -> Any:
    """A JSON Schema made ready. Raises `ConfigError` where it is not one, or refers to anything outside itself."""
    try:
        return jsonschema_rs.validator_for(json.loads(source), retriever=_refuse_to_fetch, validate_formats=True)
    except jsonschema_rs.ValidationError as error:
        raise ConfigError(f"not a valid JSON Schema: {error.message}", where=where) from None
    except ValueError as error:
        raise ConfigError(f"not JSON: {error}", where=where) from None
