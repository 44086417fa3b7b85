"""Reads `mainstay.toml` and what the environment adds into one frozen `Settings`.

Secrets only ever come from the environment: a model's `key` says which variable, and a file that holds a secret itself is
refused. A model with `provider = "environment"` is whatever the environment offers: the first of `MAINSTAY_MODEL_URL`,
`OPENAI_API_KEY`, `ANTHROPIC_API_KEY` and `GEMINI_API_KEY` that is set.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from mainstay.core.errors import ConfigError, nearest
from mainstay.core.feature import NOT_YET
from mainstay.core.later import pattern
from mainstay.core.project import Model, PaidService, Service, Settings, SourceSpec
from mainstay.spec import documents
from mainstay.spec.documents import NOT_KEPT, Document
from mainstay.spec.places import Place

FILE = "mainstay.toml"
SERVICES = ("databases", "embedders", "rerankers", "classifiers")
NAME = pattern(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
KEY = pattern(r"env:[A-Za-z_][A-Za-z0-9_]*")
ADDRESS = pattern(r"https?://[^/?#\s]+[^\s]*")

# Names that hold a secret wherever they stand, and texts that are one by their look.
_SECRET_NAME = pattern(
    r"(?i)(^|[-_])(authorization|api[-_]?key|access[-_]?key|secret[-_]?key|token|secret|password|cookie)$|^key$"
)
_SECRET_LOOK = pattern(
    r"(?i:\b(bearer|basic)\s+\S{8,})|\b(sk|pk|rk|gsk|xai|hf|ghp|gho|ghs|github_pat|glpat|xox[abp]|AKIA|AIza)[-_A-Za-z0-9]{16,}"
)

# What a key alone stands for: provider, model, where its key is. The models are modest ones of November 2026.
DISCOVERED = (
    ("OPENAI_API_KEY", "openai", "gpt-5-mini"),
    ("ANTHROPIC_API_KEY", "anthropic", "claude-haiku-4-5"),
    ("GEMINI_API_KEY", "gemini", "gemini-2.5-flash"),
)


def read_settings(root: Path, environ: Mapping[str, str]) -> Settings:
    """The settings of the project in that folder. Raises `ConfigError` with file, line and key."""
    document = document_of(root)
    data: dict[str, Any] = dict(document.data)
    models, sources = data.pop("models", {}), data.pop("sources", {})
    services = {key: data.pop(key, {}) for key in SERVICES}
    settings = document.read(data, Settings)
    document.refuse_no_time(settings)
    for key in ("near", "ahead"):
        if getattr(settings.plain.cache, key) not in (None, "off"):
            what = f"`{key}` is for features: what a plain model is asked is a conversation"
            raise document.error(("plain", "cache", key), what)
    for path, too_much in NOT_YET:
        if path[0] == "cache" and getattr(settings.plain.cache, path[1]) == too_much:
            raise document.error(("plain", *path), NOT_KEPT.format(f'{path[1]} = "{too_much}"'))
    return msgspec.structs.replace(
        settings,
        models={name: _model(document, name, table, environ) for name, table in _tables(document, models, "models")},
        sources={name: _source(document, name, table) for name, table in _tables(document, sources, "sources")},
        **{
            key: {name: _service(document, key, name, table) for name, table in _tables(document, tables, key)}
            for key, tables in services.items()
        },
    )


def document_of(root: Path) -> Document:
    """The file itself, for errors that are only found when its parts are made."""
    return documents.read(root / FILE, str(root / FILE) if str(root) != "." else FILE)


def _tables(document: Document, tables: Any, key: str) -> list[tuple[str, Any]]:
    if not isinstance(tables, dict):
        raise document.error((key,), f"expected tables, such as [{key}.name]")
    for name in tables:
        if not NAME.fullmatch(name):
            raise document.error(
                (key, name), 'a name has letters, digits, ".", "_", "-" and "/", and begins with a letter or a digit'
            )
    return list(tables.items())


def _source(document: Document, name: str, table: Any) -> SourceSpec:
    source = document.read(table, SourceSpec, ("sources", name))
    if source.url is not None:
        check_address(document, ("sources", name, "url"), source.url)
    _no_secrets(document, ("sources", name, "options"), source.options)
    return source


def _service(document: Document, key: str, name: str, table: Any) -> Service:
    place = (key, name)
    kind = Service if key == "databases" else PaidService
    service = msgspec.structs.replace(document.read(table, kind, place), name=name)
    if service.key is not None and not KEY.fullmatch(service.key):
        raise _secret(document, (*place, "key"))
    if service.url is not None:
        check_address(document, (*place, "url"), service.url)
    _no_secrets(document, (*place, "options"), service.options)
    document.refuse_no_time(service, place)
    return service


def _model(document: Document, name: str, table: Any, environ: Mapping[str, str]) -> Model:
    place = ("models", name)
    if isinstance(table, dict) and "name" in table:
        raise document.error(
            (*place, "name"), "unknown key; a model's name is its table's, and the provider's name for it is `model`"
        )
    model = msgspec.structs.replace(document.read(table, Model, place), name=name)
    if model.key is not None and not KEY.fullmatch(model.key):
        raise _secret(document, (*place, "key"))
    if model.url is not None:
        check_address(document, (*place, "url"), model.url)
    if model.metrics is not None:
        check_address(document, (*place, "metrics"), model.metrics)
    for key in ("headers", "query", "options"):
        _no_secrets(document, (*place, key), getattr(model, key))
    for key in ("headers", "query"):
        for field, text in getattr(model, key).items():
            if _SECRET_LOOK.search(text):
                raise _secret(document, (*place, key, field))
    if model.provider == "environment":
        return _discovered(model, environ)
    if model.key is not None and not secret_of(model, environ) and not model.optional:
        variable = model.key.removeprefix("env:")
        similar = nearest(variable, [v for v in environ if v.upper().endswith(("KEY", "TOKEN", "SECRET"))])
        hint = f" ({similar})" if similar.startswith("did") else ""
        raise document.error(
            (*place, "key"),
            f"the environment variable {variable} is not set{hint}; set it, or write `optional = true` to go without this model",
            next=f"export {variable}=…",
        )
    return model


def _secret(document: Document, place: Place) -> ConfigError:
    """The error for a secret in the file. It never repeats what stands there."""
    return document.error(
        place, "a secret never stands in a file; a model's `key` names the variable that holds it", next='key = "env:NAME"'
    )


def _no_secrets(document: Document, place: Place, value: Any) -> None:
    """Refuse what is a secret by its name, however deep it stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str) and inner and _SECRET_NAME.search(name):
                raise _secret(document, (*place, name))
            _no_secrets(document, (*place, name), inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _no_secrets(document, (*place, i), inner)


def check_address(document: Document, place: Place, url: str) -> None:
    """Raises `ConfigError` for what is no http or https address, or holds a secret."""
    if not _is_address(url):
        raise document.error(place, f"expected an address such as https://api.example.com/v1, got {documents.quoted(url)}")
    parts = urlsplit(url)
    if parts.password is not None or _SECRET_LOOK.search(url):
        raise _secret(document, place)
    if any(_SECRET_NAME.search(name) and value for name, value in parse_qsl(parts.query)):
        raise _secret(document, place)


def _is_address(url: str) -> bool:
    """Whether a request could be sent there: a host, and a port that there is."""
    try:
        return ADDRESS.fullmatch(url) is not None and bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:
        return False


def _discovered(model: Model, environ: Mapping[str, str]) -> Model:
    replace = msgspec.structs.replace
    named = environ.get("MAINSTAY_MODEL_NAME", "").strip() or model.model
    if url := environ.get("MAINSTAY_MODEL_URL", "").strip():
        if not _is_address(url):
            raise ConfigError(
                f"expected an address such as http://127.0.0.1:11434/v1, got {documents.quoted(url)}",
                where="environment MAINSTAY_MODEL_URL",
            )
        key = "env:MAINSTAY_MODEL_KEY" if environ.get("MAINSTAY_MODEL_KEY", "").strip() else None
        return replace(model, provider="openai", url=url, model=named, key=key)
    for variable, provider, known in DISCOVERED:
        if environ.get(variable, "").strip():
            return replace(model, provider=provider, model=named or known, key=f"env:{variable}")
    return model


def secret_of(model: Model, environ: Mapping[str, str]) -> str:
    """The model's secret; empty where none is named or none is set."""
    return "" if model.key is None else environ.get(model.key.removeprefix("env:"), "").strip()


def asleep(model: Model, environ: Mapping[str, str]) -> bool:
    """Whether the model is left out because the environment does not hold its key."""
    return model.provider == "environment" or (model.key is not None and not secret_of(model, environ))


def absent_keys(root: Path) -> dict[str, str]:
    """Something in place of each key that `mainstay.toml` names, for where nobody is asked who would look at it."""
    tables = document_of(root).data.get("models", {})
    keys = [table.get("key") for table in tables.values() if isinstance(table, dict)] if isinstance(tables, dict) else []
    return {key.removeprefix("env:"): "no-key" for key in keys if isinstance(key, str) and key.startswith("env:")}
