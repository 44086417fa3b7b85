"""From a changed folder to what users get: the gate, going live, rolling back, switching off, and what the runtime refuses."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import apsw
import msgspec
import pytest
from releasing import FEATURE, MODEL, case, learn, production, prompt, working, write_project

import mainstay
from mainstay.core.errors import ConfigError, NotReleased, Refused
from mainstay.core.release import Switched, WentLive, broken
from mainstay.learn.evaluation import Options
from mainstay.learn.releasing import Released, Wanted


async def release(root: Path, wanted: Wanted | None = None) -> Released:
    """Release the folder as it is now."""
    async with working(root) as app:
        return await app.desk.release("desk", wanted or Wanted())


async def asked(app: mainstay.Mainstay, question: str, **options: object) -> str:
    """What production answers."""
    return (await app.run("desk", question=question, **options)).text


async def until(app: mainstay.Mainstay, question: str, text: str) -> float:
    """Seconds until production answers this; fails after five."""
    began = time.monotonic()
    while await asked(app, question) != text:
        assert time.monotonic() - began < 5, f"it never said {text!r}"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


async def test_what_was_never_released_is_not_served(tmp_path: Path):
    """The server serves releases, and says what to type where there is none."""
    root = write_project(tmp_path)
    async with production(root) as app:
        with pytest.raises(NotReleased, match="no release of") as refused:
            await app.run("desk", question="a 1")
        assert refused.value.next.startswith("mainstay release desk")


async def test_a_release_is_served_byte_for_byte_until_the_next(tmp_path: Path):
    """An edit of the folder reaches nobody before it was evaluated and released; then it reaches a running process."""
    root = write_project(tmp_path)
    first = await release(root)
    assert first.report is not None and first.report.ruling is not None and first.report.ruling.outcome == "passed"
    async with production(root) as app:
        assert await asked(app, "c 1") == "I do not know."
        learn(root, "a", "b", "c")
        assert await asked(app, "c 2") == "I do not know."
        second = await release(root)
        assert second.link is not None
        await until(app, "c 3", "c answer 3.")
        answer = await app.run("desk", question="c 4")
        record = await app.record(answer.id)
        assert record is not None and record.begun.release == second.release != first.release


async def test_a_prompt_that_lifts_the_average_and_breaks_a_category_is_refused(tmp_path: Path):
    """The average hides what a category lost; the gate names the category and its cases, and what is live stays live."""
    root = write_project(tmp_path, skills=("a", "b"), categories={"a": 20, "b": 20, "c": 60})
    feature = root / "features" / "desk" / "feature.toml"
    feature.write_text(FEATURE.replace("pass_rate = 0.5", "pass_rate = 0.3"))
    first = await release(root)
    learn(root, "a", "c")
    second = await release(root)
    assert second.link is None and second.report is not None and second.report.ruling is not None
    ruling = second.report.ruling
    assert ruling.outcome == "blocked" and [f.slice for f in ruling.findings] == ["category=b"]
    assert set(ruling.findings[0].cases) == {f"b-{n}" for n in range(20)}
    passes = [sum(r.passed is True for r in side.results) for side in (second.report.candidate, second.report.baseline) if side]
    assert passes == [80, 40]
    async with production(root) as app:
        assert app.features.ready["desk"].digest == first.release


async def test_a_must_case_that_fails_blocks_whatever_the_rest(tmp_path: Path):
    """A case marked `must` is not outvoted."""
    root = write_project(tmp_path, skills=("a", "b", "c"), cases=[case("d", 1, must=True)])
    done = await release(root)
    assert done.report is not None and done.report.ruling is not None and done.link is None
    assert [(f.outcome, f.rule, f.cases) for f in done.report.ruling.findings] == [("blocked", "must", ("d-1",))]


async def test_too_few_cases_are_inconclusive_and_may_only_be_tried(tmp_path: Path):
    """Nobody can say is not yes: it does not go live, but a canary may show."""
    root = write_project(tmp_path)
    await release(root)
    golden = root / "features" / "desk" / "cases" / "golden.jsonl"
    golden.write_text("".join(golden.read_text().splitlines(keepends=True)[:30]))
    learn(root, "a", "b", "c")
    done = await release(root)
    assert done.link is None and done.report is not None and done.report.ruling is not None
    assert done.report.ruling.outcome == "inconclusive" and done.report.ruling.findings[0].rule == "at_least"
    async with working(root) as app:
        tried = await app.desk.on_trial("desk", Wanted(), kind="canary", share=0.5)
        assert tried.link is not None
    async with production(root) as app:
        assert app.features.canaries["desk"].ready.digest == tried.release
        assert app.features.ready["desk"].digest != tried.release


async def test_a_second_evaluation_costs_nothing_and_an_interrupted_one_goes_on(tmp_path: Path):
    """An answer that the same release gave to the same case is not paid for twice."""
    root = write_project(tmp_path)

    async def evaluate(budget: int | None) -> tuple[int, int, str]:
        async with working(root) as app:
            report = await app.desk.evaluate("desk", Wanted(options=Options(budget=budget, at_once=1)))
            provider = app.features.project.models["small"].provider
            assert report.candidate.release == app.features.ready["desk"].digest
            return provider.asked, len(report.candidate.results), report.unfinished  # type: ignore[attr-defined]

    each = 100 * 1000 + 10 * 2000  # nano-dollars an answer
    asked, answered, unfinished = await evaluate(10 * each)
    assert (asked, answered) == (10, 10) and "the budget was spent" in unfinished
    assert await evaluate(None) == (50, 60, "")
    assert await evaluate(None) == (0, 60, "")


JUDGE = """
summary = "Judges an answer"
[input]
question = "text"
answer = "text"
[answer]
schema = "verdict.schema.json"
[[ladder]]
model = "judge"
prompt = "prompt.md"
[[ladder]]
message = { score = 0.0, passed = false, reason = "nobody judged" }
"""


async def test_a_judge_is_paid_by_the_evaluation_and_asked_once(tmp_path: Path):
    """What judges cost counts for the budget, and a second run asks neither the feature nor its judge."""
    root = write_project(tmp_path, feature=FEATURE.replace("at_least = 60", 'at_least = 60\nscorers = ["judged:helpful"]'))
    folder = root / "features" / "helpful"
    folder.mkdir()
    (folder / "feature.toml").write_text(JUDGE)
    (folder / "prompt.md").write_text("Judge: {{ question }} {{ answer }}\n")
    (folder / "verdict.schema.json").write_text('{"type": "object", "required": ["score", "passed"]}')
    (root / "mainstay.toml").write_text(
        (root / "mainstay.toml").read_text()
        + '[models.judge]\nprovider = "scripted"\nprice = { input = "1 USD", output = "1 USD" }\n'
        + 'options = { replies = [\'{"score": 1, "passed": true}\'], usage = { input = 1000, output = 100 } }\n'
    )
    for expected in (60, 0):
        async with working(root) as app:
            report = await app.desk.evaluate("desk", Wanted())
            judge = app.features.project.models["judge"].provider
            assert len(judge.requests) == expected, report.candidate.results[0]  # type: ignore[attr-defined]
            assert report.candidate.results[0].opinions["judged:helpful"].passed
            assert {r.begun.call.tenant for r in await app.records(limit=100, feature="helpful", origin="judge")} == {"eval"}
    async with working(root) as app:
        spent = await app.desk.evaluate("desk", Wanted(options=Options(budget=10 * 1_100_000, at_once=1, fresh=True)))
        assert "the budget was spent" in spent.unfinished and 5 < len(spent.candidate.results) < 12


async def test_evaluations_leave_live_traffic_alone(tmp_path: Path):
    """Their calls have their own origin and tenant, fill no cache and are not in a feature's metrics."""
    root = write_project(tmp_path)
    async with working(root) as app:
        await app.desk.evaluate("desk", Wanted())
        records = await app.records(limit=100, feature="desk")
        assert {(r.begun.call.origin, r.begun.call.tenant) for r in records} == {("eval", "eval")} and len(records) == 60
        assert (await app.run("desk", question="a 1")).status == "answered"  # not cached
        assert (
            b'mainstay_calls_total{feature="desk"' in app.metrics() and b"60" not in app.metrics().split(b"calls_total{")[1][:90]
        )


