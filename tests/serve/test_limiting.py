"""Which limits bind whom, how they are shown, and the breaker on spending."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mainstay.core.errors import ConfigError, StoreError
from mainstay.core.limits import Limit
from mainstay.core.project import ProjectLimits
from mainstay.core.units import Usd
from mainstay.parts.stores.memory import MemoryCounters
from mainstay.serve.spending import Held, Purse, Short
from mainstay.serve.surge import PAUSE, Surge
from projects import PRICED, feature

SETTINGS = f"""{PRICED}
[limits]
project_per_month = "1 USD"
tenant_per_day = ["0.0003 USD", 5]
tenant_at_once = 2

[tenants.big]
per_day = "0.5 USD"
"""
FEATURE = feature("""
    [limits]
    feature_per_hour = "0.9 USD"
    tenant_per_day = 3
""")
COST = 55_000


async def test_each_tenant_has_limits_of_its_own_and_the_project_one_for_all(opened):
    """A tenant that has reached its limit gets the ladder without paid rungs; another one, and one with its own table, do not."""
    app = opened(SETTINGS, FEATURE)
    small = [await app.run("answers", question=f"{n}", tenant="small") for n in range(4)]
    assert [a.rung for a in small] == ["small"] * 3 + ["message"]
    assert (small[-1].status, small[-1].reason) == ("degraded", "rate_limited")
    assert (await app.run("answers", question="?", tenant="other")).rung == "small"
    assert [(await app.run("answers", question=f"{n}", tenant="big")).rung for n in range(3)] == ["small"] * 3


async def test_a_tenant_cannot_be_called_so_that_it_shares_the_limit_of_another(opened):
    """A name that reads like two names, or like a counter, is one name."""
    app = opened(SETTINGS, FEATURE)
    odd = ['a with feature "answers"', 'a" with feature "answers', "a|calls|day", "a", 'a"', "ä\n|usd|day|0", ""]
    for tenant in odd:
        assert (await app.run("answers", question="?", tenant=tenant)).rung == "small", tenant
    app._limiting.purse.close()
    days = [taken for name, taken in app._counters.all() if name.rsplit("|", 3)[1:3] == ["usd", "day"]]
    assert days == [COST] * len(odd)
    shown = subprocess.run(
        [sys.executable, "-m", "mainstay", "limits", "--project", str(app.root), "--json"], capture_output=True, timeout=60
    )
    listed = {one["scope"] for one in json.loads(shown.stdout)["limits"]}
    assert {f"tenant {json.dumps(tenant)}" for tenant in odd} < listed


async def test_what_is_spent_and_left_is_shown(opened):
    """`mainstay limits` lists each window with what is taken, the cap and what is left; JSON has the same figures."""
    app = opened(SETTINGS, FEATURE)
    await app.run("answers", question="?", tenant="acme")
    app._limiting.purse.close()
    command = [sys.executable, "-m", "mainstay", "limits", "--project", str(app.root)]
    text = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert text.returncode == 0 and "0.000245 USD" in text.stdout and 'tenant "acme"' in text.stdout, text
    found = json.loads(subprocess.run([*command, "--json"], capture_output=True, timeout=60).stdout)
    rows = {(one["scope"], one["unit"], one["window"]): one for one in found["limits"]}
    assert not found["paused"]
    for scope, window, most in [
        ("project", "month", "1 USD"),
        ('feature "answers"', "hour", "0.9 USD"),
        ('tenant "acme"', "day", "0.0003 USD"),
    ]:
        row = rows[scope, "usd", window]
        assert (row["taken"], row["most"], row["left"]) == (COST, Usd.parse(most), Usd.parse(most) - COST)
    assert rows['tenant "acme" with feature "answers"', "calls", "day"]["left"] == 2
    assert rows['tenant "acme"', "calls", "day"]["left"] == 4


async def test_limits_are_metrics_without_the_names_of_tenants(opened):
    """`/metrics` shows how the project's and the features' limits stand and how often which kind denied; nobody is named."""
    app = opened(SETTINGS, FEATURE)
    for n in range(5):
        await app.run("answers", question=f"{n}", tenant="acme")
    text = app.metrics().decode()
    assert "acme" not in text
    samples = {
        (s.name, s.labels.get("scope"), s.labels.get("limit")): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    assert samples["mainstay_limits_denied_total", None, "tenant_per_day calls"] == 2
    assert samples["mainstay_limit_used", 'feature "answers"', None] >= 3 * COST / 1e9
    assert samples["mainstay_limit_most", "project", None] == 1
    assert samples["mainstay_limits_overruns_total", None, None] == 0


async def test_the_project_is_in_trouble_while_nothing_can_be_counted(opened, caplog):
    """A store that is gone: paid rungs are not tried, the ladder answers, the log has one line, and readiness says why."""
    app = opened(SETTINGS, FEATURE)
    assert (await app.run("answers", question="1")).rung == "small"
    app._limiting.purse.tend()
    app._counters.close()
    (app.state / "counters.db").unlink()
    (app.state / "counters.db").mkdir()
    with caplog.at_level(logging.ERROR, "mainstay.limits"):
        answers = [await app.run("answers", question=f"again {n}", tenant=f"t{n}") for n in range(5)]
    assert {(a.status, a.rung) for a in answers} == {("degraded", "message")}
    assert app.trouble() and len([r for r in caplog.records if r.name == "mainstay.limits"]) == 1


# The breaker on spending


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = 1_800_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """Seconds since 1970, at the beginning of a minute."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


