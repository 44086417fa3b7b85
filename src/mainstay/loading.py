"""Reads a project's folder, and its frozen releases, into what can be served."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from mainstay import assembling, code, freezing, prices, registry
from mainstay.core.errors import ConfigError, MainstayError, NotReleased, Refused, nearest
from mainstay.core.feature import Feature
from mainstay.core.later import later
from mainstay.core.project import Model, PaidService, Service, Settings
from mainstay.core.release import Release, State, TrialBegan, WentLive
from mainstay.core.report import Outcome
from mainstay.core.seams import Aligner, Nearness, Releases, Source
from mainstay.learn.trials import OnTrial
from mainstay.parts.http import Http
from mainstay.plain_models import governed
from mainstay.serve.breaker import Breaker
from mainstay.serve.lanes import Lanes
from mainstay.serve.limiting import has_money_cap
from mainstay.serve.metering import Metered
from mainstay.serve.ready import Ready, ServingModel
from mainstay.serve.tempo import Tempo
from mainstay.serve.warmth import Warmth
from mainstay.spec.documents import Document
from mainstay.spec.feature_file import Folder, folders_of, frozen_folder, read_folder
from mainstay.spec.settings_file import asleep, document_of, secret_of

if TYPE_CHECKING:
    from mainstay.sourcing import Sources

# What few projects need and what takes a while to import and read: it compares drafts with evidence, and questions.
ALIGNER: Aligner = later(lambda: import_module("mainstay.parts.alignment").shared())
NEARNESS: Nearness = later(lambda: import_module("mainstay.parts.nearness").shared())
ADD_SERVICE_PRICE = 'price = "… USD" in [{}.{}], per million tokens'
METERED = {"embedders": "embedder", "rerankers": "reranker", "classifiers": "classifier"}  # what may be charged for its use
log = logging.getLogger("mainstay.cache")
LEAST_SECRET = 6  # characters of a key; a shorter one is a stand-in for none, and would be found inside of words
GOOD_FOR: dict[str, tuple[Outcome | None, ...]] = {
    "live": ("passed",),
    "canary": ("passed", "inconclusive"),
}  # a promoted one too


class Features(Struct, frozen=True, kw_only=True):
    """Everything that a reload, or a change of what is served, replaces: in one reference.

    `ready` is what answers each feature; `missing` says of the others why nothing does. `state` is what the chain of changes
    amounts to.
    """

    ready: Mapping[str, Ready]
    plain: Mapping[str, Ready]
    project: assembling.Project
    canaries: Mapping[str, OnTrial] = {}
    shadows: Mapping[str, OnTrial] = {}
    missing: Mapping[str, NotReleased | Refused] = {}
    state: State = State()


class Health(Struct, frozen=True, kw_only=True):
    """What is known of a model from asking it, and who asks it now."""

    breaker: Breaker = field(default_factory=Breaker)
    lanes: Lanes = field(default_factory=Lanes)
    tempo: Tempo = field(default_factory=Tempo)
    warmth: Warmth = field(default_factory=Warmth)


class Loader:
    """Loads one project. `secrets` are the keys that it has seen, which no record may hold.

    `indexes` is the folder in which its sources are kept; in memory, where there is none.
    """

    def __init__(self, root: Path, environ: Mapping[str, str], http: Http, indexes: Path | None = None) -> None:
        self.root, self._environ, self._http = root, environ, http
        self._indexes = indexes
        self._health: dict[str, Health] = {}
        self.weights: Mapping[str, float] = {}
        self.secrets: tuple[str, ...] = ()
        self._said: dict[str, str] = {}

    @functools.cached_property
    def sources(self) -> Sources:
        """The sources of the project. What reads, cuts and indexes documents is imported with the first one."""
        made: Sources = import_module("mainstay.sourcing").Sources(self.root, self._indexes, self._http)
        return made

    def folder(self, settings: Settings) -> Features:
        """What the folder says now: for development, and for what is to become a release."""
        features = self._project(settings)
        ready = {f.feature.name: assembling.ready(f, features.project) for f in self.folders(settings)}
        return self._named_once(msgspec.structs.replace(features, ready=ready))

    def released(self, settings: Settings, state: State, store: Releases) -> Features:
        """What was released, with models and sources as `mainstay.toml` has them now."""
        return self.followed(self._project(settings), settings, state, store)

    def followed(self, last: Features, settings: Settings, state: State, store: Releases) -> Features:
        """What was released, with the models and sources of `last`.

        A release that cannot be served leaves in place what `last` served, and why in `missing`.
        """
        serving = _Serving(self, last, store)
        for name in sorted({*state.standings, *folders_of(self.root / settings.features)}):
            serving.add(name, state)
        return self._named_once(
            msgspec.structs.replace(
                last,
                ready=serving.ready,
                canaries=serving.canaries,
                shadows=serving.shadows,
                missing=serving.missing,
                state=state,
            )
        )

    def folders(self, settings: Settings) -> list[Folder]:
        """Every feature's folder. Raises `ConfigError`."""
        folder = self.root / settings.features
        if not folder.is_dir():
            raise ConfigError("the folder of features is missing", where=str(folder), next="mainstay init")
        return [read_folder(path, shown=f"{settings.features}/{name}") for name, path in folders_of(folder).items()]

    def frozen(self, release: Release, project: assembling.Project) -> Ready:
        """A release as it was frozen, with today's keys and sources. Raises `Refused` where it is not the same any more."""
        ready = self.nearly_frozen(release, project)
        if ready.digest != release.digest:
            what = f"it is not what was evaluated: {self.difference(release)}"
            raise Refused(what, where=_place(release), next=f"mainstay release {release.feature}")
        return ready

    def nearly_frozen(self, release: Release, project: assembling.Project) -> Ready:
        """A release with the files that were frozen, on whatever Mainstay and imported Python there are now.

        What it was evaluated without stays asleep. A model whose key is missing here is asked all the same, and fails: then the
        ladder goes on as in any outage.
        """
        models = {name: _with_current(model, project.settings.get(name)) for name, model in release.models.items()}
        folder = frozen_folder(release.feature, release.files, shown=_place(release))
        return self.bind(folder, models, project, without=frozenset(release.asleep))

    def difference(self, release: Release) -> str:
        """Why a frozen release has another digest now."""
        if release.version != freezing.VERSION:
            return f"it was evaluated with Mainstay {release.version}, and this is {freezing.VERSION}"
        changed = [path for path, digest in release.imports.items() if code.digest_of(self.root / path) != digest]
        if changed:
            return f"{', '.join(changed)} changed, which it imports"
        return "a package that its guards come from is another"

    def keyless(self, features: Features) -> list[str]:
        """The models that released features ask and whose key is not set here."""
        asked = {model.name for ready in features.ready.values() for rung in ready.rungs for model in rung.models}
        settings = features.project.settings
        return sorted(name for name in asked if name in settings and asleep(settings[name], self._environ))

    def bind(
        self,
        folder: Folder,
        models: Mapping[str, Model],
        like: assembling.Project,
        *,
        without: frozenset[str] = frozenset(),
        apart: bool = False,
    ) -> Ready:
        """A folder with these models, `without` some of them that are asleep; all else is as in the project `like`.

        `apart` gives the models a health of their own.
        """
        document = document_of(self.root)
        awake = {name: model for name, model in models.items() if name not in without}
        serving = {name: self._serving(name, m, document, Health() if apart else self._health_of(m)) for name, m in awake.items()}
        project = msgspec.structs.replace(like, models=serving, settings=models, asleep=without)
        return assembling.ready(folder, project)

    def folder_of(self, settings: Settings, feature: Feature) -> Folder:
        """The folder of a feature as it is on disk now, said to hold this feature."""
        shown = f"{settings.features}/{feature.name}"
        return msgspec.structs.replace(read_folder(self.root / shown, shown=shown), feature=feature)

    def observers(self, settings: Settings) -> tuple[Any, ...]:
        """What watches sealed records."""
        document = document_of(self.root)
        made = []
        for i, name in enumerate(settings.observers):
            place = ("observers", i)
            made.append(registry.made(registry.part("observers", name, where=document.where(place)), {}, document, place))
        return tuple(made)

    # What all features share

    def _project(self, settings: Settings) -> Features:
        registry.importable(self.root)
        document = document_of(self.root)
        self.weights = {name: tenant.weight for name, tenant in settings.tenants.items()}
        models, sleeping = self._models(settings, document)
        secrets = [secret_of(model, self._environ) for model in settings.models.values()]
        self.secrets = tuple({*self.secrets, *[secret for secret in secrets if len(secret) >= LEAST_SECRET]})
        project = assembling.Project(
            root=self.root,
            models=models,
            settings=settings.models,
            sources=self._sources(settings, document),
            asleep=frozenset(sleeping),
            lent={
                "classifier": self._services(settings, settings.classifiers, "classifiers", document),
                "database": self._services(settings, settings.databases, "databases", document),
                "embedder": _Made(settings.embedders, lambda some: self._services(settings, some, "embedders", document)),
            },
            http=self._http,
            aligner=ALIGNER,
            nearness=NEARNESS,
            capped=has_money_cap(settings.limits, *settings.tenants.values()),
        )
        self._check_prices(models, settings, document)
        plain = {name: governed(m, settings.plain, settings.models[name], document, project.lent) for name, m in models.items()}
        return Features(ready={}, plain=plain, project=project)

    def _check_prices(self, models: Mapping[str, ServingModel], settings: Settings, document: Document) -> None:
        if has_money_cap(settings.limits, settings.plain.limits, *settings.tenants.values()):
            for name, model in models.items():
                if model.price is None:
                    what, next = assembling.NO_PRICE.format(name), assembling.ADD_PRICE.format(name)
                    raise document.error(("models", name), what, next=next)

    def _named_once(self, features: Features) -> Features:
        for name, ready in features.ready.items():
            if ready.near_off and self._said.get(name) != ready.near_off:
                log.warning("%s: %s", name, ready.near_off)
                self._said[name] = ready.near_off
        for name in features.project.settings:
            if name in features.ready:
                what = f'"{name}" is the name of a feature and of a model'
                raise document_of(self.root).error(("models", name), what, next="rename one of them")
        return features

    def _models(self, settings: Settings, document: Document) -> tuple[dict[str, ServingModel], list[str]]:
        models, sleeping = {}, []
        for name, model in settings.models.items():
            kind = None
            if model.provider != "environment":
                kind = registry.part("providers", model.provider, where=document.where(("models", name, "provider")))
            if kind is None or asleep(model, self._environ):
                sleeping.append(name)
                continue
            models[name] = self._serving(name, model, document, self._health_of(model))
        return models, sleeping

    def _health_of(self, model: Model) -> Health:
        """A model keeps its health over a reload, as long as it is the same model at the same place; its limits are today's."""
        health = self._health.get(key := f"{model.name}|{model.provider}|{model.url}|{model.model}")
        if health is None:
            health = self._health[key] = Health(lanes=Lanes(weights=lambda: self.weights))
        health.lanes.resize(model.at_once)
        health.tempo.slow, health.warmth.cold_after = model.slow, model.cold_after
        return health

    def _serving(self, name: str, model: Model, document: Document, health: Health) -> ServingModel:
        place = ("models", name)
        kind = registry.part("providers", model.provider, where=document.where((*place, "provider")))
        if declared := registry.declared_options(kind):
            document.read(model.options, declared, (*place, "options"))
        key = secret_of(model, self._environ)
        provider = registry.built(lambda: kind(model, key=key, http=self._http), document.where((*place, "options")))
        price = model.price or prices.price_of(model)
        return ServingModel(
            name=name,
            provider=provider,
            model=model.model,
            max_output=model.max_output,
            price=price,
            image_tokens=model.image_tokens or prices.image_tokens(model),
            **msgspec.structs.asdict(health),
        )

    def _services(self, settings: Settings, declared: Mapping[str, Service], seam: str, document: Document) -> dict[str, Any]:
        """Embedders, rerankers, classifiers or databases, made. A key that is not set is an error when they are asked."""
        made = {}
        for name, service in declared.items():
            kind = registry.part(seam, service.kind, where=document.where((seam, name, "kind")))
            path = None if service.path is None else str((self.root / service.path).resolve())
            there = msgspec.structs.replace(service, name=name, path=path)
            key = "" if service.key is None else self._environ.get(service.key.removeprefix("env:"), "")
            make = functools.partial(kind, there, key=key, http=self._http)
            part = registry.built(make, document.where((seam, name)))
            if not isinstance(service, PaidService) or (service.key is None and service.price is None):
                made[name] = part
                continue
            if service.price is None and has_money_cap(settings.limits, *settings.tenants.values()):
                what, next = assembling.NO_PRICE.format(name), ADD_SERVICE_PRICE.format(seam, name)
                raise document.error((seam, name), what, next=next)
            made[name] = Metered(part, name=name, kind=METERED[seam], price=service.price)
        return made

    def knowledge(self, settings: Settings) -> Sources:
        """The sources alone, none of them read yet. Raises `ConfigError`."""
        registry.importable(self.root)
        document = document_of(self.root)
        self.sources.kept = self.sources.knowledge(settings, document, self._lent_to_sources(settings, document))
        return self.sources

    def embedder(self, settings: Settings, name: str) -> Any:
        """One embedder of mainstay.toml. Raises `ConfigError`."""
        document = document_of(self.root)
        if name not in settings.embedders:
            raise document.error((), f'there is no embedder "{name}"; {nearest(name, settings.embedders)}')
        return self._services(settings, {name: settings.embedders[name]}, "embedders", document)[name]

    def close(self) -> None:
        """Let go of the sources."""
        if "sources" in vars(self):
            self.sources.close()

    def _sources(self, settings: Settings, document: Document) -> dict[str, Source]:
        if not settings.sources and "sources" not in vars(self):
            return {}
        return self.sources.load(settings, document, self._lent_to_sources(settings, document))

    def _lent_to_sources(self, settings: Settings, document: Document) -> dict[str, dict[str, Any]]:
        """What sources name: those embedders, rerankers and databases, and no others, because some take a while to make."""
        found = {}
        for option, seam in (("database", "databases"), ("embedder", "embedders"), ("reranker", "rerankers")):
            declared: Mapping[str, Service] = getattr(settings, seam)
            named = {getattr(spec, option) for spec in settings.sources.values()}
            made = {name: service for name, service in declared.items() if name in named}
            found[option] = self._services(settings, made, seam, document)
        return found


