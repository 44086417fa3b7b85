"""May this feature be in front of customers? A checklist in which every line brings its evidence, or is not met.

A line that nobody has shown anything for is `unknown`, which fails like one that is shown to be wrong. Evidence is the id of a
report, a record or a change, with its age; what the file itself says needs none. Sources of the lines: the reviews that such
features go through before a launch, and what went wrong where they did not.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from mainstay.core.case import Case
from mainstay.core.evidence import Curated
from mainstay.core.feature import Feature
from mainstay.core.record import Record
from mainstay.core.release import EVERY, Attestation, Link, Switched, fold
from mainstay.core.seams import Evidenced, Releases
from mainstay.learn.keyring import uncounted
from mainstay.learn.minding import proven_wrong
from mainstay.serve.limiting import has_money_cap
from mainstay.serve.ready import Ready

DAY = 86400.0
LEAST = 5  # cases of a slice below which nothing is said of it
GOOD_FOR: Mapping[str, float] = {"drill": 30 * DAY, "stress": 30 * DAY, "calibration": 180 * DAY, "switch": 90 * DAY}
RECENT = 30 * DAY  # seconds of live records that are looked at

Standing = Literal["met", "not met", "unknown"]


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the checklist. `age_s` is how old the evidence is; `next` what to type where it is not met."""

    name: str
    standing: Standing
    what: str
    evidence: str = ""
    age_s: float | None = None
    next: str = ""


class Known(Struct, frozen=True, kw_only=True):
    """What the checklist looks at: the feature as it is now, and what is known of it. `said` tells what its file says itself,
    `curated` who answers for each of its sources, `unpriced` what it asks that has no known price, each with what to type.
    """

    ready: Ready
    cases: Sequence[Case]
    store: Releases
    links: Sequence[Link]
    records: Sequence[Record]
    observers: Sequence[str]
    said: Callable[[str], bool]
    now: float
    curated: Mapping[str, Curated | None] = {}
    unpriced: Mapping[str, str] = {}

    @property
    def feature(self) -> Feature:
        return self.ready.feature


def checklist(known: Known) -> list[Line]:
    """Every line, in the order in which one would mend them."""
    rules = RULES if known.feature.cache.near != "auto" else (*RULES, _near)
    return [rule(known) for rule in rules]


def _golden_set(known: Known) -> Line:
    """Enough cases, and none of their slices so small that nothing can be said of it."""
    feature, cases = known.feature, known.cases
    more = f"write cases/*.jsonl of {feature.name}; see docs/cases.md"
    if len(cases) < feature.gate.at_least:
        return _not("cases", f"{len(cases)} cases; gate.at_least is {feature.gate.at_least}", more)
    thin = [f"{name}={value or '(none)'} has {n}" for name, value, n in _slices(known) if n < LEAST]
    if thin:
        return _not("cases", f"fewer than {LEAST} cases: {', '.join(thin[:6])}", more)
    covered = {case.language.partition("-")[0].lower() for case in cases}
    unheard = sorted(_languages(known.records) - covered)
    if unheard:
        return _not("cases", f"users write in {', '.join(unheard)}, and no case does", more)
    slices = ", ".join(f"{n} {name}" for name, n in Counter(name for name, _, _ in _slices(known)).items())
    return _met("cases", f"{len(cases)} cases, by {slices}")


def _slices(known: Known) -> Iterator[tuple[str, str, int]]:
    for name in dict.fromkeys([*known.feature.gate.slices, "language"]):
        counted = Counter(case.slice(name) for case in known.cases)
        yield from ((name, value, n) for value, n in sorted(counted.items()))


def _languages(records: Sequence[Record]) -> set[str]:
    """The languages of users' locales, as far as calls bring one."""
    found = [r.begun.call.locale for r in records if r.begun.call.locale]
    return {locale.replace("_", "-").partition("-")[0].lower() for locale in found}