async def test_rolling_back_and_switching_off_wait_for_no_gate(tmp_path: Path):
    """A bad evening ends with one command, which every process obeys."""
    root = write_project(tmp_path, skills=("a",), feature=FEATURE.replace("pass_rate = 0.5", "pass_rate = 0.3"))
    first = await release(root)
    learn(root, "a", "b", "c")
    await release(root)
    async with production(root) as app, working(root) as other:
        assert await asked(app, "b 1") == "b answer 1."
        other.desk.board.roll_back("desk", why="a test")
        await until(app, "b 1", "I do not know.")
        assert app.features.ready["desk"].digest == first.release
        with pytest.raises(Refused, match="no earlier release"):
            other.desk.board.roll_back("desk")
        other.desk.board.switch("desk", Switched(off=True, tenant="acme"))
        await until_off(app, tenant="acme")
        assert await asked(app, "a 1") == "a answer 1."
        other.desk.board.switch("desk", Switched(off=False, tenant="acme"))
        other.desk.board.switch("desk", Switched(off=True))
        answer = await until_off(app)
        assert (answer.text, answer.status, answer.reason) == ("Sorry.", "degraded", "switched_off")
        assert (await app.run("desk", question="a 1")).status == "degraded"  # nor from the cache, which holds what a model said
        other.desk.board.switch("desk", Switched(off=False))
        await until(app, "a 1", "a answer 1.")


