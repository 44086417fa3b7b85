"""JSON Schemas of our own types, for editors and for OpenAPI: the descriptions are the ones that errors and the reference use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from mainstay.core.feature import RUNGS, Feature
from mainstay.core.project import Model, Settings, SourceSpec
from mainstay.core.units import Seconds, Usd

DURATION = {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$", "examples": ["500ms", "8s", "7d"]}
MONEY = {"type": "string", "pattern": r"^\d+(\.\d+)?\s*USD$", "examples": ["0.02 USD"]}


def hook(kind: type) -> dict[str, Any]:
    """The schema of a quantity with its unit."""
    if kind is Seconds:
        return dict(DURATION)
    if kind is Usd:
        return dict(MONEY)
    raise NotImplementedError(kind)


def components(types: list[Any], *, template: str) -> tuple[list[Any], dict[str, Any]]:
    """The schemas of these types and the definitions that they share; `template` says where those stand."""
    schemas, shared = msgspec.json.schema_components(types, schema_hook=hook, ref_template=template)
    for kind in _structs(types):
        if kind.__name__ in shared:
            _with_defaults(kind, shared[kind.__name__])
    return list(schemas), shared


def _structs(types: list[Any]) -> Iterator[type[msgspec.Struct]]:
    """These types and the types of their fields, as far as they have defaults of their own."""
    for kind in types:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield kind
            yield from _structs([f.default_factory for f in msgspec.structs.fields(kind) if isinstance(f.default_factory, type)])


def feature_schema() -> dict[str, Any]:
    """The schema of `feature.toml`."""
    rungs, shared = components(list(RUNGS), template="#/$defs/{name}")
    (_,), more = components([_FeatureShell], template="#/$defs/{name}")
    shared |= more
    feature = shared.pop("_FeatureShell")
    feature["properties"] |= {
        "ladder": {
            "type": "array",
            "minItems": 1,
            "items": {"oneOf": rungs},
            "description": "The ways of answering, best first.",
        },
        "input": {
            "type": "object",
            "description": "Names and types of what a call brings, or `schema`, a JSON Schema file.",
            "additionalProperties": {"type": "string"},
        },
    }
    del feature["properties"]["name"]
    return _document("https://mainstay.invalid/feature.schema.json", "A Mainstay feature", feature, shared)


def settings_schema() -> dict[str, Any]:
    """The schema of `mainstay.toml`."""
    _, shared = components([Settings, Model, SourceSpec], template="#/$defs/{name}")
    settings = shared.pop("Settings")
    for definition in (shared["Model"],):
        definition["properties"].pop("name")
    return _document("https://mainstay.invalid/settings.schema.json", "A Mainstay project", settings, shared)


class _FeatureShell(Feature, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Feature without its union of rungs, which JSON Schema tells apart by key."""

    ladder: tuple[dict[str, Any], ...]  # type: ignore[assignment]
    input: dict[str, Any] = {}  # type: ignore[assignment]


def _document(id: str, title: str, body: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    used = {name: shared[name] for name in sorted(shared) if name != "Input"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": id, **body, "title": title, "$defs": used}


def _with_defaults(kind: type[msgspec.Struct], definition: dict[str, Any]) -> None:
    """Defaults of quantities, as they are written in the file: `"8s"`."""
    for field in msgspec.structs.fields(kind):
        made = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None
        if isinstance(made, Seconds | Usd):
            definition["properties"][field.encode_name]["default"] = str(made)