class _Made(Mapping[str, Any]):
    """Services that are made when they are asked for, because some take a while."""

    def __init__(self, declared: Mapping[str, Service], make: Callable[[Mapping[str, Service]], dict[str, Any]]) -> None:
        self._declared, self._make = declared, functools.cache(lambda name: make({name: declared[name]})[name])

    def __getitem__(self, name: str) -> Any:
        return self._make(name)

    def __contains__(self, name: object) -> bool:
        return name in self._declared

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)


class _Serving:
    """The released features, one after the other."""

    def __init__(self, loader: Loader, last: Features, store: Releases) -> None:
        self._loader, self._last, self._store = loader, last, store
        self.ready: dict[str, Ready] = {}
        self.canaries: dict[str, OnTrial] = {}
        self.shadows: dict[str, OnTrial] = {}
        self.missing: dict[str, NotReleased | Refused] = {}

    def add(self, name: str, state: State) -> None:
        """The live release of a feature, and what is on trial. What did not change, and is served, is not weighed again."""
        standing, last = state.standing(name), self._last
        if standing == last.state.standing(name) and name in last.ready and name not in last.missing:
            self.ready[name] = last.ready[name]
            for mine, theirs in ((self.canaries, last.canaries), (self.shadows, last.shadows)):
                mine.update({name: theirs[name]} if name in theirs else {})
            return
        again = f"mainstay release {name}"
        if standing.live is None:
            self.missing[name] = NotReleased(f'no release of "{name}" is live', next=again)
            return
        try:
            self.ready[name] = self._load(name, standing.live)
        except MainstayError as error:
            self.missing[name] = Refused(error.what, where=error.where or name, next=error.next or again)
            if name not in last.ready:
                return
            served = last.ready[name]
            taken_back = served.digest not in [entry.digest for entry in standing.past]
            self.ready[name] = _without_models(served) if taken_back else served
        for trial, into in ((standing.canary, self.canaries), (standing.shadow, self.shadows)):
            if trial is not None:
                try:
                    into[name] = OnTrial(trial, self._load(name, trial))
                except MainstayError as error:
                    end = f"mainstay rollback {name}{' --shadow' if trial.kind == 'shadow' else ''}"
                    self.missing[name] = Refused(error.what, where=error.where or name, next=end)

    def _load(self, name: str, entry: WentLive | TrialBegan) -> Ready:
        """The release of that entry, if the evidence bears it."""
        refuse_unproven(name, entry, self._store)
        last = self._last
        trials = [on.ready for on in (last.canaries.get(name), last.shadows.get(name)) if on is not None]
        for known in (last.ready.get(name), *trials):
            if known is not None and known.digest == entry.digest:
                return known
        release = self._store.release(name, entry.digest)
        if release is None:
            raise Refused(f"there is no release {entry.digest[:12]}", where=name, next=f"mainstay release {name}")
        return self._loader.frozen(release, last.project)