def _near(known: Known) -> Line:
    """Near hits that are asked for are on."""
    if known.ready.near is None:
        return _not(
            "near hits", known.ready.near_off.removeprefix("near hits are off: "), f"mainstay learn near {known.feature.name}"
        )
    wrong = proven_wrong(known.store, known.feature.name, known.ready.near)
    if wrong is not None:
        return _not("near hits", wrong.what, f"mainstay learn near {known.feature.name}", evidence=wrong.id)
    what = f"at most {known.feature.cache.wrong_hits:.1%} of them are wrong, from a probability of {known.ready.near.threshold:g}"
    return _met("near hits", what)


def _validated(known: Known) -> Line:
    feature = known.feature
    if feature.structured:
        return _met("output", "every answer fits its schema")
    if feature.guards.output:
        names = [spec if isinstance(spec, str) else next(iter(spec)) for spec in feature.guards.output]
        weak = set(experimental(known.ready))
        shown = [f"{name} (experimental)" if name in weak else name for name in names]
        if weak.issuperset(names):
            what = f"only experimental guards look at what goes out: {', '.join(names)}"
            return _not("output", what, 'add one that is not experimental, such as "terms", under [guards] of feature.toml')
        return _met("output", f"guards on what goes out: {', '.join(shown)}")
    return _not("output", "nothing checks what goes out", 'add output = ["size"] under [guards] of feature.toml')


def experimental(ready: Ready) -> list[str]:
    """The guards of a feature that say of themselves that they are below the operating point of their card."""
    guards = (*ready.input_guards, *ready.output_guards)
    return list(dict.fromkeys([guard.name for guard in guards if getattr(guard.guard, "experimental", False)]))


def _capped(known: Known) -> Line:
    """No paid model, or a limit that is enforced; and no key that limits what nobody can count."""
    asked = {known.feature.name: known.unpriced}
    for key in fold(known.links).keys.values():
        for name, next in ({} if key.expired(known.now) else uncounted(key, asked)).items():
            what = f"the key {key.id} limits money, and what {name} costs is not known: with that key it is never asked"
            return _not("money", what, next)
    models = {model.name: model.price for rung in known.ready.rungs for model in rung.models}
    paid = [name for name, price in models.items() if price is None or price.output]
    if not paid:
        return _met("money", "no rung asks a model that costs anything" if models else "no rung asks a model")
    limits = known.feature.limits
    if not has_money_cap(limits):
        return Line(
            name="money",
            standing="unknown",
            what=f"nothing caps what {', '.join(paid)} may cost",
            next="set feature_per_day under [limits] of feature.toml",
        )
    return _met("money", "limits of feature.toml")


def _drilled(known: Known) -> Line:
    return _attested(known, "drill", "faults", f"mainstay drill {known.feature.name}")


def _stressed(known: Known) -> Line:
    return _attested(known, "stress", "stress", f"mainstay stress {known.feature.name}")


def _watched(known: Known) -> Line:
    if known.observers:
        return _met("monitoring", f"observers: {', '.join(known.observers)}")
    return _not("monitoring", "nothing watches the records", 'add observers = ["prometheus"] to mainstay.toml')


def _switch_tried(known: Known) -> Line:
    """Somebody has switched it off, and on again."""
    name, off = "switch", None
    next = f"mainstay off {known.feature.name} && mainstay on {known.feature.name}"
    tried: Link | None = None
    for link in known.links:
        if isinstance(link.change, Switched) and link.feature in (known.feature.name, EVERY):
            if link.change.off:
                off = link
            elif off is not None:
                tried = link
    if tried is None:
        return Line(name=name, standing="unknown", what="nobody has tried the switch", next=next)
    age = known.now - tried.at
    if age > GOOD_FOR["switch"]:
        return _not(name, "the switch was last tried too long ago", next, evidence=f"change {tried.number}", age=age)
    return _met(name, "switched off and on again", f"change {tried.number}", age)