async def until_off(app: mainstay.Mainstay, **options: object) -> mainstay.Answer:
    """The first answer of production that says that it is switched off."""
    deadline = time.monotonic() + 5
    while (answer := await app.run("desk", question="a 1", **options)).reason != "switched_off":
        assert time.monotonic() < deadline, "it was never switched off"
        await asyncio.sleep(0.005)
    return answer


async def test_a_switch_for_a_share_of_the_users_is_the_same_for_each_of_them(tmp_path: Path):
    """Half of the users are off, always the same half."""
    root = write_project(tmp_path)
    await release(root)
    async with production(root) as app, working(root) as other:
        other.desk.board.switch("desk", Switched(off=True, share=0.5))
        await asyncio.to_thread(app.follow)
        said = [[(await app.run("desk", question="a 1", user=f"u{n}")).reason for n in range(60)] for _ in range(2)]
        assert said[0] == said[1] and 15 < said[0].count(mainstay.Reason.SWITCHED_OFF) < 45


async def test_everything_can_be_off_but_the_message(tmp_path: Path):
    """`all` takes away rungs without a model too, which may be what is wrong."""
    rules = FEATURE.replace("[[ladder]]\nmodel", '[[ladder]]\nrules = "rules.toml"\n\n[[ladder]]\nmodel', 1)
    root = write_project(tmp_path, feature=rules.replace('log = "full"', 'log = "full"'))
    (root / "features" / "desk" / "rules.toml").write_text('[[rule]]\nname = "a"\nmatches = ["^a"]\nanswer = "By a rule."\n')
    async with working(root) as app:
        app.desk.board.switch("desk", Switched(off=True))
        assert await asked(app, "a 1") == "By a rule."
        app.desk.board.switch("desk", Switched(off=True, rungs="all"))
        assert await asked(app, "a 1") == "Sorry."


async def test_a_release_that_no_report_bears_is_refused_by_the_runtime(tmp_path: Path):
    """Whoever writes into the store directly does not get an unevaluated release served, nor one with a doctored report."""
    root = write_project(tmp_path)
    first = await release(root)
    learn(root, "a", "b", "c")
    async with working(root) as app:
        folder = app.workshop.working("desk")
        app.releases.keep(folder.release)
        assert first.report is not None and first.link is not None and isinstance(first.link.change, WentLive)
        forged = [
            (WentLive(digest=folder.release.digest), "there is no report"),
            (msgspec.structs.replace(first.link.change, digest=folder.release.digest), "is of another release"),
            (msgspec.structs.replace(first.link.change, seal="0" * 64), "was changed since"),
        ]
        for change, what in forged:
            app.releases.add("desk", change, who="somebody")
            async with production(root) as prod:
                assert "desk" not in prod.features.ready and what in prod.features.missing["desk"].what
                assert what in prod.trouble()


