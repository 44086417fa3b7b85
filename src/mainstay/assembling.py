"""Makes a release ready: binds what a feature's folder says to the parts that the project has.

Everything that can be wrong is found here, at load: an unknown model, a prompt's missing variable, a rule's bad pattern, a
message that the feature's own guards would stop.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from mainstay import code, registry
from mainstay.core.call import Call
from mainstay.core.draft import ALLOW, Draft, Verdict
from mainstay.core.errors import ConfigError, nearest
from mainstay.core.feature import (
    AnyRung,
    CallRung,
    Feature,
    GuardSpec,
    Input,
    MessageRung,
    ModelRung,
    PromptStep,
    RulesRung,
    SearchRung,
    StaleRung,
    StepsRung,
)
from mainstay.core.model import OutputSchema
from mainstay.core.project import Model, Plain
from mainstay.core.seams import Hold, Source
from mainstay.serve import inputs, rungs
from mainstay.serve.pace import Pace
from mainstay.serve.prompts import Prompt
from mainstay.serve.ready import SENTENCE, WHOLE, Ready, ReadyGuard, ReadyRung, ServingModel
from mainstay.serve.rules import RuleFile, Rules
from mainstay.spec.documents import Document, Place
from mainstay.spec.feature_file import FILE, Folder

VERSION = importlib.metadata.version("mainstay")
HOLDS = {Hold.NOTHING: 0, Hold.SENTENCE: SENTENCE, Hold.WHOLE: WHOLE}


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """What a release can be bound to. `asleep` are models that are declared but whose key is not set."""

    models: Mapping[str, ServingModel]
    settings: Mapping[str, Model]
    sources: Mapping[str, Source]
    asleep: frozenset[str]


def ready(folder: Folder, project: Project) -> Ready:
    """The folder as a release that can answer. Raises `ConfigError`."""
    return _Assembly(folder, project).ready()


class _Assembly:
    """One folder on its way to being ready."""

    def __init__(self, folder: Folder, project: Project) -> None:
        self._folder, self._project, self._feature = folder, project, folder.feature
        self._document = Document(Path(FILE), folder.files[FILE].decode(), f"{folder.shown}/{FILE}")
        self._digest = digest_of(folder, project)
        self._inputs = self._input_names()
        self._output = self._output_schema()

    def ready(self) -> Ready:
        feature = self._feature
        sources, rungs = self._sources(), self._rungs()
        answer_guard = [] if self._output is None else [self._answer_guard()]
        built = Ready(
            digest=self._digest,
            feature=feature,
            rungs=tuple(rungs),
            asleep=len(rungs) < len(feature.ladder),
            input_guards=tuple([self._guard(g, "input", i) for i, g in enumerate(feature.guards.input)]),
            output_guards=tuple(answer_guard + [self._guard(g, "output", i) for i, g in enumerate(feature.guards.output)]),
            sources=sources,
            read_input=inputs.reader(feature.input, self._folder.files, where=self._folder.shown),
            keeps=max([feature.cache.keep or 0.0, *[spec.stale for spec in feature.ladder if isinstance(spec, StaleRung)]]),
        )
        self._check_message(built)
        return built

    def _where(self, *place: str | int) -> str:
        return self._document.where(place)

    def _text(self, file: str) -> str:
        try:
            return self._folder.files[file].decode()
        except UnicodeDecodeError as error:
            raise ConfigError(f"not UTF-8: {error.reason} at byte {error.start}", where=f"{self._folder.shown}/{file}") from None

    def _input_names(self) -> tuple[str, ...]:
        declared = self._feature.input
        if declared.schema is None:
            return tuple(declared.fields)
        where = f"{self._folder.shown}/{declared.schema}"
        inputs.compiled(self._folder.files[declared.schema], where)
        return tuple(json.loads(self._text(declared.schema)).get("properties", {}))

    def _output_schema(self) -> OutputSchema | None:
        shape = self._feature.answer
        if shape.schema is not None:
            inputs.compiled(self._folder.files[shape.schema], f"{self._folder.shown}/{shape.schema}")
            return OutputSchema(self._feature.name, json.loads(self._text(shape.schema)))
        if shape.python is not None:
            return OutputSchema(self._feature.name, self._pydantic_model().model_json_schema())
        return None

    def _pydantic_model(self) -> Any:
        where = self._where("answer", "python")
        path = self._feature.answer.python or ""
        model = code.load(path, self._folder.files, digest=self._digest, where=where)
        if not hasattr(model, "model_json_schema"):
            raise ConfigError(f"`{path}` is not a pydantic model", where=where)
        return model

    def _sources(self) -> dict[str, Source]:
        named: dict[str, Place] = dict.fromkeys(self._feature.grounding.sources, ("grounding", "sources"))
        named |= {r.search: ("ladder", i, "search") for i, r in enumerate(self._feature.ladder) if isinstance(r, SearchRung)}
        for name, place in named.items():
            if name not in self._project.sources:
                raise self._document.error(
                    place,
                    f'there is no source "{name}"; {nearest(name, self._project.sources)}',
                    next="add [sources.NAME] to mainstay.toml",
                )
        return {name: self._project.sources[name] for name in named}

    def _rungs(self) -> list[ReadyRung]:
        made: list[ReadyRung] = []
        for i, spec in enumerate(self._feature.ladder):
            names = _models_of(spec)
            for name, place in names:
                if name not in self._project.models and name not in self._project.asleep:
                    known = [*self._project.models, *self._project.asleep]
                    raise self._document.error(
                        ("ladder", i, *place),
                        f'there is no model "{name}"; {nearest(name, known)}',
                        next="add [models.NAME] to mainstay.toml",
                    )
            writer = self._writer(spec, i)
            if writer is None:
                continue
            name = _unique(spec.name or (names[0][0] if isinstance(spec, ModelRung) else spec.kind), made)
            models = tuple([self._project.models[n] for n, _ in names])
            made.append(
                ReadyRung(name=name, spec=spec, tries=getattr(spec, "tries", 1), models=models, writer=writer(name), pace=Pace())
            )
        return made

    def _writer(self, spec: AnyRung, i: int) -> Any:
        """A function from the rung's name to its writer; None where its model is asleep. Its files are checked either way."""
        if isinstance(spec, ModelRung):
            prompted = self._prompted(spec.model, spec.prompt, spec, ())
            return prompted and (lambda name: rungs.ModelWriter(prompted, spec, name))
        if isinstance(spec, StepsRung):
            return self._steps(spec)
        if isinstance(spec, RulesRung):
            rules = self._rules(spec)
            return lambda name: rungs.RulesWriter(rules)
        if isinstance(spec, CallRung):
            function = code.load(spec.call, self._folder.files, digest=self._digest, where=self._where("ladder", i, "call"))
            return lambda name: rungs.CallWriter(function)
        if isinstance(spec, SearchRung):
            return lambda name: rungs.SearchWriter(spec.search, spec.quotes)
        if isinstance(spec, StaleRung):
            return lambda name: rungs.StaleWriter(spec)
        return lambda name: rungs.MessageWriter(spec.message)

    def _prompted(self, model: str, file: str, limits: ModelRung | PromptStep, steps: tuple[str, ...]) -> rungs.Prompted | None:
        variables = [*self._inputs, "passages", "history", "steps"]
        prompt = Prompt(self._text(file), where=f"{self._folder.shown}/{file}", variables=variables)
        if model in self._project.asleep:
            return None
        images = tuple([n for n, kind in self._feature.input.fields.items() if kind.startswith("image")])
        return rungs.Prompted(prompt, self._project.models[model], limits, images=images, output=self._output)

    def _steps(self, spec: StepsRung) -> Any:
        names = [step.name for step in spec.steps]
        if len(set(names)) != len(names):
            raise ConfigError(f"two steps have the same name: {', '.join(names)}", where=f"{self._folder.shown}/{FILE}")
        prompted = [(s.name, self._prompted(s.model, s.prompt, s, tuple(names[:i]))) for i, s in enumerate(spec.steps)]
        awake = tuple([(name, p) for name, p in prompted if p is not None])
        if len(awake) < len(prompted):
            return None
        return lambda name: rungs.StepsWriter(awake, spec, name)

    def _rules(self, spec: RulesRung) -> Rules:
        shown = f"{self._folder.shown}/{spec.rules}"
        document = Document(Path(FILE), self._text(spec.rules), shown)
        return Rules(document.read(document.data, RuleFile), inputs=self._inputs, where=shown)

    def _answer_guard(self) -> ReadyGuard:
        options: dict[str, Any] = {"schema": self._output.schema} if self._output else {}
        if self._feature.answer.python is not None:
            options = {"model": self._pydantic_model()}
        kind = registry.part("guards", "schema", where=self._where("answer"))
        return _ready_guard("schema", registry.made(kind, options, where=self._where("answer")))

    def _guard(self, spec: GuardSpec, stage: str, i: int) -> ReadyGuard:
        return make_guard(spec, where=self._where("guards", stage, i))

    def _check_message(self, built: Ready) -> None:
        """The last rung cannot fail: so its message has to pass the feature's own guards, now."""
        last = built.rungs[-1]
        assert isinstance(last.spec, MessageRung)  # noqa: S101
        message = last.spec.message
        text = message if isinstance(message, str) else msgspec.json.encode(message).decode()
        draft = Draft(call=Call(id="load", feature=self._feature.name), text=text)
        for guard in built.output_guards:
            verdict = _at_once(guard, draft)
            if verdict.action in ("refuse", "retry"):
                place = ("ladder", len(self._feature.ladder) - 1, "message")
                raise self._document.error(
                    place, f"the last rung's message does not pass the guard `{guard.name}`: {verdict.detail}"
                )


