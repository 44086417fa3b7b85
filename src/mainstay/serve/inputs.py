"""Does a call bring what the feature declares? One reader a release, made when the release is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jsonschema_rs
import msgspec

from mainstay.core.call import Call
from mainstay.core.errors import BadRequest, ConfigError, nearest
from mainstay.core.feature import Feature, Input
from mainstay.core.texts import texts_in

ReadInput = Callable[[Mapping[str, Any]], dict[str, Any]]

_WORDS: dict[str, tuple[Any, str]] = {
    "text": (str, "a text"),
    "number": ((int, float), "a number"),
    "integer": (int, "a whole number"),
    "boolean": (bool, "true or false"),
    "texts": (list, "a list of texts"),
    "image": (str, "an https: address or a data: URL"),
}


def reader(declared: Input, schema: Any = None, *, where: str = "") -> ReadInput:
    """The function that reads a call's input: gives the values that templates see, raises `BadRequest` with the field.

    `schema` is the JSON Schema where the feature declares one, and `where` its file.
    """
    if schema is not None:
        return _schema_reader(schema, where)
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
            return nothing(kind)
        raise BadRequest(f"the input `{name}` is missing; it is {_WORDS[kind][1]}", param=f"input.{name}")
    wanted, words = _WORDS[kind]
    fits = isinstance(value, wanted) and (kind == "boolean" or not isinstance(value, bool))
    if kind == "texts":
        fits = fits and all(isinstance(v, str) for v in value)
    if kind == "image":
        fits = fits and value.startswith(("https://", "data:image/"))
    if not fits:
        raise BadRequest(f"the input `{name}` has to be {words}, not {_shown(value)}", param=f"input.{name}")
    if kind == "text" and not optional and not value.strip():
        raise BadRequest(f"the input `{name}` is empty", param=f"input.{name}")
    return value


def nothing(kind: str) -> Any:
    """What templates see of an optional field that a call leaves out."""
    return {"text": "", "image": "", "texts": []}.get(kind.rstrip("?"))


def text_of(values: Mapping[str, Any], names: Iterable[str]) -> str:
    """All texts of these fields together, a line each, however deep they are nested."""
    return "\n".join(text for name in names for text in texts_in(values.get(name)))


def spoken(call: Call, feature: Feature) -> Call:
    """The call with None for its images, which are no text to read or to search for."""
    images = feature.images if feature.input.fields else ()
    return msgspec.structs.replace(call, input={n: None if n in images else v for n, v in call.input.items()}) if images else call


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _schema_reader(schema: Any, where: str) -> ReadInput:
    validator = compiled(schema, where)
    absent = {name: _absent(inner) for name, inner in schema.get("properties", {}).items()}

    def read(given: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(given)
        try:
            for fault in validator.iter_errors(values):
                path = ".".join(["input", *map(str, fault.instance_path)])
                raise BadRequest(f"{path}: {fault.message[:300]}", param=path)
        except BadRequest:
            raise
        except ValueError as error:
            raise BadRequest(f"input: {error}", param="input") from None
        return {**absent, **values}

    return read


def _absent(schema: Any) -> Any:
    """What templates see of a property that a call leaves out: its default, or what is empty of its type."""
    if not isinstance(schema, dict):
        return None
    return schema.get("default", {"string": "", "array": [], "object": {}}.get(str(schema.get("type"))))


def compiled(schema: Any, where: str) -> Any:
    """A JSON Schema made ready. Raises `ConfigError` where it is not one, or refers to anything outside itself."""
    asked: list[str] = []

    def refuse(uri: str) -> Any:
        asked.append(uri)
        raise ValueError(uri)

    try:
        return jsonschema_rs.validator_for(schema, retriever=refuse, validate_formats=True)
    except jsonschema_rs.ValidationError as error:
        if asked:
            raise ConfigError(
                f"a schema may not refer to {asked[0]}: nothing is fetched", where=where, next="put the definition under $defs"
            ) from None
        path = "".join(f".{step}" for step in error.instance_path)
        raise ConfigError(f"not a JSON Schema: {error.message}" + (f", at ${path}" if path else ""), where=where) from None
    except ValueError as error:
        raise ConfigError(f"not a JSON Schema: {error}", where=where) from None
