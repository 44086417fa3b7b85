"""What a running process takes up of what others change, and what it must not lose, wait for, or believe."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from releasing import FEATURE, MODEL, SETTINGS, learn, production, working, write_project

import mainstay
from mainstay.core.answer import Answer
from mainstay.core.errors import BadRequest, MainstayError, Refused
from mainstay.core.record import Record
from mainstay.core.release import Change, Link, RolledBack, Switched, TrialBegan, WentLive, fold
from mainstay.learn.canary import values_of
from mainstay.learn.evaluation import Options
from mainstay.learn.releasing import Released, Wanted
from mainstay.parts.stores.sqlite_evals import SqliteEvals
from mainstay.parts.stores.sqlite_releases import SqliteReleases

EASY = FEATURE.replace("pass_rate = 0.5", "no_category_may_fall_by = 1.0")


# What a release imports: it waits for a file, as long as SLOW says at most.
WAITS = """
import os
import time
from pathlib import Path

until = time.monotonic() + float(os.environ.get("SLOW", "0"))
while time.monotonic() < until and not Path({gate!r}).exists():
    time.sleep(0.01)


def reply(question):
    pass
"""


async def answering(app: mainstay.Mainstay, reason: str | None) -> Answer:
    """Wait until it answers for this reason; the answer."""
    async with asyncio.timeout(30):
        while (answer := await app.run("desk", question="a 1")).reason != reason:
            await asyncio.sleep(0.01)
    return answer


async def release(root: Path, wanted: Wanted | None = None) -> Released:
    """Release the folder as it is now."""
    async with working(root) as app:
        return await app.desk.release("desk", wanted or Wanted())


def mainstay_(root: Path, *arguments: str) -> None:
    """What another process does to the project."""
    command = [sys.executable, "-m", "mainstay", *arguments, "-C", str(root)]
    subprocess.run(command, env={**os.environ, "SLOW": "0"}, capture_output=True, timeout=60, check=True)


async def trial(root: Path, kind: str, share: float = 0.5) -> Released:
    """Put the folder as it is now on trial."""
    async with working(root) as app:
        return await app.desk.on_trial("desk", Wanted(), kind=kind, share=share)  # type: ignore[arg-type]


# Trials


async def test_a_reader_that_leaves_early_leaves_nothing_behind(tmp_path: Path):
    """A record is set aside for the scorers of a trial; when its answer is never read to the end, nobody may keep it for ever."""
    root = write_project(tmp_path, skills=("a",), feature=EASY)
    await release(root)
    learn(root, "a", "b")
    await trial(root, "canary")
    async with production(root) as app:
        for n in range(30):
            events = app.stream("desk", question=f"a {n}", user=f"user-{n}")
            await anext(events)
            await events.aclose()
        assert len(await app.records(limit=100, reason="reader_left")) == 30
        assert not app._sealed._expected


async def test_closing_works_after_run_sync_had_something_on_trial(tmp_path: Path):
    """What follows an answer of `run_sync` belongs to its own event loop; `close` may be called from any other."""
    root = write_project(tmp_path, skills=("a",), feature=EASY)
    slow = "self.asked += 1\n        await asyncio.sleep(float(os.environ.get('SLOW', '0')) if 'skill: c' in str(request) else 0)"
    (root / "mainstay.toml").write_text(SETTINGS.replace("skilled_model", "slow_model"))
    (root / "slow_model.py").write_text(f"import asyncio\nimport os\n{MODEL.replace('self.asked += 1', slow)}")
    await release(root)
    learn(root, "c")
    await trial(root, "shadow")
    app = production(root)
    patience = pytest.MonkeyPatch()
    patience.setenv("SLOW", "60")
    try:
        for n in range(20):
            await asyncio.to_thread(app.run_sync, "desk", question=f"a {n}", user=f"user-{n}")
        assert app.trials.behind.busy
    finally:
        await app.close()
        patience.undo()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("mainstay")]


async def test_users_whose_names_are_masked_are_not_one_user(tmp_path: Path):
    """Where the log policy hides who asked, each call stands for itself: else a canary of a thousand users compares one pair."""
    root = write_project(tmp_path, skills=("a",), feature=EASY.replace('log = "full"', 'log = "redacted"'))
    async with working(root) as app:
        for n in range(6):
            await app.run("desk", question=f"a {n}", user=f"user{n}@example.com")
        records: list[Record] = await app.records(limit=10)
        assert {record.begun.call.user for record in records} == {"[email]"}
        assert len(values_of([(record, []) for record in records])) == 6


# Following


async def test_a_switch_does_not_wait_for_what_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A canary with thousands of records takes seconds to judge; a switch bites in the meantime."""
    root = write_project(tmp_path, skills=("a",), feature=EASY)
    await release(root)
    learn(root, "a", "b")
    await trial(root, "canary")
    async with production(root) as app:
        judged, bitten = threading.Event(), threading.Event()

        class Slow:
            """A ledger that takes its time over everything."""

            def __init__(self, ledger: object) -> None:
                self._ledger = ledger

            def records(self, **options: object) -> list[Record]:
                judged.set()
                bitten.wait(60)
                return self._ledger.records(**options)  # type: ignore[attr-defined, no-any-return]

            def __getattr__(self, name: str) -> object:
                return getattr(self._ledger, name)

        monkeypatch.setattr(app, "_ledger", Slow(app._ledger))
        try:
            assert await asyncio.to_thread(judged.wait, 30)
            async with working(root) as other:
                other.desk.board.switch("desk", Switched(off=True))
            await answering(app, "switched_off")
        finally:
            bitten.set()


