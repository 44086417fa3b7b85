"""`mainstay learn near`, `mainstay cache` and `mainstay precompute`, as people and scripts type them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import mainstay
from mainstay.caretaking import LEASE
from mainstay.doors.cli.main import main
from projects import feature

SETTINGS = """
    [models.small]
    provider = "scripted"
    price = { input = "1 USD", output = "2 USD" }
"""
FEATURE = feature(
    """
    [cache]
    keep = "1h"
    near = "auto"
    wrong_hits = 0.06
    checked = 0.0
""",
    deadline="2s",
)
THINGS = "parcel invoice account password voucher warranty delivery receipt discount contract subscription address".split()
DOINGS = "cancel change print extend return renew share download explain cancel reorder check".split()


@pytest.fixture
def root(project: Callable[..., Path]) -> Path:
    """A project with a hundred cases, each of which expects something else."""
    lines = [
        json.dumps({"input": {"question": f"How do I {do} my {thing}?"}, "expect": {"contains": [f"{do} {thing}"]}})
        for thing in THINGS
        for do in dict.fromkeys(DOINGS)
    ]
    return project(SETTINGS, FEATURE, {"features/answers/cases/all.jsonl": "\n".join(lines) + "\n"})


def cli(root: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(main, [*arguments, "-C", str(root)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_threshold_is_measured_and_near_hits_come_on(root: Path):
    """Questions in other words find theirs and near misses find nothing; the file holds what was measured, and is loaded."""
    shown = cli(root, "learn", "near", "answers")
    assert shown.exit_code == 0, shown.output
    assert "Near hits are on" in shown.output
    file = json.loads((root / "features/answers/near.json").read_text())
    assert file["upper"] <= file["target"] == 0.06
    assert file["sources"].keys() == {"case", "reworded", "another"}
    with mainstay.open(root, environ={}, dev=True) as app:
        assert app.features.ready["answers"].near.threshold == file["threshold"]


def test_too_little_shows_nothing_and_near_hits_stay_off(root: Path):
    """Below the number of hits that can show a rate, the command, the check and the log say why."""
    toml = root / "features/answers/feature.toml"
    toml.write_text(toml.read_text().replace("0.06", "0.001"))
    shown = cli(root, "learn", "near", "answers")
    assert shown.exit_code == 3
    assert "Near hits stay off: " in shown.output and "wrong_hits is 0.001" in shown.output
    checked = cli(root, "check", "answers", "--json")
    lines = {line["name"]: line for line in json.loads(checked.stdout[checked.stdout.index("[") :])}
    assert lines["near hits"]["standing"] == "not met"
    assert "wrong_hits is 0.001" in lines["near hits"]["what"]


def test_what_the_cache_saved_is_shown(root: Path):
    """Exact and near hits, the money that their answers had cost, and how often near hits were wrong."""
    assert cli(root, "learn", "near", "answers").exit_code == 0
    with mainstay.open(root, environ={}, dev=True) as app:
        for question in ("How do I cancel my parcel?", "How do I cancel my parcel?", "how do i cancel my parcel"):
            answer = app.run_sync("answers", question=question)
    shown = json.loads(cli(root, "cache", "answers", "--json").output)["cache"]
    assert (shown["calls"], shown["exact"], shown["near"], shown["checked"]) == (3, 1, 1, 0)
    assert shown["saved_nano_usd"] == 2 * shown["saved_near_nano_usd"] > 0
    assert "unknown" in cli(root, "cache", "answers").output
    with mainstay.open(root, environ={}, dev=True) as app:
        for _ in range(2):
            answer = app.run_sync("answers", question="How do I print my invoice?")
        answer = app.run_sync("answers", question="how do I print my invoice")
        import asyncio

        asyncio.run(app.workshop.keep(answer.id, "near", __import__("mainstay.core.report").core.report.Opinion(value=0.0)))
    assert "1 of 1 that were answered anew were wrong (100.0%; 2.5% to 100.0%" in cli(root, "cache", "answers").output


def test_a_list_is_answered_ahead(root: Path, tmp_path: Path):
    """What is asked afterwards is answered from the cache, as an ordinary exact hit."""
    listed = tmp_path / "questions.txt"
    listed.write_text('# a list\nWhat is new?\n{"question": "What is old?"}\n')
    shown = cli(root, "precompute", "answers", "--from", str(listed), "--dev")
    assert shown.exit_code == 0, shown.output
    assert "2 questions asked ahead: 2 answered, 0 were there, 0 failed" in shown.output
    with mainstay.open(root, environ={}, dev=True) as app:
        for question in ("What is new?", "What is old?"):
            assert app.run_sync("answers", question=question).status == "cached"
    assert "1 were there" not in cli(root, "cache", "answers").output
    assert "2 questions asked ahead" in cli(root, "cache", "answers").output


def test_only_what_several_users_of_one_tenant_asked_is_answered_ahead(root: Path):
    """What one user asks may be about him, and another tenant's users are not counted."""
    with mainstay.open(root, environ={}, dev=True) as app:
        for user in "abc":
            app.run_sync("answers", question="Are you open?", user=user, tenant="acme")
            app.run_sync("answers", question="Where is my own parcel?", user="a", tenant="acme")
            app.run_sync("answers", question="Who are you?", user=user, tenant=user)
    shown = cli(root, "precompute", "answers", "--dev", "--json")
    assert json.loads(shown.output[shown.output.index("{") :])["made"]["asked"] == 1
    with mainstay.open(root, environ={}, dev=True) as app:
        records = app.records
        import asyncio

        (ahead,) = asyncio.run(records(origin="ahead"))
    assert (ahead.begun.call.tenant, ahead.begun.call.input["question"]) == ("acme", "Are you open?")


