"""`mainstay limits`: the caps of what is served, what is left and until when, and how the breaker on spending stands."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from click.testing import CliRunner

import mainstay
from mainstay.core.seams import Take
from mainstay.core.units import Usd
from mainstay.doors.cli.main import main
from mainstay.parts.stores.sqlite_counters import SqliteCounters
from mainstay.serve.spending import Purse

SETTINGS = """
[models.small]
provider = "scripted"
max_output = 10
price = { input = "1 USD", output = "1 USD" }
options = { replies = ["well"], usage = { input = 50, output = 5 } }
"""
FEATURE = """
summary = "Answers"
deadline = "5s"
[[ladder]]
model = "small"
prompt = "prompt.md"
[[ladder]]
message = "Sorry."
[limits]
feature_per_hour = "{hour}"
tenant_per_day = {day}
"""
COST = 55_000


def shown(root: Path, *words: str) -> Any:
    done = CliRunner().invoke(main, ["limits", "-C", str(root), *words])
    assert done.exit_code == 0, done.output
    return json.loads(done.output) if "--json" in words else done.output


def rows(root: Path) -> dict[tuple[str, str, str | None], Any]:
    return {(one["scope"], one["unit"], one["window"]): one for one in shown(root, "--json")["limits"]}


async def test_the_caps_are_those_of_what_is_live(project):
    """The folder was changed, and then broken, and then removed: what binds is the release, and that is what is shown."""
    root = project(SETTINGS, FEATURE.format(hour="0.9 USD", day=3))
    with mainstay.open(root, environ={}, dev=True) as app:
        app.desk.override("answers", "a test")
    file = root / "features/answers/feature.toml"
    file.write_text(FEATURE.format(hour="5 USD", day=700))
    async with mainstay.open(root, environ={}) as app:
        await app.run("answers", question="?", tenant="acme")
    for content in (None, "this is = not a feature [", ""):
        if content is not None:
            file.write_text(content)
        found = rows(root)
        money = found['feature "answers"', "usd", "hour"]
        assert (money["taken"], money["most"], money["left"]) == (COST, Usd.parse("0.9 USD"), Usd.parse("0.9 USD") - COST)
        assert found['tenant "acme" with feature "answers"', "calls", "day"]["most"] == 3
        assert found['feature "answers"', "usd", "hour"]["ends"] == int(time.time()) // 3600 * 3600 + 3600
    file.unlink()
    (root / "features/answers/prompt.md").unlink()
    file.parent.rmdir()
    assert rows(root)['feature "answers"', "usd", "hour"]["most"] == Usd.parse("0.9 USD")


def test_what_was_never_released_has_the_caps_of_its_folder(project):
    """In development the folder is what is served; a folder that cannot be read keeps nobody from seeing the rest."""
    files = {"features/broken/feature.toml": "this is = not a feature ["}
    root = project(SETTINGS + '[limits]\nproject_per_day = "1 USD"\n', FEATURE.format(hour="0.9 USD", day=3), files)
    found = rows(root)
    assert found['feature "answers"', "usd", "hour"]["most"] == Usd.parse("0.9 USD")
    assert found["project", "usd", "day"]["left"] == Usd.parse("1 USD")


async def test_a_plain_model_has_the_caps_of_plain(project):
    """A model that is called by its own name is limited by `[plain.limits]`, and that is shown."""
    root = project(SETTINGS + '[plain.limits]\nfeature_per_hour = "2 USD"\n', FEATURE.format(hour="1 USD", day=3))
    assert rows(root)['feature "small"', "usd", "hour"]["most"] == Usd.parse("2 USD")


def test_how_the_breaker_on_spending_stands(project):
    """What is usual, what would be too much, and until when it pauses, by the counting of all processes."""
    root = project(SETTINGS + '[limits]\nsurge = 4\nsurge_floor = "0.01 USD"\n', FEATURE.format(hour="1 USD", day=3))
    assert shown(root, "--json")["surge"] == {"usual": None, "most": None, "until": None}
    state, minute = root / ".mainstay", int(time.time()) // 60 * 60
    state.mkdir(exist_ok=True)
    counters = SqliteCounters(state / "counters.db")
    for ago in range(1, 40):
        begin = minute - 60 * ago
        counters.take([Take(f"spending|usd|minute|{begin}", 10_000_000, 10_000_000, 2**62, begin + 60 * 400)])
    surge = shown(root, "--json")["surge"]
    assert (surge["usual"], surge["most"], surge["until"]) == (10_000_000, 40_000_000, None)
    assert "pause" not in shown(root)
    purse = Purse(counters)
    purse.note(f"surge|{minute}", minute + 300)
    purse.close()
    counters.close()
    found = shown(root, "--json")
    assert (found["paused"], found["surge"]["until"]) == (True, minute + 300)
    assert "no paid rung is tried until" in shown(root)
    assert found["per_process"] == ["retry_loops", "circuit_breakers", "queues"]


def test_without_the_breaker_nothing_is_said_of_it(project):
    """Where `surge` is not set there is nothing to stand."""
    assert shown(project(SETTINGS, FEATURE.format(hour="1 USD", day=3)), "--json")["surge"] is None