async def test_a_switch_does_not_wait_for_a_release_that_loads_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A release may import what takes seconds, or hangs; the moment after it is when a switch is needed most."""
    root = write_project(tmp_path, skills=("a", "b"))
    first = await release(root)
    async with production(root) as app:
        gate = tmp_path / "gate"
        (root / "features" / "desk" / "slow.py").write_text(WAITS.format(gate=str(gate)))
        feature = root / "features" / "desk" / "feature.toml"
        feature.write_text(feature.read_text().replace("[[ladder]]", '[[ladder]]\ncall = "slow.py:reply"\n\n[[ladder]]', 1))
        monkeypatch.setenv("SLOW", "60")
        for command in (["release", "desk", "--override", "in a hurry"], ["off", "desk"]):
            await asyncio.to_thread(mainstay_, root, *command)
        try:
            await answering(app, "switched_off")
            assert app.features.ready["desk"].digest == first.release
        finally:
            gate.touch()
        app.follow()
        assert app.features.ready["desk"].digest != first.release


async def test_evidence_is_not_weighed_again_at_every_switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A report of ten thousand cases takes a while to read; what did not change is carried over."""
    root = write_project(tmp_path, skills=("a", "b"))
    await release(root)
    async with production(root) as app:
        read: list[str] = []
        real = app.releases.evidence
        monkeypatch.setattr(app.releases, "evidence", lambda id: read.append(id) or real(id))  # type: ignore[func-returns-value]
        for off in (True, False):
            app.desk.board.switch("desk", Switched(off=off))
        assert app.features.state.number == 3 and read == []


