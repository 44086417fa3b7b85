"""What people do to features beside serving them: evaluate, release, drill, stress. `app.py` lends it the application's parts."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from mainstay import assembling, checking, freezing, ladders, provenance
from mainstay.core.answer import Answer, Citation, Event, fold
from mainstay.core.call import Call
from mainstay.core.errors import BadRequest, NotFound, nearest
from mainstay.core.evidence import Curated, Passage, Viewer
from mainstay.core.feature import Feature, ScorerSpec
from mainstay.core.project import Model, Settings
from mainstay.core.record import Record, Score
from mainstay.core.release import Attestation, Release
from mainstay.core.report import Opinion
from mainstay.core.seams import Releases
from mainstay.learn import ahead as answering
from mainstay.learn import drill as drilling
from mainstay.learn import rechecking
from mainstay.learn import stress as stressing
from mainstay.learn.ahead import Made
from mainstay.learn.evaluation import TENANT, Stage
from mainstay.learn.keeping import Kept
from mainstay.learn.readiness import RECENT, Known
from mainstay.learn.rechecking import Recheck
from mainstay.learn.releasing import Desk, Lent, Working
from mainstay.learn.scoring import ReadyScorer, Scoring
from mainstay.learn.trials import Collector
from mainstay.loading import Features, Loader, unpriced, unpriced_services
from mainstay.parts.stores.sqlite_evals import SqliteEvals
from mainstay.serve.pipeline import serve
from mainstay.serve.ready import Parts, Ready
from mainstay.spec.cases import read_cases
from mainstay.spec.documents import Document
from mainstay.spec.feature_file import folder_of, read_folder
from mainstay.state_folder import EVALS, RECHECKS

JUDGED = "judged:"  # before the name of a judge; one whose input has `first` and `second` compares two answers
READ = 1000  # live records that the checklist looks at
LOOKED_AT = 5000  # live records in which the questions asked most are found


def curated_of(settings: Settings, ready: Ready) -> dict[str, Curated | None]:
    """Who answers for the content of each source of a feature; documents may say so of themselves, which is not known here."""
    declared = {name: settings.sources[name].curated for name in ready.sources if name in settings.sources}
    return {n: None if c is None else Curated(approver=c.approver, review=c.review) for n, c in declared.items()}


class App(Protocol):
    """The application, as far as a workshop needs it."""

    root: Path
    state: Path
    settings: Settings
    environ: Mapping[str, str]
    features: Features
    loader: Loader
    parts: Parts

    @property
    def releases(self) -> Releases: ...

    def follow(self) -> None: ...

    def run(self, feature: str, input: Mapping[str, Any] | None = None, /, **options: Any) -> Awaitable[Answer]: ...

    def records(self, *, limit: int = 20, **where: Any) -> Awaitable[list[Record]]: ...

    def record(self, id: str) -> Awaitable[Record | None]: ...

    def score(
        self, record: str, name: str, value: float | str, *, reason: str, who: str, id: str | None = None
    ) -> Awaitable[Score]: ...

    def scores(self, record: str) -> Awaitable[list[Score]]: ...

    def serve(self, call: Call) -> AsyncGenerator[Event, None]: ...


class Workshop:
    """Everything that is done to the features of one application."""

    def __init__(self, app: App, *, sealed: Collector, new_id: Callable[[], str]) -> None:
        self._app, self._sealed, self._new_id = app, sealed, new_id
        self._scorers: dict[bytes, ReadyScorer] = {}
        self._evals: SqliteEvals | None = None

    # Evaluating and releasing

    @functools.cached_property
    def desk(self) -> Desk:
        """Where features are evaluated, released, tried, switched and taken back."""
        app = self._app
        self._evals = SqliteEvals(app.state / EVALS)
        stage = Stage(
            serve=lambda call, ready: serve(call, ready, app.parts),
            sealed=self._sealed,
            scoring=lambda ready: self.scoring(ready, ready.feature.gate.scorers),
            record=app.record,
            digest=lambda feature: self._ready(feature).digest,
            kept=self._evals,
            new_id=self._new_id,
        )
        return Desk(
            Lent(
                stage=stage,
                store=app.releases,
                working=self.working,
                frozen=self._frozen,
                changed=app.follow,
                who=provenance.who(app.environ),
            )
        )

    def changed(self, feature: str) -> bool:
        """Whether the folder of a feature differs from its live release."""
        live = self._app.features.state.standing(feature).live
        return live is None or live.digest != self.working(feature).release.digest

    def working(self, feature: str) -> Working:
        """The folder of a feature as it is now. Raises `NotFound` and `ConfigError`."""
        app = self._app
        path, shown = self._folder(feature)
        folder, project = read_folder(path, shown=shown), app.features.project
        ready, models = assembling.ready(folder, project), freezing.models_of(folder, project.settings)
        release = Release(
            digest=ready.digest,
            feature=feature,
            files=folder.files,
            models=models,
            asleep=tuple(sorted(project.asleep & models.keys())),
            imports=freezing.imports_of(folder, app.root),
            version=freezing.VERSION,
            at=time.time(),
            who=provenance.who(app.environ),
            commit=provenance.commit(path),
        )
        return Working(release=release, ready=ready, cases=read_cases(path, shown=shown))

    def _folder(self, feature: str) -> tuple[Path, str]:
        """The folder of a feature, and how errors call it."""
        features = self._app.settings.features
        return folder_of(self._app.root / features, feature), f"{features}/{feature}"

    def _frozen(self, release: Release) -> tuple[Ready, str]:
        loader = self._app.loader
        ready = loader.nearly_frozen(release, self._app.features.project)
        return ready, "" if ready.digest == release.digest else loader.difference(release)

    # Scoring

    def scoring(self, ready: Ready, specs: Sequence[ScorerSpec]) -> Scoring:
        """What answers of that release are scored with."""

        async def look_up(citation: Citation, viewer: Viewer) -> Passage | None:
            show = getattr(ready.sources.get(citation.source), "passage", None)
            if show is None:
                raise NotFound(f"the source {citation.source} cannot show a passage again")
            found: Passage | None = await show(citation.passage, viewer=viewer)
            return found

        async def ask(feature: str, input: Mapping[str, Any]) -> Answer:
            return await self._app.run(feature, input, origin="judge", tenant=TENANT)

        return Scoring(always=[self._scorer(spec) for spec in specs], named=self._scorer, look_up=look_up, ask=ask)

    def _scorer(self, spec: ScorerSpec) -> ReadyScorer:
        if isinstance(spec, str) and spec.startswith(JUDGED):
            spec = {spec: {"compares": "first" in self._ready(spec.removeprefix(JUDGED)).feature.input.fields}}
        key = msgspec.json.encode(spec)
        if key not in self._scorers:
            self._scorers[key] = checking.make_scorer(spec, Document(b"", "the scorers"), ())
        return self._scorers[key]

    async def keep(self, record: str, name: str, opinion: Opinion) -> None:
        """An opinion about a live answer becomes a score of its record."""
        if opinion.value is not None:
            await self._app.score(record, name, opinion.value, reason=opinion.reason, who=f"scorer:{name}")

    # Trying

    @property
    def who(self) -> str:
        """Who works here."""
        return provenance.who(self._app.environ)

    def attest(self, attestation: Attestation) -> None:
        """Keep evidence that something was tried."""
        self._app.releases.attest(attestation)

    async def known(self, feature: str) -> Known:
        """What the checklist looks at."""
        app = self._app
        working = self.working(feature)
        path, shown = self._folder(feature)
        document = read_folder(path, shown=shown).document
        now = time.time()
        records = await app.records(limit=READ, feature=feature, origin="user")
        return Known(
            ready=working.ready,
            cases=working.cases,
            store=app.releases,
            links=app.releases.links(),
            records=[record for record in records if now - record.begun.at < RECENT],
            observers=app.settings.observers,
            said=lambda key: key in document.data,
            now=now,
            curated=curated_of(app.settings, working.ready),
            unpriced=self._unpriced(working.ready.feature),
        )

    def _unpriced(self, feature: Feature) -> dict[str, str]:
        settings = self._app.settings
        models = {name: settings.models[name] for name in ladders.named_models(feature) if name in settings.models}
        return {**unpriced(models, settings), **unpriced_services(settings)}

    async def drill(
        self,
        feature: str,
        input: Mapping[str, Any] | None = None,
        /,
        *,
        deadline: float = drilling.DEADLINE,
        seen: Callable[[int, int], None] = lambda done, of: None,
    ) -> drilling.Report:
        """Run a feature against every fault of `learn/faults.py`. Raises `NotFound`. Use an application that `rehearsal` opened:
        the calls leave records, and this one's own models are not asked.
        """
        app, ready = self._app, self._ready(feature)
        stage = drilling.Stage(
            feature=ready.feature,
            models=app.settings.models,
            bind=self._bind,
            serve=lambda call, ready: serve(call, ready, app.parts),
            record=app.record,
            new_id=self._new_id,
        )
        return await drilling.drill(stage, input=input, deadline=deadline, seen=seen)

    async def stress(
        self,
        feature: str,
        inputs: Sequence[Mapping[str, Any]] = (),
        /,
        *,
        limit: int = stressing.LIMIT,
        seed: int = 0,
        seen: Callable[[int, int], None] = lambda done, of: None,
    ) -> stressing.Report:
        """Ask a feature adversarial questions, made from these inputs; its own models are asked. Raises `NotFound`."""
        app = self._app
        self._ready(feature)
        path, shown = self._folder(feature)
        stage = stressing.Stage(
            folder=read_folder(path, shown=shown),
            bind=lambda folder: assembling.ready(folder, app.features.project),
            serve=lambda call, ready: serve(call, ready, app.parts),
            record=app.record,
            new_id=self._new_id,
        )
        return await stressing.stress(stage, inputs=inputs, limit=limit, seed=seed, seen=seen)

    async def recheck(
        self,
        feature: str | None = None,
        /,
        *,
        since: float = 0.0,
        limit: int = rechecking.LIMIT,
        replay: int = 0,
        seen: Callable[[int, int], None] = lambda done, of: None,
    ) -> Recheck:
        """Hold what was served since then (seconds since 1970) against the sources and systems of record as they are now.

        Cached answers that rest on what changed are dropped, and each finding becomes a review item. The report is kept in the
        state folder, by its id. Raises `NotFound` for an unknown feature.
        """
        app = self._app
        if feature is not None:
            self._ready(feature)
        sources, lags = {}, []
        for name, source in app.features.project.sources.items():
            sources[name], lag = await app.loader.sources.now(name, source)
            lags += [] if lag is None else [lag]
        kept = Kept(app.state / RECHECKS)
        stage = rechecking.Stage(
            ready=app.features.ready,
            sources=sources,
            records=lambda name, most: app.records(limit=most, origin="user", **({} if name is None else {"feature": name})),
            record=app.record,
            caches=(app.parts.cache, app.parts.unwritten),
            serve=app.serve,
            scores=app.scores,
            score=self._to_review,
            new_id=self._new_id,
            who=self.who,
            lags=lags,
            texts=kept.texts(),
        )
        report = await rechecking.recheck(stage, feature=feature, since=since, limit=limit, replay=replay, seen=seen)
        kept.keep(report, stage.texts, whole=feature is None)
        for name in report.features:
            self.attest(rechecking.evidence(report, name, app.features.ready.get(name)))
        return report

    async def _to_review(self, finding: rechecking.Finding) -> None:
        await self._app.score(finding.record, "review", "open", reason=finding.what, who="recheck", id=finding.id)

    async def ahead(
        self,
        feature: str,
        /,
        *,
        top: int = answering.TOP,
        listed: str | None = None,
        where: str = "",
        tenant: str = "default",
        evidence: str = "",
        go_on: Callable[[], bool] = lambda: True,
        seen: Callable[[int, int], None] = lambda done, of: None,
    ) -> Made:
        """Answer the questions asked most, or those that are `listed`, into the cache, and keep what came of it under the id
        `evidence`.

        Raises `NotFound`, and `BadRequest` for a list that cannot be read or a feature that can answer nothing ahead.
        """
        app, ready = self._app, self._ready(feature)
        if why := answering.possible(ready):
            raise BadRequest(f"nothing of {feature} can be answered ahead: {why}", where=feature)
        if listed is None:
            calls = answering.most_asked(await app.records(limit=LOOKED_AT, feature=feature, origin="user"), ready.feature, top)
        else:
            calls = answering.listed(listed, ready.feature, where=where, tenant=tenant)

        async def answer(call: Call) -> Answer:
            async with contextlib.aclosing(app.serve(call)) as events:
                return fold([event async for event in events])

        async def cost(id: str) -> int | None:
            record = await app.record(id)
            return None if record is None else record.outcome.cost_nano_usd

        made = await answering.make(calls, new_id=self._new_id, answer=answer, cost=cost, go_on=go_on, seen=seen)
        self.attest(
            Attestation(
                id=evidence or self._new_id(),
                kind="ahead",
                feature=feature,
                release=ready.digest,
                passed=not made.failed and not made.stopped,
                at=time.time(),
                who=self.who,
                what=made.sentence,
            )
        )
        return made

    def _ready(self, feature: str) -> Ready:
        ready = self._app.features.ready.get(feature)
        if ready is None:
            known = self._app.features.ready
            raise NotFound(f'there is no feature "{feature}"; {nearest(feature, known)}', next="mainstay doctor")
        return ready

    def _bind(self, feature: Feature, models: Mapping[str, Model]) -> Ready:
        """A release of this feature, as it is on disk now, with these models in place of the project's."""
        folder = self._app.loader.folder_of(self._app.settings, feature)
        return self._app.loader.bind(folder, models, self._app.features.project, apart=True)

    def close(self) -> None:
        """Let go of what it keeps."""
        if self._evals is not None:
            self._evals.close()
