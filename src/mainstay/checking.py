"""Makes guards and scorers ready, as feature files name them: what checks a draft before it is shown, or an answer afterwards."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mainstay import registry
from mainstay.core.errors import ConfigError
from mainstay.core.feature import GuardSpec, ScorerSpec
from mainstay.core.seams import Hold
from mainstay.learn.scoring import ReadyScorer
from mainstay.serve.ready import SENTENCE, WHOLE, ReadyGuard
from mainstay.spec.documents import Document
from mainstay.spec.places import Place

Lent = Mapping[str, Mapping[str, Any]]
HOLDS = {Hold.NOTHING: 0, Hold.SENTENCE: SENTENCE, Hold.WHOLE: WHOLE}


def make_guard(spec: GuardSpec, document: Document, place: Place, lent: Lent) -> ReadyGuard:
    """A guard from the feature file: `"size"`, `{ size = { max = 100 } }`, or the shorthand `{ terms = ["AcmeCo"] }`.

    An option that names something that is `lent` (a classifier, a database) becomes the thing itself.
    """
    if isinstance(spec, dict) and len(spec) != 1:
        raise document.error(place, "a guard is a name, or a table of one name and its options")
    name, given = (spec, {}) if isinstance(spec, str) else next(iter(spec.items()))
    kind = registry.part("guards", name, where=document.where(place))
    at = place if isinstance(spec, str) else (*place, name)
    if isinstance(given, dict):
        return ready_guard(name, registry.made(kind, given, document, at, lent), document.where(place))
    first = registry.first_option(kind)
    if not first:
        raise document.error(at, f"the guard `{name}` has no options")
    try:
        return ready_guard(name, registry.made(kind, {first: given}, document, at, lent), document.where(place))
    except ConfigError as error:
        raise ConfigError(error.what, where=document.where(at), next=error.next) from None


def make_scorer(spec: ScorerSpec, document: Document, place: Place) -> ReadyScorer:
    """A scorer as a feature file names it: by name or path, with its options or the value of its first one.

    What stands behind a colon after a name of ours is its first option: `judged:helpfulness`.
    """
    name, given = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
    base, _, option = name.partition(":")
    known = registry.offered("scorers")
    kind = registry.part("scorers", base if base in known else name, where=document.where(place))
    options = dict(given) if isinstance(given, dict) else {}
    first = registry.first_option(kind)
    if option and base in known:
        options = {first: option, **options}
    elif given is not None and not isinstance(given, dict):
        options = {first: given}
    scorer = registry.made(kind, options, document, place if isinstance(spec, str) else (*place, name))
    if not inspect.iscoroutinefunction(getattr(scorer, "score", None)):
        raise ConfigError(f"the scorer `{name}` has no `async def score(self, subject)`", where=document.where(place))
    return ReadyScorer(name, scorer)


def ready_guard(name: str, guard: Any, where: str) -> ReadyGuard:
    """The guard under its name, if it is one: an async `check`, and a `hold` that says how much it has to see."""
    hold = getattr(guard, "hold", None)
    if isinstance(hold, Hold):
        hold = HOLDS[hold]
    if not isinstance(hold, int) or isinstance(hold, bool) or hold < 0:
        raise ConfigError(f"the guard `{name}` has no `hold`: a number of characters, or a Hold", where=where)
    if not inspect.iscoroutinefunction(getattr(guard, "check", None)):
        raise ConfigError(f"the guard `{name}` has no `async def check(self, draft)`", where=where)
    return ReadyGuard(name, guard, hold)
