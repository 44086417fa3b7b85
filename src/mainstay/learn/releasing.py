"""From a folder to what is served: evaluate, rule, go live or on trial.

A release reaches users only with a report that bears it: the gate's `passed` for going live, at least `inconclusive` for a
canary. What takes back, and waits for no gate, is `switching.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from mainstay.core.case import Case
from mainstay.core.errors import BadRequest, NotFound, Refused
from mainstay.core.release import (
    LARGEST_TRIAL,
    Link,
    Release,
    State,
    TrialBegan,
    TrialKind,
    WentLive,
)
from mainstay.core.report import Report, Result
from mainstay.core.seams import Releases
from mainstay.learn import gate, task_fit
from mainstay.learn.evaluation import Options, Plan, Progress, Stage, each_rung, evaluate
from mainstay.learn.labelling import fitted_on
from mainstay.learn.switching import Switchboard
from mainstay.serve.ready import Ready

CANARY_DAYS, OVERRIDE_HOURS = 7.0, 24.0
DAY = 86400.0


class Working(Struct, frozen=True, kw_only=True):
    """A feature as its folder is now: as a release, ready to answer, and its cases."""

    release: Release
    ready: Ready
    cases: Sequence[Case]


class Lent(Struct, frozen=True, kw_only=True):
    """What `app.py` lends to whoever releases.

    `frozen` makes a release ready as nearly as it was frozen as this machine can, and says what is not the same. `changed` is
    called after each change that was made here.
    """

    stage: Stage
    store: Releases
    working: Callable[[str], Working]
    frozen: Callable[[Release], tuple[Ready, str]]
    changed: Callable[[], None]
    who: str


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to be evaluated: beside which release (`live`, a digest, or none), each rung alone, on other cases."""

    against: str = "live"
    rungs: bool = False
    cases: Sequence[Case] | None = None
    options: Options = Options()


class Released(Struct, frozen=True, kw_only=True):
    """What became of a wish to release. `link` is None where the gate said no, or there was nothing to change."""

    release: str
    report: Report | None = None
    link: Link | None = None


