"""JSON Schemas of our own types, for editors and for OpenAPI: the descriptions are the ones that errors and the reference use.

The schemas of files accept what the loader accepts, and refuse what a schema can see: keys, types, units, the words of a
choice. That a model, a file or a variable exists, and that the last rung cannot fail, only the loader knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from mainstay.core.feature import NOT_YET, POSITIVE_TIMES, RESERVED, RUNGS, Feature, Hedge, InputType, RuleFile
from mainstay.core.limits import COUNTED, Caps
from mainstay.core.project import Model, Settings, SourceSpec
from mainstay.core.units import DURATION, MONEY, Seconds, Usd
from mainstay.spec.settings_file import ADDRESS, KEY
from mainstay.spec.settings_file import NAME as NAME_OF_A_MODEL

AT_HOME = "https://mainstay.invalid/"
INPUT_NAME = r"^(?!(" + "|".join(sorted(RESERVED)) + r")$)[A-Za-z_][A-Za-z0-9_]*$"
NOT_ZERO = r"(?![0.]+ ?[a-z]+$)"

Json = dict[str, Any]


def hook(kind: type) -> Json:
    """The schema of a quantity with its unit."""
    if kind is Seconds:
        return {"type": "string", "pattern": f"^{DURATION}$", "examples": ["500ms", "8s", "7d"]}
    if kind is Usd:
        return {"type": "string", "pattern": f"^{MONEY}$", "examples": ["0.02 USD"]}
    if kind is Hedge:
        return {"type": "string", "pattern": f"^(?:p95|{NOT_ZERO}{DURATION})$", "examples": ["p95", "800ms"]}
    if kind is Caps:
        amount = {"type": "string", "pattern": f"^(?:{MONEY}|{COUNTED})$", "examples": ["5 USD", "100000 tokens"]}
        one = [{"type": "integer", "minimum": 0}, amount]
        return {"anyOf": [*one, {"type": "array", "items": {"anyOf": one}, "minItems": 1}]}
    raise NotImplementedError(kind)


def components(types: list[Any], *, template: str) -> tuple[list[Any], Json]:
    """The schemas of these types and the definitions that they share; `template` says where those stand."""
    schemas, shared = msgspec.json.schema_components(types, schema_hook=hook, ref_template=template)
    for kind in _structs(types):
        if kind.__name__ in shared:
            _with_defaults(kind, shared[kind.__name__])
    return list(schemas), shared


def feature_schema() -> Json:
    """The schema of `feature.toml`."""
    rungs, shared = components(list(RUNGS), template="#/$defs/{name}")
    (_,), more = components([_FeatureShell], template="#/$defs/{name}")
    shared |= more
    body = shared.pop("_FeatureShell")
    body["properties"] |= {"ladder": _ladder(rungs), "input": _input()}
    for path, value in NOT_YET:
        _leave_out(body, shared, path, value)
    shared["AnswerShape"]["not"] = {"required": ["schema", "python"]}
    shared["MessageRung"]["properties"]["message"]["anyOf"][0]["pattern"] = r"\S"
    return _document("feature", "What a Mainstay feature promises (feature.toml).", body, shared)


def settings_schema() -> Json:
    """The schema of `mainstay.toml`."""
    _, shared = components([Settings, Model, SourceSpec], template="#/$defs/{name}")
    body = shared.pop("Settings")
    model = shared["Model"]["properties"]
    for key, pattern in (("key", KEY), ("url", ADDRESS)):
        model[key]["anyOf"][0]["pattern"] = f"^{pattern.pattern}$"
    for key in ("models", "sources"):
        body["properties"][key]["propertyNames"] = {"pattern": f"^{NAME_OF_A_MODEL.pattern}$"}
    for path, value in NOT_YET:
        _leave_out(shared["Plain"], shared, path, value)
    return _document("settings", "What the features of a Mainstay project share (mainstay.toml).", body, shared)


def rules_schema() -> Json:
    """The schema of a file of rules."""
    _, shared = components([RuleFile], template="#/$defs/{name}")
    body = shared.pop("RuleFile")
    shared["Rule"]["anyOf"] = [{"required": [key], "properties": {key: {"minItems": 1}}} for key in ("matches", "equals")]
    return _document("rules", "Rules that answer without a model (rules.toml).", body, shared)


def published() -> dict[str, str]:
    """The schema of each kind of file that a team writes, by the name of its file, as JSON."""
    made = {"feature": feature_schema(), "settings": settings_schema(), "rules": rules_schema()}
    return {f"{name}.schema.json": json.dumps(schema, indent=1) + "\n" for name, schema in made.items()}


class _FeatureShell(Feature, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Feature without its union of rungs, which JSON Schema tells apart by key."""

    ladder: tuple[dict[str, Any], ...]  # type: ignore[assignment]
    input: dict[str, Any] = {}  # type: ignore[assignment]


