"""What can be said of a ladder without binding it: what its rungs are called, which models they ask, where a call may start."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping

import msgspec

from mainstay.core.feature import AnyRung, Feature, ModelRung, SearchRung, StepsRung
from mainstay.core.project import Model
from mainstay.core.router import Choice
from mainstay.spec.feature_file import Folder


def names_of(ladder: tuple[AnyRung, ...]) -> list[str]:
    """What each rung is called: as the file says, else after its model or its kind, with a number where that is taken."""
    taken = {spec.name for spec in ladder if spec.name is not None}
    names: list[str] = []
    for spec in ladder:
        if spec.name is not None:
            names.append(spec.name)
            continue
        plain = spec.model if isinstance(spec, ModelRung) else spec.kind
        candidates = itertools.chain([plain], (f"{plain}-{n}" for n in itertools.count(2)))
        names.append(next(c for c in candidates if c not in taken))
        taken.add(names[-1])
    return names


def asked_by(spec: AnyRung) -> list[tuple[str, tuple[str | int, ...]]]:
    """The models that a rung asks, each with the place in the rung that names it."""
    if isinstance(spec, ModelRung):
        return [(spec.model, ("model",)), *([(spec.hedge_with, ("hedge_with",))] if spec.hedge_with else [])]
    if isinstance(spec, StepsRung):
        return [(step.model, ("steps", i, "model")) for i, step in enumerate(spec.steps)]
    return []


def named_models(feature: Feature) -> set[str]:
    """The names of the models that a feature's rungs ask."""
    return {name for spec in feature.ladder for name, _ in asked_by(spec)}


def choices_of(folder: Folder, models: Mapping[str, Model]) -> tuple[Choice, ...]:
    """The rungs at which a call may start, in the order of the ladder: those that answer whatever they are asked."""
    found = []
    for name, spec in zip(names_of(folder.feature.ladder), folder.feature.ladder, strict=True):
        if not isinstance(spec, ModelRung | StepsRung | SearchRung):
            continue
        asked = [models[model] for model, _ in asked_by(spec) if model in models]
        prompts = [step.prompt for step in spec.steps] if isinstance(spec, StepsRung) else []
        prompts += [spec.prompt] if isinstance(spec, ModelRung) else []
        work = msgspec.json.encode([spec, [hashlib.sha256(folder.files[prompt]).hexdigest() for prompt in prompts]])
        said = tuple([f"{model.provider} {model.model}" for model in asked])
        found.append(Choice(name=name, kind=spec.kind, models=said, work=hashlib.sha256(work).hexdigest()[:16]))
    return tuple(found)