class Desk:
    """Where releases are evaluated, made live, tried and taken back."""

    def __init__(self, lent: Lent) -> None:
        self._lent = lent
        self.board = Switchboard(lent.store, who=lent.who, changed=lent.changed)

    async def evaluate(
        self, feature: str, wanted: Wanted, *, seen: Callable[[Progress], None] = lambda progress: None, kind: str = "eval"
    ) -> Report:
        """Run the cases of a feature's folder, and rule. The report is kept."""
        lent, working = self._lent, self._lent.working(feature)
        baseline, differs = self._baseline(feature, wanted.against, working.release.digest)
        given = working.cases if wanted.cases is None else wanted.cases
        answering = [ready for ready in (working.ready, baseline) if ready is not None]
        cases = [case for case in given if not any(fitted_on(ready, case) for ready in answering)]
        if not cases:
            raise NotFound(f'"{feature}" has no cases', next=f"write features/{feature}/cases/first.jsonl; see docs/cases.md")
        gate_rules = working.ready.feature.gate
        options = wanted.options
        if options.budget is None and gate_rules.budget is not None:
            options = msgspec.structs.replace(options, budget=int(gate_rules.budget))
        plan = Plan(
            cases=cases,
            candidate=working.ready,
            baseline=baseline,
            rungs=each_rung(working.ready) if wanted.rungs else {},
            options=options,
        )
        report = await evaluate(lent.stage, plan, seen=seen)
        report = msgspec.structs.replace(
            report,
            who=lent.who,
            commit=working.release.commit,
            noise=gate.noise_of(report) if report.repeat > 1 else {},
            notes=_notes(differs, left_out=len(given) - len(cases)),
        )
        if wanted.rungs:
            found = task_fit.fits(report, tolerance=gate_rules.no_category_may_fall_by)
            notes = {**report.notes, "recommendation": task_fit.recommendation(found), "fits": found}
            report = msgspec.structs.replace(report, notes=notes)
            kind = "fit" if kind == "eval" else kind  # a release rests on the report that its gate made
        ruling = gate.rule(report, gate_rules, first_word=working.ready.feature.first_word)
        report = msgspec.structs.replace(report, ruling=ruling)
        lent.store.keep(working.release)
        lent.store.keep_report(report, kind)
        return report

    async def attempt(self, working: Working, case: Case, options: Options) -> Result:
        """One case, answered and scored as `evaluate` does it, and no more: nothing rules, and no report is kept."""
        report = await evaluate(self._lent.stage, Plan(cases=[case], candidate=working.ready, options=options))
        return report.candidate.results[0]

    def _baseline(self, feature: str, against: str, candidate: str) -> tuple[Ready | None, str]:
        """The release to compare with, and how it differs from what was frozen; None where there is none, or it is the same."""
        if against == "none":
            return None, ""
        live = self.board.state().standing(feature).live
        if against == "live":
            if live is None or live.digest == candidate:
                return None, ""
            against = live.digest
        return self._lent.frozen(self._kept(feature, against))

    def _kept(self, feature: str, digest: str) -> Release:
        release = self._lent.store.release(feature, digest)
        if release is None:
            known = ", ".join(r.digest[:12] for r in self._lent.store.releases(feature)[:5]) or "none"
            raise NotFound(f'"{feature}" has no one release "{digest}"; the latest: {known}', next=f"mainstay report {feature}")
        return release

    # Going live, and on trial

    async def release(
        self, feature: str, wanted: Wanted, *, seen: Callable[[Progress], None] = lambda progress: None
    ) -> Released:
        """Evaluate, and make live what the gate lets pass: on the feature's own cases, beside what is live."""
        _whole(wanted)
        working = self._lent.working(feature)
        digest = working.release.digest
        live = self.board.state().standing(feature).live
        if live is not None and live.digest == digest and not live.override:
            return Released(release=digest)
        report = await self.evaluate(feature, wanted, seen=seen, kind="gate")
        self._same(report, digest, feature)
        if report.ruling is None or report.ruling.outcome != "passed":
            return Released(release=digest, report=report)
        change = WentLive(digest=digest, report=report.id, seal=self._seal(report))
        check = _not_live(feature, digest, compared=live)
        return Released(release=digest, report=report, link=self.board.add(feature, change, check))

    async def on_trial(
        self,
        feature: str,
        wanted: Wanted,
        *,
        kind: TrialKind,
        share: float,
        days: float = CANARY_DAYS,
        seen: Callable[[Progress], None] = lambda progress: None,
    ) -> Released:
        """Evaluate, and try on a share of the calls: as a canary unless the gate says no, as a shadow in any case."""
        if not 0 < share <= LARGEST_TRIAL:
            raise BadRequest(f"a trial takes at most {LARGEST_TRIAL:.0%} of the calls", param="share", next=f"--{kind} 10%")
        _whole(wanted)
        check = _no_trial(feature, kind)
        check(self.board.state())  # before money is spent
        report = await self.evaluate(feature, wanted, seen=seen, kind="gate")
        digest = report.candidate.release
        if kind == "canary" and (report.ruling is None or report.ruling.outcome == "blocked"):
            return Released(release=digest, report=report)
        change = TrialBegan(
            id=self._lent.stage.new_id(),
            kind=kind,
            digest=digest,
            share=share,
            until=time.time() + days * DAY,
            report=report.id,
            seal=self._seal(report),
        )
        return Released(release=digest, report=report, link=self.board.add(feature, change, check))

    def override(self, feature: str, reason: str, *, hours: float = OVERRIDE_HOURS) -> Released:
        """Make the folder live without any evidence, for so long: the glass to break when the gate cannot be asked."""
        if not reason.strip():
            raise BadRequest("an override says why", param="reason", next='--override "the judge is down, and this mends …"')
        working = self._lent.working(feature)
        self._lent.store.keep(working.release)
        digest = working.release.digest
        change = WentLive(digest=digest, override=reason, expires=time.time() + hours * 3600)
        check = _not_live(feature, digest, compared=self.board.state().standing(feature).live)
        return Released(release=digest, link=self.board.add(feature, change, check))

    def _seal(self, report: Report) -> str:
        evidence = self._lent.store.evidence(report.id)
        assert evidence is not None  # noqa: S101  it was kept a moment ago
        return evidence.seal

    def _same(self, report: Report, digest: str, feature: str) -> None:
        if report.candidate.release != digest:
            raise Refused("the folder changed while it was evaluated", where=feature, next=f"mainstay release {feature}")


def _notes(differs: str, *, left_out: int) -> dict[str, Any]:
    """What a reader of the report should know of how it came about."""
    notes = {}
    if differs:
        notes["baseline"] = f"not quite what is live: {differs}"
    if left_out:
        notes["left out"] = f"{left_out} cases that a classifier of the ladder was fitted on"
    return notes


def _whole(wanted: Wanted) -> None:
    """Raises `BadRequest` for a wish that would spare a release a part of its gate."""
    if wanted.against != "live":
        raise BadRequest("a release is compared with what is live, and with nothing else", param="against")
    if wanted.cases is not None:
        raise BadRequest("a release is evaluated on the feature's own cases", param="cases")


def _not_live(feature: str, digest: str, *, compared: WentLive | None) -> Callable[[State], None]:
    def check(state: State) -> None:
        live = state.standing(feature).live
        if live != compared:
            raise Refused("another release went live in the meantime", where=feature, next=f"mainstay release {feature}")
        if live is not None and live.digest == digest and not live.override:
            raise Refused("this release is live already", where=feature)

    return check


def _no_trial(feature: str, kind: TrialKind) -> Callable[[State], None]:
    def check(state: State) -> None:
        standing = state.standing(feature)
        running = standing.canary if kind == "canary" else standing.shadow
        if running is not None:
            what = f"a {kind} of {running.digest[:12]} is under way already"
            end = "" if kind == "canary" else " --shadow"
            raise Refused(what, where=feature, next=f"mainstay rollback {feature}{end}")
        if kind == "canary" and standing.live is None:
            raise Refused(
                "nothing is live that a canary could be compared with", where=feature, next=f"mainstay release {feature}"
            )

    return check