def _ladder(rungs: list[Any]) -> Json:
    return {
        "type": "array",
        "minItems": 1,
        "items": {"oneOf": rungs},
        "contains": {"required": ["message"]},
        "maxContains": 1,
        "description": "The ways of answering, best first; the last one is a `message`, which needs nothing.",
    }


def _input() -> Json:
    fields = {
        "minProperties": 1,
        "propertyNames": {"pattern": INPUT_NAME},
        "additionalProperties": {"enum": [*get_args(InputType)]},
    }
    file = {"required": ["schema"], "properties": {"schema": {"pattern": r"\.json$"}}, "additionalProperties": False}
    return {
        "type": "object",
        "description": "Names and types of what a call brings, or `schema`, a JSON Schema file.",
        "anyOf": [file, fields],
        "default": {"question": "text"},
    }


def _leave_out(body: Json, shared: Json, path: tuple[str, ...], value: str | None) -> None:
    """Take away a key, or one of its choices, that this version reads only to refuse it."""
    *outer, name = path
    for step in outer:
        if step not in body["properties"]:
            return
        body = shared[body["properties"][step]["$ref"].rpartition("/")[2]]
    if name not in body["properties"]:
        return
    if value is None:
        del body["properties"][name]
        return
    schema = body["properties"][name]
    for choice in (schema, *schema.get("anyOf", [])):
        if value in choice.get("enum", []):
            choice["enum"].remove(value)


def _document(name: str, description: str, body: Json, shared: Json) -> Json:
    """The whole schema of a file, as TOML can hold it: without null, and without what a folder or a table's name gives."""
    for definition in (body, *shared.values()):
        properties = definition.get("properties", {})
        for key in [key for key, schema in properties.items() if schema.pop("given", False)]:
            del properties[key]
        for key in POSITIVE_TIMES & properties.keys():
            for schema in (properties[key], *properties[key].get("anyOf", [])):
                if "pattern" in schema:
                    schema["pattern"] = "^" + NOT_ZERO + schema["pattern"].removeprefix("^")
    used = {key: shared[key] for key in sorted(shared) if key != "Input"}
    body = {**body, "title": f"A Mainstay {name} file", "description": description}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{AT_HOME}{name}.schema.json",
        **_without_null(body),
        "$defs": _without_null(used),
    }


def _without_null(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_null(inner) for inner in schema if inner != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    found = {key: _without_null(inner) for key, inner in schema.items() if not (key == "default" and _empty(inner))}
    if len(found.get("anyOf", ())) == 1:
        return {**found.pop("anyOf")[0], **found}
    return found


def _empty(value: Any) -> bool:
    """Whether a default says nothing: null, or a table that a file would leave out."""
    return value is None or isinstance(value, dict)


def _structs(types: list[Any]) -> Iterator[type[msgspec.Struct]]:
    """These types and the types of their fields, as far as they have defaults of their own."""
    for kind in types:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield kind
            yield from _structs([f.default_factory for f in msgspec.structs.fields(kind) if isinstance(f.default_factory, type)])


def _with_defaults(kind: type[msgspec.Struct], definition: Json) -> None:
    """Defaults of quantities, as they are written in the file: `"8s"`."""
    for field in msgspec.structs.fields(kind):
        made = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None
        if isinstance(made, Seconds | Usd):
            definition["properties"][field.encode_name]["default"] = str(made)