def _at_once(guard: ReadyGuard, draft: Draft) -> Verdict:
    """What a guard says without waiting for anything; one that has to wait is not asked at load."""
    checking = guard.check(draft)
    try:
        checking.send(None)
    except StopIteration as done:
        return cast(Verdict, done.value)
    checking.close()
    return ALLOW


def make_guard(spec: GuardSpec, *, where: str) -> ReadyGuard:
    """A guard from the feature file: `"size"`, `{ size = { max = 100 } }`, or the shorthand `{ terms = ["AcmeCo"] }`."""
    if isinstance(spec, dict) and len(spec) != 1:
        raise ConfigError("a guard is a name, or a table of one name and its options", where=where)
    name, given = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))
    kind = registry.part("guards", name, where=where)
    options = given if isinstance(given, dict) else {registry.first_option(kind): given}
    return _ready_guard(name, registry.made(kind, options, where=f"{where} ({name})"))


def _ready_guard(name: str, guard: Any) -> ReadyGuard:
    return ReadyGuard(name, guard, HOLDS[guard.hold] if isinstance(guard.hold, Hold) else int(guard.hold))


def _models_of(spec: AnyRung) -> list[tuple[str, tuple[str | int, ...]]]:
    """The models that a rung asks, each with the place in the rung that names it."""
    if isinstance(spec, ModelRung):
        return [(spec.model, ("model",))]
    if isinstance(spec, StepsRung):
        return [(step.model, ("steps", i, "model")) for i, step in enumerate(spec.steps)]
    return []