def refuse_unproven(name: str, entry: WentLive | TrialBegan, store: Releases) -> None:
    """Raises `Refused` for a release that no report bears: not of this digest, not with an outcome that is good enough.

    A shadow, which nobody sees, needs none, and an override is its own reason, until it expires.
    """
    kind = entry.kind if isinstance(entry, TrialBegan) else "canary" if entry.canary else "live"
    if kind == "shadow" or (isinstance(entry, WentLive) and entry.override):
        return
    evidence = store.evidence(entry.report) if entry.report else None
    what = None
    if evidence is None:
        what = "there is no report of its evaluation"
    elif (evidence.release, evidence.feature) != (entry.digest, name):
        what = f"the report {evidence.report} is of another release"
    elif evidence.seal != entry.seal:
        what = f"the report {evidence.report} was changed since"
    elif evidence.outcome not in GOOD_FOR[kind]:
        what = f"the gate said: {evidence.outcome or 'nothing'}"
    if what is not None:
        raise Refused(f"release {entry.digest[:12]} is refused: {what}", where=name, next=f"mainstay release {name}")


def unpriced(models: Mapping[str, Model], settings: Settings) -> dict[str, str]:
    """Of these models those whose price nobody knows, by their names, each with what to type. What the environment offers is
    known only where something is asked.
    """
    current = {name: _with_current(model, settings.models.get(name)) for name, model in models.items()}
    known = [name for name, m in current.items() if m.provider == "environment" or (m.price or prices.price_of(m)) is not None]
    return {name: assembling.ADD_PRICE.format(name) for name in models if name not in known}


def unpriced_services(settings: Settings) -> dict[str, str]:
    """As `unpriced`, of what is neither model nor source and may be charged for."""
    return {
        name: ADD_SERVICE_PRICE.format(seam, name)
        for seam in METERED
        for name, service in getattr(settings, seam).items()
        if service.key is not None and service.price is None
    }


def _with_current(model: Model, current: Model | None) -> Model:
    """A frozen model with what is not frozen, because it changes no answer: as it is today."""
    if current is None:
        return model
    return msgspec.structs.replace(model, **{name: getattr(current, name) for name in freezing.NOT_FROZEN})


def _without_models(ready: Ready) -> Ready:
    """What is left of a release that was taken back, where the one that should answer instead cannot be served."""
    rungs = tuple([rung for rung in ready.rungs if not rung.spec.needs_model])
    return msgspec.structs.replace(ready, rungs=rungs, asleep=True, keeps=0.0)


def _place(release: Release) -> str:
    return f"release {release.digest[:12]} of {release.feature}"
