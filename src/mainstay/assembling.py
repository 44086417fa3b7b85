"""Makes a release ready: binds what a feature's folder says to the parts that the project has.

Everything that can be wrong is found here, at load: an unknown model, a prompt's missing variable, a rule's bad pattern, a
message that the feature's own guards would stop.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from mainstay import code, policy, registry, slotting
from mainstay.checking import Lent, make_guard, make_scorer, ready_guard
from mainstay.core.call import Call
from mainstay.core.classifier import ClassifierFile, Label, Target
from mainstay.core.confidence import UNCALIBRATED, Calibration
from mainstay.core.draft import ALLOW, Draft, Verdict
from mainstay.core.errors import BadRequest, ConfigError, nearest
from mainstay.core.feature import (
    RESERVED,
    AnyRung,
    CallRung,
    ClassifierRung,
    GuardSpec,
    MessageRung,
    ModelRung,
    PromptStep,
    RuleFile,
    RulesRung,
    SearchRung,
    StaleRung,
    StepsRung,
)
from mainstay.core.model import OutputSchema
from mainstay.core.near import measurement_of, unfit
from mainstay.core.near import read as read_near
from mainstay.core.project import Model
from mainstay.core.seams import Aligner, Nearness, Source
from mainstay.freezing import digest_of, guards_named
from mainstay.ladders import asked_by, choices_of, names_of
from mainstay.learn.ahead import listed
from mainstay.serve import classifying, confidence, inputs, router, rungs
from mainstay.serve.classifying import Shape
from mainstay.serve.guarding import replaced
from mainstay.serve.limiting import has_money_cap
from mainstay.serve.pace import Pace
from mainstay.serve.prompts import Prompt, Template
from mainstay.serve.ready import Near, Ready, ReadyGuard, ReadyRung, ServingModel
from mainstay.serve.rules import ODD, Rules, is_json
from mainstay.spec.documents import Document, decoded
from mainstay.spec.feature_file import NEAR_FILE, Folder
from mainstay.spec.places import Place

EXAMPLES = {
    "text": "text",
    "number": 1.5,
    "integer": 1,
    "boolean": True,
    "texts": ["text"],
    "image": "https://example.com/image.png",
}  # what templates are tried on at load
NO_PRICE = "what {} costs is not known, and it is limited here: money that cannot be counted cannot be limited"
ADD_PRICE = '[models.{}.price] in mainstay.toml, with input = "… USD" and output = "… USD" per million tokens'
MANY_LABELS = 1_000  # combinations of labels that are tried at load


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """What a release can be bound to. `asleep` are models that are declared but whose key is not set; `lent` are the classifiers
    and databases that guards may name, by the option that names them. `aligner` compares drafts with evidence; `http` is the
    client that all parts share; `nearness` compares questions; `capped` says that money is limited for all that call a model.
    """

    root: Path
    models: Mapping[str, ServingModel]
    settings: Mapping[str, Model]
    sources: Mapping[str, Source]
    asleep: frozenset[str]
    lent: Lent = {}
    aligner: Aligner | None = None
    http: Any = None
    capped: bool = False
    nearness: Nearness | None = None


def ready(folder: Folder, project: Project) -> Ready:
    """The folder as a release that can answer. Raises `ConfigError`."""
    return _Assembly(folder, project).ready()


def shape(folder: Folder, *, field: str | None) -> Shape:
    """What of the folder decides how its cases are labelled: its input, of which `field` may be all that is read, and its answer.

    No project is needed for it. Raises `ConfigError`.
    """
    return _Assembly(folder, Project(root=Path(), models={}, settings={}, sources={}, asleep=frozenset())).shape(field)


class _Assembly:
    """One folder on its way to being ready."""

    def __init__(self, folder: Folder, project: Project) -> None:
        self._folder, self._project, self._feature = folder, project, folder.feature
        self._document = folder.document
        self._digest = digest_of(folder, project.settings, asleep=project.asleep, root=project.root)
        self._input_schema = self._schema(self._feature.input.schema)
        self._inputs = self._input_names()
        self._output = self._output_schema()
        self._asked_by: dict[str, frozenset[str]] = {}  # the variables of each prompt's file

    def shape(self, field: str | None) -> Shape:
        schema = None if self._output is None else self._output.schema
        where = f"{self._folder.shown}, the classifier's `field`"
        return Shape(texts=self._read_by(field, where), read_input=self._reader(), schema=schema)

    def ready(self) -> Ready:
        feature = self._feature
        sources, rungs = self._sources(), self._rungs()
        facts = slotting.made(
            feature,
            self._document,
            inputs=self._inputs,
            databases=self._project.lent.get("database", {}),
            http=self._project.http,
        )
        always = [] if self._output is None else [self._always("schema", self._answer_options(), "answer")]
        if facts is not None and "slots" not in guards_named(feature):
            always.append(self._always("slots", {}, "grounding", "slots"))
        input_guards = tuple([self._guard(g, ("guards", "input", i)) for i, g in enumerate(feature.guards.input)])
        output_guards = (*always, *self._output_guards())
        near, near_off = self._near()
        built = Ready(
            digest=self._digest,
            feature=feature,
            rungs=tuple(rungs),
            asleep=len(rungs) < len(feature.ladder),
            input_guards=input_guards,
            output_guards=output_guards,
            passage_guards=tuple([g for g in (*input_guards, *output_guards) if getattr(g.guard, "passages", False)]),
            curated=self._curated(),
            calibration=self._calibration(),
            router=self._router(),
            near=near,
            near_off=near_off,
            ahead=self._ahead(),
            sources=sources,
            slots=facts,
            read_input=self._reader(),
            keeps=max([feature.cache.keep or 0.0, *[spec.stale for spec in feature.ladder if isinstance(spec, StaleRung)]]),
        )
        self._check_message(built)
        for key, specs in (("scorers", feature.gate.scorers), ("online", feature.gate.online)):
            for i, spec in enumerate(specs):
                make_scorer(spec, self._document, ("gate", key, i))
        return built

    def _where(self, *place: str | int) -> str:
        return self._document.where(place)

    def _file(self, name: str) -> str:
        return f"{self._folder.shown}/{name}"

    def _text(self, file: str) -> str:
        return decoded(self._folder.files[file], self._file(file))

    # What comes in and what goes out

    def _schema(self, file: str | None) -> Any:
        """The JSON Schema in a file, checked; None where the feature names none."""
        if file is None:
            return None
        where = self._file(file)
        try:
            schema = json.loads(self._text(file))
        except json.JSONDecodeError as error:
            raise ConfigError(f"not JSON: {error.msg}, at column {error.colno}", where=f"{where}:{error.lineno}") from None
        except RecursionError:
            raise ConfigError("not JSON that can be read: it is nested too deeply", where=where) from None
        inputs.compiled(schema, where)
        if not isinstance(schema, dict):
            raise ConfigError('expected a JSON Schema that is an object, such as {"type": "object"}', where=where)
        return schema

    def _input_names(self) -> tuple[str, ...]:
        if self._input_schema is None:
            return tuple(self._feature.input.fields)
        where = self._file(self._feature.input.schema or "")
        if self._input_schema.get("type", "object") != "object":
            raise ConfigError('an input is an object of named fields, so the schema\'s type has to be "object"', where=where)
        names = tuple(self._input_schema.get("properties", {}))
        for name in names:
            if name in RESERVED:
                raise ConfigError(f"`{name}` is what Mainstay gives to templates; choose another name", where=where)
        return names

    def _reader(self) -> inputs.ReadInput:
        declared = self._feature.input
        return inputs.reader(declared, self._input_schema, where=self._file(declared.schema or ""))

    def _images(self) -> tuple[str, ...]:
        return tuple(self._feature.images)

    def _output_schema(self) -> OutputSchema | None:
        shape = self._feature.answer
        if shape.schema is not None:
            return OutputSchema(self._feature.name, self._schema(shape.schema))
        if shape.python is not None:
            where, model = self._where("answer", "python"), self._pydantic_model()
            return OutputSchema(self._feature.name, registry.built(model.model_json_schema, where))
        return None

    def _pydantic_model(self) -> Any:
        where = self._where("answer", "python")
        path = self._feature.answer.python or ""
        model = code.load(path, self._folder.files, digest=self._digest, where=where)
        if not isinstance(model, type) or not hasattr(model, "model_json_schema"):
            raise ConfigError(f"`{path}` is not a pydantic model", where=where)
        return model

    def _sources(self) -> dict[str, Source]:
        named: dict[str, Place] = {name: ("grounding", "sources", i) for i, name in enumerate(self._feature.grounding.sources)}
        for i, rung in enumerate(self._feature.ladder):
            if isinstance(rung, SearchRung):
                named.setdefault(rung.search, ("ladder", i, "search"))
        for name, place in named.items():
            if name not in self._project.sources:
                raise self._no_such("source", name, self._project.sources, place)
        return {name: self._project.sources[name] for name in named}

    # The ladder

    def _rungs(self) -> list[ReadyRung]:
        made: list[ReadyRung] = []
        names = names_of(self._feature.ladder)
        for i, spec in enumerate(self._feature.ladder):
            asked = asked_by(spec)
            for model, place in asked:
                self._check_model(model, ("ladder", i, *place))
            writer = self._writer(spec, i, names[i])
            self._check_facts(spec, i)
            if writer is None:
                continue
            models = tuple([self._project.models[n] for n, _ in asked if n in self._project.models])
            tries = getattr(spec, "tries", 1)
            made.append(ReadyRung(name=names[i], spec=spec, tries=tries, models=models, writer=writer, pace=Pace()))
        return made

    def _check_facts(self, spec: AnyRung, i: int) -> None:
        """A model that is not told the facts can only invent them."""
        prompts = [step.prompt for step in spec.steps] if isinstance(spec, StepsRung) else []
        prompts += [spec.prompt] if isinstance(spec, ModelRung) else []
        if prompts and self._feature.grounding.slots and not any("slots" in self._asked_by[file] for file in prompts):
            what = f"the feature has slots, and {prompts[-1]} does not tell the model their values"
            raise self._document.error(("ladder", i), what, next="write {{ slots }} into the prompt")

    def _check_model(self, name: str, place: Place) -> None:
        if name not in self._project.models and name not in self._project.asleep:
            raise self._no_such("model", name, [*self._project.models, *self._project.asleep], place)
        model = self._project.models.get(name)
        if model is not None and model.price is None and (self._project.capped or has_money_cap(self._feature.limits)):
            raise self._document.error(place, NO_PRICE.format(name), next=ADD_PRICE.format(name))

    def _no_such(self, kind: str, name: str, known: Iterable[str], place: Place) -> ConfigError:
        hint = nearest(name, known)
        next = "" if hint.startswith("did") else f"add [{kind}s.{name}] to mainstay.toml"
        return self._document.error(place, f'there is no {kind} "{name}"; {hint}', next=next)

    def _writer(self, spec: AnyRung, i: int, name: str) -> Any:
        """What writes a rung's drafts; None where its model is asleep. Its files are checked either way."""
        if isinstance(spec, ModelRung):
            prompted = self._prompted(spec.model, spec.prompt, spec, ())
            second = self._prompted(spec.hedge_with, spec.prompt, spec, ()) if spec.hedge_with else prompted
            return prompted and rungs.ModelWriter(prompted, spec, name, second if spec.hedge is not None else None)
        if isinstance(spec, StepsRung):
            return self._steps(spec, name)
        if isinstance(spec, RulesRung):
            return rungs.RulesWriter(self._rules(spec), name)
        if isinstance(spec, ClassifierRung):
            return self._classifier(spec, i, name)
        if isinstance(spec, CallRung):
            return rungs.CallWriter(self._function(spec, i), name)
        if isinstance(spec, SearchRung):
            return rungs.SearchWriter(spec.search, spec.quotes)
        if isinstance(spec, StaleRung):
            return rungs.StaleWriter(spec)
        return rungs.MessageWriter(spec.message)

    def _prompted(self, model: str, file: str, limits: ModelRung | PromptStep, before: tuple[str, ...]) -> rungs.Prompted | None:
        where = self._file(file)
        given = {
            "passages": (bool(self._sources()), "name sources in [grounding]"),
            "slots": (bool(self._feature.grounding.slots), "declare [grounding.slots.NAME]"),
            "history": (self._feature.history > 0, "declare history = 6"),
            "steps": (bool(before), "only the later prompts of a `steps` rung read what earlier ones wrote"),
        }
        prompt = Prompt(self._text(file), where=where, variables=[*self._inputs, *given])
        self._asked_by[file] = prompt.used
        for name, (there, next) in given.items():
            if name in prompt.used and not there:
                raise ConfigError(f"nothing gives the variable `{name}` here", where=where, next=next)
        if self._input_schema is None or not prompt.used & set(self._inputs):
            for values in self._examples():
                prompt.try_on({**values, "steps": dict.fromkeys(before, "text")})
        if model in self._project.asleep:
            return None
        return rungs.Prompted(prompt, self._project.models[model], limits, images=self._images(), output=self._output)

    def _examples(self) -> list[dict[str, Any]]:
        """Made-up values of everything that a template may ask for: all that there can be, and as little as there can be."""
        fields = self._feature.input.fields
        full = {name: EXAMPLES[kind.rstrip("?")] for name, kind in fields.items()}
        bare = {name: inputs.nothing(kind) if kind.endswith("?") else full[name] for name, kind in fields.items()}
        passage = {"number": 1, **dict.fromkeys(("text", "heading", "source", "document", "link"), "text")}
        turns = [{"role": "user", "text": "text"}, {"role": "assistant", "text": "text"}]
        least = [passage] if self._feature.grounding.required else []
        both = {"slots": "text", **full}, {"slots": "text", **bare}
        return [{**both[0], "passages": [passage], "history": turns}, {**both[1], "passages": least, "history": []}]

    def _steps(self, spec: StepsRung, name: str) -> Any:
        names = [step.name for step in spec.steps]
        prompted = [(s.name, self._prompted(s.model, s.prompt, s, tuple(names[:i]))) for i, s in enumerate(spec.steps)]
        awake = tuple([(step, p) for step, p in prompted if p is not None])
        return rungs.StepsWriter(awake, spec, name) if len(awake) == len(prompted) else None

    def _texts(self) -> tuple[str, ...]:
        """The input fields that hold texts."""
        images, fields = self._images(), self._feature.input.fields
        return tuple([n for n in self._inputs if n not in images and fields.get(n, "text").startswith("text")])

    def _read_by(self, field: str | None, where: str) -> tuple[str, ...]:
        """The input fields that a classifier reads: the one that it names, else all texts."""
        texts = self._texts()
        if field is not None and field not in texts:
            raise ConfigError(f'there is no text field "{field}" in the input; {nearest(field, texts)}', where=where)
        return texts if field is None else (field,)

    def _odd(self) -> dict[str, Any]:
        """Made-up values of the declared fields, the texts odd."""
        full, _ = self._examples()
        return full | {name: ODD for name, kind in self._feature.input.fields.items() if kind.rstrip("?") == "text"}

    def _rules(self, spec: RulesRung) -> Rules:
        document = Document(self._folder.files[spec.rules], self._file(spec.rules))
        texts = self._texts()
        rules = Rules(
            document.read(document.data, RuleFile),
            texts=texts,
            others=[n for n in self._inputs if n not in texts],
            place=lambda *place: document.where(place),
        )
        if self._input_schema is None:
            rules.try_on(self._odd(), as_json=self._output is not None)
        return rules

    def _classifier(self, spec: ClassifierRung, i: int, name: str) -> rungs.ClassifierWriter:
        again = f"mainstay learn classify {self._feature.name}"
        file, classifier = classifying.read(self._folder.files[spec.classifier], where=self._file(spec.classifier), next=again)
        where = self._where("ladder", i, "field" if spec.field else "classifier")
        names = self._read_by(spec.field, where)
        if file.field != spec.field:
            read = f"the field `{file.field}`" if file.field else "all texts together"
            raise ConfigError(
                f"{spec.classifier} was fitted on {read}; the rung has to look at the same", where=where, next=again
            )
        if "labels" in self._inputs:
            raise ConfigError("an input called `labels` is hidden by the classifier's; give it another name", where=where)
        if spec.answer is None and self._output is None and len(file.targets) > 1:
            what = "the answer is text and the classifier has several labels, so the rung needs an `answer`, a template"
            raise ConfigError(what, where=where, next='answer = "{{ labels.' + file.targets[0].name + ' }}"')
        template = spec.answer and Template(
            spec.answer, where=self._where("ladder", i, "answer"), variables=[*self._inputs, "labels"]
        )
        writer = rungs.ClassifierWriter(
            classifier,
            template or None,
            sure=spec.sure,
            names=names,
            structured=self._output is not None,
            name=name,
        )
        if not template or self._input_schema is None or not template.used & set(self._inputs):
            self._try_labels(writer, file, template or None, self._where("ladder", i, "answer" if template else "classifier"))
        return writer

    def _try_labels(self, writer: rungs.ClassifierWriter, file: ClassifierFile, template: Template | None, where: str) -> None:
        """Write the answer with all the labels there are: none of them may be one that the answer's schema does not allow."""
        guard = None if self._output is None else self._always("schema", self._answer_options(), "answer")
        values = self._odd() if self._input_schema is None else {}
        for labels in _combined(file.targets):
            text = template.try_on({**values, "labels": labels}) if template else writer.written(labels, values)
            shown = msgspec.json.encode(labels).decode()
            if not text.strip():
                raise ConfigError(f"the answer is empty for the labels {shown}", where=where)
            if guard is None:
                continue
            if not is_json(text):
                raise ConfigError(
                    "the answer has a schema, so what the rung says has to be JSON, whatever stands in the input",
                    where=where,
                    next='write texts as JSON: "note": {{ question | tojson }}',
                )
            verdict = _at_once(guard, Draft(call=Call(id="load", feature=self._feature.name), text=text, author="team"))
            if verdict.action in ("refuse", "retry"):
                raise ConfigError(
                    f"the labels {shown} make an answer that the schema does not allow: {verdict.remark or verdict.detail}",
                    where=where,
                    next='give the rung an `answer`, a template, or run "mainstay learn classify ' + self._feature.name + '"',
                )

    def _function(self, spec: CallRung, i: int) -> Any:
        where = self._where("ladder", i, "call")
        function = code.load(spec.call, self._folder.files, digest=self._digest, where=where)
        if not callable(function):
            raise ConfigError(f'"{spec.call}" is not a function', where=where)
        try:
            inspect.signature(function).bind(**dict.fromkeys(self._inputs))
        except TypeError as error:
            given = ", ".join(self._inputs)
            raise ConfigError(f'"{spec.call}" cannot be called with the input ({given}): {error}', where=where) from None
        except ValueError:  # a builtin, whose signature cannot be seen
            pass
        return function

    # The guards

    def _answer_options(self) -> dict[str, Any]:
        if self._feature.answer.python is not None:
            return {"model": self._pydantic_model()}
        return {"schema": self._output.schema} if self._output else {}

    def _always(self, name: str, options: dict[str, Any], *place: str) -> ReadyGuard:
        """A guard that is in force without being named, because of what stands at that place."""
        kind = registry.part("guards", name, where=self._where(*place))
        return ready_guard(name, registry.made(kind, options, self._document, place), self._where(*place))

    def _guard(self, spec: GuardSpec, place: Place) -> ReadyGuard:
        return make_guard(spec, self._document, place, {**self._project.lent, "file": self._folder.files})

    def _output_guards(self) -> list[ReadyGuard]:
        """The guards on what goes out, in the order of the refusal policy."""
        for place, what in policy.too_little(self._feature):
            raise self._document.error(place, what)
        return [self._guard(spec, place) for spec, place in policy.output_guards(self._feature)]

    def _curated(self) -> ReadyGuard | None:
        """The last layer; None where nothing can compare a draft with content."""
        if self._project.aligner is None:
            return None
        where = self._where("stakes")
        kind = registry.part("guards", policy.CURATED, where=where)
        return ready_guard(policy.CURATED, kind(aligner=self._project.aligner, at_least=policy.AT_LEAST), where)

    def _calibration(self) -> Calibration:
        """What makes the confidence of an answer. Raises `ConfigError` for a floor that nothing could ever be below."""
        feature, again = self._feature, f"mainstay learn confidence {self._feature.name}"
        measures = feature.grounding.sources or any(isinstance(spec, ClassifierRung | SearchRung) for spec in feature.ladder)
        if feature.confidence.floor and not measures:
            what = "nothing measures the confidence of answers here: there are no sources and no classifier"
            raise self._document.error(("confidence", "floor"), what)
        if feature.confidence.file is None:
            return UNCALIBRATED
        return confidence.read(self._folder.files[feature.confidence.file], where=self._file(feature.confidence.file), next=again)

    def _router(self) -> router.Router | None:
        """What says where a call starts; None where the feature names no file. Raises `ConfigError` for one of another ladder."""
        wanted = self._feature.router
        if wanted.file is None:
            return None
        name = self._feature.name
        again = f"take `file` out of [router], then mainstay eval {name} --rungs and mainstay learn router {name}"
        return router.read(
            self._folder.files[wanted.file],
            where=self._file(wanted.file),
            next=again,
            feature=name,
            choices=choices_of(self._folder, self._project.settings),
            names=self._texts(),
            give_up=wanted.give_up,
            check=wanted.check,
        )

    def _ahead(self) -> str:
        """The list of questions that are answered ahead, checked; empty where there is none."""
        file = self._feature.cache.ahead
        if not isinstance(file, str):
            return ""
        try:
            listed(self._text(file), self._feature, where=self._file(file))
        except BadRequest as error:
            raise ConfigError(error.what, where=error.where) from None
        return self._text(file)

    def _near(self) -> tuple[Near | None, str]:
        """Near hits where they are on, and why they are not where they are asked for."""
        rules, name, verifier = self._feature.cache, self._feature.name, self._project.nearness
        if rules.near != "auto" or verifier is None:
            return None, ""
        embedder = None
        if rules.embedder is not None:
            if rules.embedder not in self._project.lent.get("embedder", {}):
                raise self._no_such("embedder", rules.embedder, self._project.lent.get("embedder", {}), ("cache", "embedder"))
            embedder = self._project.lent["embedder"][rules.embedder]
        data = self._folder.files.get(NEAR_FILE)
        if data is None:
            return None, f"near hits are off: nothing was measured yet; next: mainstay learn near {name}"
        file = read_near(data, where=self._file(NEAR_FILE), next=f"mainstay learn near {name}")
        space = "" if embedder is None else embedder.name
        why = unfit(file, verifier=verifier.name, embedder=space, target=rules.wrong_hits)
        if why:
            return None, f"near hits are off: {why}"
        return Near(measurement=measurement_of(data), threshold=file.threshold, checked=rules.checked, embedder=embedder), ""

    def _check_message(self, built: Ready) -> None:
        """The last rung cannot fail: so its message has to pass the feature's own guards, now."""
        last = built.rungs[-1]
        assert isinstance(last.spec, MessageRung)  # noqa: S101
        message = last.spec.message
        text = message if isinstance(message, str) else msgspec.json.encode(message).decode()
        draft = Draft(call=Call(id="load", feature=self._feature.name), text=text, author="message")
        place = ("ladder", len(self._feature.ladder) - 1, "message")
        for guard in built.output_guards:
            verdict = registry.built(functools.partial(_at_once, guard, draft), self._where(*place))
            if verdict.action in ("refuse", "retry"):
                raise self._document.error(
                    place, f"the last rung's message does not pass the guard `{guard.name}`: {verdict.detail}"
                )
            draft = replaced(draft, verdict)


def _combined(targets: Iterable[Target]) -> Iterator[dict[str, Label]]:
    """All combinations of labels; where there are very many, each label at least once."""
    names, choices = [t.name for t in targets], [t.labels for t in targets]
    if math.prod(map(len, choices)) <= MANY_LABELS:
        for labels in itertools.product(*choices):
            yield dict(zip(names, labels, strict=True))
    else:
        for n in range(max(map(len, choices))):
            yield {name: labels[n % len(labels)] for name, labels in zip(names, choices, strict=True)}


def _at_once(guard: ReadyGuard, draft: Draft) -> Verdict:
    """What a guard says without waiting for anything; one that has to wait is not asked at load."""
    checking = guard.check(draft)
    try:
        checking.send(None)
    except StopIteration as done:
        return cast(Verdict, done.value)
    checking.close()
    return ALLOW
