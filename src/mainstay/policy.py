"""The refusal policy: which guards stand between a draft and the user, in which order, and how much is asked of them.

Three layers come behind all other output guards, in this order whatever the file's: `grounded` (does the evidence bear it?),
`risks` (is it of a category that this feature does not touch?) and `curated` (where the stakes are high: does content bear it
that somebody approved?). Each sees the draft as the ones before it leave it, and each writes its reason into the record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mainstay.core.feature import Feature, GuardSpec
from mainstay.spec.places import Place

GROUNDED, RISKS, CURATED = LAYERS = ("grounded", "risks", "curated")
AT_LEAST = 0.6
"""How far evidence has to bear every sentence where the stakes are high, as a probability; else `grounded` says that itself."""


class Named(NamedTuple):
    """A guard of the policy, and the place of the file that names it or makes it necessary."""

    spec: GuardSpec
    place: Place


def name_of(spec: GuardSpec) -> str:
    """The name of a guard in the feature file; a table of several names is found wrong later."""
    return spec if isinstance(spec, str) else next(iter(spec), "")


def output_guards(feature: Feature) -> list[Named]:
    """The output guards in force, but for `curated`, in the order in which they see a draft."""
    named = [Named(spec, ("guards", "output", i)) for i, spec in enumerate(feature.guards.output)]
    if feature.stakes == "high" and all(name_of(found.spec) != GROUNDED for found in named):
        named.append(Named(GROUNDED, ("stakes",)))
    named.sort(key=lambda found: _layer(name_of(found.spec)))
    return [found._replace(spec=_grounded(found.spec, feature)) for found in named]


def too_little(feature: Feature) -> Iterator[tuple[Place, str]]:
    """What of the file asks for less than its stakes allow, with what is wrong."""
    if feature.stakes != "high":
        return
    if not feature.grounding.sources and not feature.grounding.slots:
        yield ("stakes",), 'stakes = "high" refuses whatever matches no curated content, and [grounding] names no sources'
    for named in output_guards(feature):
        at_least = _options(named.spec).get("at_least")
        if name_of(named.spec) == GROUNDED and isinstance(at_least, int | float) and at_least < AT_LEAST:
            yield named.place, f'with stakes = "high", `grounded` asks for at least {AT_LEAST:g}, not {at_least:g}'


def _layer(name: str) -> int:
    """Its place behind all others; 0 for what is no layer."""
    return LAYERS.index(name) + 1 if name in LAYERS else 0


def _grounded(spec: GuardSpec, feature: Feature) -> GuardSpec:
    """`grounded` with the threshold of high stakes, where the file says none."""
    if feature.stakes != "high" or name_of(spec) != GROUNDED or (isinstance(spec, dict) and not isinstance(spec[GROUNDED], dict)):
        return spec
    return {GROUNDED: {"at_least": AT_LEAST, **_options(spec)}}


def _options(spec: GuardSpec) -> dict[str, Any]:
    if isinstance(spec, str):
        return {}
    given: Any = next(iter(spec.values()), None)
    return given if isinstance(given, dict) else {}
