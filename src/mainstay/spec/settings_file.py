"""Reads `mainstay.toml` and what the environment adds into one frozen `Settings`.

Secrets only ever come from the environment: a model's `key` says which variable, and a file that holds a secret itself is
refused. A model with `provider = "environment"` is whatever the environment offers: the first of `MAINSTAY_MODEL_URL`,
`OPENAI_API_KEY`, `ANTHROPIC_API_KEY` and `GEMINI_API_KEY` that is set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mainstay.core.project import Model, Settings, SourceSpec
from mainstay.spec import documents
from mainstay.spec.documents import Document

FILE = "mainstay.toml"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")

# What a key alone stands for: provider, model, where its key is. The models are modest ones of November 2026.
DISCOVERED = (
    ("OPENAI_API_KEY", "openai", "gpt-5-mini"),
    ("ANTHROPIC_API_KEY", "anthropic", "claude-haiku-4-5"),
    ("GEMINI_API_KEY", "gemini", "gemini-2.5-flash"),
)


def read_settings(root: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of the project in that folder. Raises `ConfigError` with file, line and key."""
    document = documents.read(root / FILE, str(root / FILE) if str(root) != "." else FILE)
    data: dict[str, Any] = dict(document.data)
    models, sources = data.pop("models", {}), data.pop("sources", {})
    settings = document.read(data, Settings)
    return msgspec.structs.replace(
        settings,
        models={name: _model(document, name, table, environ) for name, table in _tables(document, models, "models")},
        sources={
            name: document.read(table, SourceSpec, ("sources", name)) for name, table in _tables(document, sources, "sources")
        },
    )


def _tables(document: Document, tables: Any, key: str) -> list[tuple[str, Any]]:
    if not isinstance(tables, dict):
        raise document.error((key,), f"expected tables, such as [{key}.name]")
    for name in tables:
        if not NAME.fullmatch(name):
            raise document.error((key, name), 'a name has letters, digits, ".", "_", "-" and "/"')
    return list(tables.items())


def _model(document: Document, name: str, table: Any, environ: Mapping[str, str]) -> Model:
    place = ("models", name)
    if isinstance(table, dict) and "name" in table:
        raise document.error(
            (*place, "name"), "unknown key; a model's name is its table's, and the provider's name for it is `model`"
        )
    model = msgspec.structs.replace(document.read(table, Model, place), name=name)
    if model.key is not None and not model.key.startswith("env:"):
        raise document.error(
            (*place, "key"), "a secret never stands in a file; name the variable that holds it", next='key = "env:NAME"'
        )
    if model.provider == "environment":
        return _discovered(model, environ)
    if model.key is not None and not secret_of(model, environ) and not model.optional:
        variable = model.key.removeprefix("env:")
        raise document.error(
            (*place, "key"),
            f"the environment variable {variable} is not set; set it, or write `optional = true` to go without this model",
            next=f"export {variable}=…",
        )
    return model


def _discovered(model: Model, environ: Mapping[str, str]) -> Model:
    replace = msgspec.structs.replace
    if url := environ.get("MAINSTAY_MODEL_URL"):
        named = environ.get("MAINSTAY_MODEL_NAME", model.model)
        return replace(
            model,
            provider="openai",
            url=url,
            model=named,
            key="env:MAINSTAY_MODEL_KEY" if environ.get("MAINSTAY_MODEL_KEY") else None,
        )
    for variable, provider, known in DISCOVERED:
        if environ.get(variable):
            named = environ.get("MAINSTAY_MODEL_NAME", model.model)
            return replace(model, provider=provider, model=named or known, key=f"env:{variable}")
    return model


def secret_of(model: Model, environ: Mapping[str, str]) -> str:
    """The model's secret; empty where none is named or none is set."""
    return "" if model.key is None else environ.get(model.key.removeprefix("env:"), "").strip()


def asleep(model: Model, environ: Mapping[str, str]) -> bool:
    """Whether the model is left out because the environment does not hold its key."""
    return model.provider == "environment" or (model.key is not None and not secret_of(model, environ))
