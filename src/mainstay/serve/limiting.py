"""Which limits bind a call: those of its feature, its tenant, its key and the project."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mainstay.core.call import Call
from mainstay.core.feature import Limits
from mainstay.core.limits import WINDOWS, Caps, Limit
from mainstay.core.project import ProjectLimits, Settings, TenantSpec
from mainstay.core.units import Usd
from mainstay.serve.ready import Ready
from mainstay.serve.spending import Account, Purse

MANY = 10_000  # callers whose limits are remembered

# Whose money a call that is no user's spends: that of the whole project, and a drill spends none.
_PROJECT_ALONE = ("eval", "judge", "shadow", "replay", "audit", "probe")


class Limiting:
    """Opens an account for each call, under the limits that `settings` and the features state."""

    def __init__(self, purse: Purse, settings: Settings) -> None:
        self.purse, self._settings = purse, settings
        self._known: dict[tuple[str, str, str, str], tuple[Limit, ...]] = {}

    def take_up(self, settings: Settings) -> None:
        """These are the limits from now on. What was counted stays counted."""
        self._settings, self._known = settings, {}

    def account(self, call: Call, ready: Ready) -> Account:
        """What this call may spend."""
        if call.origin == "drill":
            return Account()
        if call.origin in _PROJECT_ALONE:
            return Account(self.purse, tuple(limit for limit in _of_project(self._settings.limits) if limit.unit == "usd"))
        who = (ready.feature.name, ready.digest, call.tenant, call.key or "")
        limits = self._known.get(who)
        if limits is None:
            if len(self._known) >= MANY:
                self._known = {}
            limits = self._known[who] = tuple(self._limits(call, ready))
        return Account(self.purse, limits, ready.feature.limits.per_call)

    def _limits(self, call: Call, ready: Ready) -> Iterator[Limit]:
        feature, tenant, settings = ready.feature.name, call.tenant, self._settings
        yield from _of_project(settings.limits)
        own = settings.tenants.get(tenant)
        yield from _caps(settings.limits if own is None else own, "tenant_" if own is None else "", f"tenant {tenant}")
        yield from _caps(ready.feature.limits, "feature_", f"feature {feature}")
        yield from _caps(ready.feature.limits, "tenant_", f"tenant {tenant} with feature {feature}")
        if call.key is not None:
            yield from _caps(settings.limits, "key_", f"key {call.key}")


def has_money_cap(*tables: Limits | ProjectLimits | TenantSpec) -> bool:
    """Whether any of these tables limits money."""
    named = [getattr(table, name) for table in tables for name in table.__struct_fields__]
    return any(isinstance(value, Usd) or (isinstance(value, Caps) and any(cap.unit == "usd" for cap in value)) for value in named)


def _of_project(limits: ProjectLimits) -> Iterator[Limit]:
    return _caps(limits, "project_", "project")


def _caps(limits: Any, prefix: str, scope: str) -> Iterator[Limit]:
    for window in WINDOWS:
        for cap in getattr(limits, f"{prefix}per_{window}") or ():
            said = f"the limit per {window} of {scope}"
            yield Limit(counter=f"{scope}|{cap.unit}|{window}", unit=cap.unit, window=window, most=cap.most, said=said)
    at_once = getattr(limits, f"{prefix}at_once")
    if at_once is not None:
        said = f"the limit at once of {scope}"
        yield Limit(counter=f"{scope}|at_once", unit="at_once", window=None, most=at_once, said=said)
