"""Which limits bind a call: those of its feature, its tenant, its key and the project; and how each of them stands."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from mainstay.core.call import Call
from mainstay.core.feature import Limits
from mainstay.core.limits import WINDOWS, Caps, Limit, Unit, Window, begins_and_ends
from mainstay.core.project import ProjectLimits, Settings, TenantSpec
from mainstay.core.units import Usd
from mainstay.serve.ready import Ready
from mainstay.serve.spending import Account, Binding, Purse, Room
from mainstay.serve.surge import Surge

MANY = 10_000  # callers whose limits are remembered

# Whose money a call that is no user's spends: that of the whole project, and a drill spends none.
_PROJECT_ALONE = ("eval", "judge", "shadow", "replay", "audit", "probe", "ahead")
_NAME = r'("(?:[^"\\]|\\.)*")'
_SCOPE = re.compile(rf"(project)|feature {_NAME}|tenant {_NAME} with feature {_NAME}|tenant {_NAME}|key {_NAME}")


class Standing(Struct, frozen=True, kw_only=True):
    """How a limit stands: what was `taken` in its window by all processes, of at `most` so much; None where there is no cap.

    Money is in nano-dollars. What is taken includes what running calls hold, and what processes have borrowed ahead.
    """

    scope: str
    unit: Unit
    window: Window | None
    taken: int
    most: int | None
    ends: int | None

    @property
    def left(self) -> int | None:
        """What may still be taken."""
        return None if self.most is None else max(0, self.most - self.taken)


class Limiting:
    """Opens an account for each call, under the limits that `settings`, the features and the keys (`of_key`) state."""

    def __init__(self, purse: Purse, settings: Settings, of_key: Callable[[str], TenantSpec | None] = lambda id: None) -> None:
        self.purse, self._settings, self._of_key = purse, settings, of_key
        self.surge = Surge(purse, settings.limits)
        self._known: dict[tuple[str, str, str, str], Binding] = {}
        self._alone = Binding.of(_money_of_project(settings))
        self._known_with = self.surge.limit

    def take_up(self, settings: Settings) -> None:
        """These are the limits from now on. What was counted stays counted."""
        self._settings, self._known = settings, {}
        self._alone = Binding.of(_money_of_project(settings))
        self.surge.take_up(settings.limits)

    def tend(self) -> None:
        """Give back what lies idle, and look at whether spending is as usual. Blocking."""
        self.purse.tend()
        self.surge.tend()

    def metrics(self, features: Mapping[str, Limits]) -> bytes:
        """How the limits of the project and its features stand, and what they stopped, in Prometheus' text format.

        No tenant and no key is a label. Blocking, for less than a millisecond.
        """
        lines = ["# TYPE mainstay_limits_denied_total counter"]
        lines += [f'mainstay_limits_denied_total{{limit="{kind}"}} {n}' for kind, n in sorted(self.purse.denied.items()) if kind]
        lines += ["# TYPE mainstay_limits_overruns_total counter", f"mainstay_limits_overruns_total {self.purse.overruns}"]
        lines += ["# TYPE mainstay_limits_paused gauge", f"mainstay_limits_paused {int(self.purse.stop is not None)}"]
        now = time.time()
        known = [*_of_project(self._settings.limits), *[x for name, caps in features.items() for x in _of_feature(name, caps)]]
        begins = [0 if limit.window is None else begins_and_ends(limit.window, now)[0] for limit in known]
        names = [f"{limit.counter}|{begin}" for limit, begin in zip(known, begins, strict=True)]
        taken = (self.purse.taken(names) if names else None) or ()
        for name, values in (("used", taken), ("most", [limit.most for limit in known] if taken else ())):
            lines.append(f"# TYPE mainstay_limit_{name} gauge")
            for limit, value in zip(known, values, strict=bool(values)):
                scope = json.dumps(limit.counter.partition("|")[0], ensure_ascii=False)
                labels = f'scope={scope},unit="{limit.unit}",window="{limit.window or ""}"'
                lines.append(f"mainstay_limit_{name}{{{labels}}} {value / 1e9 if limit.unit == 'usd' else value:g}")
        return ("\n".join(lines) + "\n").encode()

    def account(self, call: Call, ready: Ready) -> Account:
        """What this call may spend."""
        if call.origin == "drill":
            return Account()
        if call.origin in _PROJECT_ALONE:
            return Account(self.purse, self._alone)
        return Account(self.purse, self._binding(call, ready), ready.feature.limits.per_call)

    def _binding(self, call: Call, ready: Ready) -> Binding:
        """What binds a user's call: one object for all of the same feature, tenant and key."""
        surge = self.surge.limit
        if surge is not self._known_with or len(self._known) >= MANY:
            self._known, self._known_with = {}, surge
        who = (ready.feature.name, ready.digest, call.tenant, call.key or "")
        known = self._known.get(who)
        if known is None:
            limits = self._limits(call, ready)
            known = self._known[who] = Binding.of([*limits] if surge is None else [surge, *limits])
        return known

    def narrowest(self, call: Call, ready: Ready) -> dict[Unit, Room]:
        """Of the limits that bind a user's call on calls and on tokens each, the one of which least is left."""
        found: dict[Unit, Room] = {}
        told = self._binding(call, ready).told
        for room in self.purse.room(told) if told else ():
            unit = room.limit.unit
            if unit not in found or room.left < found[unit].left:
                found[unit] = room
        return found

    def _limits(self, call: Call, ready: Ready) -> Iterator[Limit]:
        feature, tenant, settings = ready.feature.name, call.tenant, self._settings
        yield from _of_project(settings.limits)
        yield from _of_tenant(settings, tenant)
        yield from _caps(ready.feature.limits, "feature_", f"feature {_quoted(feature)}")
        yield from _caps(ready.feature.limits, "tenant_", f"tenant {_quoted(tenant)} with feature {_quoted(feature)}")
        if call.key is not None:
            yield from _of_key(settings, call.key, self._of_key(call.key))