def _calibrated(known: Known) -> Line:
    """Every judge that the gate listens to agrees with people."""
    named = [spec if isinstance(spec, str) else next(iter(spec)) for spec in known.feature.gate.scorers]
    expected = [name for case in known.cases for name in case.expect]
    judges = sorted({name.partition(":")[2] for name in {*named, *expected} if name.removeprefix("not-").startswith("judged:")})
    if not judges:
        return _met("judges", "no judge scores the cases")
    for judge in judges:
        found = _fresh(known, "calibration", judge)
        if found is None or not found.passed:
            what = f"the judge {judge} was not compared with people" if found is None else f"the judge {judge}: {found.what}"
            standing: Standing = "unknown" if found is None else "not met"
            again = f"mainstay eval --judge {judge} --calibrate FILE"
            return Line(name="judges", standing=standing, what=what, evidence=found.id if found else "", next=again)
    found = _fresh(known, "calibration", judges[0])
    assert found is not None  # noqa: S101
    return _met("judges", f"compared with people: {', '.join(judges)}", found.id, known.now - found.at)


def _evaluated(known: Known) -> Line:
    """A report of the gate that lets exactly this digest pass."""
    next = f"mainstay release {known.feature.name}"
    found = _evidence(known)
    if found is None:
        return Line(name="gate", standing="unknown", what="no report is about this version of the feature", next=next)
    age = known.now - found.at
    if found.outcome != "passed":
        return _not("gate", f"the gate said {found.outcome}", f"mainstay report {found.report}", evidence=found.report, age=age)
    return _met("gate", f"passed for {found.release[:12]}", found.report, age)


def _evidence(known: Known) -> Evidenced | None:
    for id in known.store.reports(known.feature.name, kind="gate", limit=50):
        found = known.store.evidence(id)
        if found is not None and found.release == known.ready.digest:
            return found
    return None


def _data_policy(known: Known) -> Line:
    if known.said("log"):
        return _met("data", f'log = "{known.feature.log}"')
    return _not("data", "what records keep of texts is not stated", 'add log = "full", "redacted" or "none" to feature.toml')


def _answered_for(known: Known) -> Line:
    """Somebody answers for the content of sources where the stakes are high, and no review is overdue."""
    today = datetime.datetime.fromtimestamp(known.now, datetime.UTC).date().isoformat()
    overdue = [f"{name} (due {c.review})" for name, c in known.curated.items() if c is not None and c.overdue(today)]
    declare = "under its [sources…] table of mainstay.toml, write curated = { approver = …, review = … }"
    if overdue:
        again = "review it, and write the next date into mainstay.toml"
        return _not("curated", f"a review of content is overdue: {', '.join(overdue)}", again)
    nobody = [name for name, curated in known.curated.items() if curated is None]
    if known.feature.stakes == "high" and nobody:
        what = f"nobody answers for the whole of {', '.join(nobody)}, and the stakes are high"
        return Line(name="curated", standing="unknown", what=what, next=f"{declare}, unless each document says so")
    named = [f"{name}, by {c.approver} until {c.review}" for name, c in known.curated.items() if c is not None]
    return _met("curated", f"answered for: {'; '.join(named)}" if named else "the stakes are normal")


RULES: tuple[Callable[[Known], Line], ...] = (
    _golden_set,
    _validated,
    _capped,
    _data_policy,
    _answered_for,
    _watched,
    _drilled,
    _stressed,
    _calibrated,
    _evaluated,
    _switch_tried,
)


def _attested(known: Known, kind: str, name: str, next: str) -> Line:
    """A line that rests on evidence about exactly this release."""
    found = _fresh(known, kind, known.feature.name, release=known.ready.digest)
    if found is None:
        return Line(name=name, standing="unknown", what="nobody has tried this version of the feature", next=next)
    age = known.now - found.at
    return _met(name, found.what, found.id, age) if found.passed else _not(name, found.what, next, evidence=found.id, age=age)


def _fresh(known: Known, kind: str, feature: str, *, release: str | None = None) -> Attestation | None:
    """The newest evidence of that kind that is young enough."""
    for found in known.store.attestations(feature, kind):
        if known.now - found.at <= GOOD_FOR[kind] and release in (None, found.release):
            return found
    return None


def _met(name: str, what: str, evidence: str = "", age: float | None = None) -> Line:
    return Line(name=name, standing="met", what=what, evidence=evidence, age_s=age)


def _not(name: str, what: str, next: str, *, evidence: str = "", age: float | None = None) -> Line:
    return Line(name=name, standing="not met", what=what, evidence=evidence, age_s=age, next=next)