async def test_a_running_process_keeps_what_it_serves_when_the_next_is_refused(tmp_path: Path):
    """A refused change takes nothing away from users."""
    root = write_project(tmp_path)
    first = await release(root)
    async with production(root) as app:
        app.releases.add("desk", WentLive(digest="f" * 64), who="somebody")
        app.follow()
        assert await asked(app, "a 1") == "a answer 1." and app.features.ready["desk"].digest == first.release
        assert "refused" in app.trouble()


async def test_what_was_rolled_back_goes_also_where_the_one_before_cannot_be_served(tmp_path: Path):
    """After an upgrade the earlier release may be refused; the one that somebody took back loses its models all the same."""
    root = write_project(tmp_path)
    first = await release(root)
    learn(root, "a", "b", "c")
    second = await release(root)
    async with production(root) as app:
        assert await asked(app, "c 1") == "c answer 1."
        db = apsw.Connection(str(root / ".mainstay" / "releases.db"))
        db.execute("delete from releases where digest = ?", (first.release,))
        db.close()
        app.desk.board.roll_back("desk")
        answer = await app.run("desk", question="c 1")
        assert (answer.text, answer.status, answer.release) == ("Sorry.", "degraded", second.release)
        assert "there is no release" in app.trouble()


async def test_a_key_that_is_missing_in_production_is_an_outage_of_its_model(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The release is served as it was evaluated, its rung fails, the ladder goes on, and the log says why."""
    root = write_project(tmp_path)
    settings = (root / "mainstay.toml").read_text().replace("price", 'key = "env:SKILLED_KEY"\noptional = true\nprice')
    (root / "mainstay.toml").write_text(settings.replace("skilled_model", "keyed_model"))
    keyed = MODEL.replace("self.asked = 0", "self.asked, self.key = 0, key").replace("Finish\n", "Finish\n" + UNAUTHORIZED, 1)
    (root / "keyed_model.py").write_text(keyed.replace("        self.asked += 1\n", "        check(self.key)\n"))
    async with mainstay.open(root, environ={"SKILLED_KEY": "a-secret"}, dev=True) as app:
        done = await app.desk.release("desk", Wanted())
    async with mainstay.open(root, environ={}) as app:
        answer = await app.run("desk", question="a 1")
        assert (answer.text, answer.status, answer.release) == ("Sorry.", "degraded", done.release)
        assert app.trouble() == "" and "no key is set for small" in caplog.text
    async with mainstay.open(root, environ={"SKILLED_KEY": "a-secret"}) as app:
        assert await asked(app, "a 1") == "a answer 1."


UNAUTHORIZED = """
from mainstay.core.errors import Unauthorized


def check(key):
    if not key:
        raise Unauthorized("no key")
"""


async def test_an_override_is_served_until_it_expires(tmp_path: Path):
    """The glass to break: audited with its reason, and gone again by itself."""
    root = write_project(tmp_path)
    first = await release(root)
    learn(root, "c")
    async with working(root) as app:
        app.desk.override("desk", "the judge is down", hours=1)
    async with production(root) as prod:
        assert await asked(prod, "c 1") == "c answer 1."
        prod.desk.board.expire(time.time() + 3601)
        assert prod.features.ready["desk"].digest == first.release
        links = prod.releases.links()
        assert [link.change.override for link in links if isinstance(link.change, WentLive)][-1] == "the judge is down"


async def test_an_expired_override_with_nothing_before_it_loses_its_models(tmp_path: Path):
    """Always an answer: what was never proven does not go dark, its model does."""
    root = write_project(tmp_path)
    async with working(root) as app:
        app.desk.override("desk", "the first one", hours=1)
    async with production(root) as prod:
        for _ in range(2):
            prod.desk.board.expire(time.time() + 3601)
        assert (await prod.run("desk", question="a 1")).reason == "switched_off"
        assert len(prod.releases.links()) == 2


async def test_python_that_a_release_imports_is_part_of_it(tmp_path: Path):
    """A guard of the project decides what is served, so a release is another one when the guard changes."""
    root = write_project(tmp_path, feature=FEATURE.replace('output = ["size"]', 'output = ["own_guards:Polite"]'))
    guard = (
        "from own_words import WORDS\nfrom mainstay.core.draft import ALLOW\n\n\n"
        "class Polite:\n    hold = 0\n\n    async def check(self, draft):\n        return ALLOW\n"
    )
    (root / "own_guards.py").write_text(guard)
    (root / "own_words.py").write_text("WORDS = ('please',)\n")
    done = await release(root)
    async with working(root) as app:
        assert set(app.workshop.working("desk").release.imports) == {"own_guards.py", "own_words.py"}
    (root / "own_words.py").write_text("WORDS = ()\n")
    async with production(root) as prod:
        assert "desk" not in prod.features.ready and "not what was evaluated" in prod.features.missing["desk"].what
    again = await release(root)
    assert again.release != done.release


async def test_the_chain_shows_what_was_altered(tmp_path: Path):
    """Promise 9: every change is a link, and an edit, a removal or a swap breaks the chain."""
    root = write_project(tmp_path)
    await release(root)
    async with working(root) as app:
        app.desk.board.switch("desk", Switched(off=True, why="a test"))
        app.desk.board.switch("desk", Switched(off=False))
        links = app.releases.links()
    assert broken(links) is None and [link.number for link in links] == [1, 2, 3]
    assert broken([*links[:1], *links[2:]]) is not None
    assert broken([links[1], links[0], links[2]]) is not None
    altered = [links[0], msgspec.structs.replace(links[1], who="nobody"), links[2]]
    assert broken(altered) is altered[1]


async def test_two_processes_never_make_changes_that_exclude_each_other(tmp_path: Path):
    """Of two that begin a canary at the same moment, one does."""
    root = write_project(tmp_path)
    await release(root)
    learn(root, "a", "b", "c")
    begin = (
        "import asyncio, sys\nfrom mainstay.learn.releasing import Wanted\nimport mainstay\n"
        "async def main():\n"
        "    async with mainstay.open('.', environ={}, dev=True) as app:\n"
        "        await app.desk.on_trial('desk', Wanted(), kind='canary', share=0.1)\n"
        "asyncio.run(main())\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", begin], cwd=root, stderr=subprocess.PIPE) for _ in range(2)]
    ended = [process.communicate(timeout=60)[1].decode() for process in running]
    assert sorted(process.returncode for process in running) == [0, 1]
    assert any("under way already" in said for said in ended)
    async with working(root) as app:
        assert broken(app.releases.links()) is None and len(app.releases.links()) == 2


async def test_a_case_that_cannot_be_scored_is_found_before_money_is_spent(tmp_path: Path):
    """An unknown scorer, or what a scorer cannot compare with, names the case and the key."""
    root = write_project(tmp_path, cases=[json.dumps({"id": "odd", "input": {"question": "a 1"}, "expect": {"contain": ["a"]}})])
    async with working(root) as app:
        with pytest.raises(ConfigError, match='did you mean "contains"') as refused:
            await app.desk.evaluate("desk", Wanted())
        assert "case odd, expect.contain" in refused.value.where
        assert app.features.project.models["small"].provider.asked == 0  # type: ignore[attr-defined]


async def test_the_same_digest_is_released_once(tmp_path: Path):
    """A second release of what is live changes nothing, and asks nobody."""
    root = write_project(tmp_path)
    first = await release(root)
    again = await release(root)
    assert again.release == first.release and again.link is None and again.report is None


async def test_a_damaged_store_is_an_error_that_says_so(tmp_path: Path):
    """What is served is never guessed at."""
    root = write_project(tmp_path)
    await release(root)
    db = apsw.Connection(str(root / ".mainstay" / "releases.db"))
    db.execute("update changes set body = ?", (b"{}",))
    db.close()
    with pytest.raises(mainstay.MainstayError, match="damaged"):
        production(root)


def test_prompts_differ_by_their_skills():
    """The double is what the tests above take it for."""
    assert prompt("a", "b") != prompt("a") and "skill: b" in prompt("a", "b")
