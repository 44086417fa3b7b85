"""Canaries and shadows on live calls: who is answered by what, what is judged, and how it ends."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest
from releasing import FEATURE, idle, learn, production, working, write_project

import mainstay
from mainstay.core.answer import Answer
from mainstay.core.call import Call
from mainstay.core.errors import Refused
from mainstay.core.reasons import Status
from mainstay.core.record import Begun, Outcome, Record
from mainstay.core.release import TrialEnded
from mainstay.learn.releasing import Released, Wanted
from mainstay.learn.trials import Collector

ONLINE = FEATURE.replace("at_least = 60", 'at_least = 60\nonline = ["live_scorers:Knows"]')


async def trial(root: Path, kind: str, share: float = 0.5, days: float = 7.0) -> Released:
    """Put the folder as it is now on trial."""
    async with working(root) as app:
        return await app.desk.on_trial("desk", Wanted(), kind=kind, share=share, days=days)  # type: ignore[arg-type]


async def begun(root: Path, *skills: str, live: tuple[str, ...] = ("a",), feature: str = FEATURE) -> tuple[str, str]:
    """A project with a live release of some skills and a canary of others; gives their digests."""
    feature = feature.replace("pass_rate = 0.5", "no_category_may_fall_by = 1.0")
    write_project(root, skills=live, feature=feature)
    (root / "live_scorers.py").write_text(KNOWS)
    async with working(root) as app:
        first = await app.desk.release("desk", Wanted())
    learn(root, *skills)
    second = await trial(root, "canary")
    assert first.link is not None and second.link is not None
    return first.release, second.release


KNOWS = '''
from mainstay.core.report import Opinion


class Knows:
    """Whether the answer is one."""

    async def score(self, subject):
        good = "know" not in subject.answer.text
        return Opinion(value=float(good), passed=good)
'''


async def test_a_user_stays_on_one_side_and_the_control_is_as_large_as_the_canary(tmp_path: Path):
    """Nobody's answers change sides between two questions, and nothing cached before is served to either arm."""
    live, canary = await begun(tmp_path, "a", "b")
    async with production(tmp_path) as app:
        said: dict[str, set[str]] = {}
        cohorts: dict[str, int] = {}
        for turn in range(3):
            for n in range(60):
                answer = await app.run("desk", question=f"a {turn}", user=f"user-{n}")
                said.setdefault(f"user-{n}", set()).add(answer.release)
        assert all(len(releases) == 1 for releases in said.values())
        assert {release for releases in said.values() for release in releases} == {live, canary}
        for record in await app.records(limit=200, feature="desk", origin="user"):
            cohort = str(record.begun.call.cohort).partition(":")[2]
            cohorts[cohort] = cohorts.get(cohort, 0) + 1
            assert record.begun.release == (canary if cohort == "canary" else live)
        assert set(cohorts) == {"canary", "control"} and min(cohorts.values()) > 50


@pytest.mark.parametrize(("skills", "ending"), [(("b",), "rolled_back"), (("a", "b"), "promoted")])
async def test_a_canary_ends_by_itself(tmp_path: Path, skills: tuple[str, ...], ending: str):
    """What is worse for its users is taken back, what is as good goes live, by the scores of live answers; the audit says why."""
    live, canary = await begun(tmp_path, *skills, feature=ONLINE)
    async with production(tmp_path) as app:
        ended, asked, until = app.releases.links()[-1], 0, time.monotonic() + 60
        while not isinstance(ended.change, TrialEnded) and time.monotonic() < until:
            for n in range(asked, min(asked + 100, 1500)):
                await app.run("desk", question=f"a {n}", user=f"user-{n}")
            await idle(app)
            await asyncio.sleep(0.3)  # the application looks at its trials by itself, now and then
            app.follow()
            ended, asked = app.releases.links()[-1], asked + 100
        assert ended.who == "mainstay" and isinstance(ended.change, TrialEnded)
        assert ended.change.ending == ending and "pairs of users" in ended.change.why
        assert app.features.ready["desk"].digest == (canary if ending == "promoted" else live)
        assert not app.features.canaries and (await app.run("desk", question="a 1")).status == "answered"