def has_money_cap(*tables: Limits | ProjectLimits | TenantSpec) -> bool:
    """Whether any of these tables limits money."""
    named = [getattr(table, name) for table in tables for name in table.__struct_fields__]
    capped = any(
        isinstance(value, Usd) or (isinstance(value, Caps) and any(cap.unit == "usd" for cap in value)) for value in named
    )
    return capped or any(getattr(table, "surge", None) is not None for table in tables)


def standings(
    counted: Iterable[tuple[str, int]],
    settings: Settings,
    features: Mapping[str, Limits],
    keys: Mapping[str, TenantSpec],
    *,
    now: float,
) -> list[Standing]:
    """How every limit stands, and every counter that something was taken of, by scope and window.

    `counted` is what `Counters.all` gives, `keys` are the limits of those that have their own. Of tenants and keys only those
    are listed that have used something.
    """
    found: dict[str, Standing] = {}
    for limit in [*_of_project(settings.limits), *[x for name, caps in features.items() for x in _of_feature(name, caps)]]:
        first, ends = (0, None) if limit.window is None else begins_and_ends(limit.window, now)
        scope = limit.counter.rsplit("|", 1 if limit.window is None else 2)[0]
        found[f"{limit.counter}|{first}"] = Standing(
            scope=scope, unit=limit.unit, window=limit.window, taken=0, most=limit.most, ends=ends
        )
    for name, taken in counted:
        counter, _, begin = name.rpartition("|")
        scope, unit, *window = _split(counter)
        if _SCOPE.fullmatch(scope) is None:
            continue
        known = {limit.counter: limit for limit in _of_scope(scope, settings, features, keys)}.get(counter)
        until = begins_and_ends(window[0], int(begin))[1] if window else None
        found[name] = Standing(
            scope=scope,
            unit=unit,
            window=window[0] if window else None,
            taken=taken,
            most=None if known is None else known.most,
            ends=until,
        )
    return [found[name] for name in sorted(found)]


def _split(counter: str) -> tuple[Any, ...]:
    """Scope, unit and, where there is one, window: a name in the scope may hold anything."""
    head, _, last = counter.rpartition("|")
    return (head, last) if last == "at_once" else (*head.rpartition("|")[::2], last)


def _of_scope(scope: str, settings: Settings, features: Mapping[str, Limits], keys: Mapping[str, TenantSpec]) -> Iterator[Limit]:
    match = _SCOPE.fullmatch(scope)
    if match is None:
        return
    project, feature, both, with_feature, tenant, key = [
        name and (name if name == "project" else json.loads(name)) for name in match.groups()
    ]
    if project:
        yield from _of_project(settings.limits)
    elif feature is not None:
        yield from _of_feature(feature, features.get(feature, Limits()))
    elif both is not None:
        yield from _caps(features.get(with_feature, Limits()), "tenant_", scope)
    elif tenant is not None:
        yield from _of_tenant(settings, tenant)
    elif key is not None:
        yield from _of_key(settings, key, keys.get(key))


def _of_project(limits: ProjectLimits) -> Iterator[Limit]:
    return _caps(limits, "project_", "project")


def _money_of_project(settings: Settings) -> tuple[Limit, ...]:
    return tuple([limit for limit in _of_project(settings.limits) if limit.unit == "usd"])


def _of_feature(name: str, limits: Limits) -> Iterator[Limit]:
    return _caps(limits, "feature_", f"feature {_quoted(name)}")


def _of_tenant(settings: Settings, tenant: str) -> Iterator[Limit]:
    own = settings.tenants.get(tenant)
    return _own_or_usual(settings, "tenant_", own, f"tenant {_quoted(tenant)}")


def _of_key(settings: Settings, key: str, own: TenantSpec | None) -> Iterator[Limit]:
    return _own_or_usual(settings, "key_", own, f"key {_quoted(key)}")


def _own_or_usual(settings: Settings, prefix: str, own: TenantSpec | None, scope: str) -> Iterator[Limit]:
    return _caps(settings.limits, prefix, scope) if own is None else _caps(own, "", scope, kind=prefix)


def _quoted(name: str) -> str:
    """A name that nobody can mistake for more than one: tenants are called whatever callers say."""
    return json.dumps(name, ensure_ascii=True)


def _caps(limits: Any, prefix: str, scope: str, *, kind: str = "") -> Iterator[Limit]:
    kind = kind or prefix
    for window in WINDOWS:
        for cap in getattr(limits, f"{prefix}per_{window}") or ():
            yield Limit(
                counter=f"{scope}|{cap.unit}|{window}",
                unit=cap.unit,
                window=window,
                most=cap.most,
                said=f"the limit per {window} of {scope}",
                kind=f"{kind}per_{window} {cap.unit}",
            )
    at_once = getattr(limits, f"{prefix}at_once")
    if at_once is not None:
        said = f"the limit at once of {scope}"
        yield Limit(counter=f"{scope}|at_once", unit="at_once", window=None, most=at_once, said=said, kind=f"{kind}at_once")
