"""What a release is frozen with: its digest, its models as they were, and the project's Python that it reaches."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from mainstay import code, registry
from mainstay.core.feature import CallRung, Feature
from mainstay.core.project import Model
from mainstay.ladders import named_models
from mainstay.spec.feature_file import Folder

VERSION = importlib.metadata.version("mainstay")
# What a model is run with, and no answer depends on.
NOT_FROZEN = ("price", "headers", "at_once", "slow", "metrics", "keep_warm", "cold_after")


def digest_of(folder: Folder, declared: Mapping[str, Model], *, asleep: Collection[str], root: Path) -> str:
    """The release's name: a hash of everything that decides what it answers, but for the sources' content.

    Spec, prompts, schemas and Python files, the models with their parameters (no keys), the project's Python that it reaches,
    and the versions of Mainstay and of the packages that its guards come from. `declared` are the project's models, `asleep`
    those whose key is not set.
    """
    names = sorted(named_models(folder.feature))
    models = [identity(declared[name]) for name in names if name in declared]
    content = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(folder.files.items())}
    reached = [imports_of(folder, root), registry.versions("guards", guards_named(folder.feature))]
    without = sorted({*asleep} & {*names})
    whole = msgspec.json.encode([VERSION, folder.feature.name, content, models, without, reached], order="sorted")
    return hashlib.sha256(whole).hexdigest()


def models_of(folder: Folder, declared: Mapping[str, Model]) -> dict[str, Model]:
    """The models that a feature asks, as they are frozen with it: without what may change, such as prices and headers."""
    names = named_models(folder.feature)
    frozen = {name: declared[name] for name in sorted(names) if name in declared}
    return {name: msgspec.structs.replace(model, **_bare(model)) for name, model in frozen.items()}


def _bare(model: Model) -> dict[str, Any]:
    defaults = type(model)(provider="")
    return {name: getattr(defaults, name) for name in NOT_FROZEN}


def imports_of(folder: Folder, root: Path) -> dict[str, str]:
    """The Python files of the project, outside the feature's folder, that the feature reaches, with their hashes."""
    feature = folder.feature
    named = [*guards_named(feature), *[spec.call for spec in feature.ladder if isinstance(spec, CallRung)], feature.answer.python]
    modules = [name.partition(":")[0] for name in named if name is not None and ":" in name and ".py:" not in name]
    sources = [data for file, data in folder.files.items() if file.endswith(".py")]
    return code.reached(modules, sources, root)


def guards_named(feature: Feature) -> list[str]:
    """The guards that a feature file names, in its order."""
    return [spec if isinstance(spec, str) else next(iter(spec)) for spec in (*feature.guards.input, *feature.guards.output)]


def identity(model: Model) -> list[Any]:
    """What of a model decides its answers."""
    return [model.name, model.provider, model.model, model.url, model.max_output, sorted(model.query.items()), model.options]