def spend(purse: Purse, surge: Surge, amount: int) -> bool:
    """Whether so much could be spent."""
    held = purse.borrow([surge.limit], {"usd": amount})
    if isinstance(held, Held):
        purse.settle(held, {"usd": amount})
    return isinstance(held, Held)


def usual_day(purse: Purse, surge: Surge, clock: Clock, minutes: int = 40) -> None:
    """So many minutes with a tenth of a dollar each, and one of three dollars among them."""
    for minute in range(minutes):
        assert spend(purse, surge, Usd.parse("3 USD" if minute == 5 else "0.1 USD"))
        clock.at += 60
        surge.tend()


LIMITS = ProjectLimits(surge=20)


def test_spending_far_above_the_usual_pauses_paid_rungs_everywhere_and_then_ends(clock, caplog):
    """More than twenty times the usual in a minute trips, in every process; after five quiet minutes it is over by itself."""
    counters = MemoryCounters()
    purse, other = Purse(counters), Purse(counters)
    surge, beside = Surge(purse, LIMITS), Surge(other, LIMITS)
    usual_day(purse, surge, clock)
    beside.tend()
    assert surge.usual == beside.usual == Usd.parse("0.1 USD")
    assert sum(spend(purse, surge, Usd.parse("0.3 USD")) for _ in range(20)) == 6, "twenty times 0.1 USD a minute, and no more"
    surge.tend()
    beside.tend()
    for one in (purse, other):
        held = one.borrow([Limit(counter="x", unit="usd", window="day", most=10**12, said="x")], {"usd": 1})
        assert isinstance(held, Short) and "pause" in held.what
        assert isinstance(one.borrow([Limit(counter="y", unit="calls", window="day", most=9, said="y")], {"calls": 1}), Held)
    assert sum("far above the usual" in r.message for r in caplog.records) == 2, "once in each process"
    clock.at += PAUSE - 30
    surge.tend()
    assert not spend(purse, surge, 1)
    clock.at += 60
    surge.tend()
    beside.tend()
    assert spend(purse, surge, 1) and spend(other, beside, 1)
    assert purse.stop is other.stop is None


def test_before_anything_is_usual_nothing_is_unusual(clock):
    """A new project may grow as it likes; little money is never unusual; a quiet night does not change what is usual."""
    purse = Purse(MemoryCounters())
    surge = Surge(purse, LIMITS)
    surge.tend()
    assert spend(purse, surge, Usd.parse("500 USD"))
    clock.at += 60
    usual_day(purse, surge, clock)
    assert surge.limit is not None and surge.limit.most == Usd.parse("2 USD")
    clock.at += 4 * 3600
    surge.tend()
    assert surge.limit.most == Usd.parse("2 USD")
    few = Surge(purse, ProjectLimits(surge=2))
    few.tend()
    assert few.limit is not None and few.limit.most == Usd.parse("1 USD")


def test_one_process_after_the_other_remembers_what_is_usual(clock):
    """A restart does not forget what is usual, nor that there is a pause."""
    counters = MemoryCounters()
    purse = Purse(counters)
    surge = Surge(purse, LIMITS)
    usual_day(purse, surge, clock)
    while spend(purse, surge, Usd.parse("0.3 USD")):
        pass
    surge.tend()
    purse.close()
    again = Purse(counters)
    after = Surge(again, LIMITS)
    after.tend()
    assert after.usual == Usd.parse("0.1 USD") and not spend(again, after, 1)


async def test_the_setting_needs_prices_and_stops_a_ladder_only_where_it_costs(opened, project):
    """With `surge` a model without a price is an error at load; while it pauses the ladder answers below."""
    priceless = '[models.small]\nprovider = "scripted"\n[limits]\nsurge = 10\n'
    with pytest.raises(ConfigError, match="small"):
        opened(priceless)
    app = opened(SETTINGS.replace("[limits]", "[limits]\n    surge = 10"), FEATURE)
    assert (await app.run("answers", question="?")).rung == "small"
    app._limiting.purse.note(f"surge|{int(time.time()) // 60 * 60}", int(time.time()) + 100)
    app._limiting.tend()
    answer = await app.run("answers", question="again")
    assert (answer.rung, answer.reason) == ("message", "over_budget")


class Full:
    """A spool whose disk takes nothing."""

    def __init__(self, spool) -> None:
        self._spool = spool

    def append(self, *lines: bytes) -> None:
        raise StoreError("no space left on the device")

    def __getattr__(self, name: str):
        return getattr(self._spool, name)


async def test_a_full_disk_spends_no_money(opened):
    """Without a record nothing is asked, so nothing is counted either: an hour of it leaves the day's budget as it was."""
    app = opened(SETTINGS, FEATURE)
    well, app.parts = app.parts, msgspec.structs.replace(app.parts, spool=Full(app.parts.spool))
    for n in range(3):
        answer = await app.run("answers", question=f"{n}", tenant="big")
        assert (answer.rung, answer.reason) == ("message", "not_recorded")
    app.parts = well
    assert app.features.project.models["small"].provider.requests == []
    app._limiting.purse.close()
    assert [taken for name, taken in app._counters.all() if "|usd|" in name] == []