async def test_a_canary_whose_time_is_over_goes_back(tmp_path: Path):
    """Nothing stays on trial for ever."""
    live, _ = await begun(tmp_path, "a", "b")
    async with production(tmp_path) as app:
        app.desk.board.expire(time.time() + 8 * 86400)
        assert not app.features.canaries and app.features.ready["desk"].digest == live
        change = app.releases.links()[-1].change
        assert isinstance(change, TrialEnded) and (change.ending, change.why) == ("rolled_back", "its time was over")


async def test_rollback_ends_the_canary_first(tmp_path: Path):
    """Whoever types `rollback` while something is tried means that."""
    live, _ = await begun(tmp_path, "a", "b")
    async with production(tmp_path) as app:
        app.desk.board.roll_back("desk")
        assert not app.features.canaries and app.features.ready["desk"].digest == live


async def test_a_release_that_is_blocked_is_tried_on_nobody(tmp_path: Path):
    """A canary is for what nobody can tell, not for what is known to be worse."""
    root = write_project(tmp_path, skills=("a", "b"))
    async with working(root) as app:
        await app.desk.release("desk", Wanted())
    learn(root, "a")
    assert (await trial(root, "canary")).link is None


async def test_a_canary_needs_something_to_be_compared_with(tmp_path: Path):
    """The first release of a feature has no control."""
    root = write_project(tmp_path)
    with pytest.raises(Refused, match="nothing is live"):
        await trial(root, "canary")


async def test_a_shadow_answers_beside_and_nobody_sees_it(tmp_path: Path):
    """The same questions, the shadow's answers in records of their own with scores, and not one of them at a user."""
    root = write_project(tmp_path, skills=("a", "b"), feature=ONLINE)
    (root / "live_scorers.py").write_text(KNOWS)
    async with working(root) as app:
        live = await app.desk.release("desk", Wanted())
    learn(root, "c")
    shadow = await trial(root, "shadow")
    assert shadow.report is not None and shadow.report.ruling is not None and shadow.report.ruling.outcome == "blocked"
    async with production(root) as app:
        for n in range(40):
            answer = await app.run("desk", question=f"a {n}", user=f"user-{n}")
            assert answer.release == live.release and answer.text == f"a answer {n}."
        await idle(app)
        records = await app.records(limit=100, feature="desk", origin="shadow")
        assert 8 < len(records) < 32 and {r.begun.release for r in records} == {shadow.release}
        scores = [score for record in records for score in await app.scores(record.id)]
        assert {(score.name, score.value) for score in scores} == {("live_scorers:Knows", 0.0)} and len(scores) == len(records)
        parents = {record.begun.call.parent for record in records}
        assert parents <= {r.id for r in await app.records(limit=100, origin="user")}


async def test_a_release_ends_the_canary_of_another(tmp_path: Path):
    """What the canary was compared with is not live any more."""
    await begun(tmp_path, "a", "b")
    learn(tmp_path, "a", "b", "c")
    async with working(tmp_path) as app:
        await app.desk.release("desk", Wanted())
        assert app.desk.board.state().standing("desk").canary is None


async def test_an_application_that_is_closed_gives_up_what_follows_an_answer(tmp_path: Path):
    """Nothing of a trial outlives the application."""
    root = write_project(tmp_path, feature=ONLINE)
    (root / "live_scorers.py").write_text(KNOWS)
    async with working(root) as app:
        await app.desk.release("desk", Wanted())
    learn(root, "c")
    await trial(root, "shadow")
    app = mainstay.open(root, environ={})
    for n in range(20):
        await app.run("desk", question=f"a {n}", user=f"user-{n}")
    await app.close()
    assert len(asyncio.all_tasks()) == 1


def test_scorers_of_a_release_that_hides_see_what_its_record_holds():
    """What an input guard hid from models and records is hidden from online scorers and judges as well."""
    call = Call(id="a", feature="f", input={"question": "I am ann@example.org"})
    hidden = Record(
        begun=Begun(id="a", at=0.0, release="r", call=msgspec.structs.replace(call, input={"question": "I am [email_1]"})),
        outcome=Outcome(id="a", answer=Answer(id="a", feature="f", release="r", status=Status.ANSWERED), took_us=1),
    )
    answer = Answer(id="a", feature="f", release="r", status=Status.ANSWERED, text="Hello ann@example.org")
    for hides, seen in ((True, "I am [email_1]"), (False, "I am ann@example.org")):
        collector = Collector()
        collector.expect("a")
        collector.observe(hidden)
        record = collector.take(call, answer, hidden=hides)
        assert record is not None and record.begun.call.input == {"question": seen}