def test_nothing_is_asked_once_models_fail(root: Path, tmp_path: Path):
    """Some failures in a row end it: an outage is not met with a list of questions."""
    toml = root / "mainstay.toml"
    toml.write_text(toml.read_text() + 'options = { fault = "unreachable" }\n')
    listed = tmp_path / "questions.txt"
    listed.write_text("".join([f"Question {n}?\n" for n in range(20)]))
    shown = cli(root, "precompute", "answers", "--from", str(listed), "--dev")
    assert shown.exit_code == 1
    assert "3 questions asked ahead: 0 answered" in shown.output and "3 failures in a row" in shown.output


@pytest.mark.slow
async def test_released_features_are_answered_ahead_once_and_again_with_the_next_release(tmp_path: Path):
    """A list is answered once by one process, and anew when another release is live."""
    import asyncio

    from releasing import learn, write_project

    from mainstay.learn.releasing import Wanted

    write_project(tmp_path, skills=("a", "b"))
    toml = tmp_path / "features/desk/feature.toml"
    text = toml.read_text()
    toml.write_text(text.replace('keep = "1h"', 'keep = "1h"\nahead = "ahead.txt"'))
    (tmp_path / "features/desk/ahead.txt").write_text("a 1\na 2\n")

    async def asked(app: mainstay.Mainstay, least: int) -> int:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            found = await app.records(origin="ahead", limit=100)
            if len(found) >= least and len(app.releases.attestations("desk", "ahead")) >= least // 2:
                break
            await asyncio.sleep(0.1)
        return len(found)

    async with mainstay.open(tmp_path, environ={}, dev=True) as app:
        await app.desk.release("desk", Wanted())
    async with mainstay.open(tmp_path, environ={}) as first, mainstay.open(tmp_path, environ={}) as second:
        assert await asked(first, 2) == 2
        assert (await first.run("desk", question="a 1")).status == "cached"
        assert await asked(second, 2) == 2
    async with mainstay.open(tmp_path, environ={}) as third:
        await asyncio.sleep(LEASE + 3)
        assert await asked(third, 2) == 2
    learn(tmp_path, "a", "b", "c")
    async with mainstay.open(tmp_path, environ={}, dev=True) as app:
        await app.desk.release("desk", Wanted())
    async with mainstay.open(tmp_path, environ={}) as app:
        assert await asked(app, 4) == 4