async def test_a_store_that_is_deleted_takes_nothing_from_users(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """It goes on serving, says so, and obeys a switch that is made in the new file."""
    root = write_project(tmp_path, skills=("a", "b"))
    done = await release(root)
    async with production(root) as app:
        with caplog.at_level(logging.ERROR, "mainstay"):  # which `mainstay stress` has made quiet, if its tests ran before
            for suffix in ("", "-wal", "-shm"):
                (root / ".mainstay" / f"releases.db{suffix}").unlink(missing_ok=True)
            async with asyncio.timeout(30):
                while "releases.db" not in app.trouble():
                    await asyncio.sleep(0.02)
            assert (await app.run("desk", question="a 1")).text == "a answer 1."
            assert not (root / ".mainstay" / "releases.db").exists()  # nobody is told that nothing was ever released
        assert len([r for r in caplog.records if r.levelno >= logging.ERROR]) == 1
        store = SqliteReleases(root / ".mainstay" / "releases.db")
        store.add("desk", Switched(off=True), who="somebody")
        await answering(app, "switched_off")
        store.add("desk", Switched(off=False), who="somebody")
        store.close()
        answer = await answering(app, None)
        assert answer.release == done.release and "replaced" in app.trouble()


# What may go live


@pytest.mark.parametrize("against", ["none", "an old one"])
async def test_no_flag_spares_a_release_the_comparison_with_what_is_live(tmp_path: Path, against: str):
    """A release that breaks a category does not go live by being compared with nothing."""
    root = write_project(tmp_path, skills=("a", "b"), feature=FEATURE.replace("pass_rate = 0.5", "pass_rate = 0.3"))
    old = await release(root)
    learn(root, "a", "b", "c")
    live = await release(root)
    learn(root, "a")
    with pytest.raises(BadRequest, match="what is live"):
        await release(root, Wanted(against="none" if against == "none" else old.release))
    async with working(root) as app:
        with pytest.raises(BadRequest, match="own cases"):
            await app.desk.release("desk", Wanted(cases=app.workshop.working("desk").cases[:1]))
        standing = app.desk.board.state().standing("desk").live
        assert standing is not None and standing.digest == live.release


async def test_what_went_live_in_the_meantime_is_not_passed_over(tmp_path: Path):
    """A release that was compared with the one before is not made live over one that nobody compared it with."""
    root = write_project(tmp_path, skills=("a",), feature=EASY)
    await release(root)
    learn(root, "a", "b")
    async with working(root) as app, working(root) as faster:
        seen: list[int] = []

        def overtaken(progress: object) -> None:
            if not seen:
                seen.append(1)
                faster.desk.override("desk", "an emergency")

        learn(root, "a", "b", "c")
        faster_digest = faster.workshop.working("desk").release.digest
        learn(root, "a", "b")

        def swap(progress: object) -> None:
            if not seen:
                learn(root, "a", "b", "c")
                overtaken(progress)
                learn(root, "a", "b")

        with pytest.raises(Refused, match="in the meantime"):
            await app.desk.release("desk", Wanted(options=Options(at_once=1)), seen=swap)
        live = app.desk.board.state().standing("desk").live
        assert live is not None and live.digest == faster_digest


async def test_a_trial_that_cannot_begin_is_refused_before_money_is_spent(tmp_path: Path):
    """That another canary runs is known before anybody is asked."""
    root = write_project(tmp_path, skills=("a",), feature=EASY)
    await release(root)
    learn(root, "a", "b")
    await trial(root, "canary")
    learn(root, "a", "b", "c")
    async with working(root) as app:
        with pytest.raises(Refused, match="under way"):
            await app.desk.on_trial("desk", Wanted(), kind="canary", share=0.1)
        assert app.features.project.models["small"].provider.asked == 0  # type: ignore[attr-defined]


async def test_rollback_never_goes_back_to_what_is_live(tmp_path: Path):
    """A, B, A by override, B again: before B was A."""
    root = write_project(tmp_path, skills=("a",), feature=EASY)
    first = await release(root)
    learn(root, "a", "b")
    second = await release(root)
    learn(root, "a")
    async with working(root) as app:
        app.desk.override("desk", "a test")
    learn(root, "a", "b")
    assert (await release(root)).release == second.release
    async with working(root) as app:
        app.desk.board.roll_back("desk")
        live = app.desk.board.state().standing("desk").live
        assert live is not None and live.digest == first.release and not live.override


def test_what_is_rolled_back_to_is_the_proven_entry():
    """Of two times that a release was live, the one by an override is none to go back to: it has expired."""
    proven, glass = WentLive(digest="a", report="r"), WentLive(digest="a", override="x", expires=1.0)
    changes: list[Change] = [
        proven,
        WentLive(digest="b", report="s"),
        glass,
        WentLive(digest="c", report="t"),
        RolledBack(to="a"),
    ]
    links = [Link(number=n, at=0, who="", feature="desk", change=change, before="") for n, change in enumerate(changes, 1)]
    live = fold(links).standing("desk").live
    assert live == proven


# What is kept


def test_keeping_an_answer_costs_the_same_however_many_are_kept(tmp_path: Path):
    """Ten thousand answers are not looked through each time that one more is kept."""
    store = SqliteEvals(tmp_path / "evals.db")
    plan: list[str] = []
    store._database.write(
        lambda db: plan.extend(str(row) for row in db.execute("explain query plan delete from answers where at<0"))
    )
    store.close()
    assert plan and not [row for row in plan if "SCAN" in row], plan


def test_a_lease_does_not_outlive_a_clock_that_was_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Who took it an hour in the future, and died, keeps nobody from tending the trials."""
    store = SqliteReleases(tmp_path / "releases.db")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert store.lease("tend", "dead", 10)
    monkeypatch.setattr(time, "time", lambda: now)
    assert store.lease("tend", "alive", 10) and not store.lease("tend", "third", 10)
    store.close()


async def test_two_canaries_of_two_features_do_not_hinder_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What cannot be judged for one feature is judged for the other."""
    root = write_project(tmp_path, skills=("a",), feature=EASY)
    async with working(root) as app:
        for name in ("one", "two"):
            for digest, kind in (("a", "live"), ("b", "canary")):
                change = WentLive(digest=digest) if kind == "live" else TrialBegan(
                    id=f"{name}-t", kind="canary", digest=digest, share=0.1, until=time.time() + 99
                )  # fmt: skip
                app.releases.add(name, change, who="x")
        judged: list[str] = []
        app.follow()
        app.dev = False

        def judge(feature: str, *_: object) -> None:
            judged.append(feature)
            raise MainstayError("its records are damaged")

        monkeypatch.setattr(app._caretaker, "_judge", judge)
        with pytest.raises(MainstayError):
            app.tend()
        assert sorted(judged) == ["one", "two"]
        app.dev = True