def _unique(name: str, made: list[ReadyRung]) -> str:
    taken = {rung.name for rung in made}
    candidates = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
    return next(c for c in candidates if c not in taken)


def digest_of(folder: Folder, project: Project) -> str:
    """The release's name: a hash of everything that decides what it answers, but for the sources' content.

    Spec, prompts, schemas and Python files, the models with their parameters (no keys), and Mainstay's own version.
    """
    names = sorted({name for spec in folder.feature.ladder for name, _ in _models_of(spec)})
    models = [_identity(project.settings[name]) for name in names if name in project.settings]
    content = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(folder.files.items())}
    whole = msgspec.json.encode([VERSION, folder.feature.name, content, models, sorted(project.asleep & set(names))])
    return hashlib.sha256(whole).hexdigest()


def _identity(model: Model) -> list[Any]:
    return [model.name, model.provider, model.model, model.url, model.max_output, sorted(model.query.items()), model.options]


def plain(model: ServingModel, rules: Plain, identity: Model) -> Ready:
    """A feature around one model that is called by its own name: guards, cache, limits and record apply, a ladder does not."""
    spec = ModelRung(model=model.name, prompt="", tries=rules.tries)
    feature = Feature(
        name=model.name,
        summary=f"The model {model.name}, as it is",
        deadline=rules.deadline,
        log=rules.log,
        input=Input(),
        ladder=(spec,),
        guards=rules.guards,
        cache=rules.cache,
    )
    where = "mainstay.toml plain.guards"
    digest = hashlib.sha256(msgspec.json.encode([VERSION, _identity(identity), rules], enc_hook=str)).hexdigest()
    rung = ReadyRung(
        name=model.name, spec=spec, tries=rules.tries, models=(model,), writer=rungs.PlainWriter(model, model.name), pace=Pace()
    )
    return Ready(
        digest=digest,
        feature=feature,
        rungs=(rung,),
        input_guards=tuple([make_guard(g, where=f"{where}.input[{i}]") for i, g in enumerate(rules.guards.input)]),
        output_guards=tuple([make_guard(g, where=f"{where}.output[{i}]") for i, g in enumerate(rules.guards.output)]),
        sources={},
        read_input=dict,
        keeps=rules.cache.keep or 0.0,
        laddered=False,
    )
